"""A Restorer: any size, tiles, shared routing, ranges, precision, memory that runs out, values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag import baselines
from rainrag.core.errors import InputError, RainRAGError, UsageError
from rainrag.models.unirain.network import UniRain
from rainrag.restore import Contract, Restorer, restorer
from tests.restore import nets

LOCAL = Contract(receptive=2)


def image(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def direct(network: torch.nn.Module, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        y = network(torch.from_numpy(x).permute(2, 0, 1)[None])
    return y[0].permute(1, 2, 0).numpy().clip(0, 1)


# ---------------------------------------------------------------- tiles
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(9, 24), overlap=st.integers(4, 8),
    batch=st.integers(1, 3),
)  # fmt: skip
def test_tiles_of_a_finite_receptive_field_equal_the_whole(
    height: int, width: int, side: int, overlap: int, batch: int
) -> None:
    x = image(height, width)
    network = nets.Local().eval()
    got = Restorer(network, LOCAL, device="cpu", batch=batch).restore(x, f"{side},{overlap}")
    assert np.abs(got - direct(network, x)).max() < 1e-6


def test_too_little_overlap_shows() -> None:
    """The check above can fail: with no overlap the tiles' rims differ."""
    x, network = image(48, 48), nets.Local().eval()
    got = Restorer(network, LOCAL, device="cpu").restore(x, "16,0")
    assert np.abs(got - direct(network, x)).max() > 1e-3


def test_prenets_tiles_equal_the_whole_at_its_receptive_field() -> None:
    """Six stages of 13 convolutions: 78 pixels to each side."""
    network, contract = baselines.create("prenet"), Contract.of(baselines.card_of("prenet"))
    assert contract.receptive == 78
    engine = Restorer(network, contract, device="cpu")
    x = image(8, 190)
    assert engine.inference(8, 190, "168,156") == "tile168-156"
    assert np.abs(engine.restore(x, "168,156") - direct(network, x)).max() < 1e-6


def test_routing_is_the_images_not_the_tiles() -> None:
    x = image(32, 40)
    x[:, 20:] *= 0.2
    network = nets.Mean()
    got = Restorer(network, Contract(), device="cpu", batch=3).restore(x, "16,4")
    assert np.abs(got - x.mean()).max() < 1e-5
    two = Restorer(network, Contract(), device="cpu", batch=3).restore_batch([x, 0.5 * x], "16,4")
    assert np.abs(two[1] - 0.5 * x.mean()).max() < 1e-5


def test_routing_of_an_image_too_large_is_that_of_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    class Noted(nets.Mean):
        def routing(self, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
            seen.append(tuple(x.shape))
            return super().routing(x)

    monkeypatch.setattr(restorer, "ROUTING_SIDE", 24)
    x = image(32, 96)
    got = Restorer(Noted(), Contract(multiple=8), device="cpu", max_pixels=1000).restore(x, "32,8")
    assert seen == [(1, 3, 8, 24)]
    assert np.abs(got - x.mean()).max() < 1e-4


def test_a_unirain_in_tiles_is_near_the_whole_and_nearer_with_the_images_routing() -> None:
    network = nets.unirain(encoder="soft", decoder="hard")
    x = image(64, 96)
    x[:, :48] = x[:, :48] * 0.2  # a dark half, so that its tiles would be routed on their own
    engine = Restorer(network, Contract(multiple=8), device="cpu")
    whole = engine.restore(x, "full")
    assert np.abs(whole - x).max() > 0.05  # the network does something
    shared = engine.restore(x, "48,24")
    engine.routed = False
    alone = engine.restore(x, "48,24")
    far, near = (float(np.square(y - whole).mean()) for y in (alone, shared))
    assert near < far


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (8, 8), (17, 33)])
def test_any_size_by_padding(size: tuple[int, int]) -> None:
    network = nets.unirain()
    x = image(*size)
    for contract in (Contract(multiple=8), Contract()):  # padded by us or by the network itself: the same
        got = Restorer(network, contract, device="cpu").restore(x)
        assert got.shape == x.shape
        assert np.abs(got - direct(network, x)).max() < 1e-5


