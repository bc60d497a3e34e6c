"""The rain layer of a pair: what the rainy side has that the clean side has not, in numbers.

In linear light the layer is lq minus gt: light that streaks add (Garg and Nayar, IJCV 2007), the share of the scene that
they hide, the field that drops on glass bend (You et al., PAMI 2016). What is measured does not depend on the scene, or
is set against the scene's own light: sign, chroma, spectrum, repetition, direction, shape and evenness of the pieces,
opacity and softness of their edges, coverage, veil, and what becomes of the scene's detail within strong changes (a drop
blurs and displaces it, paint hides it or lets it through). No learned numbers here; ``rainrag.voters`` weighs them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from rainrag.core import images
from rainrag.core.errors import InputError
from rainrag.core.images import F32, U8

VERSION = 1
LONG, SIDE = 1024, 288  # longer side up to which pixels are taken as they are; the central part that is measured
SMALLEST = 48

_BANDS = (0.0, 0.7, 1.4, 2.8, 5.6, 11.2)
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_CODE = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)

NAMES = (
    "rms", "mean", "low-share", "low-mean", "low-spread", "low-follows", "low-vertical",
    "positive-fine", "positive-mid", "skew-fine", "skew-mid", "tail-fine", "tail-mid", "peak-99", "peak-95", "peak-50",
    "band-0", "band-1", "band-2", "band-3", "band-4", "flat-0", "flat-1", "flat-2", "flat-3",
    "lag-x", "lag-y", "lag-d", "lag-e", "channels",
    "chroma", "chroma-light", "chroma-spread", "darker-chroma",
    "opacity", "opaque-fit", "core-even", "core-same", "blown", "follows-dark", "follows-bright", "even-cells", "near-light",
    "repetition", "peak-spectrum", "line-spectrum",
    "direction", "upright", "cross", "coherence", "direction-spread",
    "pieces", "piece-cover", "piece-length", "piece-length-spread", "piece-width-spread", "piece-aspect",
    "piece-aspect-spread", "piece-angle-spread", "piece-light-spread", "piece-solid", "piece-tail",
    "softness", "step", "inside-flat",
    "kept-fine", "kept-mid", "like-fine", "like-mid", "lost-fine", "lost-mid", "changed",
)  # fmt: skip


def part(rgb: U8) -> U8:
    """What is measured of a picture: the central 288 x 288 pixels, of at most 1024 pixels a side."""
    rgb = images.fit(rgb, LONG)
    h, w = rgb.shape[:2]
    y, x = max(0, (h - SIDE) // 2), max(0, (w - SIDE) // 2)
    return np.ascontiguousarray(rgb[y : y + SIDE, x : x + SIDE])


def describe(lq: U8, gt: U8) -> F32:
    """The layer of a pair.

    Args:
        lq, gt: (H, W, 3) uint8 of equal shape, at least 48 pixels a side.

    Returns:
        (len(NAMES),) float32, finite.

    Raises:
        InputError: for sides of different or too small size.
    """
    if lq.shape != gt.shape or min(lq.shape[:2]) < SMALLEST:
        raise InputError(
            f"a layer needs two sides of equal size of at least {SMALLEST} pixels, not {lq.shape}, {gt.shape}"
        )
    lq, gt = part(lq), part(gt)
    a, b = _LINEAR[lq], _LINEAR[gt]
    layer = a - b
    d, scene = np.asarray(layer @ _LUMA, np.float32), np.asarray(b @ _LUMA, np.float32)
    bands = _split(d)
    fine, mid = bands[0] + bands[1], bands[2] + bands[3]
    low = np.asarray(d - sum(bands), np.float32)
    strong = fine + mid  # what falls or clings, without the veil
    size = float(np.sqrt(np.mean(strong * strong))) + 1e-4
    y = (images.luma(lq) - images.luma(gt)).astype(np.float32)
    values = [
        *_whole(d, low, scene, strong),
        *_signs(fine, mid, strong),
        *_spectrum(bands, strong, layer),
        *_colour(layer, strong, size, b),
        *_light(a @ _LUMA, scene, strong, size, lq),
        *_repeats(strong),
        *_directions(strong),
        *_pieces(strong, size),
        *_edges(strong, y),
        *_through(lq, gt, y),
    ]
    return np.nan_to_num(np.asarray(values, np.float32), nan=0, posinf=30, neginf=-30)


def alone(lq: U8) -> F32:
    """The same without a clean side: what is brighter or darker than the median of 7 x 7 pixels stands for the layer.

    Args:
        lq: (H, W, 3) uint8, at least 48 pixels a side.
    """
    lq = part(lq)
    return describe(lq, np.asarray(cv2.medianBlur(lq, 7), np.uint8))


def _log(x: Any, floor: float = 1e-5) -> float:
    return float(np.log2(max(float(x), floor)))


def _split(d: F32) -> list[F32]:
    """Bands of detail from fine to coarse."""
    levels = [d, *(_soft(d, s) for s in _BANDS[1:])]
    return [np.asarray(x - y, np.float32) for x, y in pairwise(levels)]


def _soft(x: F32, sigma: float) -> F32:
    """Gaussian blur; wide ones as two box filters of the same variance, which cost the same at any width."""
    if sigma < 2:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)
    side = round(np.sqrt(6 * sigma * sigma + 1)) | 1
    return np.asarray(cv2.blur(cv2.blur(x, (side, side)), (side, side)), np.float32)


def _corr(x: Any, y: Any) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).mean() / (np.sqrt((x * x).mean() * (y * y).mean()) + 1e-9))


def _whole(d: F32, low: F32, scene: F32, strong: F32) -> list[float]:
    total, soft = float(np.mean(d * d)), float(np.mean(low * low))
    soft_scene = _soft(scene, _BANDS[-1])
    rows = np.linspace(-1, 1, len(d), dtype=np.float32)[:, None] * np.ones_like(d)
    low, soft_scene, rows = low[::3, ::3], soft_scene[::3, ::3], rows[::3, ::3]
    return [
        _log(np.sqrt(total), 1e-4), float(d.mean()) * 10, soft / (total + 1e-9), _log(abs(low.mean()), 1e-4),
        _log(low.std(), 1e-4), _corr(low, soft_scene), _corr(low, rows),
    ]  # fmt: skip


def _signs(fine: F32, mid: F32, strong: F32) -> list[float]:
    out: list[list[float]] = []
    for x in (fine, mid):
        up = float(np.mean(np.maximum(x, 0) ** 2)) / (float(np.mean(x * x)) + 1e-9)
        z = np.clip((x - x.mean()) / (x.std() + 1e-4), -8, 8)
        out.append([up, float(np.mean(z * z * z)), _log(np.mean((z * z) ** 2))])
    s = np.abs(strong)
    q = np.quantile(s[::2, ::2], [0.5, 0.95, 0.99, 0.998]) + 1e-4
    return [v for pair in zip(*out, strict=True) for v in pair] + [
        _log(q[3] / q[2]),
        _log(q[3] / q[1]),
        _log(q[3] / q[0]),
    ]


def _spectrum(bands: list[F32], strong: F32, layer: F32) -> list[float]:
    energy = np.array([float(np.mean(b * b)) for b in bands]) + 1e-9
    out = [_log(e / energy.sum(), 1e-4) for e in energy]
    for b in bands[:4]:
        dx, dy = np.diff(b, axis=1), np.diff(b, axis=0)
        out.append(_log((float(np.mean(dx * dx)) + 1e-9) / (float(np.mean(dy * dy)) + 1e-9)))
    u = strong - strong.mean()
    power = float(np.mean(u * u)) + 1e-9
    for x, y in ((u[:, 1:], u[:, :-1]), (u[1:], u[:-1]), (u[1:, 1:], u[:-1, :-1]), (u[1:, :-1], u[:-1, 1:])):
        out.append(float(np.mean(x * y)) / power)
    r, g, b = (layer[::2, ::2, c] for c in range(3))
    out.append((_corr(r, g) + _corr(g, b) + _corr(r, b)) / 3)
    return out


def _colour(layer: F32, strong: F32, size: float, b: F32) -> list[float]:
    """Chroma of the layer where it is strong, set against the light around it and against the scene's."""
    bright, dark = strong > 2 * size, strong < -2 * size
    around = cv2.blur(b, (41, 41))
    out = []
    if bright.sum() >= 30:
        one = layer[bright]
        unit = one / (np.linalg.norm(one, axis=1, keepdims=True) + 1e-4)
        near = around[bright] / (np.linalg.norm(around[bright], axis=1, keepdims=True) + 1e-4)
        grey = unit.mean(axis=1) * np.sqrt(3)
        out += [float(1 - grey.mean()) * 10, float(1 - (unit * near).sum(1).mean()) * 10]
        out.append(float(1 - np.linalg.norm(unit.mean(0))) * 10)
    else:
        out += [0.0, 0.0, 0.0]
    if dark.sum() >= 30:
        one = -layer[dark]
        unit = one / (np.linalg.norm(one, axis=1, keepdims=True) + 1e-4)
        near = b[dark] / (np.linalg.norm(b[dark], axis=1, keepdims=True) + 1e-4)
        out.append(float(1 - (unit * near).sum(1).mean()) * 10)
    else:
        out.append(0.0)
    return out


