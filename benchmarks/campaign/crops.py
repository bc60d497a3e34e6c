"""Crops by step number alone: a run that was broken off sees what it would have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rainrag.benchmarks.campaign.plan import CLEAN, SHARES, TYPES
from rainrag.core.images import U8
from rainrag.training.batches import grown
from rainrag.training.cache import Pixels
from rainrag.training.data import Item

#: Share of crops that are darkened, both sides alike: few training pairs are truly dark.
DARKENED = 0.25


class Crops:
    """Draws batches.

    Args:
        pixels: of all pairs.
        train: pairs to draw from.
        clean: photographs without rain.
        shares: see plan.SHARES.
    """

    def __init__(
        self,
        pixels: Pixels,
        train: Sequence[Item],
        clean: Sequence[U8],
        shares: Mapping[tuple[str, str], float] = SHARES,
    ) -> None:
        self.pixels, self.clean = pixels, clean
        by: dict[tuple[str, str], list[str]] = {}
        for i in train:
            by.setdefault((i.source, i.type), []).append(i.key)
        self.groups = [(group[1], by[group]) for group in shares if group in by]
        given = np.array([shares[group] for group in shares if group in by])
        self.bounds = np.cumsum(given) / given.sum()

    def batch(self, step: int, size: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, P, P) rainy, the same clean, in [0, 1] and channels_last memory; (B,) type numbers, -1 for no rain."""
        rng = np.random.default_rng([seed, step])
        drawn = [self.crop(rng, side) for _ in range(size)]
        both = torch.from_numpy(np.stack([c for c, _ in drawn])).permute(0, 1, 4, 2, 3).float() / 255
        lq, gt = (both[:, i].contiguous(memory_format=torch.channels_last) for i in (0, 1))
        return lq, gt, torch.tensor([kind for _, kind in drawn])

    def crop(self, rng: np.random.Generator, side: int) -> tuple[U8, int]:
        """(2, P, P, 3) and its type number. Of drops, which are local, the rainier of two windows is taken."""
        pair, kind = self._pair(rng)
        pair = grown(pair, side)
        windows = [self._window(rng, pair, side) for _ in range(2 if kind in (1, 3) else 1)]
        best = max(windows, key=_rain)
        if rng.random() < 0.5:
            best = best[:, :, ::-1]
        if rng.random() < DARKENED:
            gain, gamma = rng.uniform(0.35, 1.0), rng.uniform(0.8, 1.5)
            table = np.rint(255 * gain * (np.arange(256) / 255) ** gamma).astype(np.uint8)
            best = table[best]
        return best, kind

    def _pair(self, rng: np.random.Generator) -> tuple[U8, int]:
        if len(self.clean) and rng.random() < CLEAN:
            picture = self.clean[int(rng.integers(len(self.clean)))]
            return np.stack((picture, picture)), -1
        at = min(int(np.searchsorted(self.bounds, rng.random(), "right")), len(self.groups) - 1)
        kind, keys = self.groups[at]
        return self.pixels.pair(keys[int(rng.integers(len(keys)))]), TYPES.index(kind)

    @staticmethod
    def _window(rng: np.random.Generator, pair: U8, side: int) -> U8:
        y, x = (int(rng.integers(n - side + 1)) for n in pair.shape[1:3])
        return pair[:, y : y + side, x : x + side]


def _rain(window: U8) -> float:
    few = window[:, ::4, ::4].astype(np.int16)
    return float(np.abs(few[0] - few[1]).mean())