def test_auto_takes_small_images_whole_and_large_ones_in_tiles() -> None:
    network = nets.Darker()
    engine = Restorer(network, Contract(multiple=8), device="cpu", max_pixels=64 * 64)
    assert engine.inference(64, 64) == "full"
    assert engine.inference(700, 64) == "tile512-64"
    assert engine.run([image(64, 64)]).inference == "full"
    assert engine.run([image(8, 700)]).inference == "tile512-64"
    assert network.shapes == [(1, 3, 64, 64), (1, 3, 8, 512), (1, 3, 8, 512)]
    fixed = Restorer(nets.Darker(), Contract(fixed=32), device="cpu")
    assert fixed.inference(20, 20) == "full"
    assert fixed.inference(40, 20) == "tile32-16"


def test_a_batch_is_each_alone_and_goes_together() -> None:
    network = nets.Local().eval()
    xs = [image(12, 10, s) for s in range(5)]
    engine = Restorer(network, LOCAL, device="cpu", batch=2)
    for one, x in zip(engine.restore_batch(xs), xs, strict=True):
        assert np.abs(one - direct(network, x)).max() < 1e-6
    counted = nets.Darker()
    Restorer(counted, device="cpu", batch=2).restore_batch(xs)
    assert [s[0] for s in counted.shapes] == [2, 2, 1]


# ---------------------------------------------------------------- ranges and types
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_values_are_brought_into_the_networks_range_and_back(low: float, high: float) -> None:
    ends: list[tuple[float, float]] = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ends.append((float(x.min()), float(x.max())))
            return x

    x = np.array([[[0, 128, 255]]], np.uint8).repeat(2, 0)
    got = Restorer(Watch(), Contract(value_range=(low, high)), device="cpu").restore(x)
    assert ends == [pytest.approx((low, high))]
    assert np.rint(got * 255).astype(np.uint8).tolist() == x.tolist()


def test_results_are_clamped() -> None:
    class Loud(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 4 * x - 1

    got = Restorer(Loud(), device="cpu").restore(image(4, 4))
    assert got.min() == 0
    assert got.max() == 1


def test_sixteen_bits_are_more_than_eight() -> None:
    fine = np.arange(0, 48, dtype=np.uint16).reshape(4, 4, 3)
    got = Restorer(nets.Darker(), device="cpu").restore(fine)
    assert len(np.unique(got)) == 48


def test_bf16_channels_last_and_compiled_are_close() -> None:
    network, x = nets.unirain(), image(24, 24)
    plain = Restorer(network, Contract(multiple=8), device="cpu").restore(x)
    half = Restorer(network, Contract(multiple=8), device="cpu", precision="bf16").restore(x)
    last = Restorer(nets.unirain(), Contract(multiple=8), device="cpu", channels_last=True).restore(x)
    assert np.abs(half - plain).max() > 0
    assert np.abs(half - plain).mean() < 0.02
    assert np.abs(last - plain).max() < 1e-4


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected images of one size"):
        Restorer(nets.Darker(), device="cpu").restore(np.zeros(shape, np.float32))


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        Restorer(nets.Darker(), device="cpu").restore_batch([image(4, 4), image(4, 5)])


def test_values_that_are_not_finite_name_the_image() -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y[1:] = float("nan")
            return y

    with pytest.raises(InputError, match="not finite") as e:
        Restorer(Broken(), device="cpu", batch=2).run([image(4, 4)] * 2, names=["a.png", "b.png"])
    assert e.value.where == "b.png"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="fp23"):
        Restorer(nets.Darker(), precision="fp23")
    with pytest.raises(UsageError, match="at least one"):
        Restorer(nets.Darker(), batch=0)
    with pytest.raises(UsageError):
        Restorer(nets.Darker(), device="cuda:99")


