"""Whether a picture is a graphic rather than a photograph of a scene: drawn rain in one tint, or a texture alone.

Two signs, measured on the weakly labelled photographs of docs/store.md. In a scene, things have colours of their own; in
a tinted graphic the colour follows from the lightness. And a scene has a layout, where a texture is alike everywhere.
Black-and-white photographs have no colour to judge by, and are photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from rainrag.core import images
from rainrag.core.images import F32, U8

SIDE = 256
CELLS = 12
GREY = 2.0  # levels of mean chroma below which a picture is black and white
TINTED, DOUBTFUL = 0.35, 0.5  # share of own colour below which a picture is a graphic, or may be one
ALIKE = 6.0  # levels of layout below which it is a texture


@dataclass(frozen=True)
class Signs:
    """What was measured.

    Args:
        colour: root mean square of the colour that lightness does not explain, over the mean chroma; None for black
            and white.
        layout: standard deviation in levels of 12 x 12 cells' luma, a smooth slope across the picture taken off.
    """

    colour: float | None
    layout: float

    @property
    def graphic(self) -> bool:
        """Sure enough to keep it out."""
        return (self.colour is not None and self.colour < TINTED) or self.layout < ALIKE

    @property
    def doubtful(self) -> bool:
        """Looks like one, but photographs at dusk do too."""
        return not self.graphic and self.colour is not None and self.colour < DOUBTFUL


def measure(rgb: U8) -> Signs:
    """Signs of a picture, (H, W, 3) uint8."""
    small = images.fit(rgb, SIDE)
    y = images.luma(small)
    chroma = np.stack([small[..., 0] - y, small[..., 2] - y], axis=-1).reshape(-1, 2)
    amount = float(np.abs(chroma).mean())
    light = y.ravel() / 255
    left = _without(chroma, np.stack([np.ones_like(light), light, light**2], axis=1))
    own = float(np.sqrt((left**2).sum(1).mean())) / (amount + 0.5)
    return Signs(None if amount < GREY else own, _layout(y))


def _layout(y: F32) -> float:
    cells = cv2.resize(y, (CELLS, CELLS), interpolation=cv2.INTER_AREA).reshape(-1, 1)
    v, u = (np.mgrid[0:CELLS, 0:CELLS] / (CELLS - 1)).reshape(2, -1)
    slope = np.stack([np.ones_like(u), u, v, u * u, v * v, u * v], axis=1)
    return float(_without(cells, slope).std())


def _without(values: F32, base: Any) -> F32:
    """What least squares on a base leave over."""
    found, *_ = np.linalg.lstsq(base, values, rcond=None)
    return np.asarray(values - base @ found)
