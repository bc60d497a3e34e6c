"""UniRain whole: sizes, every row of Table 6, any image, routing for tiles, saving, training, memory layouts, precision."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rainrag.baselines.complexity import measure
from rainrag.core.errors import InputError, UsageError
from rainrag.models.unirain.network import PRESETS, UniRain, usage
from tests.restore.nets import SIZES, lively

MODES = ("none", "soft", "hard")
ROWS = [(e, d) for e in MODES for d in MODES]


@pytest.fixture(autouse=True)
def _seeded(one_thread: None) -> None:
    torch.manual_seed(0)


def made(**more: Any) -> Any:
    """A small network that changes its input."""
    return lively(UniRain(**{**SIZES, **more}))


# ---------------------------------------------------------------- sizes
def on_meta(**settings: Any) -> tuple[float, float]:
    """(parameters in millions, G multiply-accumulates of convolutions at 256x256, mean over the experts that may run)."""
    with torch.device("meta"):
        network = UniRain(**settings).eval()
    costs = []
    for chosen in range(3):
        one = torch.nn.functional.one_hot(torch.tensor([chosen]), 3).float()
        even = torch.empty(1, 3, device="meta")
        routes = {name: one if m.router.top_k else even for name, m in _mixtures(network).items()}
        wrapped = _Fixed(network, routes)
        costs.append(measure(wrapped, torch.empty(1, 3, 256, 256, device="meta"))[1])
    return sum(p.numel() for p in network.parameters()) / 1e6, sum(costs) / 3e9


def _mixtures(network: UniRain) -> dict[str, Any]:
    return {n.removesuffix(".attention"): m for n, m in network.named_modules() if type(m).__name__ == "MoEAttention"}


class _Fixed(torch.nn.Module):
    def __init__(self, network: UniRain, routes: dict[str, Tensor]) -> None:
        super().__init__()
        self.network, self.routes = network, routes

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, self.routes)


def test_base_has_the_papers_size_and_cost() -> None:
    params, gmacs = on_meta(preset="base")
    assert params == pytest.approx(24.4, rel=0.01)
    assert gmacs == pytest.approx(126.5, rel=0.01)


def test_small_and_tiny_have_theirs() -> None:
    for preset, most, cost in (("tiny", 3.0, 2.5), ("small", 7.0, 6.0), ("tiny-v1", 0.3, 3.0)):
        params, gmacs = on_meta(preset=preset)
        assert params <= most
        assert gmacs < cost


def test_fewer_experts_run_in_a_hard_decoder() -> None:
    for preset in ("tiny", "tiny-v1"):
        assert on_meta(preset=preset)[1] < on_meta(preset=preset, decoder="soft")[1]


# ---------------------------------------------------------------- every row of Table 6, and prompts
@pytest.mark.parametrize(
    "row",
    [*({"encoder": e, "decoder": d} for e, d in ROWS), {"prompt": True}, {"expert_kind": "window"},
     {"expert_kind": "mixed"}, {"top_k": 2, "renorm_topk": True}],
    ids=str,
)  # fmt: skip
def test_every_row_is_one_argument_runs_and_learns(row: dict[str, Any]) -> None:
    network = UniRain(**{**SIZES, "widths": [4, 8, 8, 8], "heads": [1, 1, 1, 1], "noise": 0.1, **row}).train()
    clean = torch.rand(2, 3, 16, 16)
    rainy = (0.5 * clean).clone()
    rainy[:, :, :, 5] += 0.4
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = (network(rainy) - clean).abs().mean() + network.balance_loss()
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())  # DistributedDataParallel waits for all
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.93 * losses[0]


def test_a_fresh_network_hands_its_input_on() -> None:
    x = torch.rand(1, 3, 24, 16)
    assert (UniRain(preset="tiny").eval()(x) - x).abs().max() < 0.02


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"preset": "tini"}, "no preset 'tini'"),
        ({"encoder": "sotf"}, "no encoder 'sotf'"),
        ({"decoder": "harder"}, "no decoder 'harder'"),
        ({"expert_kind": "mdat"}, "no expert_kind 'mdat'"),
        ({"latent_block": 2}, "no argument 'latent_block'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as e:
        UniRain(**wrong)
    assert "did you mean" in str(e.value)


# ---------------------------------------------------------------- any image
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_any_size_comes_back_in_its_size(height: int, width: int) -> None:
    y = made()(torch.rand(1, 3, height, width))
    assert y.shape == (1, 3, height, width)
    assert torch.isfinite(y).all()


def test_padding_is_reflection_to_multiples_of_eight() -> None:
    network, x = made(), torch.rand(1, 3, 13, 21)
    padded = torch.nn.functional.pad(x, (0, 3, 0, 3), mode="reflect")
    with torch.inference_mode():
        assert torch.equal(network(x), network(padded)[:, :, :13, :21])


def test_a_batch_is_each_image_alone() -> None:
    network, x = made(noise=0.5), torch.rand(4, 3, 16, 24)
    x[2] *= 0.1
    with torch.inference_mode():
        whole, again = network(x), network(x)
        alone = torch.cat([network(i[None]) for i in x])
    assert torch.equal(whole, again)  # nothing is drawn in evaluation
    assert torch.allclose(whole, alone, atol=1e-5)


def test_noise_in_training_only() -> None:
    network, x = made(noise=0.5), torch.rand(1, 3, 16, 16)
    network.train()
    with torch.no_grad():
        assert not torch.equal(network(x), network(x))
    still = made(noise=0.0).train()
    with torch.no_grad():
        assert torch.equal(still(x), still(x))


# ---------------------------------------------------------------- routing
def test_routing_tells_what_forward_does() -> None:
    network, x = made(experts=2, encoder="soft", decoder="hard", prompt=True), torch.rand(3, 3, 16, 16)
    with torch.inference_mode():
        routes = network.routing(x)
        assert torch.equal(network(x, routes=routes), network(x))
    soft = {n for n, m in _mixtures(network).items() if m.router.top_k is None}
    for name, w in routes.items():
        assert w.shape == (3, 5 if name.startswith("prompts") else 2)
        if name in soft or name.startswith("prompts"):
            assert torch.allclose(w.sum(1), torch.ones(3))
        else:
            assert ((w > 0).sum(1) == 1).all()
    assert {n.split(".")[0] for n in routes} >= {"encoder1", "encoder3", "decoder1", "decoder3", "prompts"}


def test_a_part_with_the_images_routing_is_restored_as_a_part_of_it() -> None:
    """Other routes, other results: the routes are used."""
    network, x = made(), torch.rand(2, 3, 16, 16)
    x[1] *= 0.05
    with torch.inference_mode():
        own = network(x[:1])
        other = network(x[:1], routes=network.routing(x[1:]))
    assert not torch.allclose(own, other, atol=1e-4)


def test_routes_of_another_network_are_refused() -> None:
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(InputError, match="encoder1"):
        made()(x, routes=made(encoder="none").routing(x))


def test_the_balance_term_is_that_of_hard_mixtures() -> None:
    x = torch.rand(2, 3, 8, 8)
    for encoder, decoder, counted in (("soft", "hard", True), ("soft", "soft", False), ("none", "none", False)):
        network = made(encoder=encoder, decoder=decoder, balance=0.5).train()
        network(x)
        term = network.balance_loss()
        assert (float(term.detach()) > 0) == counted
    network = made(balance=0.5, noise=0.0).train()
    network(x)
    by_hand = torch.stack([r.balance() for r in network._seen.values() if r.hard]).mean()
    assert torch.equal(network.balance_loss(), 0.5 * by_hand)
    network.balance_loss().backward()
    assert network.decoder1[0].attention.router.linear.weight.grad.abs().max() > 0
    assert made(balance=0.0).train().balance_loss().item() == 0


def test_a_network_in_training_can_be_copied() -> None:
    network, x = made().train(), torch.rand(1, 3, 8, 8)
    network(x).sum().backward()
    twin = copy.deepcopy(network).eval()
    assert torch.equal(twin(x), network.eval()(x))


def test_usage_by_rain_type() -> None:
    routes = {"decoder1.0": torch.tensor([[1.0, 0], [0, 0.5], [0.5, 0]])}
    assert usage(routes, ["DRS", "NRD", "DRS"]) == {
        "DRS": {"decoder1.0": [0.75, 0.0]}, "NRD": {"decoder1.0": [0.0, 0.5]},
    }  # fmt: skip


# ---------------------------------------------------------------- saved and loaded
def test_saving_and_loading_is_the_same_network(tmp_path: Path) -> None:
    network = made(encoder="hard", decoder="soft", top_k=2, experts=2, noise=0.3, balance=0.0, prompt=True)
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == json.loads(json.dumps(network.config))
    assert config["widths"] == SIZES["widths"]  # sizes are spelled out: a preset may change, these weights not
    assert (tmp_path / "model.safetensors").is_file()
    again = UniRain.from_pretrained(tmp_path)
    assert not again.training
    assert again.config == network.config
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(again(x), network(x))


def test_every_preset_is_made_again_from_its_config() -> None:
    with torch.device("meta"):
        for preset in PRESETS:
            first = UniRain(preset=preset)
            second = UniRain(**json.loads(json.dumps(first.config)))
            assert second.sizes == first.sizes
            assert {k: v.shape for k, v in second.state_dict().items()} == {
                k: v.shape for k, v in first.state_dict().items()
            }


# ---------------------------------------------------------------- layouts, precision, compilers
@pytest.mark.parametrize("kind", ["mdta", "window"])
def test_channels_last_equals_nchw(kind: str) -> None:
    network, x = made(expert_kind=kind), torch.rand(2, 3, 24, 17)
    with torch.inference_mode():
        plain = network(x)
        last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(plain, last, atol=1e-4)


def test_channels_last_has_the_same_gradients() -> None:
    x = torch.rand(2, 3, 16, 16)
    grads = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = made(noise=0.0).train().to(memory_format=layout)
        network(x.to(memory_format=layout)).square().mean().backward()
        grads.append({n: p.grad.clone() for n, p in network.named_parameters()})
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], rtol=1e-3, atol=1e-4 * max(1.0, float(grad.abs().max()))), name


def test_bf16_is_near_float32_and_routes_the_same_kind_of_numbers() -> None:
    network, x = made(), torch.rand(2, 3, 24, 24)
    with torch.inference_mode():
        routes = network.routing(x)
        plain = network(x, routes=routes)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(x, routes=routes)
            assert all(w.dtype == torch.float32 for w in network.routing(x).values())
    assert 0 < (half - plain).abs().mean() < 0.02
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = (network(x) - x).abs().mean() + network.balance_loss()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("backend", ["aot_eager", *(["inductor"] if os.environ.get("RAINRAG_TEST_COMPILE") else [])])
def test_compiled_equals_eager(backend: str) -> None:
    """``inductor`` builds C++ for a minute: with RAINRAG_TEST_COMPILE=1."""
    torch.compiler.reset()
    few = {"encoder_blocks": (1, 0, 0), "latent_blocks": 0, "decoder_blocks": (0, 0, 1), "refinement_blocks": 0}
    network = made(widths=[4, 4, 4, 4], **few)  # one soft and one hard mixture: compilers are slow
    compiled = torch.compile(network, backend=backend)
    for seed in range(2):  # other images, other experts
        x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * (1 - 0.9 * seed)
        with torch.inference_mode():
            assert torch.allclose(compiled(x), network(x), atol=1e-4)
    torch.compiler.reset()
