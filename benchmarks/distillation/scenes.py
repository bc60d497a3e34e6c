"""Clean scenes in two halves that share none: one to tune on, one to be measured on once.

A photograph's half follows from the hash of its file name. Frames of clips would bring near-equal scenes into both halves, so
clips belong to the tuning half as a whole; held-out photographs that look like a tuning scene are dropped, and tuning
photographs that are a scene of a known test set.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rainrag.core import images
from rainrag.core.errors import DecodeError, InputError
from rainrag.core.files import listing
from rainrag.core.types import Subset
from rainrag.data.contamination import Ledger
from rainrag.data.synthetic.backgrounds import NIGHT, Background

HALVES = ("tuning", "held-out")
CLIPS = ("RoadScene", "CamVid", "CarND", "OpenSfM-lund", "BDD100K-samples")  # folders with frames of few clips
HAZY = ("night-haze-jinyeying",)  # not clean


@dataclass(frozen=True)
class Photo:
    """A clean photograph and its hash."""

    background: Background
    phash: str


def half_of(name: str) -> str:
    """The half of a photograph by its path relative to the folder of backgrounds."""
    if set(Path(name).parts) & set(CLIPS):
        return "tuning"
    return HALVES[hashlib.sha256(Path(name).name.encode()).digest()[0] % 2]


def names(folder: Path, half: str) -> list[str]:
    """Clean photographs of a half, as paths relative to the folder."""
    found = [n for n in listing(folder) if n.lower().endswith(images.SUFFIXES) and half_of(n) == half]
    return [n for n in found if not set(Path(n).parts) & set(HAZY)]


def photographs(folder: Path, half: str, most: int, seed: int) -> list[Photo]:
    """Usable photographs of a half, at most so many by day and by night, in an order that depends on the seed."""
    listed = names(folder, half)
    found: list[Photo] = []
    count = {True: 0, False: 0}
    for i in np.random.default_rng([seed, 7]).permutation(len(listed)):
        if min(count.values()) >= most:
            break
        name = listed[i]
        try:
            rgb = images.read(folder / name).rgb
        except DecodeError:
            continue
        night = images.is_night(rgb)
        if min(rgb.shape[:2]) < 256 or count[night] >= most:
            continue
        count[night] += 1
        found.append(
            Photo(
                Background("photo", str(Path(name).with_suffix("")), str(folder / name), night=night), images.phash(rgb)
            )
        )
    return found


def deal(folder: Path, half: str, scenes: int, seed: int) -> list[tuple[Background, Subset]]:
    """Scenes of a half, dealt evenly to the four types; one in five night scenes is a relit day photograph.

    Raises:
        InputError: when there are too few photographs.
    """
    each = -(-scenes // 4)
    pool = photographs(folder, half, 3 * each, seed)
    if half == "tuning":
        ledger = Ledger.load()
        pool = [p for p in pool if ledger.find(p.phash) is None]
    else:
        other = images.hash_bits([p.phash for p in photographs(folder, "tuning", 10**6, seed) if p.phash])
        near = images.hamming(images.hash_bits([p.phash for p in pool]), other).min(axis=1)
        pool = [p for p, d in zip(pool, near, strict=True) if d > images.NEAR_BITS]
    day = [p.background for p in pool if not p.background.night]
    dark = [p.background for p in pool if p.background.night]
    dealt: list[tuple[Background, Subset]] = []
    for n in range(each):
        for subset in Subset:
            source = dark if subset in NIGHT and n % 5 else day
            if not source:
                raise InputError(f"too few photographs for {scenes} scenes", where=folder, hint="fewer --scenes")
            dealt.append((source.pop(), subset))
    return dealt[:scenes]
