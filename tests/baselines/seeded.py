"""Weights and inputs that depend on names and shapes alone, for the committed checksums of our own outputs.

``python -m tests.baselines.seeded NAME …`` writes tests/baselines/checksums/NAME.json from the network as it is now: do
that only while the network equals the authors' (test_fixtures passes).
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rainrag import baselines

FOLDER = Path(__file__).parent / "checksums"


def fill(network: nn.Module, gain: float = 0.5) -> None:
    """Give every parameter and buffer of floats values drawn by its name; shared parameters take the first name's."""
    done: set[int] = set()
    with torch.no_grad():
        for name, tensor in network.state_dict(keep_vars=True).items():
            if id(tensor) in done or not tensor.is_floating_point():
                continue
            done.add(id(tensor))
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            draw = np.random.default_rng(seed).standard_normal(tuple(tensor.shape))
            leaf = name.rsplit(".", 1)[-1]
            if leaf == "running_var":
                value = 1 + 0.1 * np.abs(draw)
            elif tensor.ndim >= 2 and tensor.numel() > 1 and leaf not in ("temperature", "D_diag"):
                value = gain * draw / np.sqrt(np.prod(tensor.shape[1:]))
            elif leaf == "weight" or tensor.numel() == 1 or leaf == "temperature":
                value = 1 + 0.1 * draw
            else:
                value = 0.05 * draw
            if leaf == "D_diag":  # the constant of an over-parameterised convolution stays as it was built
                continue
            tensor.copy_(torch.from_numpy(np.asarray(value)).to(tensor.dtype))


def output(name: str) -> torch.Tensor:
    """The network's float64 output on its seeded input, (1, 3, side, side)."""
    card = baselines.card_of(name)
    network = baselines.create(name).double()
    fill(network)
    side = card.fixed or max(card.multiple, card.min_side, 32)
    low, high = card.value_range
    x = np.random.default_rng(7).random((1, 3, side, side)) * (high - low) + low
    with torch.no_grad():
        return network(torch.from_numpy(x))


def checksum(y: torch.Tensor) -> dict[str, Any]:
    """Numbers that a changed network does not keep."""
    flat = y.double().flatten()
    weights = torch.linspace(-1, 1, flat.numel(), dtype=torch.float64)
    return {
        "shape": list(y.shape),
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "ramp": (flat * weights).mean().item(),
        "first": flat[:4].tolist(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for which in sys.argv[1:]:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{which}.json").write_text(json.dumps(checksum(output(which)), indent=1) + "\n")
        print(which, checksum(output(which)))