def _light(a: F32, scene: F32, strong: F32, size: float, lq: U8) -> list[float]:
    """Opacity: how the layer depends on what lies behind it, how even its cores are, where it is strong."""
    core = strong > 2.5 * size
    energy = np.maximum(cv2.blur(strong * strong, (25, 25)), 0)
    soft = cv2.blur(scene, (25, 25))
    cells = np.sort(cv2.resize(energy, (8, 8), interpolation=cv2.INTER_AREA).ravel())
    even = _log((cells[:16].mean() + 1e-9) / (cells.mean() + 1e-9), 1e-3)
    lights = _soft(np.maximum(scene - 0.5, 0), 15)[::3, ::3]
    root, soft = np.sqrt(energy[::3, ::3]), soft[::3, ::3]
    where = [_corr(root, -soft), _corr(root, np.sqrt(np.maximum(soft, 0))), even, _corr(root, lights)]
    if core.sum() < 30:
        return [0.0, 0.0, 0.0, 0.0, 0.0, *where]
    top, back = a[core], scene[core]
    change = top - back
    slope = float(np.mean((change - change.mean()) * (back - back.mean()))) / (float(back.var()) + 1e-3)
    fit = float(np.std(change - slope * back)) / (float(change.std()) + 1e-4)
    codes = np.bincount(images.luma(lq)[core].astype(int).clip(0, 255), minlength=256) / core.sum()
    same = float(np.convolve(codes, np.ones(3), "same").max())
    blown = float(codes[248:].sum())
    return [-slope, fit, _log((change.std() + 1e-4) / (change.mean() + 1e-3)), same, blown, *where]


