"""Natural-scene statistics of one image, and of the layer that one fixed operator takes for rain.

Locally normalised luma of photographs follows generalised Gaussians (Ruderman 1994; Mittal et al., BRISQUE, TIP 2012);
drawn, pasted, blurred or compressed layers bend them. The residual of a median filter holds thin bright lines, drops'
rims and noise: its pieces' shape, edges and sameness tell drawn strokes from rain. No learned parameters: the voter
compares with real rain.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.special import gamma

from rainrag.core import images
from rainrag.core.images import F32, U8
from rainrag.retrieval.encoders import rain

VERSION = 3
SIDE = 640

#: Names of the values, in order.
NAMES = (
    "repetition", "spike", "entropy", "hardness", "size", "size-spread", "elongation", "inner-detail", "share",
    "blown-out", "shape", "spread", "shape-half", "spread-half",
)  # fmt: skip

_SHAPES = np.arange(0.2, 8.0, 0.01)
_RATIO = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def describe(rgb: U8) -> F32:
    """Statistics of the image's residual and of its normalised luma at two scales.

    Returns:
        (14,) float32 in the order of ``NAMES``.
    """
    y = images.luma(images.fit(rgb, SIDE))
    half = cv2.resize(y, (max(24, y.shape[1] // 2), max(24, y.shape[0] // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray([*_residual(y), *_normalised(y), *_normalised(half)], np.float32)


def _normalised(y: F32) -> tuple[float, float]:
    """Shape and spread of the generalised Gaussian of locally normalised luma, by moment matching."""
    mean = cv2.GaussianBlur(y, (7, 7), 7 / 6)
    var = np.maximum(cv2.GaussianBlur(y * y, (7, 7), 7 / 6) - mean * mean, 0)
    z = (y - mean) / (np.sqrt(var) + 1)
    spread = float(np.mean(z * z))
    ratio = float(np.mean(np.abs(z))) ** 2 / (spread + 1e-9)
    return float(_SHAPES[np.abs(_RATIO - ratio).argmin()]), float(np.sqrt(spread))


def residual(y: F32) -> F32:
    """What is brighter or darker than the median of 7 x 7 pixels: thin bright lines, drops' rims, noise."""
    median = cv2.medianBlur(np.clip(y, 0, 255).astype(np.uint8), 7)
    return np.asarray(y - median, np.float32)


def _residual(y: F32) -> list[float]:
    """Ten values of the bright residual: repetition, sameness of its tops, its edges and pieces."""
    r = residual(y)
    deviation = float(r.std()) + 0.1
    tops = y[r > 3 * deviation]
    if tops.size < 50:
        tops = y[r >= np.percentile(r, 99)]
    levels = np.histogram(tops, 64, (0, 256))[0] / tops.size
    seen = levels[levels > 0]
    slope = images.magnitude(cv2.Sobel(y, cv2.CV_32F, 1, 0), cv2.Sobel(y, cv2.CV_32F, 0, 1)) / np.float32(8)
    inside = (r > 2.5 * deviation).astype(np.uint8)
    return [
        rain.repetition(np.maximum(r, 0)) / 3,
        float(levels.max()),
        float(-(seen * np.log2(seen)).sum()),
        *_pieces(y, r, slope, inside),
        float(inside.mean()),
        float((y > 250).mean()),
    ]


def _pieces(y: F32, r: F32, slope: F32, inside: U8) -> list[float]:
    """Hardness of the pieces' rims, their size and its spread, their elongation, detail within them."""
    cross = np.ones((3, 3), np.uint8)
    core = cv2.erode(inside, cross)
    rim = cv2.dilate(inside, cross) - core
    hardness = 0.0
    if inside.sum() > 20 and rim.sum() > 20:
        hardness = float(np.log2((slope[rim > 0].mean() + 0.5) / (np.abs(r[inside > 0]).mean() + 0.5)))
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    pieces = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= 6].astype(float)
    size, spread, elongation = 0.0, 0.0, float(np.log2(1.1))
    if len(pieces):
        box = pieces[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
        elongation = float(np.log2(np.median(box.max(1) / np.maximum(1, box.min(1))) + 0.1))
    if len(pieces) > 5:
        area = pieces[:, cv2.CC_STAT_AREA]
        size = float(np.log2(np.percentile(area, 90) + 1))
        spread = float(area.std() / (area.mean() + 1))
    within = np.abs(cv2.Laplacian(y, cv2.CV_32F))[core > 0]
    detail = float(np.log2(within.mean() + 0.5)) if within.size > 30 else 0.0
    return [hardness, size, spread, elongation, detail]
