"""The gate: is this a sound pair? Measured on both sides, deterministic, with one reason. It does not judge the rain.

The paper has no such step: its judges see the rainy image alone, so a wrong or misaligned target passes them. Measures
are taken at native resolution on at most ``SIDE`` x ``SIDE`` pixels from the centre (resizing would hide blur). They
compare the two sides band by band, so that rain, which is not in the clean side, counts as noise and not as a fault.
Thresholds were set on rendered training scenes with planted faults and on training pairs of public sets
(benchmarks/distillation/tune_gate.py); docs/gate.md says what they catch and what they miss.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core.files import fingerprint
from rainrag.core.images import F32, U8, luma
from rainrag.data import pair_tone

VERSION = 4
SIDE = 512
SCORED = 160  # pixels a side from which the scores of single faults are asked
Mask = npt.NDArray[np.bool_]

#: Why a pair is unsound: the closed list.
REASONS = {
    "size-mismatch": "the two sides differ in size",
    "identical": "the two sides are the same image",
    "no-rain": "the rainy side is the clean one, encoded again",
    "wrong-target": "the clean side shows another scene",
    "misaligned": "the clean side is shifted, turned or scaled",
    "swapped": "the rainy and the clean side are exchanged",
    "exposure": "the two sides differ in exposure or gamma",
    "colour-cast": "the two sides differ in colour where there is no rain",
    "enlarged-target": "the clean side was enlarged: its finest detail is missing",
    "over-compressed-target": "blocks of strong JPEG compression on the clean side",
    "over-compressed": "blocks of strong JPEG compression on the rainy side",
    "blurred-target": "the clean side lost fine detail: blurred or enlarged",
    "blurred-input": "the rainy side lost fine detail as a whole: blurred, enlarged or compressed",
    "residual-rain": "part of the rain is still in the clean side",
    "lighting": "labelled night but lit like day, or the other way round",
}

#: Bands of detail: (finer sigma, coarser sigma) in pixels.
FINE, MIDDLE, COARSE = (0.0, 0.8), (0.8, 2.0), (2.0, 5.0)


@dataclass(frozen=True)
class Measures:
    """What is measured on a pair. Luma in [0, 255]; lengths in pixels; "calm" is the half of the pixels with the least
    change, "rainy" the other half.

    Args:
        change: 99th percentile of the smoothed absolute change.
        likeness: correlation of the two sides' coarse structure.
        shift, edges: displacement of edges (75th percentile over blocks) and their correlation at the best one.
        moved: share of blocks with a clear displacement.
        brighter, skew: mean and skewness of rainy minus clean: rain brightens, in few places.
        cast: largest difference between colour channels of their gain (octaves), and of their median (levels).
        blocks: jumps at the 8-pixel grid of the rainy side over jumps elsewhere, minus 1.
        lost: coherence of fine detail over that of middle detail, calm: low when one side lost its fine detail.
        sharper: log2 of fine energy, clean over rainy side, calm: tells which side lost it.
        through_fine, through_coarse: gain of the clean side's detail in the rainy side, rainy: near 1 or above when the
            clean side holds part of the rain.
        alike_coarse: coherence of coarse detail, rainy.
        third, fourth: joint moments of the clean side's detail with the layer that a local fit does not explain (fine;
            coarse): 0 when they are independent.
        layer_skew, layer_tail: skewness and fourth moment of that layer (coarse).
        covered_fine, covered_coarse: correlation of estimated opacity with the clean side.
        luma: mean luma of the clean side.
        level_dark and after: see ``rainrag.pair_tone.Tone``.
    """

    change: float
    likeness: float
    shift: float
    edges: float
    moved: float
    brighter: float
    skew: float
    cast_gain: float
    cast_level: float
    blocks: float
    lost: float
    sharper: float
    through_fine: float
    through_coarse: float
    alike_coarse: float
    third: float
    fourth: float
    layer_skew: float
    layer_tail: float
    covered_fine: float
    covered_coarse: float
    luma: float
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


@dataclass(frozen=True)
class Finding:
    """The gate's answer: ``reason`` None means sound."""

    reason: str | None
    detail: str = ""
    measures: Measures | None = None


