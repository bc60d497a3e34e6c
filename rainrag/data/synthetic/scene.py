"""One clean photograph in, one rainy pair out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rainrag.core.errors import UsageError
from rainrag.core.images import F32, U8, is_night
from rainrag.core.types import Subset
from rainrag.data.synthetic import additive, drops, light, night, streaks
from rainrag.data.synthetic.additive import Overlay
from rainrag.data.synthetic.drops import Glass
from rainrag.data.synthetic.night import Lighting
from rainrag.data.synthetic.streaks import Shower

SMALLEST = 64  # pixels a side: below, a scene has no room for a light field or a depth
MIXED_SHARE = 0.15  # of pictures with drops that show streaks too
HAZY = 0.1  # optical thickness of the veil from which a pair counts as having accumulation

Style = Literal["photo", "additive"]


@dataclass(frozen=True)
class Rendered:
    """A rendered pair.

    Args:
        lq, gt: (H, W, 3) uint8 of equal shape; the target is the photograph as given, or its relit version.
        subset: type of rain; mixed rain belongs to the drops.
        streak, drop, night, accumulation: what was rendered.
        params: every number that was drawn, JSON-able.
    """

    lq: U8
    gt: U8
    subset: Subset
    streak: bool
    drop: bool
    night: bool
    accumulation: bool
    params: dict[str, Any]


def render(
    clean: U8,
    subset: Subset,
    rng: np.random.Generator,
    strength: float | None = None,
    *,
    style: Style = "photo",
    mixed: bool | None = None,
    relight: bool | None = None,
    noise: bool | None = None,
) -> Rendered:
    """Put rain of one type on a clean photograph.

    Args:
        clean: (H, W, 3) uint8, both sides at least 64 pixels.
        rng: the only source of chance.
        strength: from light (0) to heavy (1); None draws it evenly.
        style: ``photo`` composites in linear light; ``additive`` adds a grey layer to code values as the field's
            synthetic day streaks do (DRS only).
        mixed: streaks behind the drops too; None does so for 15 % of pictures with drops.
        relight: turn a day picture into night for NRS and NRD; None does so where the picture is not dark.
        noise: sensor noise on the rainy side at night; None adds a little to half of the pictures.

    Raises:
        UsageError: for a picture that is too small, a strength out of range, or a style that the type has not.
    """
    _check(clean, subset, strength, style)
    amount = float(rng.random()) if strength is None else float(strength)
    dark = subset in (Subset.NRS, Subset.NRD)
    drop = subset in (Subset.DRD, Subset.NRD)
    params: dict[str, Any] = {"strength": amount, "style": style, "relit": False}
    gt = clean
    if dark and (relight if relight is not None else not is_night(clean)):
        gt, params["relit"] = light.encode(night.relight(light.decode(clean), rng)), True
    if style == "additive":
        overlay = Overlay.sample(rng, amount)
        params["overlay"] = asdict(overlay)
        return Rendered(additive.compose(gt, overlay, rng), gt, subset, True, False, False, False, _plain(params))
    streak = not drop or (mixed if mixed is not None else bool(rng.random() < MIXED_SHARE))
    linear = light.decode(gt)
    compose = _by_night if dark else _by_day
    lq, hazy = compose(linear, streak, drop, amount, noise, rng, params)
    return Rendered(light.encode(lq), gt, subset, streak, drop, dark, hazy, _plain(params))


def _check(clean: U8, subset: Subset, strength: float | None, style: str) -> None:
    if clean.ndim != 3 or clean.shape[2] != 3 or clean.dtype != np.uint8 or min(clean.shape[:2]) < SMALLEST:
        raise UsageError(
            f"rain needs an 8-bit RGB picture of at least {SMALLEST} x {SMALLEST} pixels",
            where=f"{clean.dtype} {clean.shape}",
        )
    if strength is not None and not 0 <= strength <= 1:
        raise UsageError("strength runs from 0 (light) to 1 (heavy)", where=strength)
    if style not in ("photo", "additive") or (style == "additive" and subset is not Subset.DRS):
        raise UsageError(f"no style '{style}' for {subset.value}", hint="'photo' for all types, 'additive' for DRS")


def _by_day(
    linear: F32,
    streak: bool,
    drop: bool,
    amount: float,
    noise: bool | None,
    rng: np.random.Generator,
    params: dict[str, Any],
) -> tuple[F32, bool]:
    """The picture in day rain, and whether it is hazy; what was drawn goes to ``params``."""
    hazy = False
    if streak:
        shower = Shower.sample(rng, amount)
        params["shower"] = asdict(shower)
        linear, hazy = streaks.compose(linear, shower, rng), shower.mist > 0 and shower.thickness > HAZY
    if drop:
        glass = Glass.sample(rng, amount)
        params["glass"] = asdict(glass)
        linear = drops.compose(linear, glass, rng)
    return linear, hazy


def _by_night(
    linear: F32,
    streak: bool,
    drop: bool,
    amount: float,
    noise: bool | None,
    rng: np.random.Generator,
    params: dict[str, Any],
) -> tuple[F32, bool]:
    """The picture in night rain; glare is no veil, so it never counts as hazy."""
    lighting = Lighting.sample(rng, amount, noise)
    params["lighting"] = asdict(lighting)
    sources = night.lamps(linear, lighting)
    if streak:
        shower = Shower.sample(rng, amount, night=True)
        params["shower"] = asdict(shower)
        linear = night.compose_streaks(linear, sources, shower, lighting, rng)
    if drop:
        glass = Glass.sample(rng, amount, night=True)
        params["glass"] = asdict(glass)
        linear = night.compose_drops(linear, sources, glass, lighting, rng)
    return night.noise(linear, lighting, rng), False


def _plain(value: Any) -> Any:
    """Numbers as plain Python with six digits, so that records read well and compare equal."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
