"""Gain on held-out pairs, set by set: the mean, the worst pair, and what happens to clean photographs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rainrag.core.images import U8
from rainrag.training.batches import middle
from rainrag.training.cache import Pixels
from rainrag.training.data import Item

#: Above this many dB a pair says nothing: it has no rain in its middle.
CAP = 50.0


@dataclass(frozen=True)
class Gain:
    """PSNR (RGB, of clipped floats, dB) of the output less that of the input."""

    mean: float
    worst: float
    pairs: int


def psnr(a: Tensor, b: Tensor) -> float:
    """dB, at most CAP."""
    return min(CAP, float(-10 * (a - b).double().square().mean().clamp_min(1e-10).log10()))


@torch.no_grad()
def gains(
    network: nn.Module, pixels: Pixels, probe: Sequence[Item], side: int = 160, most: int = 12
) -> dict[str, Gain]:
    """By dataset and type, over the middle of at most so many pairs of each."""
    by: dict[str, list[Item]] = {}
    for i in probe:
        by.setdefault(f"{i.source}/{i.type}", []).append(i)
    found = {}
    for name, items in sorted(by.items()):
        few = sorted(items, key=lambda i: hashlib.sha256(i.key.encode()).hexdigest())[:most]
        each = []
        for i in few:
            lq, gt = (unit(half) for half in middle(pixels.pair(i.key), side))
            each.append(psnr(network(lq).clamp(0, 1), gt) - psnr(lq, gt))
        found[name] = Gain(sum(each) / len(each), min(each), len(each))
    return found


@torch.no_grad()
def kept(network: nn.Module, photographs: Sequence[U8], side: int = 160) -> tuple[float, float]:
    """(worst, mean) PSNR of clean photographs' middles to themselves, in dB."""
    each = []
    for picture in photographs:
        x = unit(middle(np.stack((picture, picture)), side)[0])
        each.append(psnr(network(x).clamp(0, 1), x))
    return min(each), sum(each) / len(each)


def unit(picture: U8) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) in [0, 1], in channels_last memory."""
    x = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    return x.contiguous(memory_format=torch.channels_last)
