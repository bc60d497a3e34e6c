from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from rainrag import baselines
from rainrag.baselines import complexity

#: Counted on the authors' networks: name -> (parameters, GMACs at 256x256, those of convolutions alone).
COUNTED = {
    "prenet": (168_963, 66.25, 66.25),
    "prenet-r": (94_979, 66.25, 66.25),
    "prn": (95_107, 37.26, 37.26),
    "prn-r": (21_123, 37.26, 37.26),
    "pigwm": (168_963, 66.25, 66.25),
    "restormer": (26_126_644, 154.88, 140.99),
    "mprnet": (3_637_249, 140.98, 140.98),
    "rcdnet": (3_166_355, 209.35, 209.35),
    "rcdnet-simple": (2_975_186, 209.35, 209.35),
    "nerd-rain": (22_893_146, 156.32, None),
    "nerd-rain-s": (10_530_314, 79.28, None),
    "drsformer": (33_655_424, 242.98, 220.33),
    "drsformer-nomefc": (32_610_304, 175.37, None),
    "msdt": (18_887_218, 129.93, None),
    "idt": (16_416_463, 62.06, None),
    "rlp-unet": (6_334_308, 104.92, 104.92),
    "rlp-uformer-t": (5_611_902, 64.97, None),
    "promptir": (35_592_263, 172.71, 158.14),
    "histoformer": (16_615_100, 113.33, 91.59),
    "transweather": (38_052_078, 4.66, None),
    "transweather-base": (21_903_086, 4.38, None),
    "wgws-net": (7_575_354, 71.01, 71.01),
    "wgws-net-stage1": (4_988_895, 46.40, 46.40),
}


of = cache(complexity.of)


def test_every_network_was_counted() -> None:
    assert set(complexity.names()) == set(COUNTED)
    assert set(complexity.REASONS) <= set(COUNTED)


@pytest.mark.parametrize("name", COUNTED)
def test_the_card_has_the_authors_count_and_ours_equals_it_or_has_a_reason(name: str) -> None:
    params, gmacs, conv = COUNTED[name]
    found = of(name)
    assert found.params == params
    assert found.authors_macs == pytest.approx(gmacs * 1e9, abs=0.006e9)
    if conv is not None:
        assert found.authors_macs_conv == pytest.approx(conv * 1e9, abs=0.006e9)
    same = found.macs == pytest.approx(found.authors_macs, abs=0.5e6)  # some cards have three decimals of a G
    same = same and found.macs_conv == pytest.approx(found.authors_macs_conv, abs=0.5e6)
    assert same is (found.reason is None)


@pytest.mark.parametrize(("name", "saved"), [("mprnet", 1.4e9), ("drsformer-nomefc", 13e9), ("wgws-net", 24e9)])
def test_a_reason_saves_operations(name: str, saved: float) -> None:
    found = of(name)
    assert found.authors_macs is not None
    assert found.authors_macs - found.macs > saved


def test_transweather_needs_fewer_from_512_on() -> None:
    """Ours answers 48 queries whatever the number of tokens n; the authors answer n stretched ones."""
    dim, queries = 512, 48

    def authors(n: int) -> int:
        return 2 * n * dim**2 + (queries + n) * dim**2 + 2 * n * n * dim

    def ours(n: int) -> int:
        return complexity.measure(_Sized(attention, n), torch.empty(1, n, dim))[0]

    with torch.device("meta"):
        attention = baselines.create("transweather").Tdec.block1[0].attn
        small, large = 4 * 4, 8 * 8  # tokens at 256x256 and 512x512
        assert ours(large) < authors(large)
        found = of("transweather")
        assert found.authors_macs is not None
        assert found.macs - found.authors_macs == pytest.approx(3 * (ours(small) - authors(small)), abs=1e5)


class _Sized(nn.Module):
    def __init__(self, attention: nn.Module, tokens: int) -> None:
        super().__init__()
        self.attention, self.size = attention, (1, tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, self.size)


def test_known_layers_are_counted_exactly() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(2), nn.Linear(64, 7))
    found = complexity.of_network("three", network, torch.zeros(2, 3, 8, 8))
    conv, linear = 2 * 64 * 5 * 3 * 9, 2 * 5 * 64 * 7
    assert (found.macs, found.macs_conv) == (conv + linear, conv)
    assert (found.params, found.trainable) == (3 * 5 * 9 + 64 * 7 + 7,) * 2
    assert found.reason is None


def test_shared_parameters_count_once_and_frozen_ones_do_not_train() -> None:
    layer = nn.Conv2d(3, 3, 1, bias=False)
    frozen = nn.Conv2d(3, 3, 1, bias=False).requires_grad_(False)
    found = complexity.of_network("shared", nn.Sequential(layer, layer, frozen), torch.zeros(1, 3, 4, 4))
    assert (found.params, found.trainable, found.macs) == (18, 9, 3 * 16 * 9)


def test_what_training_changes_is_the_authors_figure() -> None:
    assert of("msdt").trainable == 16_691_065
    assert of("wgws-net").trainable == 2_645_289


def test_the_fixed_size_is_counted_on_the_patches_of_the_image() -> None:
    assert of("idt").macs == pytest.approx(4 * 15.513780224e9)
