"""What a network takes and returns, and an image brought into that shape."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from rainrag.core.images import F32


@dataclass(frozen=True)
class Contract:
    """What a network asks of its input. The fields are those of the same names on a baseline's card.

    Args:
        value_range: (low, high) of the values it takes and returns.
        multiple: sides must be a multiple of this; tiles start at multiples of it too, so that strided layers meet the
            same pixels in a tile as in the whole image.
        min_side: sides must be at least this.
        fixed: side of the only size it takes, else None.
        square: takes square inputs only.
        receptive: receptive field in pixels to each side; None where the whole image matters (global statistics).
        tile: (size, overlap) of the authors' own tiling, else None.
        quantise: ``round`` or ``truncate``: how the authors went to 8 bits; None where they scored floats.
    """

    value_range: tuple[float, float] = (0.0, 1.0)
    multiple: int = 1
    min_side: int = 1
    fixed: int | None = None
    square: bool = False
    receptive: int | None = None
    tile: tuple[int, int] | None = None
    quantise: str | None = "round"

    @classmethod
    def of(cls, card: Any) -> Contract:
        """The contract that a card states, read by attribute names."""
        return cls(**{f.name: getattr(card, f.name) for f in fields(cls)})

    def up(self, side: int) -> int:
        """The smallest side that is not below ``side`` and that an image can be padded to for tiles, or for the whole."""
        if self.fixed:
            return max(side, self.fixed)
        return self.multiple * -(-max(side, self.min_side) // self.multiple)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the whole image must be padded to before the network takes it at once."""
        h, w = self.up(height), self.up(width)
        return (max(h, w), max(h, w)) if self.square else (h, w)


def pad(image: F32, height: int, width: int) -> F32:
    """(…, H, W, 3) grown right and below by reflection, over and over where the image is smaller than the padding."""
    down, right = height - image.shape[-3], width - image.shape[-2]
    if not down and not right:
        return image
    return np.pad(image, [(0, 0)] * (image.ndim - 3) + [(0, down), (0, right), (0, 0)], mode="reflect")


def unit(image: npt.NDArray[Any]) -> F32:
    """uint8, uint16 or float values as float32 in [0, 1]; floats are taken to be in [0, 1] already."""
    if image.dtype == np.uint8 or image.dtype == np.uint16:
        return np.asarray(image, np.float32) / np.float32(np.iinfo(image.dtype).max)
    return np.asarray(image, np.float32)


def quantise(image: F32, dtype: npt.DTypeLike = np.uint8, how: str | None = "round") -> npt.NDArray[Any]:
    """[0, 1] to unsigned integers of ``dtype``, rounded or (``truncate``) cut off; to a float dtype as it is."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return image.astype(kind)
    scaled = np.clip(image, 0, 1).astype(np.float64 if kind.itemsize > 1 else np.float32) * np.iinfo(kind).max
    integers: np.ndarray = (np.floor(scaled) if how == "truncate" else np.rint(scaled)).astype(kind)
    return integers
