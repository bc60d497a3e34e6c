"""The rain descriptor: what ImageNet features do not see, measured on one image. numpy and OpenCV, no weights.

Five groups, each from the literature of its phenomenon, all bounded or logarithmic so that no statistics of any data set
are built in:

streaks  energy, direction and evenness of bright ridges at two scales. Ridges are negative curvature across and little
         along a line (Steger, PAMI 1998); rain brightens, so bright ridges outweigh dark ones (Garg and Nayar, IJCV 2007).
profile  how those ridges look across and among themselves: hardness of their edges, share that is blown out, spread of
         their strengths, repetition by autocorrelation (a pasted streak tile repeats, rain does not).
drops    local blur against the neighbourhood, round blobs at three sizes, flat patches with a rim (You et al., PAMI 2016).
veil     dark channel (He et al., CVPR 2009), contrast, saturation.
light    brightness, dark share, lamps and the glow around them, noise of the sensor (Immerkaer, CVIU 1996), sharpness,
         JPEG blocks.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core import images
from rainrag.core.images import F32, U8

VERSION = 2
WET = 2.2  # set so that nine in ten rainy photographs have evidence above 0
SIDE = 640  # measured at this size at most; smaller images are not enlarged

#: Names of the descriptor's values, in order. Values lie within about [-3, 3] by construction.
NAMES = (
    "ridge-fine", "ridge-coarse", "ridge-brighter-fine", "ridge-brighter-coarse", "ridge-aligned-fine",
    "ridge-aligned-coarse", "ridge-upright-fine", "ridge-upright-coarse", "ridge-even-fine", "ridge-even-coarse",
    "ridge-calm",
    "hardness", "blown-out", "strength-spread", "repetition", "straightness",
    "soft-cells", "soft-spread", "blob-4", "blob-8", "blob-16", "flat-share", "flat-rim",
    "dark-channel", "contrast", "saturation", "grey-ridges",
    "brightness", "dark-share", "lamp-share", "lamp-count", "glow", "noise", "sharpness", "jpeg-blocks",
)  # fmt: skip
GROUPS = {
    "streaks": range(11),
    "profile": range(11, 16),
    "drops": range(16, 23),
    "veil": range(23, 27),
    "light": range(27, 35),
}


def describe(rgb: U8) -> F32:
    """Descriptor of an image.

    Args:
        rgb: (H, W, 3) uint8, at least 48 pixels a side.

    Returns:
        (35,) float32 in the order of ``NAMES``.
    """
    rgb = images.fit(rgb, SIDE)
    if min(rgb.shape[:2]) < 48:
        side = 48 / min(rgb.shape[:2])
        rgb = images.resize(rgb, (int(np.ceil(rgb.shape[1] * side)), int(np.ceil(rgb.shape[0] * side))), "bicubic")
    y = images.luma(rgb)
    fine, coarse = ridges(y, 1.0), ridges(y, 2.0)
    values = [
        *_streaks(fine, coarse),
        _calm(fine, y),
        *_profile(fine, y),
        *_drops(y),
        *_veil(rgb, y),
        _grey_ridges(fine, rgb),
        *_light(y),
    ]
    return np.asarray(values, np.float32)


def distance_weights() -> F32:
    """How much each value counts in similarity: the same for each of the five groups together."""
    w = np.zeros(len(NAMES), np.float32)
    for members in GROUPS.values():
        w[list(members)] = 1 / np.sqrt(len(members))
    return w


# ---------------------------------------------------------------- ridges
class Ridges:
    """Bright and dark ridges of one scale.

    Attributes:
        bright, dark: (H, W) strength in levels.
        angle: (H, W) direction along the ridge in [0, pi), 0 is horizontal, pi/2 upright.
    """

    def __init__(self, bright: F32, dark: F32, angle: F32) -> None:
        self.bright = bright
        self.dark = dark
        self.angle = angle


def ridges(y: F32, sigma: float) -> Ridges:
    """Ridges from the eigenvalues of the Hessian at a scale, normalised by sigma squared."""
    soft = cv2.GaussianBlur(y, (0, 0), sigma)
    xx = cv2.Sobel(soft, cv2.CV_32F, 2, 0, ksize=3) * sigma**2 / 4
    yy = cv2.Sobel(soft, cv2.CV_32F, 0, 2, ksize=3) * sigma**2 / 4
    xy = cv2.Sobel(soft, cv2.CV_32F, 1, 1, ksize=3) * sigma**2 / 4
    mean, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    low, high = mean - half, mean + half
    bright = np.maximum(-low - np.abs(high), 0)
    dark = np.maximum(high - np.abs(low), 0)
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # direction of the larger eigenvalue
    angle = np.where(bright > 0, across, across + np.pi / 2) % np.pi
    # For a bright ridge the strong (negative) curvature runs across it, so the larger eigenvalue runs along it.
    return Ridges(bright.astype(np.float32), dark.astype(np.float32), angle.astype(np.float32))


def _log(x: float, unit: float) -> float:
    """log of a positive quantity in octaves of a unit, quartered: a factor of 16 is 1."""
    return float(np.log2(max(x, unit / 256) / unit) / 4)


def _cells(x: F32, n: int = 6) -> F32:
    """(n, n) means of an image."""
    return np.asarray(cv2.resize(x, (n, n), interpolation=cv2.INTER_AREA))


def direction(r: Ridges) -> tuple[float, float]:
    """(angle in [0, pi), resultant length in [0, 1]) of the bright ridges, weighted by strength above their mean."""
    w = np.maximum(r.bright - r.bright.mean(), 0)
    total = float(w.sum()) + 1e-6
    c, s = float((w * np.cos(2 * r.angle)).sum()) / total, float((w * np.sin(2 * r.angle)).sum()) / total
    return float((0.5 * np.arctan2(s, c)) % np.pi), float(np.hypot(c, s))


def _streaks(fine: Ridges, coarse: Ridges) -> list[float]:
    rows = []
    for r in (fine, coarse):
        bright, dark = float(r.bright.mean()), float(r.dark.mean())
        angle, length = direction(r)
        upright = np.abs(np.sin(angle)) * length
        along = r.bright * (np.cos(r.angle - angle) ** 2 > 0.75)
        cells = np.sort(_cells(along).ravel())
        even = float(cells[: len(cells) // 4].mean() / (cells.mean() + 0.05))
        rows.append(
            (_log(bright, 1.0), (bright - dark) / (bright + dark + 0.05) * 2, length * 2, upright * 2, even * 2)
        )
    return [v for pair in zip(*rows, strict=True) for v in pair]


def _calm(r: Ridges, y: F32) -> float:
    """Ridges where the picture is otherwise calm (sky, road): rain falls there too, texture does not."""
    energy = _cells(cv2.absdiff(y, cv2.GaussianBlur(y, (0, 0), 6)), 12).ravel()
    ridge = _cells(r.bright, 12).ravel()
    return _log(float(ridge[energy <= np.quantile(energy, 0.25)].mean()), 0.5)


def _profile(fine: Ridges, y: F32) -> list[float]:
    strong = fine.bright > max(2.0, float(np.quantile(fine.bright, 0.97)))
    if not strong.any():
        return [0.0, 0.0, 0.0, repetition(fine.bright), 0.0]
    sharp = ridges(y, 0.6).bright
    hardness = _log(float(sharp[strong].mean()) + 0.1, float(fine.bright[strong].mean()) + 0.1) * 4
    blown = float((y[strong] > 248).mean()) * 2
    spread = float(np.std(fine.bright[strong]) / fine.bright[strong].mean()) * 2
    angle, _ = direction(fine)
    straight = float(np.mean(np.cos(fine.angle[strong] - angle) ** 2 > 0.97)) * 2
    return [hardness, blown, spread, repetition(fine.bright), straight]


def repetition(x: F32) -> float:
    """Highest autocorrelation of an image outside its central peak, times 3: near 0 for rain, near 3 for a tiled layer.

    The mean spectrum's slope is flattened first, so that smooth pictures do not pass for repetition.
    """
    z = x - cv2.GaussianBlur(x, (0, 0), 8)
    f = np.fft.rfft2(z * np.outer(np.hanning(z.shape[0]), np.hanning(z.shape[1])).astype(np.float32))
    c = np.fft.irfft2(np.abs(f) ** 1.2, s=z.shape)
    c /= c[0, 0] + 1e-6
    h, w = z.shape
    dy = np.minimum(np.arange(h), h - np.arange(h))[:, None]
    dx = np.minimum(np.arange(w), w - np.arange(w))[None]
    far = (np.hypot(dy, dx) > 20) & (dy < h // 2) & (dx < w // 2)
    return float(np.clip(c[far].max(), 0, 1)) * 3 if far.any() else 0.0


# ---------------------------------------------------------------- drops, veil, light
def _drops(y: F32) -> list[float]:
    detail = np.abs(cv2.Laplacian(y, cv2.CV_32F))
    cells = cv2.resize(detail, (max(4, y.shape[1] // 16), max(4, y.shape[0] // 16)), interpolation=cv2.INTER_AREA)
    around = cv2.GaussianBlur(cells, (0, 0), 3)
    softer = np.log2((cells + 0.5) / (around + 0.5))
    blobs = []
    for sigma in (4, 8, 16):
        dog = cv2.GaussianBlur(y, (0, 0), sigma) - cv2.GaussianBlur(y, (0, 0), sigma * 1.6)
        blobs.append(_log(float(np.quantile(np.abs(dog), 0.99)), 8.0))
    return [float((softer < -1).mean()) * 4, float(softer.std()), *blobs, *_flat(y)]


def _flat(y: F32) -> list[float]:
    """Patches without any texture that are neither black nor blown out, and how hard their rims are."""
    gx, gy = cv2.Sobel(y, cv2.CV_32F, 1, 0), cv2.Sobel(y, cv2.CV_32F, 0, 1)
    grad = images.magnitude(gx, gy)
    flat = ((cv2.blur(grad, (5, 5)) < 1.0) & (y > 12) & (y < 243)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    keep = np.flatnonzero((sizes >= 60) & (sizes <= y.size // 50)) + 1
    if not len(keep):
        return [0.0, 0.0]
    mask = np.isin(labels, keep).astype(np.uint8)
    rim = cv2.dilate(mask, np.ones((9, 9), np.uint8)) - cv2.dilate(mask, np.ones((3, 3), np.uint8))
    hard = float(grad[rim > 0].mean()) if rim.any() else 0.0
    return [min(1.0, float(mask.mean()) * 10) * 2, _log(hard + 1, 16.0)]


def _veil(rgb: U8, y: F32) -> list[float]:
    dark = cv2.erode(rgb.min(axis=2), np.ones((15, 15), np.uint8))
    top = rgb.max(axis=2).astype(np.float32)
    saturation = (top - rgb.min(axis=2)) / (top + 8)
    return [float(dark.mean()) / 64, float(y.std()) / 32, float(saturation.mean()) * 3]


def _grey_ridges(fine: Ridges, rgb: U8) -> float:
    """Saturation of the strongest ridges against the picture's: rain is colourless unless a lamp colours it."""
    top = rgb.max(axis=2).astype(np.float32)
    saturation = (top - rgb.min(axis=2)) / (top + 8)
    strong = fine.bright >= np.quantile(fine.bright, 0.98)
    return float(saturation[strong].mean() - saturation.mean()) * 5


