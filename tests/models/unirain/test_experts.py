"""Experts and routers: equations (11) to (14) by hand, dispatch as one batch an expert, noise in training only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rainrag.core.errors import UsageError
from rainrag.models.unirain import blocks, experts
from rainrag.models.unirain.experts import MoEAttention, Router, Routing, WindowAttention


@pytest.fixture(autouse=True)
def _seeded(one_thread: None) -> None:
    torch.manual_seed(0)


def lively(module: nn.Module) -> Any:
    """Weights at which every part matters."""
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)
    return module


# ---------------------------------------------------------------- routers
def router(top_k: int | None = None, **more: Any) -> Router:
    """Of two channels and three experts whose logits for a mean of (1, 0) are log 1, log 2, log 5."""
    made = Router(2, 3, top_k, **more)
    with torch.no_grad():
        made.linear.weight.copy_(torch.tensor([[1.0, 0], [2, 0], [5, 0]]).log().nan_to_num(0, neginf=0))
    return made.eval()


#: One image whose channels' means are 1 and 0.
ONE = torch.tensor([[[[0.0, 2.0]], [[-1.0, 1.0]]]])


def test_equation_11_softmax_of_the_mean_feature() -> None:
    found = router()(ONE)
    assert torch.allclose(found.weights, torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))
    assert found.probabilities is found.weights
    assert not found.hard


@pytest.mark.parametrize(
    ("top_k", "renorm", "wanted"),
    [
        (1, False, [0, 0, 5 / 8]),  # the softmax comes first, and is not divided again
        (2, False, [0, 2 / 8, 5 / 8]),
        (3, False, [1 / 8, 2 / 8, 5 / 8]),
        (1, True, [0, 0, 1.0]),
        (2, True, [0, 2 / 7, 5 / 7]),
    ],
)
def test_equation_13_the_top_k_of_the_softmax(top_k: int, renorm: bool, wanted: list[float]) -> None:
    found = router(top_k, renorm=renorm)(ONE)
    assert torch.allclose(found.weights, torch.tensor([wanted]))
    assert found.hard


@pytest.mark.parametrize("top_k", [0, 4, -1])
def test_a_top_k_that_cannot_be_is_refused(top_k: int) -> None:
    with pytest.raises(UsageError, match="1 to 3"):
        Router(2, 3, top_k)


def test_noise_in_training_only() -> None:
    made = router(noise=0.5)
    quiet = [made(ONE).weights for _ in range(3)]
    assert torch.equal(quiet[0], quiet[1])
    made.train()
    torch.manual_seed(1)
    logits = torch.cat([made(ONE).probabilities.log() for _ in range(2000)])
    between = logits[:, 2] - logits[:, 0]  # softmax keeps differences: log 5 plus two draws
    assert between.mean().item() == pytest.approx(1.609, abs=0.06)
    assert between.std().item() == pytest.approx(0.5 * 2**0.5, abs=0.05)
    still = router(noise=0.0).train()
    assert torch.equal(still(ONE).weights, quiet[0])


def test_logits_stay_float32_under_autocast() -> None:
    made = lively(Router(8, 3)).eval()
    x = torch.randn(2, 8, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(x)
    assert found.probabilities.dtype == torch.float32
    assert torch.equal(found.probabilities, made(x).probabilities)


def test_balance_by_hand() -> None:
    """n * sum(f_e P_e): 1 where even, n where one expert has all."""
    even = torch.full((3, 3), 1 / 3)
    assert Routing(even, torch.eye(3) / 3, True).balance().item() == pytest.approx(1)
    one = torch.tensor([[1.0, 0, 0]] * 3)
    assert Routing(one, one, True).balance().item() == pytest.approx(3)
    p = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])
    w = torch.where(p == p.max(1, keepdim=True).values, p, 0)
    # shares 2/3, 1/3, 0; means 1.3/3, 1.1/3, 0.6/3
    assert Routing(p, w, True).balance().item() == pytest.approx(3 * (2 / 3 * 1.3 / 3 + 1 / 3 * 1.1 / 3))


# ---------------------------------------------------------------- mixing and dispatch
class Times(nn.Module):
    """An expert that multiplies, and counts the images it sees."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([factor]))
        self.seen: list[int] = []

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        self.seen.append(len(x))
        return x * self.factor * scale[:, :, None, None]