def crop(rgb: U8, side: int = SIDE) -> U8:
    """The central part of at most ``side`` x ``side`` pixels."""
    h, w = rgb.shape[:2]
    y, x = max(0, (h - side) // 2), max(0, (w - side) // 2)
    return rgb[y : y + side, x : x + side]


# ---------------------------------------------------------------- measures
def measure(lq: U8, gt: U8) -> Measures:
    """Measure a pair of equal size, at least 32 pixels a side."""
    lq, gt = crop(lq), crop(gt)
    a, b = luma(lq), luma(gt)
    change = a - b
    calm = _calm(change)
    shift, edges, moved = displacement(a, b)
    spread = float(change.std()) + 0.1
    gain, level = colour_cast(lq, gt, calm)
    return Measures(
        change=float(np.percentile(np.abs(cv2.blur(change, (5, 5))), 99)),
        likeness=_corr(cv2.GaussianBlur(a, (0, 0), 6), cv2.GaussianBlur(b, (0, 0), 6)),
        shift=shift,
        edges=edges,
        moved=moved,
        brighter=float(change.mean()),
        skew=float((((change - np.median(change)) / spread) ** 3).clip(-50, 50).mean()),
        cast_gain=gain,
        cast_level=level,
        blocks=blockiness(a),
        luma=float(b.mean()),
        **_transfer(a, b, calm),
        **_layers(a, b),
        **_opacity(a, b),
        **asdict(pair_tone.measure(lq, gt, calm)),
    )


def _calm(change: F32) -> Mask:
    """The half of the pixels with the least change around them."""
    energy = cv2.blur(change * change, (15, 15))
    return np.asarray(energy <= np.median(energy))


def band(x: F32, limits: tuple[float, float]) -> F32:
    """Detail between two scales."""
    fine = cv2.GaussianBlur(x, (0, 0), limits[0]) if limits[0] else x
    return np.asarray(fine - cv2.GaussianBlur(x, (0, 0), limits[1]), np.float32)


def _corr(x: F32, y: F32) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).mean() / (np.sqrt((x * x).mean() * (y * y).mean()) + 1e-6))


def _joint(x: F32, y: F32, where: Mask) -> tuple[float, float, float]:
    """Energies of the two sides' detail and their product, over a mask."""
    u, v = x[where], y[where]
    return float(np.mean(u * u)), float(np.mean(v * v)), float(np.mean(u * v))


def _transfer(a: F32, b: F32, calm: Mask) -> dict[str, float]:
    """How the clean side's detail arrives in the rainy side, band by band."""
    fine, middle, coarse = ((band(a, s), band(b, s)) for s in (FINE, MIDDLE, COARSE))
    xx, yy, xy = _joint(*fine, calm)
    mm, nn, mn = _joint(*middle, calm)
    coherent_fine = xy / np.sqrt((xx + 0.02) * (yy + 0.02))
    coherent_middle = mn / np.sqrt((mm + 0.02) * (nn + 0.02))
    _, fy, fxy = _joint(*fine, ~calm)
    cx, cy, cxy = _joint(*coarse, ~calm)
    return {
        "lost": float(coherent_fine / max(coherent_middle, 0.2)),
        "sharper": float(np.log2((np.sqrt(yy) + 0.05) / (np.sqrt(xx) + 0.05))),
        "through_fine": fxy / (fy + 0.02),
        "through_coarse": cxy / (cy + 0.02),
        "alike_coarse": float(cxy / np.sqrt((cx + 0.02) * (cy + 0.02))),
    }


def _layers(a: F32, b: F32) -> dict[str, float]:
    """Joint moments of the clean side with what a local linear fit leaves of the rainy side.

    The fit takes out second-order dependence; a clean side that holds part of a sparse layer keeps third- and
    fourth-order dependence on it (the cumulants by which independent components are told apart).
    """
    third, _, _, _ = _moments(band(a, (0.0, 1.5)), band(b, (0.0, 1.5)), 31)
    _, fourth, skew, tail = _moments(band(a, (1.5, 5.0)), band(b, (1.5, 5.0)), 61)
    return {"third": third, "fourth": fourth, "layer_skew": skew, "layer_tail": tail}


def _moments(x: F32, y: F32, window: int) -> tuple[float, float, float, float]:
    size = (window, window)
    gain = np.clip(cv2.blur(x * y, size) / (cv2.blur(y * y, size) + 0.3), 0, 1.5)
    layer = x - gain * y
    z = np.clip(layer / (np.sqrt(np.mean(layer * layer)) + 0.1), -6, 6)
    clean = np.clip(y / (np.sqrt(np.mean(y * y)) + 0.1), -6, 6)
    unit = float(np.sqrt(np.mean(clean * clean))) + 1e-3
    square = z * z  # numpy's power of an array takes ten times as long as these products
    cube = square * z
    return (
        float(np.mean(clean * square)) / unit,
        float(np.mean(clean * cube)) / unit,
        float(np.mean(cube)),
        float(np.mean(square * square)),
    )


