"""Planted faults: each damages a sound rendered pair in one known way.

They are the ground truth on which distillation is measured. A fault concerns the *pair* (comparing the two sides, or
the picture with its label, shows it: the gate's task) or the *rain* (both sides are sound, only the rain is not like
real rain: the vote's task).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.images import U8, decode, encode_jpeg
from rainrag.core.types import Subset
from rainrag.data.synthetic import additive
from rainrag.data.synthetic.additive import Overlay
from rainrag.data.synthetic.scene import Rendered

Kind = Literal["pair", "rain"]

#: name -> what was done: the closed list.
FAULTS: dict[str, str] = {
    "misaligned": "the target is shifted by 2 to 8 pixels, turned by 0.7 to 2 degrees or scaled by 1.5 to 3 %",
    "residual-rain": "30 to 70 % of the rain is still in the target",
    "wrong-target": "the target shows another scene, or another part of the same one where there is no other",
    "cartoon-streaks": "hard-edged, saturated, parallel strokes of equal length and width instead of rain",
    "pasted-streaks": "one small tile of streaks repeated over the whole picture",
    "implausible-drops": "flat discs and rings that refract nothing, evenly coloured and sharp, instead of drops",
    "over-compression": "the rainy side went through JPEG at quality 5 to 15",
    "colour-cast": "the target has another white balance than the rainy side",
    "day-labelled-night": "the label says night for a day picture, or day for a night picture",
    "blurred": "one side is blurred by 1.5 to 3 pixels",
    "rescaled": "one side was shrunk 2 to 4 times and enlarged again",
    "clean-input": "the rainy side is the clean one, encoded again as JPEG",
    "swapped": "the rainy and the clean side are exchanged",
}

_RAIN = ("cartoon-streaks", "pasted-streaks", "implausible-drops")

#: name -> who can see it.
FAULT_KIND: dict[str, Kind] = {name: "rain" if name in _RAIN else "pair" for name in FAULTS}

_DARK = {Subset.DRS: Subset.NRS, Subset.DRD: Subset.NRD, Subset.NRS: Subset.DRS, Subset.NRD: Subset.DRD}


def possible(subset: Subset) -> tuple[str, ...]:
    """Faults that make sense for a type: false streaks for streaks, false drops for drops, the rest for all."""
    other = ("implausible-drops",) if subset in (Subset.DRS, Subset.NRS) else ("cartoon-streaks", "pasted-streaks")
    return tuple(name for name in FAULTS if name not in other)


def plant(pair: Rendered, fault: str, rng: np.random.Generator, donors: Sequence[U8] = ()) -> Rendered:
    """Damage a sound pair in one way.

    Args:
        fault: a name of ``FAULTS``.
        rng: the only source of chance.
        donors: clean pictures of other scenes, for ``wrong-target``.

    Returns:
        The damaged pair; its subset is the (then false) label for ``day-labelled-night``.

    Raises:
        UsageError: for an unknown fault, or one that the pair's type cannot have.
    """
    if fault not in FAULTS:
        raise UsageError(f"no fault '{fault}'", hint=did_you_mean(fault, list(FAULTS)))
    if fault not in possible(pair.subset):
        raise UsageError(f"fault '{fault}' does not fit {pair.subset.value}")
    if fault == "wrong-target":
        return replace(pair, gt=_wrong_target(pair.gt, rng, donors))
    return _PLANT[fault](pair, rng)


def naive_overlay(clean: U8, rng: np.random.Generator) -> U8:
    """Crude rain: uniform white lines at one angle, with no physics. A yardstick for judges of rain."""
    h, w = clean.shape[:2]
    return _lines(
        clean,
        rng,
        count=int(h * w * rng.uniform(0.001, 0.004)),
        length=rng.uniform(0.03, 0.08) * h,
        width=1,
        value=255.0,
        opacity=float(rng.uniform(0.4, 0.8)),
    )


def _lines(
    clean: U8, rng: np.random.Generator, *, count: int, length: float, width: int, value: float, opacity: float
) -> U8:
    """Parallel lines of one length, width and brightness, without antialiasing."""
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    angle = np.radians(rng.uniform(-25, 25))
    dx, dy = length * np.sin(angle), length * np.cos(angle)
    for x, y in rng.uniform((-0.1 * w, -length), (1.1 * w, h), (count, 2)):
        cv2.line(mask, (round(x), round(y)), (round(x + dx), round(y + dy)), 255, width, cv2.LINE_8)
    weight = (mask[..., None] > 0) * np.float32(opacity)
    return np.asarray(np.round(clean + weight * (np.float32(value) - clean)), np.uint8)


# ---------------------------------------------------------------- the pair
def _misaligned(pair: Rendered, rng: np.random.Generator) -> Rendered:
    h, w = pair.gt.shape[:2]
    kind = rng.choice(["shift", "shift", "turn", "scale"])
    angle, scale, dx, dy = 0.0, 1.0, 0.0, 0.0
    if kind == "shift":
        size, way = rng.uniform(2, 8), rng.uniform(0, 2 * np.pi)
        dx, dy = size * np.cos(way), size * np.sin(way)
    elif kind == "turn":
        angle = float(rng.choice([-1, 1]) * rng.uniform(0.7, 2))
    else:
        scale = float(1 + rng.choice([-1, 1]) * rng.uniform(0.015, 0.03))
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, scale)
    matrix[:, 2] += (dx, dy)
    moved = cv2.warpAffine(pair.gt, matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return replace(pair, gt=np.asarray(moved, np.uint8))


def _residual_rain(pair: Rendered, rng: np.random.Generator) -> Rendered:
    share = np.float32(rng.uniform(0.3, 0.7))
    mixed = pair.gt + share * (pair.lq.astype(np.float32) - pair.gt)
    return replace(pair, gt=np.asarray(np.clip(np.round(mixed), 0, 255), np.uint8))


def _wrong_target(gt: U8, rng: np.random.Generator, donors: Sequence[U8]) -> U8:
    h, w = gt.shape[:2]
    if not donors:
        return np.ascontiguousarray(np.roll(gt, (h // 3, w // 3), (0, 1))[:, ::-1])
    donor = donors[int(rng.integers(len(donors)))]
    scale = max(h / donor.shape[0], w / donor.shape[1])
    if scale > 1:
        size = (max(w, round(donor.shape[1] * scale)), max(h, round(donor.shape[0] * scale)))
        donor = np.asarray(cv2.resize(donor, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    y, x = int(rng.integers(donor.shape[0] - h + 1)), int(rng.integers(donor.shape[1] - w + 1))
    return np.ascontiguousarray(donor[y : y + h, x : x + w])


def _over_compression(pair: Rendered, rng: np.random.Generator) -> Rendered:
    return replace(pair, lq=_jpeg(pair.lq, int(rng.integers(5, 16))))


def _jpeg(rgb: U8, quality: int) -> U8:
    return decode(encode_jpeg(rgb, quality)).rgb


def _colour_cast(pair: Rendered, rng: np.random.Generator) -> Rendered:
    warm = rng.random() < 0.5
    up, down = rng.uniform(1.12, 1.3), rng.uniform(0.72, 0.88)
    gain = np.array([up, rng.uniform(0.94, 1.06), down] if warm else [down, rng.uniform(0.94, 1.06), up], np.float32)
    return replace(pair, gt=np.asarray(np.clip(np.round(pair.gt * gain), 0, 255), np.uint8))


def _relabelled(pair: Rendered, rng: np.random.Generator) -> Rendered:
    return replace(pair, subset=_DARK[pair.subset], night=not pair.night)


def _one_side(pair: Rendered, rng: np.random.Generator, change: Callable[[U8], U8]) -> Rendered:
    """Change the target or, as often, the rainy side."""
    return replace(pair, gt=change(pair.gt)) if rng.random() < 0.5 else replace(pair, lq=change(pair.lq))


def _blurred(pair: Rendered, rng: np.random.Generator) -> Rendered:
    sigma = float(rng.uniform(1.5, 3))
    return _one_side(pair, rng, lambda x: np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.uint8))


def _rescaled(pair: Rendered, rng: np.random.Generator) -> Rendered:
    h, w = pair.gt.shape[:2]
    factor = float(rng.uniform(2, 4))
    small = (max(1, round(w / factor)), max(1, round(h / factor)))

    def change(x: U8) -> U8:
        less = cv2.resize(x, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(less, (w, h), interpolation=cv2.INTER_CUBIC), np.uint8)

    return _one_side(pair, rng, change)


def _clean_input(pair: Rendered, rng: np.random.Generator) -> Rendered:
    return replace(pair, lq=_jpeg(pair.gt, int(rng.integers(88, 97))))


def _swapped(pair: Rendered, rng: np.random.Generator) -> Rendered:
    return replace(pair, lq=pair.gt, gt=pair.lq)


# ---------------------------------------------------------------- the rain
def _cartoon(pair: Rendered, rng: np.random.Generator) -> Rendered:
    h, w = pair.gt.shape[:2]
    lq = _lines(
        pair.gt,
        rng,
        count=int(h * w * rng.uniform(0.0006, 0.002)),
        length=rng.uniform(0.06, 0.14) * h,
        width=int(rng.integers(2, 4)),
        value=float(rng.uniform(225, 255)),
        opacity=1.0,
    )
    return replace(pair, lq=lq)


def _pasted(pair: Rendered, rng: np.random.Generator) -> Rendered:
    h, w = pair.gt.shape[:2]
    side = int(rng.integers(56, 97))
    overlay = replace(Overlay.sample(rng, float(rng.uniform(0.35, 0.7))), length=0.3 * side)
    tile = additive.layer(overlay, (side, side), rng)
    layer = np.tile(tile, (h // side + 1, w // side + 1))[:h, :w]
    return replace(pair, lq=np.asarray(np.clip(np.round(pair.gt + layer[..., None]), 0, 255), np.uint8))


def _flat_drops(pair: Rendered, rng: np.random.Generator) -> Rendered:
    h, w = pair.gt.shape[:2]
    lq = pair.gt.copy()
    radius = int(max(3, rng.uniform(0.02, 0.06) * min(h, w)))
    shade = int(rng.integers(120, 256))
    thickness = -1 if rng.random() < 0.6 else max(1, radius // 4)
    for _ in range(int(rng.integers(15, 60))):
        centre = (int(rng.integers(w)), int(rng.integers(h)))
        cv2.circle(lq, centre, radius, (shade, shade, min(255, shade + 8)), thickness, cv2.LINE_8)
    return replace(pair, lq=lq)


_PLANT: dict[str, Callable[[Rendered, np.random.Generator], Rendered]] = {
    "misaligned": _misaligned,
    "residual-rain": _residual_rain,
    "cartoon-streaks": _cartoon,
    "pasted-streaks": _pasted,
    "implausible-drops": _flat_drops,
    "over-compression": _over_compression,
    "colour-cast": _colour_cast,
    "day-labelled-night": _relabelled,
    "blurred": _blurred,
    "rescaled": _rescaled,
    "clean-input": _clean_input,
    "swapped": _swapped,
}
