"""Antialiased strokes: many motion-blurred drops drawn at once, with no loop over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rainrag.core.images import F32, F64

_REACH = 2.6  # standard deviations that are drawn: 99 % of a Gaussian
_HALF_WIDTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])


@dataclass(frozen=True)
class Strokes:
    """Straight strokes; every field is an array of N numbers, in pixels.

    Args:
        x, y: centre.
        dx, dy: from one end to the other.
        sigma: standard deviation of the Gaussian profile across.
        mass: integral of the stroke over the image, whatever its length and blur.
        ripple, cycles, phase: brightness oscillates along the stroke by this share, so many times, from this phase.
    """

    x: F64
    y: F64
    dx: F64
    dy: F64
    sigma: F64
    mass: F64
    ripple: F64
    cycles: F64
    phase: F64

    def __getitem__(self, index: object) -> Strokes:
        return Strokes(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def turned(self) -> Strokes:
        """With x and y exchanged."""
        return Strokes(self.y, self.x, self.dy, self.dx, self.sigma, self.mass, self.ripple, self.cycles, self.phase)


def draw(strokes: Strokes, shape: tuple[int, int]) -> F32:
    """(H, W) sum of the strokes' profiles; what leaves the frame is cut off."""
    steep = np.abs(strokes.dy) >= np.abs(strokes.dx)
    canvas = _draw_steep(strokes[steep], shape)
    if not steep.all():
        canvas = canvas + _draw_steep(strokes[~steep].turned(), (shape[1], shape[0])).T
    return np.ascontiguousarray(canvas, dtype=np.float32)


def _draw_steep(s: Strokes, shape: tuple[int, int]) -> F64:
    """Strokes that are taller than wide, row by row, in groups of equal width."""
    h, w = shape
    canvas = np.zeros((h + 2) * (w + 2))  # a border of one pixel takes what falls outside
    length = np.maximum(np.hypot(s.dx, s.dy), 2 * s.sigma)
    slant = np.where(s.dy == 0, 0.0, s.dx / np.where(s.dy == 0, 1, s.dy))  # columns a row
    cos = 1 / np.sqrt(1 + slant**2)
    group = np.searchsorted(_HALF_WIDTHS, np.minimum(_REACH * s.sigma / cos + 0.5, _HALF_WIDTHS[-1]))
    for g in np.unique(group):
        pick = group == g
        index, value = _profile(s[pick], length[pick], slant[pick], cos[pick], int(_HALF_WIDTHS[g]), shape)
        canvas += np.bincount(index, value, canvas.size)
    return np.asarray(canvas.reshape(h + 2, w + 2)[1:-1, 1:-1])


def _profile(
    s: Strokes, length: F64, slant: F64, cos: F64, half: int, shape: tuple[int, int]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], F32]:
    """Flat indices into the bordered canvas and values of one group of strokes."""
    h, w = shape
    reach = 0.5 * length * cos + s.sigma
    first = np.maximum(np.ceil(s.y - reach), 0).astype(np.int64)
    count = np.maximum(np.minimum(np.floor(s.y + reach), h - 1).astype(np.int64) - first + 1, 0)
    who = np.repeat(np.arange(count.size), count)
    row = np.arange(who.size) - np.repeat(np.cumsum(count) - count, count) + first[who]
    below = (row - s.y[who]).astype(np.float32)
    centre = s.x[who] + below * slant[who]
    left = np.floor(centre).astype(np.int64) - half + 1
    column = left[:, None] + np.arange(2 * half)
    off = (column - centre[:, None]).astype(np.float32)

    f = np.float32
    c, t, sig, size = (a.astype(f)[who] for a in (cos, slant, s.sigma, length))
    across = off * (c / sig)[:, None]
    along = (below / c)[:, None] + off * (c * t)[:, None]
    soft = np.minimum(sig, 0.5 * size)[:, None]
    ends = np.clip((0.5 * size[:, None] - np.abs(along)) / (2 * soft) + f(0.5), 0, 1)
    value = np.exp(f(-0.5) * across**2) * ends
    if np.any(s.ripple):
        turn = (2 * np.pi * s.cycles / length).astype(f)[who][:, None] * along + s.phase.astype(f)[who][:, None]
        value *= 1 + s.ripple.astype(f)[who][:, None] * np.cos(turn)
    value *= (s.mass / (length * s.sigma * np.sqrt(2 * np.pi))).astype(f)[who][:, None]
    index = (row[:, None] + 1) * (w + 2) + np.clip(column, -1, w) + 1
    return index.ravel(), value.ravel()