def _light(y: F32) -> list[float]:
    lamps = (y > 240).astype(np.uint8)
    count = max(0, cv2.connectedComponents(lamps)[0] - 1)
    near = cv2.dilate(lamps, np.ones((25, 25), np.uint8)) - lamps
    glow = float(y[near > 0].mean()) / (float(y.mean()) + 8) if near.any() else 0.0
    diagonal = cv2.filter2D(y, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    noise = float(np.median(np.abs(diagonal))) / 6 * 1.4826
    sharp = float(np.abs(cv2.Laplacian(y, cv2.CV_32F)).mean())
    return [
        float(y.mean()) / 64,
        float((y < 40).mean()) * 3,
        min(1.0, float(lamps.mean()) * 20),
        float(np.log2(1 + count)) / 4,
        min(3.0, glow / 2),
        _log(noise + 0.05, 1.0),
        _log(sharp + 0.05, 8.0),
        min(2.0, blocks(y) * 2),
    ]


def blocks(y: F32) -> float:
    """Jumps at the strongest 8-pixel grid over jumps elsewhere, minus 1."""
    scores = []
    for axis in (0, 1):
        jumps = np.minimum(np.abs(np.diff(y, axis=axis)), 24.0).mean(axis=1 - axis)
        cells = np.array([jumps[i::8].mean() for i in range(8)])
        i = int(cells.argmax())
        scores.append(float(cells[i] / (np.delete(cells, i).mean() + 0.05) - 1))
    return float(np.mean(scores))


def evidence(values: npt.NDArray[np.float32]) -> float:
    """Evidence for falling rain in a descriptor; below 0 it looks more like a dry photograph.

    Rain lies over the calm places of a picture too, evenly and near upright, and takes colour out of it. The five
    weights are those of a logistic regression on real rainy and clean photographs, rounded; docs/encoders.md has the
    error rates. Drops on glass are another thing, which this does not see.
    """
    at = {n: float(v) for n, v in zip(NAMES, values, strict=True)}
    return (
        WET
        - 3.1 * at["soft-spread"]
        - 2.0 * at["saturation"]
        + 1.2 * at["ridge-even-fine"]
        + 1.3 * at["ridge-calm"]
        + 2.1 * at["ridge-upright-fine"]
    )


def word(values: npt.NDArray[np.float32], name: str) -> float:
    """One value of a descriptor by name."""
    return float(values[NAMES.index(name)])
