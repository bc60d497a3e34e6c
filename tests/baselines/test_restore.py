"""Every network runs through tiled inference, in its own range and at the sizes it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rainrag import baselines
from rainrag.restore import Contract, Restorer, tiles
from tests.baselines import seeded

BUILT = [n for n in baselines.names() if baselines.get(n).build]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def direct(network: torch.nn.Module, contract: Contract, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An image of a size that the network takes through the network alone."""
    low, high = contract.value_range
    x = torch.from_numpy(image).permute(2, 0, 1)[None] * (high - low) + low
    with torch.inference_mode():
        y = network(x)
    return ((y[0].permute(1, 2, 0).numpy() - low) / (high - low)).clip(0, 1)


def padded(image: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """Grown right and below by reflection."""
    return np.pad(image, [(0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)], mode="reflect")


def tolerance(name: str) -> float:
    """Histoformer sorts: in float32 near-ties fall either way."""
    return 0.5 if name == "histoformer" else 1e-4


@pytest.mark.parametrize("name", BUILT)
def test_tiles_meet_the_networks_contract(name: str) -> None:
    """An odd-sized image in tiles: where only the first lies, the output is the network's on that tile alone."""
    contract = Contract.of(baselines.card_of(name))
    side = contract.up(contract.fixed or 16)
    height, width = side - 3, side + 6
    network = baselines.create(name)
    seeded.fill(network)
    image = np.random.default_rng(3).random((height, width, 3), dtype=np.float32)
    out = Restorer(network, contract, device="cpu").run([image], tile=f"{side},0")
    assert out.inference == f"tile{side}-0"
    assert out.images.shape == (1, height, width, 3)
    assert np.isfinite(out.images).all()
    assert out.images.min() >= 0
    assert out.images.max() <= 1

    plan = tiles.plan(contract, height, width, tiles.parse(f"{side},0", contract))
    assert len(plan.columns.starts) > 1
    (h, w), second = plan.tile, plan.columns.starts[1]
    first = padded(image, *plan.padded)[:h, :w]
    want = direct(network, contract, first)[:height, :second]
    assert np.abs(out.images[0, :, :second] - want).max() <= tolerance(name)


@pytest.mark.parametrize("name", [n for n in BUILT if not baselines.card_of(n).fixed and n != "rlp-uformer-t"])
def test_a_whole_image_is_padded_by_reflection_and_cropped(name: str) -> None:
    contract = Contract.of(baselines.card_of(name))
    height, width = contract.up(12) - 2, contract.up(20) - 1
    network = baselines.create(name)
    seeded.fill(network)
    image = np.random.default_rng(4).random((height, width, 3), dtype=np.float32)
    out = Restorer(network, contract, device="cpu").restore(image, tile="full")
    h, w = contract.padded(height, width)
    want = direct(network, contract, padded(image, h, w))[:height, :width]
    assert out.shape == want.shape == (height, width, 3)
    assert np.abs(out - want).max() <= tolerance(name)
