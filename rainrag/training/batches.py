"""Batches in which every rain type has its share, drawn by step number alone.

What step s holds depends on (seed, s) and on nothing that happened before: neither on the number of processes, nor on
workers, nor on where a run was broken off. So a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.images import U8
from rainrag.models.input_spec import pad
from rainrag.training.cache import Pixels
from rainrag.training.data import Division, Item
from rainrag.training.recipe import Recipe


@dataclass(frozen=True)
class Part:
    """Which part of every step's batch a process computes at once.

    Args:
        rank, world: this process, of how many.
        accumulate: parts of a process, one after the other.
    """

    rank: int = 0
    world: int = 1
    accumulate: int = 1

    def slots(self, batch: int, part: int) -> range:
        """Slots of the batch for a part.

        Raises:
            UsageError: when the batch cannot be divided evenly.
        """
        parts = self.world * self.accumulate
        if batch % parts:
            raise UsageError(
                f"a batch of {batch} cannot be divided by {self.world} processes and {self.accumulate} parts each",
                hint=f"set batch to a multiple of {parts}",
            )
        size = batch // parts
        at = self.rank * self.accumulate + part
        return range(at * size, (at + 1) * size)


class Choice:
    """Draws a pair of a type: first its source, by the recipe's shares, then the pair.

    Args:
        items: of the type.
        shares: source -> share; sources that are not named divide what is left by their number of pairs.
    """

    def __init__(self, items: Sequence[Item], shares: Mapping[str, float]) -> None:
        by_source: dict[str, list[str]] = {}
        for i in items:
            by_source.setdefault(i.source, []).append(i.key)
        self.sources = list(by_source)
        self.keys = [by_source[s] for s in self.sources]
        named = {s: shares[s] for s in self.sources if s in shares}
        rest = sum(len(by_source[s]) for s in self.sources if s not in named)
        left = max(0.0, 1.0 - sum(named.values()))
        raw = [named[s] if s in named else left * len(by_source[s]) / rest for s in self.sources]
        if not sum(raw) > 0 or (rest and not left):
            raise UsageError(f"the shares {named} leave nothing for the other sources", hint="let them sum below 1")
        self.bounds = np.cumsum(raw) / sum(raw)

    def draw(self, rng: np.random.Generator) -> str:
        """Key of a pair."""
        at = min(int(np.searchsorted(self.bounds, rng.random(), "right")), len(self.keys) - 1)
        keys = self.keys[at]
        return keys[int(rng.integers(len(keys)))]


def dihedral(crop: U8, mode: int) -> U8:
    """One of the eight flips and rotations of (..., H, W, 3), H = W; 0 is none, 1 is left to right."""
    if mode & 1:
        crop = crop[..., :, ::-1, :]
    if mode & 2:
        crop = crop[..., ::-1, :, :]
    return crop.swapaxes(-3, -2) if mode & 4 else crop


class Batches(Dataset[dict[str, Any]]):
    """Item n is part n % accumulate of step n // accumulate.

    Args:
        pixels: the cache.
        division: types and training pairs.
        recipe: batch, patch, shares, seed.
        part: which part of a batch this process computes.
    """

    def __init__(self, pixels: Pixels, division: Division, recipe: Recipe, part: Part | None = None) -> None:
        self.pixels, self.types = pixels, division.types
        self.recipe, self.part = recipe, part or Part(accumulate=recipe.accumulate)
        sources = {i.source for items in division.train.values() for i in items}
        for name in recipe.shares:
            if name not in sources:
                raise UsageError(f"the recipe has a share for '{name}'", hint=did_you_mean(name, sorted(sources)))
        self.choices = [Choice(division.train[t], recipe.shares) for t in self.types]
        self.part.slots(recipe.batch, 0)

    def kinds(self, step: int) -> list[int]:
        """Type number of each slot of a step: they take turns, on from step to step."""
        k, b = len(self.types), self.recipe.batch
        return [(step * b + slot) % k for slot in range(b)]

    def __len__(self) -> int:
        """Parts of the whole run."""
        return self.recipe.steps * self.part.accumulate

    def __getitem__(self, n: int) -> dict[str, Any]:
        """``lq``, ``gt``: (B, P, P, 3) uint8; ``kinds``: (B,) type numbers; ``counts``: of the whole batch by type."""
        step, part = divmod(n, self.part.accumulate)
        kinds = self.kinds(step)
        slots = self.part.slots(self.recipe.batch, part)
        crops = np.stack([self.crop(kinds[s], step, s) for s in slots])
        both = torch.from_numpy(crops)
        return {
            "lq": both[:, 0],
            "gt": both[:, 1],
            "kinds": torch.tensor([kinds[s] for s in slots]),
            "counts": [kinds.count(t) for t in range(len(self.types))],
        }

    def crop(self, kind: int, step: int, slot: int) -> U8:
        """(2, P, P, 3): the same random window of both sides, flipped and turned alike."""
        rng = np.random.default_rng([self.recipe.seed, step, slot])
        pair = grown(self.pixels.pair(self.choices[kind].draw(rng)), self.recipe.patch)
        p = self.recipe.patch
        y = int(rng.integers(pair.shape[1] - p + 1))
        x = int(rng.integers(pair.shape[2] - p + 1))
        return dihedral(pair[:, y : y + p, x : x + p], int(rng.integers(8 if self.recipe.turns else 2)))


def grown(pair: U8, side: int) -> U8:
    """A pair with both sides at least so long, by reflection."""
    h, w = pair.shape[1:3]
    if min(h, w) >= side:
        return pair
    return np.asarray(pad(pair, max(h, side), max(w, side)), np.uint8)  # type: ignore[arg-type]


def middle(pair: U8, side: int) -> U8:
    """The centre window of a pair."""
    pair = grown(pair, side)
    y, x = (pair.shape[1] - side) // 2, (pair.shape[2] - side) // 2
    return pair[:, y : y + side, x : x + side]