def test_equation_14_by_hand_and_each_expert_once() -> None:
    times: list[Any] = [Times(1.0), Times(10.0), Times(100.0), Times(1000.0)]
    weights = torch.tensor([[0.5, 0, 0.25, 0], [0, 0, 0.5, 0], [0.2, 0, 0.5, 0]])
    x = torch.tensor([1.0, 2, 3])[:, None, None, None].expand(3, 2, 4, 4)
    y = experts.dispatch(times, x, weights)
    assert y[:, 0, 0, 0].tolist() == pytest.approx([1 * (0.5 + 25), 2 * 50, 3 * (0.2 + 50)])
    assert [t.seen for t in times] == [[2], [], [3], []]


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_an_experts_scale_multiplies_all_of_its_output(images: int, bias: bool) -> None:
    x, scale = torch.randn(images, 8, 6, 5), torch.rand(images, 1)
    for expert in (lively(blocks.MDTA(8, 2, bias)), lively(WindowAttention(8, 2, 4, bias))):
        assert torch.allclose(expert(x, scale), expert(x) * scale[:, :, None, None], rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_dispatch_equals_a_loop_over_images(n: int, top_k: int, seed: int) -> None:
    torch.manual_seed(seed)
    made = lively(MoEAttention(8, 1, "hard", top_k=top_k)).eval()
    x = torch.randn(n, 8, 6, 5)
    with torch.no_grad():
        routing = made.router(x)
        got = made(x, routing)
        for i in range(n):
            wanted = sum(
                w * e(x[i : i + 1]) for w, e in zip(routing.weights[i], made.experts, strict=True) if float(w) > 0
            )
            assert torch.allclose(got[i], wanted[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["mdta", "window", "mixed"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_equation_12_is_the_sum_of_all_experts(kind: str, channels_last: bool) -> None:
    made = lively(MoEAttention(16, 2, "soft", kind=kind)).eval()
    x = torch.randn(3, 16, 9, 12)
    with torch.no_grad():
        routing = made.router(x)
        wanted = sum(routing.weights[:, i, None, None, None] * e(x) for i, e in enumerate(made.experts))
        given = x.to(memory_format=torch.channels_last) if channels_last else x
        got = made(given, routing)
    assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_experts_that_none_chose_have_a_gradient_of_zero_in_training() -> None:
    made = lively(MoEAttention(8, 1, "hard")).train()
    weights = torch.tensor([[0.0, 0.7, 0.0]] * 2)
    x = torch.randn(2, 8, 4, 4)
    made(x, Routing(weights, weights, True)).sum().backward()
    for i, expert in enumerate(made.experts):
        grads = [p.grad for p in expert.parameters()]
        assert all(g is not None for g in grads)
        assert any(bool(g.abs().max() > 0) for g in grads if g is not None) == (i == 1)


def test_training_and_evaluation_compute_the_same() -> None:
    made = lively(MoEAttention(8, 1, "hard"))
    weights = torch.tensor([[0.0, 0.7, 0.0], [0.4, 0.0, 0.0]])
    x = torch.randn(2, 8, 4, 4)
    with torch.no_grad():
        assert torch.equal(
            made.train()(x, Routing(weights, weights, True)), made.eval()(x, Routing(weights, weights, True))
        )


# ---------------------------------------------------------------- capacity
def test_capacities_are_distinct() -> None:
    assert experts.ranks(48, 1, 3) == [12, 24, 48]
    assert experts.ranks(8, 1, 4) == [1, 2, 4, 8]
    sizes = [sum(p.numel() for p in e.parameters()) for e in experts.experts_of(48, 1, 3, "mdta")]
    assert sizes == sorted(set(sizes))
    windows = experts.experts_of(32, 2, 4, "window")
    assert [e.window for e in windows if isinstance(e, WindowAttention)] == [4, 8, 16, 16]
    assert [type(e).__name__ for e in experts.experts_of(32, 2, 3, "mixed")] == ["WindowAttention", "MDTA", "MDTA"]


@pytest.mark.parametrize(("channels", "heads", "n"), [(8, 8, 3), (6, 1, 3), (8, 3, 2)])
def test_experts_that_do_not_fit_are_refused(channels: int, heads: int, n: int) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        experts.ranks(channels, heads, n)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="mdta") as e:
        experts.experts_of(8, 1, 3, "mtda")
    assert "did you mean" in str(e.value)


# ---------------------------------------------------------------- blocks, against their textbook forms
def test_layer_norm_in_both_memories_is_torchs() -> None:
    norm = lively(blocks.LayerNorm2d(6))
    x = torch.randn(2, 6, 5, 7)
    wanted = nn.functional.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, 1e-5).permute(0, 3, 1, 2)
    for memory in (torch.contiguous_format, torch.channels_last):
        assert torch.allclose(norm(x.to(memory_format=memory)), wanted, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("channels_last", [False, True])
def test_mdta_is_attention_across_channels(rank: int | None, channels_last: bool) -> None:
    made = lively(blocks.MDTA(8, 2, rank=rank))
    x = torch.randn(2, 8, 5, 6)
    q, k, v = made.qkv_dwconv(nn.functional.conv2d(x, made.qkv.weight)).chunk(3, 1)
    q, k, v = (t.reshape(2, 2, -1, 30) for t in (q, k, v))
    q, k = (nn.functional.normalize(t, dim=-1) for t in (q, k))
    mixed = (q @ k.transpose(-2, -1) * made.temperature).softmax(-1) @ v
    wanted = nn.functional.conv2d(mixed.reshape(2, -1, 5, 6), made.project_out.weight)
    got = made(x.to(memory_format=torch.channels_last) if channels_last else x)
    assert torch.allclose(got, wanted, atol=1e-4)


def test_window_attention_is_softmax_in_each_window() -> None:
    made = lively(WindowAttention(4, 1, 2))
    x = torch.randn(1, 4, 4, 6)
    q, k, v = made.qkv_dwconv(made.qkv(x)).chunk(3, 1)
    wanted = torch.empty_like(q)
    table = made.position[0]
    places = [(y, z) for y in range(2) for z in range(2)]
    for top in range(0, 4, 2):
        for left in range(0, 6, 2):
            for y, z in places:
                here = q[0, :, top + y, left + z]
                logits = torch.stack(
                    [here @ k[0, :, top + a, left + b] / 4**0.5 + table[(y - a + 1) * 3 + z - b + 1] for a, b in places]
                ).softmax(0)
                wanted[0, :, top + y, left + z] = sum(
                    p * v[0, :, top + a, left + b] for p, (a, b) in zip(logits, places, strict=True)
                )
    assert torch.allclose(made(x), made.project_out(wanted), atol=1e-4)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.integers(0, 20))
def test_reflection_is_numpys(h: int, w: int, down: int, right: int) -> None:
    import numpy as np

    x = torch.arange(h * w, dtype=torch.float32).reshape(1, 1, h, w)
    wanted = np.pad(x.numpy(), [(0, 0), (0, 0), (0, down), (0, right)], mode="reflect")
    assert np.array_equal(experts.reflected(x, h + down, w + right).numpy(), wanted)
