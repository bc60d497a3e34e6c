"""Statistics of natural scenes, which NIQE and BRISQUE compare: normalised luma and the distributions fitted to it.

Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain (TIP 2012), equations 1 to 3 and 7 to
14; Mittal, Soundararajan, Bovik: Making a "Completely Blind" Image Quality Analyzer (SPL 2013). The asymmetric fit is
by moments: Lasmar, Stitou, Berthoumieu (ICIP 2009). The symmetric one: Sharifi, Leon-Garcia (1995).

Every function has two ways: ``exact`` is written as the equations stand (2-D filters, a search of the whole table);
the other one uses separable filters, all blocks at once and bisection. Both compute in float64.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from scipy import ndimage, special

from rainrag.core.images import F64
from rainrag.evaluation import metrics

#: Shapes that the fits may find.
SHAPES = np.arange(200, 10001) / 1000
#: Differences from the local mean that are rounding errors. In flat regions their sign would decide how many values
#: stand left and right of zero, and with it the score: other implementations differ there from machine to machine.
FLAT = 1e-8


def luma(image: Any) -> F64:
    """Full-range BT.601 luma, rounded as MATLAB's ``rgb2gray``: (H, W) float64, of (H, W, 3) RGB or (H, W) grey."""
    return np.round(np.asarray(image, np.float64) if image.ndim == 2 else metrics.to_space(image, "yiq"))


def mscn(y: F64, border: str, exact: bool = False) -> F64:
    """Mean-subtracted, contrast-normalised luma (TIP 2012, equation 1; C = 1): 7 x 7 Gaussian of sigma 7/6.

    Args:
        y: (H, W) in [0, 255].
        border: ``replicate`` (NIQE), or ``zero`` (BRISQUE).
    """
    k = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    k /= k.sum()
    if exact:
        mode = "nearest" if border == "replicate" else "constant"
        mean, square = (ndimage.correlate(z, np.outer(k, k), mode=mode) for z in (y, y * y))
    else:
        kind = cv2.BORDER_REPLICATE if border == "replicate" else cv2.BORDER_CONSTANT
        mean, square = (cv2.sepFilter2D(z, cv2.CV_64F, k, k, borderType=kind) for z in (y, y * y))
    apart = y - mean
    apart[np.abs(apart) < FLAT] = 0
    return np.asarray(apart / (np.sqrt(np.abs(square - mean * mean)) + 1))


def halve(y: F64, exact: bool = False) -> F64:
    """Half the size, rounded up, as MATLAB's ``imresize(y, 0.5)``: cubic (a = -0.5; Keys 1981) stretched by two.

    The sample ``i`` stands at ``2 i + 0.5``; borders are mirrored.
    """
    for axis in (0, 1):
        y = _halve(np.moveaxis(y, axis, 0), exact)
        y = np.moveaxis(y, 0, axis)
    return np.ascontiguousarray(y)


def _cubic(t: F64) -> F64:
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.asarray(np.where(t <= 1, near, np.where(t < 2, far, 0.0)))


def _halve(y: F64, exact: bool) -> F64:
    n = len(y)
    size = (n + 1) // 2
    if exact:  # every weight from the distance between the two samples
        at = np.arange(-n, 2 * n)  # the row and its mirror images
        weights = _cubic((2 * np.arange(size)[:, None] + 0.5 - at) / 2)
        weights /= weights.sum(1, keepdims=True)
        return np.asarray(weights @ np.concatenate([y[::-1], y, y[::-1]]))
    taps = _cubic(np.arange(-3.5, 4) / 2)
    taps /= taps.sum()
    padded = np.pad(y, ((3, 5), (0, 0)), mode="symmetric")
    total: F64 = np.zeros((size, y.shape[1]))
    for i in range(8):
        total += taps[i] * padded[i : i + 2 * size : 2]
    return total


@cache
def _tables() -> tuple[F64, F64]:
    """For every shape: the ratios of moments of the asymmetric fit, and of the symmetric one."""
    one, two, three = (special.gamma(k / SHAPES) for k in (1, 2, 3))
    ratio = two**2 / (one * three)
    return ratio, 1 / ratio


def _nearest(table: F64, values: F64, exact: bool) -> F64:
    """The shape whose entry is nearest to each value; NaN stays."""
    if exact:
        at = [int(np.argmin((table - v) ** 2)) for v in np.ravel(values)]
        found = SHAPES[np.reshape(at, np.shape(values))]
    else:
        rising = table if table[0] < table[-1] else table[::-1]
        shapes = SHAPES if table[0] < table[-1] else SHAPES[::-1]
        right = np.clip(np.searchsorted(rising, values), 1, len(rising) - 1)
        low, high = rising[right - 1], rising[right]
        found = np.where(np.abs(values - low) <= np.abs(high - values), shapes[right - 1], shapes[right])
    return np.asarray(np.where(np.isnan(values), np.nan, found))


def symmetric(x: F64, exact: bool = False) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian with mean zero (TIP 2012, equations 4 to 6)."""
    variance = float(np.mean(x * x))
    mean = float(np.mean(np.abs(x)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.float64(variance) / np.float64(mean) ** 2
    return float(_nearest(_tables()[1], np.asarray(ratio), exact)), variance


def asymmetric(x: F64, exact: bool = False) -> tuple[F64, F64, F64]:
    """Shape, left and right standard deviation of an asymmetric generalised Gaussian, for every block.

    Args:
        x: (blocks, values).

    Returns:
        three arrays of (blocks,); NaN where a block has no negative or no positive value.
    """
    if exact:
        rows = [_asymmetric_one(row) for row in x]
        left, right, ratio = (np.array(column) for column in zip(*rows, strict=True))
    else:
        square = x * x
        below, above = x < 0, x > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.sqrt(np.where(below, square, 0).sum(1) / below.sum(1))
            right = np.sqrt(np.where(above, square, 0).sum(1) / above.sum(1))
            ratio = np.abs(x).mean(1) ** 2 / square.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = left / right
        wanted = ratio * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    return _nearest(_tables()[0], wanted, exact), left, right


def _asymmetric_one(row: F64) -> tuple[float, float, float]:
    left, right = row[row < 0], row[row > 0]
    if not left.size or not right.size:
        return np.nan, np.nan, np.nan
    ratio = np.mean(np.abs(row)) ** 2 / np.mean(row**2)
    return float(np.sqrt(np.mean(left**2))), float(np.sqrt(np.mean(right**2))), float(ratio)


def products(blocks: F64, shifts: tuple[tuple[int, int], ...]) -> list[F64]:
    """Products of neighbours, (blocks, values) for each shift; the last column's neighbour is the first."""
    n = len(blocks)
    return [(blocks * np.roll(blocks, shift, (1, 2))).reshape(n, -1) for shift in shifts]