def _opacity(a: F32, b: F32) -> dict[str, float]:
    """Correlation of the clean side with the opacity of the rain, from R = opacity (light of the rain - clean side).

    In linear light. Rain falls where it wants, so a sound clean side does not know where; one that holds part of the
    rain is brighter there.
    """
    x, y = _linear(a / np.float32(255)), _linear(b / np.float32(255))
    change = x - y
    strongest = change >= np.percentile(change, 99.5)
    light = float(min(1.0, max(np.percentile(x[strongest], 80), float(y.mean()) + 0.05)))
    open_to = (light - y) > 0.04
    opacity = np.where(open_to, change / np.maximum(light - y, 0.04), 0).clip(-1, 1).astype(np.float32)
    root = np.sqrt(y).astype(np.float32)
    out = {}
    for name, limits in (("covered_fine", (0.0, 1.5)), ("covered_coarse", (2.0, 7.0))):
        p, q = band(opacity, limits) * open_to, band(root, limits) * open_to
        sp, sq = float(np.sqrt(np.mean(p * p))) + 1e-4, float(np.sqrt(np.mean(q * q))) + 1e-4
        p, q = np.clip(p, -5 * sp, 5 * sp), np.clip(q, -3 * sq, 3 * sq)
        if name == "covered_coarse":  # drops: only where they are, beyond one deviation
            p = np.maximum(p - sp, 0)
            p = p - p.mean()
        out[name] = float(np.mean(p * q) / (np.sqrt(np.mean(p * p) * np.mean(q * q)) + 1e-9))
    return out


