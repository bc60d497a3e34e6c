"""Likely mistakes in how a result was saved, told by how much better the scores would be without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rainrag.core.images import U8
from rainrag.core.types import Protocol
from rainrag.evaluation import metrics

#: What a repair has to gain on the mean before it is named, in dB: good results are never better when they are damaged.
GAIN = 3.0


def _studio(image: U8) -> U8:
    """16..235 stretched to 0..255."""
    return np.clip(np.round((image.astype(np.float64) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def _full(image: U8) -> U8:
    """0..255 pressed into 16..235."""
    return np.round(image.astype(np.float64) * 219 / 255 + 16).astype(np.uint8)


def _shift(y: int, x: int) -> Callable[[U8], U8]:
    return lambda image: np.roll(image, (y, x), (0, 1))


#: repair -> (what the images look like, what would help, the repair)
REPAIRS: dict[str, tuple[str, str, Callable[[U8], U8]]] = {
    "channels": ("BGR", "swapped", lambda image: image[..., ::-1]),
    "studio": ("of the range 16..235", "stretched", _studio),
    "full": ("stretched from the range 16..235", "pressed back", _full),
    "mirrored": ("mirrored", "turned back", lambda image: image[:, ::-1]),
    "upside": ("upside down", "turned back", lambda image: image[::-1]),
    **{
        f"shift{y:+d}{x:+d}": ("shifted by one pixel", f"moved by ({y:+d}, {x:+d})", _shift(y, x))
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if y or x
    },
}


@dataclass(frozen=True)
class Mistake:
    """A repair that would make the images much better.

    Args:
        kind: of ``REPAIRS``.
        psnr, repaired: mean over the examined images in dB, as they are and if repaired.
    """

    kind: str
    psnr: float
    repaired: float

    def __str__(self) -> str:
        looks, repair, _ = REPAIRS[self.kind]
        return f"these look {looks}: {self.psnr:.1f} dB, {self.repaired:.1f} if {repair}"


def find(pairs: Sequence[tuple[Any, Any]], protocol: Protocol) -> Mistake | None:
    """The repair that gains most on some (output, target) pairs, (H, W, 3) uint8; None where none gains 3 dB.

    All are compared on RGB, where a swap of channels shows, with one pixel of border left out.
    """
    p = replace(protocol, psnr_space="rgb", border=protocol.border + 1)

    def mean(repair: Callable[[U8], U8] | None) -> float:
        values = [metrics.psnr(out if repair is None else repair(out), gt, p, exact=False) for out, gt in pairs]
        return float(np.mean(np.minimum(values, 100)))  # an image that equals its target counts as 100 dB

    if not pairs:
        return None
    now = mean(None)
    best = max(((mean(repair), kind) for kind, (_, _, repair) in REPAIRS.items()), key=lambda found: found[0])
    return Mistake(best[1], now, best[0]) if best[0] >= now + GAIN else None
