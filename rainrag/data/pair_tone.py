"""Light, colour and fineness of a pair's two sides, for the checks of pairs.

Rain adds a veil and streaks; it never darkens a whole picture, and it lowers contrast where it brightens. Another exposure
or gamma moves brightness and contrast together. An enlarged or compressed clean side lacks the finest detail, or has it
in blocks, whatever the rainy side shows. All on the "calm" half of the pixels, the one that rain changed least.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core.images import F32, U8, luma

Mask = npt.NDArray[np.bool_]
LIFT = 6.0  # levels added before logarithms, so that noise in the dark does not rule


@dataclass(frozen=True)
class Tone:
    """Measures; logarithms to the base 2, rainy over clean side.

    Args:
        level_dark, level_middle, level_bright: brightness of the darkest, middle and brightest third of the clean side.
        gain: contrast of detail of middle size.
        offset: brightness that a straight line from clean to rainy side gives to black, in levels / 64.
        slope: of that line.
        fit: share of the rainy side's smooth brightness that a smooth curve of the clean side's does not explain.
        cast: largest difference between channels of their brightness.
        finest: energy of the finest detail over that of middle detail, clean minus rainy side.
        finest_clean: the same of the clean side alone.
        blocks_clean: jumps at the clean side's 8-pixel grid over jumps elsewhere, minus 1.
        blocks_more: the same, clean minus rainy side.
        even: share of equal neighbours, clean minus rainy side.
    """

    level_dark: float
    level_middle: float
    level_bright: float
    gain: float
    offset: float
    slope: float
    fit: float
    cast: float
    finest: float
    finest_clean: float
    blocks_clean: float
    blocks_more: float
    even: float


def measure(lq: U8, gt: U8, calm: Mask) -> Tone:
    """Measure a pair.

    Args:
        lq, gt: (H, W, 3) uint8 of equal shape.
        calm: (H, W), the pixels that rain changed least.
    """
    a, b = luma(lq), luma(gt)
    soft_a, soft_b = (np.asarray(cv2.blur(x, (9, 9)), np.float32) for x in (a, b))
    x, y = soft_b[calm], soft_a[calm]
    ratio = np.log2((y + LIFT) / (x + LIFT))
    low, high = np.quantile(x[::3], [1 / 3, 2 / 3])
    levels = [
        float(np.median(ratio[part])) if part.any() else 0.0 for part in (x <= low, (x > low) & (x < high), x >= high)
    ]
    offset, slope, fit = _curve(x, y)
    middle = [_band(s, 0.8, 3.0)[calm] for s in (a, b)]
    xy, yy = float(np.mean(middle[0] * middle[1])), float(np.mean(middle[1] ** 2))
    fine = [_finest(s, m, calm) for s, m in zip((a, b), middle, strict=True)]
    blocks = [_blocks(s) for s in (a, b)]
    return Tone(
        level_dark=levels[0],
        level_middle=levels[1],
        level_bright=levels[2],
        gain=float(np.log2(max(xy, 0.02) / (yy + 0.02))),
        offset=offset / 64,
        slope=slope,
        fit=fit,
        cast=_cast(lq, gt, calm),
        finest=fine[1] - fine[0],
        finest_clean=fine[1],
        blocks_clean=blocks[1],
        blocks_more=blocks[1] - blocks[0],
        even=_even(b) - _even(a),
    )


def _band(x: F32, near: float, wide: float) -> F32:
    return np.asarray(cv2.GaussianBlur(x, (0, 0), near) - cv2.GaussianBlur(x, (0, 0), wide), np.float32)


def _curve(x: F32, y: F32) -> tuple[float, float, float]:
    """(offset, slope) of a line through medians of ten steps of brightness, and the share of y beyond those medians."""
    edges = np.quantile(x[::3], np.linspace(0, 1, 11))
    step = np.clip(np.searchsorted(edges, x, "right") - 1, 0, 9)
    full = [i for i in range(10) if (step == i).sum() >= 20]
    if len(full) < 3:
        return 0.0, 1.0, 0.0
    centres = np.array([np.median(x[step == i]) for i in full])
    medians = np.array([np.median(y[step == i]) for i in full])
    if np.ptp(centres) < 4:
        return 0.0, 1.0, 0.0
    slope, offset = np.polyfit(centres, medians, 1)
    left = y - np.interp(x, centres, medians)
    return float(offset), float(slope), float(np.log2((left.std() + 0.5) / (y.std() + 0.5)))


def _cast(lq: U8, gt: U8, calm: Mask) -> float:
    shifts = []
    for c in range(3):
        p, q = (cv2.blur(s[..., c].astype(np.float32), (9, 9))[calm] for s in (lq, gt))
        shifts.append(float(np.log2((p.mean() + LIFT / 2) / (q.mean() + LIFT / 2))))
    return max(shifts) - min(shifts)


def _finest(x: F32, middle: F32, calm: Mask) -> float:
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    fine = cv2.filter2D(x, -1, kernel)[calm]
    return float(np.log2((np.sqrt(np.mean(fine * fine)) + 0.03) / (np.sqrt(np.mean(middle * middle)) + 0.1)))


def _blocks(x: F32) -> float:
    """Jumps across the 8-pixel grid over those elsewhere, at the strongest phase, minus 1."""
    scores = []
    for axis in (0, 1):
        jumps = np.minimum(np.abs(np.diff(x, axis=axis)), 24.0).mean(axis=1 - axis)
        cells = np.array([jumps[i::8].mean() for i in range(8)])
        i = int(cells.argmax())
        scores.append(cells[i] / (np.delete(cells, i).mean() + 0.05) - 1)
    return float(np.mean(scores))


def _even(x: F32) -> float:
    return float((np.abs(np.diff(x, axis=1)) < 0.5).mean())


def curve(lq: U8, gt: U8, calm: Mask) -> tuple[float, float] | None:
    """The exposure that explains how the sides differ: rainy = 255 * scale * (clean / 255) ** gamma.

    Fitted to the calm pixels' smooth brightness, and given only where it leaves less than a third of the difference.

    Returns:
        (scale, gamma), or None where no such curve explains the difference.
    """
    x, y = (np.asarray(cv2.blur(luma(s), (9, 9)), np.float32)[calm] for s in (gt, lq))
    keep = (x > 8) & (x < 245) & (y > 8) & (y < 245)
    if keep.sum() < 200:
        return None
    u, v = np.log(x[keep] / 255), np.log(y[keep] / 255)
    if np.ptp(np.quantile(u[::3], [0.05, 0.95])) < 0.2:
        gamma, shift = 1.0, float(np.median(v - u))
    else:
        gamma, shift = (float(k) for k in np.polyfit(u, v, 1))
    before, after = float(np.mean(np.abs(v - u))), float(np.mean(np.abs(v - shift - gamma * u)))
    if not 0.3 < gamma < 3 or after > before / 3:
        return None
    return round(float(np.exp(shift)), 4), round(gamma, 4)


def expose(gt: U8, scale: float, gamma: float) -> U8:
    """The clean side with the rainy side's exposure."""
    table = np.clip(np.round(255 * scale * (np.arange(256) / 255) ** gamma), 0, 255).astype(np.uint8)
    return np.asarray(table[gt], np.uint8)