def _linear(x: F32) -> F32:
    """sRGB to linear light, [0, 1]."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def colour_cast(lq: U8, gt: U8, calm: Mask) -> tuple[float, float]:
    """Largest difference between channels in their gain (octaves) and in their median change (levels), calm pixels.

    A veil of rain lowers the gain of all channels alike; another white balance does not.
    """
    gains = []
    for c in range(3):
        x, y = (band(side[..., c].astype(np.float32), (0.8, 6.0)) for side in (lq, gt))
        _, yy, xy = _joint(x, y, calm)
        gains.append(float(np.log2(max(xy, 0.01) / (yy + 0.02))))
    change = np.median(lq[calm].astype(np.int16) - gt[calm].astype(np.int16), axis=0)
    return max(gains) - min(gains), float(change.max() - change.min())


def blockiness(x: F32) -> float:
    """Mean jump at the strongest 8-pixel grid over the mean of the others, minus 1, averaged over both directions."""
    scores = []
    for axis in (0, 1):
        jumps = np.minimum(np.abs(np.diff(x, axis=axis)), 24.0).mean(axis=1 - axis)
        cells = np.array([jumps[i::8].mean() for i in range(8)])
        i = int(cells.argmax())
        scores.append(cells[i] / (np.delete(cells, i).mean() + 0.05) - 1)
    return float(np.mean(scores))


# ---------------------------------------------------------------- registration
def displacement(a: F32, b: F32, reach: int = 16) -> tuple[float, float, float]:
    """How far the edges of ``b`` lie from those of ``a``.

    Correlation of gradient maps, clipped so that strong streaks do not rule, as a whole and in 3 x 3 blocks (a turned
    or scaled side moves its blocks in different directions).

    Returns:
        75th percentile of the displacement over blocks (pixels), correlation at the whole image's best displacement,
        share of blocks with a clear displacement.
    """
    ga, gb = _gradients(a), _gradients(b)
    y, x, best, still = _peak(ga, gb, reach)
    whole = float(np.hypot(y, x)) if best - still > 0.02 else 0.0
    sizes = []
    h, w = a.shape[0] // 3, a.shape[1] // 3
    if min(h, w) >= 48:
        for i in range(9):
            part = (slice(i // 3 * h, i // 3 * h + h), slice(i % 3 * w, i % 3 * w + w))
            y, x, at_best, at_zero = _peak(tuple(g[part] for g in ga), tuple(g[part] for g in gb), reach)
            if at_best > 0.25:
                sizes.append(float(np.hypot(y, x)) if at_best - at_zero > 0.02 else 0.0)
    if len(sizes) < 3:
        return whole, best, float(whole > 1)
    return float(np.percentile(sizes, 75)), best, float(np.mean([s > 1 for s in sizes]))


def _gradients(x: F32) -> tuple[F32, ...]:
    soft = cv2.GaussianBlur(x, (0, 0), 1.0)
    out = []
    for g in (cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)):
        most = 2 * float(np.abs(g).mean()) + 1e-3
        out.append(np.clip(g, -most, most))
    return tuple(out)


def _peak(a: tuple[F32, ...], b: tuple[F32, ...], reach: int) -> tuple[float, float, float, float]:
    """Best displacement (dy, dx, subpixel), correlation there, correlation at none."""
    total: Any = 0.0
    norm = 0.0
    for x, y in zip(a, b, strict=True):
        total = total + np.fft.irfft2(np.fft.rfft2(x) * np.conj(np.fft.rfft2(y)), s=x.shape)
        norm += float(np.sqrt((x * x).sum() * (y * y).sum()))
    c = total / (norm + 1e-6)
    reach = min(reach, (c.shape[0] - 1) // 2, (c.shape[1] - 1) // 2)
    win = np.roll(c, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    i, j = np.unravel_index(int(win.argmax()), win.shape)
    dy, dx = i - reach + _sub(win[:, j], int(i)), j - reach + _sub(win[i], int(j))
    return float(dy), float(dx), float(win[i, j]), float(win[reach, reach])


def _sub(line: F32, i: int) -> float:
    """Subpixel offset of a peak from a parabola through its neighbours."""
    if not 0 < i < len(line) - 1:
        return 0.0
    left, mid, right = float(line[i - 1]), float(line[i]), float(line[i + 1])
    bend = left - 2 * mid + right
    return 0.0 if bend >= 0 else 0.5 * (left - right) / bend


# ---------------------------------------------------------------- decision
@dataclass(frozen=True)
class Limits:
    """Thresholds of the rules, see ``_rules``; ``tune_gate`` prints what each costs and catches."""

    change: float = 3.0
    likeness: float = 0.6
    edges: float = 0.08
    shift: float = 1.3
    moved: float = 0.5
    brighter: float = -1.0
    skew: float = -0.45
    cast_gain: float = 0.28
    cast_level: float = 8.0
    blocks: float = 0.65
    shift_drops: float = 1.8
    lost: float = 0.5
    lost_input: float = 0.4
    sharper: float = 0.4
    residual: float = 0.85
    night_above: float = 105.0
    day_below: float = 58.0


DEFAULT = Limits()

#: Logistic score of residual rain: name -> (weight, mean, deviation), and the constant; fitted by tune_gate on 580
#: sound training pairs and the same pairs with 30 to 70 % of their rain left in the target.
RESIDUAL: dict[str, tuple[float, dict[str, tuple[float, float, float]]]] = {
    "streaks": (
        0.175,
        {
            "edges": (2.113, 0.916, 0.112),
            "through_fine": (1.755, 0.945, 0.178),
            "alike_coarse": (0.498, 0.952, 0.081),
            "third": (1.123, -0.156, 0.280),
            "fourth": (0.459, -0.305, 0.476),
            "layer_skew": (-0.481, 0.906, 0.357),
            "covered_fine": (1.128, 0.135, 0.174),
        },
    ),
    "drops": (
        0.063,
        {
            "edges": (1.565, 0.848, 0.162),
            "through_coarse": (0.868, 0.830, 0.264),
            "alike_coarse": (0.622, 0.794, 0.209),
            "fourth": (1.088, -0.595, 1.270),
            "layer_skew": (-0.627, 0.579, 0.532),
            "layer_tail": (-0.523, 9.892, 3.382),
            "covered_fine": (-0.984, -0.151, 0.231),
            "covered_coarse": (1.944, 0.000, 0.161),
        },
    ),
}


def residual_score(m: Measures, drops: bool) -> float:
    """Probability that the clean side holds part of the rain, by the logistic scores above."""
    constant, weights = RESIDUAL["drops" if drops else "streaks"]
    total = constant
    for name, (weight, mean, deviation) in weights.items():
        total += weight * float(np.clip((getattr(m, name) - mean) / deviation, -6, 6))
    return float(1 / (1 + np.exp(-total)))


@lru_cache(maxsize=1)
def heads() -> dict[str, dict[str, Any]]:
    """Logistic scores of faults on all measures, "reason/kind of rain" -> middle, spread, weights, limit.

    Fitted by benchmarks.distillation.tune_checks on rendered pairs and training pairs of seven public sets.
    """
    found = json.loads((Path(__file__).parent / "pair_scores.json").read_text())
    return {k: {n: np.asarray(v, np.float64) for n, v in h.items()} for k, h in found.items()}


def identity() -> list[Any]:
    """Version, limits and scores: what a decision depends on besides the pair."""
    return [
        VERSION,
        asdict(DEFAULT),
        fingerprint({k: {n: v.tolist() for n, v in h.items()} for k, h in heads().items()}),
    ]


def scored(m: Measures, drops: bool) -> dict[str, float]:
    """Reason -> score above its limit (positive: the fault is there)."""
    values = np.array(list(asdict(m).values()), np.float64)
    out = {}
    for name, h in heads().items():
        reason, kind = name.split("/")
        if (kind == "drops") == drops:
            z = np.clip((values - h["middle"]) / h["spread"], -6, 6)
            out[reason] = float(np.concatenate([z, np.abs(z), [1.0]]) @ h["weights"] - h["limit"])
    return out


def check(lq: U8, gt: U8, night: bool | None = None, drop: bool | None = None, limits: Limits = DEFAULT) -> Finding:
    """Whether a pair is sound.

    Args:
        lq, gt: (H, W, 3) uint8.
        night: the pair's label, where it has one.
        drop: whether its rain is drops on glass; None is treated as streaks.
        limits: thresholds.

    Returns:
        The first reason that applies, or none.
    """
    if lq.shape != gt.shape:
        return Finding("size-mismatch", f"{lq.shape[1]}x{lq.shape[0]} and {gt.shape[1]}x{gt.shape[0]}")
    if np.array_equal(lq, gt):
        return Finding("identical", "no pixel differs")
    if min(lq.shape[:2]) < 32:
        return Finding(None, "too small to measure")
    return decide(measure(lq, gt), night, drop, limits, min(lq.shape[:2]) >= SCORED)


def corrected(
    lq: U8, gt: U8, night: bool | None = None, drop: bool | None = None
) -> tuple[U8, tuple[float, float]] | None:
    """A clean side whose exposure differs, brought to the rainy side's, and the curve (scale, gamma).

    Returns:
        None where no curve explains the difference, or the pair is unsound all the same.
    """
    a, b = crop(lq), crop(gt)
    found = pair_tone.curve(a, b, _calm(luma(a) - luma(b)))
    if found is None:
        return None
    made = pair_tone.expose(gt, *found)
    return (made, found) if check(lq, made, night, drop).reason is None else None


def decide(
    m: Measures, night: bool | None = None, drop: bool | None = None, limits: Limits = DEFAULT, scores: bool = True
) -> Finding:
    """The rules on measures, in order.

    Args:
        scores: ask the scores of single faults too; they were fitted on pairs of at least ``SCORED`` pixels a side.
    """
    for reason, bad, detail in _rules(m, night, bool(drop), limits, scores):
        if bad:
            return Finding(reason, detail, m)
    return Finding(None, "", m)


def _rules(m: Measures, night: bool | None, drop: bool, t: Limits, scores: bool = True) -> list[tuple[str, bool, str]]:
    shift = t.shift_drops if drop else t.shift  # drops move edges of the scene by themselves
    score = residual_score(m, drop)
    over = scored(m, drop)
    over = over if scores else dict.fromkeys(over, -1.0)
    clearest = max((r for r in over if r != "residual-rain"), key=over.__getitem__)
    lit = (night is True and m.luma > t.night_above) or (night is False and m.luma < t.day_below)
    return [
        ("no-rain", m.change < t.change, f"99 % of the changes are below {m.change:.1f} levels"),
        ("wrong-target", m.likeness < t.likeness and m.edges < t.edges, f"coarse correlation {m.likeness:.2f}"),
        ("misaligned", m.shift > shift and m.moved >= t.moved, f"by {m.shift:.1f} pixels"),
        ("swapped", m.brighter < t.brighter and m.skew < t.skew, f"the rainy side is {-m.brighter:.1f} levels darker"),
        (clearest, over[clearest] > 0, f"score {over[clearest]:.2f} above the limit"),
        (
            "colour-cast",
            m.cast_gain > t.cast_gain and m.cast_level > t.cast_level,
            f"{m.cast_gain:.2f} octaves, {m.cast_level:.0f} levels between channels",
        ),
        ("over-compressed", m.blocks > t.blocks, f"jumps at the 8-pixel grid are {1 + m.blocks:.1f} times the others"),
        (
            "blurred-target",
            m.lost < t.lost and m.sharper < 0,
            f"coherence of fine detail is {m.lost:.2f} of the middle's",
        ),
        (
            "blurred-input",
            m.lost < t.lost_input and m.sharper > t.sharper,
            f"coherence of fine detail is {m.lost:.2f} of the middle's",
        ),
        ("residual-rain", score > t.residual or over["residual-rain"] > 0, f"score {score:.2f}"),
        ("lighting", lit, f"labelled {'night' if night else 'day'}, mean luma {m.luma:.0f}"),
    ]


def names() -> list[str]:
    """Names of the measures."""
    return [f.name for f in fields(Measures)]