class Hungry(nets.Local):
    """Runs out of memory beyond a number of pixels at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.tried: list[tuple[int, int, int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.tried.append((x.shape[0], x.shape[2], x.shape[3]))
        if x[:, 0].numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.fixture
def _no_gpu_to_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


@pytest.mark.usefixtures("_no_gpu_to_clean")
def test_memory_that_runs_out_first_halves_the_batch_then_the_tiles() -> None:
    network = Hungry(100 * 100).eval()
    xs = [image(150, 150, 1), image(150, 150, 2)]
    engine = Restorer(network, LOCAL, device="cpu", batch=2)
    found = engine.run(xs)
    assert network.tried[:2] == [(2, 150, 150), (1, 150, 150)]
    assert found.inference == "tile75-4"
    assert np.abs(found.images[1] - direct(nets.Local().eval(), xs[1])).max() < 1e-6


@pytest.mark.usefixtures("_no_gpu_to_clean")
def test_memory_that_never_suffices_is_an_error_with_the_way_out() -> None:
    with pytest.raises(RainRAGError, match="not enough memory") as e:
        Restorer(Hungry(10).eval(), LOCAL, device="cpu").restore(image(200, 200), name="big.png")
    assert e.value.where == "big.png"
    assert "--device cpu" in str(e.value)


def test_a_cpu_without_memory_says_tile() -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(RainRAGError, match="not enough memory") as e:
        Restorer(Greedy(), device="cpu").restore(image(4, 4))
    assert "--tile 256" in str(e.value)


def test_a_fault_of_the_network_is_not_taken_for_memory() -> None:
    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Restorer(Wrong(), device="cpu").restore(image(4, 4))


# ---------------------------------------------------------------- strength and ensemble
class Leftward(torch.nn.Module):
    """Adds a ramp that rises from left to right, whatever the image is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.linspace(0, 0.2, x.shape[3])


def test_strength_blends_with_the_photograph() -> None:
    x = image(12, 10)
    whole = Restorer(nets.Darker(), device="cpu").run([x])
    part = Restorer(nets.Darker(), device="cpu", strength=0.25).run([x])
    assert np.allclose(part.images[0], x + 0.25 * (whole.images[0] - x), atol=1e-6)
    assert part.inference == "full-strength0.25"
    assert np.array_equal(Restorer(nets.Darker(), device="cpu", strength=0).restore(x), x)
    with pytest.raises(UsageError, match="strength"):
        Restorer(nets.Darker(), device="cpu", strength=1.5)


def test_an_ensemble_is_the_mean_over_eight_turns() -> None:
    x = 0.5 * image(8, 12)
    found = Restorer(Leftward(), device="cpu", ensemble=True).run([x])
    across, down = np.linspace(0, 0.2, 12), np.linspace(0, 0.2, 8)
    ramps = [across, across[::-1], down[:, None], down[::-1, None]]
    by_hand = sum(np.broadcast_to(r, (8, 12)) for r in ramps) / 4
    assert np.allclose(found.images[0] - x, by_hand[..., None], atol=1e-6)
    assert found.inference == "full-x8"


def test_every_turn_is_undone() -> None:
    x = image(5, 7)[None]
    seen = [restorer.turned(x, mode) for mode in range(8)]
    assert all(np.array_equal(restorer.turned_back(y, mode), x) for mode, y in enumerate(seen))
    assert len({(y.shape, y.tobytes()) for y in seen}) == 8


def test_a_lean_unirain_takes_larger_images_whole_and_in_channels_last_memory() -> None:
    lean = UniRain(preset="tiny", widths=[4, 8, 8, 8], heads=[1, 1, 1, 1], experts=2)
    engine = Restorer(lean, Contract(multiple=lean.multiple), device="cpu")
    assert engine.layout == torch.channels_last
    assert engine.inference(1000, 1500) == "full"
    other = Restorer(UniRain(**nets.SIZES), Contract(multiple=8), device="cpu")
    assert other.inference(1000, 1500) == "tile512-64"
    x = image(33, 20)
    assert np.abs(engine.restore(x) - direct(lean, x)).max() < 1e-5
    assert Restorer(lean, device="cpu", max_pixels=100).max_pixels == 100