def _repeats(strong: F32) -> list[float]:
    """Repetition by autocorrelation, and peaks and lines in the spectrum."""
    h, w = strong.shape
    z = strong * np.outer(np.hanning(h), np.hanning(w)).astype(np.float32)
    z = np.clip(z, -6 * z.std() - 1e-6, 6 * z.std() + 1e-6)
    power = np.abs(np.fft.rfft2(z)) ** 2
    c = np.fft.irfft2(np.sqrt(power) ** 1.2, s=z.shape)
    c /= c[0, 0] + 1e-9
    dy, dx = np.minimum(np.arange(h), h - np.arange(h))[:, None], np.minimum(np.arange(w), w - np.arange(w))[None]
    far = (np.hypot(dy, dx) > 20) & (dy < h // 2) & (dx < w // 2)
    smooth = cv2.blur(power.astype(np.float32), (9, 9))
    keep = smooth >= np.quantile(smooth, 0.5)
    peak = float((power[keep] / (smooth[keep] + 1e-12)).max())
    most = power.size - max(1, power.size // 200)
    few = float(np.partition(power.ravel(), most)[most:].sum() / (power.sum() + 1e-12))
    return [float(c[far].max()) * 3, _log(peak), few]


def _directions(strong: F32) -> list[float]:
    """Structure tensor: one direction or several, upright or not, coherent or not."""
    gx, gy = cv2.Sobel(strong, cv2.CV_32F, 1, 0), cv2.Sobel(strong, cv2.CV_32F, 0, 1)
    xx, yy, xy = (_soft(v, 2.5)[::2, ::2] for v in (gx * gx, gy * gy, gx * gy))
    weight = xx + yy + 1e-9
    real, imag = (xx - yy), 2 * xy  # twice the angle of the gradient
    size = np.sqrt(real * real + imag * imag)
    total = float(weight.sum())
    one = complex(float(real.sum()) / total, float(imag.sum()) / total)
    safe = size + 1e-9
    two = complex(
        float(((real * real - imag * imag) / safe).sum()) / total, float((2 * real * imag / safe).sum()) / total
    )
    coherence = float(size.sum()) / total
    along = one / (abs(one) + 1e-9)
    turned = np.arctan2(imag * along.real - real * along.imag, real * along.real + imag * along.imag)
    spread = float(np.sqrt((size * turned * turned).sum() / (size.sum() + 1e-9)))
    return [abs(one), one.real, abs(two), coherence, spread]


def _pieces(strong: F32, size: float) -> list[float]:
    """Shape and evenness of the bright pieces: lengths, widths, directions, light, by moments of each piece."""
    inside = (strong > 2 * size).astype(np.uint8)
    n, labels, stats, centres = cv2.connectedComponentsWithStats(inside, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    keep = area >= 6
    keep[0] = False
    density = _log(keep.sum() / strong.size * 1e4 + 0.01)
    cover = float(inside.mean()) * 10
    if keep.sum() < 5:
        return [density, cover, *[0.0] * 9]
    at = np.flatnonzero(inside.ravel())
    own = labels.ravel()[at]
    y, x = at // strong.shape[1] - centres[own, 1], at % strong.shape[1] - centres[own, 0]
    xx, yy, xy = (np.bincount(own, v, n) / area for v in (x * x, y * y, x * y))
    half, middle = np.sqrt(((xx - yy) / 2) ** 2 + xy**2), (xx + yy) / 2
    long, short = np.sqrt(12 * (middle + half) + 1), np.sqrt(12 * np.maximum(middle - half, 0) + 1)
    light = np.bincount(own, strong.ravel()[at], n) / area
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    weight = area[keep] / area[keep].sum()
    long, short, light, angle, area = long[keep], short[keep], light[keep], angle[keep], area[keep]
    aspect = np.log2(long / short)
    resultant = abs(complex((weight * np.cos(2 * angle)).sum(), (weight * np.sin(2 * angle)).sum()))
    solid = area / (long * short)
    return [
        density, cover, float(np.log2(np.median(long))), float(np.log2(long).std()), float(np.log2(short).std()),
        float(np.median(aspect)), float(aspect.std()), resultant, float(light.std() / light.mean()),
        float(np.average(solid, weights=weight)), _log(np.quantile(area, 0.95) / np.median(area)),
    ]  # fmt: skip


def _edges(strong: F32, y: F32) -> list[float]:
    """Softness of edges: steepness over height, jumps between neighbours, flatness within."""
    gx, gy = cv2.Sobel(strong, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(strong, cv2.CV_32F, 0, 1) / 8
    steep = np.sqrt(gx * gx + gy * gy)
    top = np.quantile(strong[::2, ::2], 0.99) + 1e-4
    jump = np.abs(np.diff(y, axis=1))
    jumps = np.quantile(jump[::2, ::2], [0.9, 0.995]) + 0.5
    high = np.abs(y) > max(6.0, float(np.quantile(np.abs(y[::2, ::2]), 0.97)))
    if high.sum() < 30:
        flat = 0.0
    else:
        lap = np.abs(cv2.Laplacian(y, cv2.CV_32F))
        flat = _log((lap[high].mean() + 0.5) / (np.abs(y)[high].mean() + 0.5))
    return [_log(np.quantile(steep[::2, ::2], 0.99) / top), _log(jumps[1] / jumps[0]), flat]


def _through(lq: U8, gt: U8, y: F32) -> list[float]:
    """What becomes of the scene's detail where the change is strong: gain, likeness and energy in two bands."""
    a, b = images.luma(lq), images.luma(gt)
    soft = _soft(np.abs(y), 3)
    changed = soft > max(4.0, float(np.quantile(soft[::2, ::2], 0.85)))
    share = _log(float((soft > 8).mean()), 1e-3)
    if changed.sum() < 200:
        return [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, share]
    out: list[list[float]] = []
    for near, wide in ((0.0, 1.0), (1.0, 3.0)):
        u, v = ((_soft(s, near) if near else s) - _soft(s, wide) for s in (a, b))
        p, q = u[changed], v[changed]
        pq, pp, qq = float(np.mean(p * q)), float(np.mean(p * p)) + 0.05, float(np.mean(q * q)) + 0.05
        out.append([float(np.clip(pq / qq, -2, 3)), pq / np.sqrt(pp * qq), _log(pp / qq)])
    return [v for pair in zip(*out, strict=True) for v in pair] + [share]
