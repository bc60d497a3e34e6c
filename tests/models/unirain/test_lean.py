"""Lean networks: gated convolutions at high resolution, mixtures at low; export; routers that decide; older weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rainrag.models.unirain.experts import Router, indecision
from rainrag.models.unirain.gated import GatedBlock, LocalScale, gate
from rainrag.models.unirain.network import UniRain
from rainrag.models.unirain.presets import PRESETS, sized
from tests.restore.nets import lively

LEAN: dict[str, Any] = {"preset": "tiny", "widths": [4, 8, 12, 16], "experts": 2, "heads": [1, 1, 1, 1]}


@pytest.fixture(autouse=True)
def _seeded(one_thread: None) -> None:
    torch.manual_seed(0)


def made(**more: Any) -> Any:
    torch.manual_seed(2)
    return lively(UniRain(**{**LEAN, **more}))


def test_mixtures_are_where_resolution_is_low() -> None:
    routes = made().routing(torch.rand(2, 3, 32, 32))
    assert set(routes) == {"encoder3.0", "decoder3.0"}
    assert ((routes["decoder3.0"] > 0).sum(1) == 1).all()
    assert not made(gated_levels=4).routing(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("size", [(1, 1), (7, 33), (16, 16), (40, 24)])
@pytest.mark.parametrize("cell", [None, 4])
def test_any_size_in_both_memories(size: tuple[int, int], cell: int | None) -> None:
    network, x = made(cell=cell), torch.rand(1, 3, *size)
    with torch.inference_mode():
        plain = network(x)
        last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert plain.shape == x.shape
    assert torch.allclose(plain, last, atol=1e-4)


def test_the_gates_gradient_is_that_of_the_product() -> None:
    x = torch.randn(2, 8, 5, 3, dtype=torch.float32).to(memory_format=torch.channels_last)
    outside = torch.randn(2, 4, 5, 3)
    found = []
    for layout in (torch.channels_last, torch.contiguous_format):
        leaf = x.contiguous(memory_format=layout).detach().requires_grad_(True)
        (gate(leaf) * outside).sum().backward()
        found.append(leaf.grad)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][:, :4], x[:, 4:] * outside)


def test_channels_last_trains_as_nchw() -> None:
    x = torch.rand(2, 3, 32, 32)
    grads = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = made(noise=0.0).train().to(memory_format=layout)
        network(x.to(memory_format=layout)).square().mean().backward()
        grads.append({n: p.grad.clone() for n, p in network.named_parameters()})
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], rtol=1e-3, atol=1e-3 * max(1.0, float(grad.abs().max()))), name


def test_local_scale_sees_its_surroundings_and_no_more() -> None:
    scale = LocalScale(2, 4)
    x = torch.rand(1, 2, 8, 32)
    y = x.clone()
    y[..., 28:] += 1  # the last cell reaches, by interpolation, no further than the one beside it
    with torch.no_grad():
        a, b = scale(x), scale(y)
    assert torch.equal(a[..., :20], b[..., :20])
    assert not torch.equal(a[..., 24:28], b[..., 24:28])


def test_a_gated_block_sees_one_pixel_around() -> None:
    block, x = lively(GatedBlock(4)), torch.rand(1, 4, 9, 9)
    y = x.clone()
    y[:, 0, 4, 4] += 1
    with torch.no_grad():
        changed = (block(x) != block(y)).any(1)[0]
    assert changed[3:6, 3:6].all()
    assert int(changed.sum()) == 9


def test_a_fresh_lean_network_hands_its_input_on_and_soon_leaves_it() -> None:
    """Gates that start too small keep a network at its input: the first steps have to show."""
    network = UniRain(**LEAN | {"widths": [8, 8, 8, 8]}).train()
    clean = torch.rand(2, 3, 32, 32)
    rainy = clean.clone()
    rainy[:, :, :, ::7] += 0.3
    assert (network(rainy) - rainy).abs().max() < 0.02
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss = (network(rainy) - clean).abs().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.9 * float((rainy - clean).abs().mean())


# ---------------------------------------------------------------- routers that decide
def test_indecision_by_hand() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    even = torch.full((2, 2), 0.5)
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(indecision(sure)) == pytest.approx(-math.log(2))
    assert float(indecision(even)) == pytest.approx(0)
    assert float(indecision(one)) == pytest.approx(0)
    both = torch.cat((sure, sure))
    apart = torch.tensor([0, 1, 0, 1])  # each type has its expert
    mixed = torch.tensor([0, 0, 1, 1])  # each type has both
    assert float(indecision(both, apart)) == pytest.approx(-2 * math.log(2))
    assert float(indecision(both, mixed)) == pytest.approx(-math.log(2))
    assert float(indecision(both, torch.full((4,), -1))) == pytest.approx(-math.log(2))
    assert float(indecision(both, torch.tensor([0, 1, -1, -1]))) == pytest.approx(-2 * math.log(2))


def test_routers_learn_to_decide_by_type() -> None:
    router = Router(4, 2, top_k=1)
    x = torch.rand(6, 4, 5, 5) * torch.tensor([1.0, 0.2] * 3)[:, None, None, None]
    kinds = torch.tensor([0, 1] * 3)
    optimiser = torch.optim.AdamW(router.parameters(), lr=0.1)
    before = router(x).probabilities.max(1).values.mean()
    for _ in range(100):
        optimiser.zero_grad()
        indecision(router(x).probabilities, kinds).backward()
        optimiser.step()
    sure, chosen = router(x).probabilities.max(1)
    assert sure.min() > 0.9 > before
    assert len(set(chosen[::2].tolist())) == len(set(chosen[1::2].tolist())) == 1
    assert chosen[0] != chosen[1]


def test_networks_without_hard_mixtures_have_nothing_to_decide() -> None:
    network = made(decoder="soft").train()
    network(torch.rand(1, 3, 16, 16))
    assert network.decision_loss().item() == 0


# ---------------------------------------------------------------- export
@pytest.mark.parametrize("settings", [LEAN, LEAN | {"preset": "tiny-v1"}, LEAN | {"cell": 4}], ids=str)
def test_a_traced_graph_gives_the_networks_numbers_whatever_is_chosen(settings: dict[str, Any]) -> None:
    network = made(**settings).eval()
    images = [torch.rand(1, 3, 32, 48), 0.1 * torch.rand(1, 3, 32, 48), 1 - 0.1 * torch.rand(1, 3, 32, 48)]
    chosen = set()
    with torch.no_grad():
        traced = torch.jit.trace(network, images[0], check_trace=False)
        exported = torch.export.export(network, (images[0],)).module()
        for x in images:
            chosen.add(tuple(int(w.argmax()) for w in network.routing(x).values()))
            assert torch.allclose(traced(x), network(x), atol=1e-5)
            assert torch.allclose(exported(x), network(x), atol=1e-5)
    assert len(chosen) > 1, "the images were to choose different experts"


# ---------------------------------------------------------------- configurations
def test_a_configuration_of_version_1_is_read_as_it_was_meant() -> None:
    old = {"widths": [16, 24, 32, 48], "encoder_blocks": [1, 1, 1], "latent_blocks": 1, "decoder_blocks": [1, 1, 1],
           "refinement_blocks": 1, "heads": [1, 1, 2, 2], "expansion": 2.0}  # fmt: skip
    assert sized("tiny", old) == PRESETS["tiny-v1"]
    assert sized("tiny", {"widths": [8, 8, 8, 8]}).lean


def test_saving_and_loading_is_the_same_network(tmp_path: Path) -> None:
    network = made(cell=8, stem=4)
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["stem"], config["cell"], config["lean"]) == (4, 8, True)
    x: Tensor = torch.rand(1, 3, 20, 36)
    with torch.inference_mode():
        assert torch.equal(UniRain.from_pretrained(tmp_path)(x), network(x))
