"""False rain: pictures of rain as an image editor, a plot or a careless script makes them, each kind by name.

What a judge of rain must turn away. ``draw`` puts one kind on a clean photograph; the clean photograph itself is the
sound target, so only the rain is false. Numbers are drawn over wide ranges, that a judge cannot learn one drawing. The
kinds are split in two: ``TUNED`` may be trained and tuned on, ``HELD_OUT`` only measured (docs/measured.md). ``dry``
belongs to neither: no rain at all, the control.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.images import F32, U8
from rainrag.data.synthetic import additive
from rainrag.data.synthetic.additive import Overlay

VERSION = 1
SMALLEST = 64  # pixels a side
VISIBLE, TRIES = 10, 20  # levels that 1 % of the pixels must change by, or it is drawn again, at most so often

#: name -> what is drawn: the closed list.
KINDS: dict[str, str] = {
    "thin-lines": "thin half-transparent white lines, all of one angle, length and opacity",
    "coloured-streaks": "streaks in saturated colours that no light of the scene has",
    "blurred-noise": "an image editor's recipe: noise, a threshold, motion blur, blended by 'screen' or 'lighten'",
    "dark-streaks": "streaks that darken what lies behind them",
    "tiled-overlay": "one small tile of streaks repeated over the picture",
    "opaque-lines": "opaque white strokes with hard edges",
    "snow-dots": "soft white dots of several sizes, as falling snow",
    "grid-dots": "equal dots on a regular grid",
    "painted-drops": "ellipses with a painted rim and highlight that refract nothing",
    "gaussian-noise": "white noise of the sensor kind, far too strong",
    "veil": "a grey veil, without any streak or drop",
    "stripes": "slanting stripes of one period over the whole picture",
    "smear": "the picture's own highlights smeared along one direction",
    "random-strokes": "straight strokes of one random width, colour, edge and blending",
    "random-shapes": "flat discs, rings and boxes of random size, colour and opacity in place of drops",
    "random-texture": "noise of a random spectrum, blended over the picture",
    "blocky-lines": "lines drawn at a third of the size and enlarged without smoothing",
    "crossed-lines": "lines in every direction",
    "scratches": "a few very long, crooked scratches and hairs, as on old film",
    "blurred-discs": "soft bright or grey discs in place of drops",
    "coloured-screen": "blurred noise and a blue or purple tint, blended by 'screen'",
    "tapered-strokes": "clip-art drops: hard wedges that widen downwards",
    "wavy-lines": "sine-shaped lines",
    "dash-lattice": "equal dashes in rows, each row shifted by half a step",
    "glass-blobs": "thresholded clouds that brighten the picture, in place of water on glass",
}
DRY = "dry"

#: Kinds that the shipped voter and every threshold may have seen.
TUNED = (
    "thin-lines", "coloured-streaks", "blurred-noise", "dark-streaks", "tiled-overlay", "opaque-lines", "snow-dots",
    "grid-dots", "painted-drops", "gaussian-noise", "veil", "stripes", "smear", "random-strokes", "random-shapes",
    "random-texture",
)  # fmt: skip
#: Kinds that are only ever measured on.
HELD_OUT = tuple(k for k in KINDS if k not in TUNED)
#: Kinds in place of drops on glass; the others are in place of falling rain.
DROPS = ("painted-drops", "random-shapes", "blurred-discs", "glass-blobs")


def draw(clean: U8, kind: str, rng: np.random.Generator) -> U8:
    """False rain of one kind on a clean photograph.

    Args:
        clean: (H, W, 3) uint8, at least 64 pixels a side.
        kind: a name of ``KINDS``, or ``dry``: the photograph as it is.
        rng: the only source of chance.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UsageError: for an unknown kind or a picture that is too small.
    """
    if kind != DRY and kind not in KINDS:
        raise UsageError(f"no false rain '{kind}'", hint=did_you_mean(kind, [*KINDS, DRY]))
    if clean.ndim != 3 or clean.shape[2] != 3 or clean.dtype != np.uint8 or min(clean.shape[:2]) < SMALLEST:
        raise UsageError(
            f"false rain needs an 8-bit RGB picture of at least {SMALLEST} x {SMALLEST} pixels",
            where=f"{clean.dtype} {clean.shape}",
        )
    if kind == DRY:
        return clean.copy()
    for _ in range(TRIES):
        drawn = _DRAW[kind](clean, rng)
        change = np.abs(drawn.astype(np.int16) - clean).max(axis=2)
        if np.percentile(change, 99) >= VISIBLE:
            break
    return drawn


# ---------------------------------------------------------------- tools
def _u8(x: Any) -> U8:
    return np.asarray(np.clip(np.round(x), 0, 255), np.uint8)


def _over(clean: U8, mask: Any, colour: F32 | float, opacity: float) -> U8:
    """A layer of one colour (0..255) over the picture; ``mask`` is (H, W) in [0, 1]."""
    weight = (np.asarray(mask, np.float32) * np.float32(opacity))[..., None]
    return _u8(clean + weight * (np.asarray(colour, np.float32) - clean))


def _screen(clean: U8, layer: Any) -> U8:
    """The editor's 'screen': (H, W) or (H, W, 3) layer in [0, 1]."""
    layer = layer[..., None] if layer.ndim == 2 else layer
    return _u8(255 - (255 - clean.astype(np.float32)) * (1 - np.clip(layer, 0, 1)))


def _strokes(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    count: int,
    length: tuple[float, float],
    angle: tuple[float, float],
    width: tuple[int, int] = (1, 1),
    smooth: bool = True,
) -> F32:
    """(H, W) mask of straight strokes; lengths in pixels, angles from the vertical in degrees, each drawn evenly."""
    h, w = shape[:2]
    mask = np.zeros((h, w), np.uint8)
    ends = rng.uniform((-0.1 * w, -0.1 * h), (1.1 * w, 1.1 * h), (count, 2))
    sizes, ways = rng.uniform(*length, count), np.radians(rng.uniform(*angle, count))
    widths = rng.integers(width[0], width[1] + 1, count)
    style = cv2.LINE_AA if smooth else cv2.LINE_8
    for (x, y), size, way, thick in zip(ends, sizes, ways, widths, strict=True):
        end = (round(x + size * np.sin(way)), round(y + size * np.cos(way)))
        cv2.line(mask, (round(x), round(y)), end, 255, int(thick), style)
    return np.asarray(mask / np.float32(255), np.float32)


def _count(shape: tuple[int, ...], rng: np.random.Generator, low: float, high: float, each: float) -> int:
    """Number of things of ``each`` pixels; the share that they cover together is drawn on a logarithmic scale."""
    covered = shape[0] * shape[1] * np.exp(rng.uniform(np.log(low), np.log(high)))
    return max(8, int(1.44 * covered / each))  # a fifth of either axis lies outside: 1.2 * 1.2


def _one_way(rng: np.random.Generator, most: float = 30) -> tuple[float, float]:
    way = float(rng.uniform(-most, most))
    return way, way


def _motion(noise: F32, length: int, degrees: float) -> F32:
    """Motion blur along a direction from the vertical."""
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    reach = middle * np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    start, end = (middle - reach).round().astype(int), (middle + reach).round().astype(int)
    cv2.line(kernel, tuple(int(v) for v in start), tuple(int(v) for v in end), 1.0, 1, cv2.LINE_AA)
    return np.asarray(cv2.filter2D(noise, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.float32)


def _streak_noise(shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """(H, W) of the editor's recipe in [0, 1]: noise, sometimes coarser, thresholded or not, blurred, contrast up."""
    h, w = shape[:2]
    coarse = float(rng.choice([1.0, 1.0, 1.5, 2.0]))
    noise = rng.standard_normal((int(h / coarse) + 1, int(w / coarse) + 1)).astype(np.float32)
    noise = np.asarray(cv2.resize(noise, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)
    if rng.random() < 0.7:
        noise = np.maximum(noise - np.float32(np.quantile(noise, rng.uniform(0.6, 0.985))), 0)
    streaks = _motion(noise, int(rng.integers(11, 46)), float(rng.uniform(-30, 30)))
    low, high = np.quantile(streaks, [rng.uniform(0.3, 0.75), 0.99])
    return np.asarray(np.clip((streaks - low) / (high - low + 1e-6), 0, 1), np.float32)


def _saturated(rng: np.random.Generator) -> F32:
    """A bright, saturated colour."""
    hsv = np.array([[[rng.integers(180), rng.integers(170, 256), rng.integers(200, 256)]]], np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


# ---------------------------------------------------------------- kinds to tune on
def _thin_lines(clean: U8, rng: np.random.Generator) -> U8:
    h = clean.shape[0]
    length = float(rng.uniform(0.03, 0.12) * h)
    mask = _strokes(clean.shape, rng, _count(clean.shape, rng, 0.02, 0.1, length), (length, length), _one_way(rng))
    return _over(clean, mask, float(rng.uniform(200, 255)), float(rng.uniform(0.2, 0.65)))


def _coloured_streaks(clean: U8, rng: np.random.Generator) -> U8:
    h = clean.shape[0]
    out = clean
    for _ in range(int(rng.integers(1, 4))):
        length = float(rng.uniform(0.03, 0.12) * h)
        mask = _strokes(
            clean.shape,
            rng,
            _count(clean.shape, rng, 0.02, 0.06, length),
            (0.6 * length, 1.4 * length),
            _one_way(rng),
            (1, 2),
        )
        out = _over(out, cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.0)), _saturated(rng), rng.uniform(0.4, 0.9))
    return out


def _blurred_noise(clean: U8, rng: np.random.Generator) -> U8:
    layer = _streak_noise(clean.shape, rng)
    if rng.random() < 0.3:
        return _u8(np.maximum(clean, 255 * np.float32(rng.uniform(0.75, 1)) * layer[..., None]))
    return _screen(clean, layer * np.float32(rng.uniform(0.25, 0.8)))


def _dark_streaks(clean: U8, rng: np.random.Generator) -> U8:
    if rng.random() < 0.4:
        layer = _streak_noise(clean.shape, rng) * np.float32(rng.uniform(0.3, 0.8))
        return _u8(clean * (1 - layer[..., None]))
    length = float(rng.uniform(0.03, 0.12) * clean.shape[0])
    mask = _strokes(
        clean.shape, rng, _count(clean.shape, rng, 0.03, 0.1, length), (0.6 * length, 1.4 * length), _one_way(rng)
    )
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
    return _over(clean, soft, float(rng.uniform(0, 60)), float(rng.uniform(0.35, 0.9)))


def _tiled_overlay(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    side = int(rng.integers(48, 129))
    overlay = Overlay.sample(rng, float(rng.uniform(0.3, 0.7)))
    tile = additive.layer(overlay, (side, side), rng)
    if rng.random() < 0.5:
        tile = 160 * _streak_noise((side, side), rng)
    layer = np.tile(tile, (h // side + 1, w // side + 1))[:h, :w]
    return _u8(clean + layer[..., None])


def _opaque_lines(clean: U8, rng: np.random.Generator) -> U8:
    length = float(rng.uniform(0.04, 0.16) * clean.shape[0])
    mask = _strokes(
        clean.shape, rng, _count(clean.shape, rng, 0.02, 0.06, length), (length, length), _one_way(rng), (1, 3), False
    )
    return _over(clean, mask, float(rng.uniform(220, 255)), 1.0)


def _snow_dots(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    out = clean
    for size in np.exp(rng.uniform(np.log(1), np.log(5), int(rng.integers(2, 5)))):
        mask = np.zeros((h, w), np.float32)
        for x, y in rng.uniform(0, (w, h), (_count(clean.shape, rng, 0.005, 0.03, 3 * size**2), 2)):
            cv2.circle(mask, (int(x), int(y)), max(1, round(size)), 1.0, -1, cv2.LINE_AA)
        out = _over(out, cv2.GaussianBlur(mask, (0, 0), 0.4 + 0.4 * size), 255.0, float(rng.uniform(0.5, 0.95)))
    return out


def _grid_dots(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    step, radius = int(rng.integers(7, 24)), float(rng.uniform(1, 4))
    y, x = np.mgrid[:h, :w]
    away = np.hypot((x % step) - step / 2, (y % step) - step / 2)
    mask = np.clip(radius + 0.5 - away, 0, 1).astype(np.float32)
    return _over(clean, mask, float(rng.uniform(180, 255)), float(rng.uniform(0.3, 1.0)))


def _painted_drops(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    out = clean.copy()
    shade, opacity = float(rng.uniform(120, 255)), float(rng.uniform(0.15, 0.7))
    for _ in range(int(rng.integers(12, 90))):
        radius = float(np.exp(rng.uniform(np.log(0.012), np.log(0.07)))) * min(h, w)
        centre = (int(rng.integers(w)), int(rng.integers(h)))
        axes = (max(2, round(radius)), max(2, round(radius * rng.uniform(0.8, 1.6))))
        body, rim, light = (np.zeros((h, w), np.uint8) for _ in range(3))
        cv2.ellipse(body, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(rim, centre, axes, 0, 0, 360, 255, max(1, axes[0] // 8), cv2.LINE_AA)
        spot = (centre[0] - axes[0] // 3, centre[1] - axes[1] // 3)
        cv2.ellipse(light, spot, (max(1, axes[0] // 4), max(1, axes[1] // 5)), 30, 0, 360, 255, -1, cv2.LINE_AA)
        out = _over(out, body.astype(np.float32) / 255, shade, opacity)
        out = _over(out, rim.astype(np.float32) / 255, 0.5 * shade, 0.7 * opacity)
        out = _over(out, light.astype(np.float32) / 255, 255.0, 0.9)
    return out


def _gaussian_noise(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    grey = rng.random() < 0.5
    noise = rng.standard_normal((h, w, 1 if grey else 3)).astype(np.float32)
    return _u8(clean + np.float32(rng.uniform(12, 45)) * noise)


def _veil(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    slope = np.linspace(float(rng.uniform(0.3, 1.0)), 1.0, h, dtype=np.float32)[:: int(rng.choice([-1, 1]))]
    mask = np.repeat(slope[:, None], w, axis=1)
    return _over(clean, mask, float(rng.uniform(150, 245)), float(rng.uniform(0.2, 0.65)))


def _stripes(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    way = np.radians(rng.uniform(-35, 35))
    phase = (x * np.cos(way) - y * np.sin(way)) * np.float32(2 * np.pi / rng.uniform(5, 24))
    wave = np.maximum(np.sin(phase), 0) ** np.float32(rng.uniform(1, 6))
    return _over(clean, wave.astype(np.float32), float(rng.uniform(190, 255)), float(rng.uniform(0.2, 0.6)))


def _smear(clean: U8, rng: np.random.Generator) -> U8:
    x = clean.astype(np.float32)
    bright = np.maximum(x - np.float32(np.quantile(x, rng.uniform(0.5, 0.85))), 0) * np.float32(rng.uniform(1.5, 4))
    length, way = int(rng.integers(15, 60)), float(rng.uniform(-30, 30))
    layer = np.stack([_motion(np.ascontiguousarray(bright[..., c]), length, way) for c in range(3)], axis=-1)
    return _screen(clean, layer / 255)


def _blend(clean: U8, mask: F32, colour: F32, how: str) -> U8:
    """A coloured mask in [0, 1] over the picture: ``over``, ``add``, ``screen``, ``lighten`` or ``multiply``."""
    layer = mask[..., None] * colour
    if how == "over":
        return _over(clean, mask, colour, 1.0)
    if how == "add":
        return _u8(clean + layer)
    if how == "screen":
        return _screen(clean, layer / 255)
    if how == "lighten":
        return _u8(np.maximum(clean, layer))
    return _u8(clean * (1 - mask[..., None] * (1 - colour / 255)))


def _any_colour(rng: np.random.Generator) -> F32:
    """Grey more often than coloured."""
    if rng.random() < 0.65:
        return np.full(3, rng.uniform(110, 255), np.float32) + rng.normal(0, 6, 3).astype(np.float32)
    return np.asarray(rng.uniform(0, 255, 3), np.float32)


def _random_strokes(clean: U8, rng: np.random.Generator) -> U8:
    h = clean.shape[0]
    length, way, spread = float(rng.uniform(0.02, 0.3) * h), float(rng.uniform(-50, 50)), float(rng.uniform(0, 6))
    vary, width = float(rng.uniform(0, 0.3)), int(rng.integers(1, 6))
    count = _count(clean.shape, rng, 0.02, 0.15, length * width)
    mask = _strokes(
        clean.shape,
        rng,
        count,
        ((1 - vary) * length, (1 + vary) * length),
        (way - spread, way + spread),
        (width, width),
        bool(rng.random() < 0.7),
    )
    if rng.random() < 0.4:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.5)), np.float32)
    how = str(rng.choice(["over", "over", "add", "screen", "lighten", "multiply"]))
    return _blend(clean, mask * np.float32(rng.uniform(0.25, 1)), _any_colour(rng), how)


def _random_shapes(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    shape, size = str(rng.choice(["disc", "ring", "box"])), float(rng.uniform(0.01, 0.06)) * min(h, w)
    vary = float(rng.uniform(0, 0.8))
    for x, y in rng.uniform(0, (w, h), (int(rng.integers(15, 120)), 2)).astype(int).tolist():
        r = max(2, round(size * rng.uniform(1 - vary, 1 + vary)))
        if shape == "box":
            cv2.rectangle(mask, (x - r, y - r), (x + r, y + r), 255, -1)
        else:
            cv2.circle(mask, (x, y), r, 255, -1 if shape == "disc" else max(1, r // 3), cv2.LINE_AA)
    opacity = np.float32(rng.uniform(0.2, 1) / 255)
    return _blend(clean, mask * opacity, _any_colour(rng), str(rng.choice(["over", "add", "screen", "multiply"])))


def _random_texture(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    slope, stretch, way = float(rng.uniform(0, 2)), float(np.exp(rng.uniform(0, 3))), np.radians(rng.uniform(-40, 40))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    along, across = fx * np.sin(way) + fy * np.cos(way), fx * np.cos(way) - fy * np.sin(way)
    radius = np.sqrt((stretch * along) ** 2 + across**2) + 1 / max(h, w)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((h, w))) * radius**-slope, s=(h, w))
    z = (noise - noise.mean()) / noise.std()
    mask = np.clip(z * rng.uniform(0.1, 0.5) + rng.uniform(-0.2, 0.2), 0, 1).astype(np.float32)
    return _blend(clean, mask, _any_colour(rng), str(rng.choice(["over", "add", "screen", "multiply"])))


# ---------------------------------------------------------------- kinds held out
def _blocky_lines(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    factor = int(rng.integers(2, 5))
    small = (h // factor + 1, w // factor + 1)
    length = float(rng.uniform(0.04, 0.14) * small[0])
    mask = _strokes(
        small, rng, _count(small, rng, 0.04, 0.12, length), (0.7 * length, 1.3 * length), _one_way(rng), smooth=False
    )
    large = np.kron(mask, np.ones((factor, factor), np.float32))[:h, :w]
    return _over(clean, large, float(rng.uniform(190, 255)), float(rng.uniform(0.35, 0.9)))


def _crossed_lines(clean: U8, rng: np.random.Generator) -> U8:
    length = float(rng.uniform(0.03, 0.14) * clean.shape[0])
    mask = _strokes(
        clean.shape, rng, _count(clean.shape, rng, 0.02, 0.1, length), (0.5 * length, 1.5 * length), (-180, 180), (1, 2)
    )
    return _over(clean, mask, float(rng.uniform(200, 255)), float(rng.uniform(0.25, 0.8)))


def _scratches(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    for _ in range(int(rng.integers(10, 45))):
        steps = int(rng.integers(6, 30))
        turn = np.cumsum(rng.normal(0, rng.uniform(0.02, 0.35), steps))
        stride = float(rng.uniform(0.02, 0.12)) * h
        x = rng.uniform(0, w) + np.cumsum(stride * np.sin(turn))
        y = rng.uniform(-0.3, 0.8) * h + np.cumsum(stride * np.cos(turn))
        cv2.polylines(mask, [np.stack([x, y], 1).round().astype(np.int32)], False, 255, 1, cv2.LINE_AA)
    return _over(clean, mask.astype(np.float32) / 255, float(rng.uniform(200, 255)), float(rng.uniform(0.4, 0.95)))


def _blurred_discs(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    out = clean
    for _ in range(int(rng.integers(1, 4))):
        radius = max(3, round(float(rng.uniform(0.015, 0.08)) * min(h, w)))
        mask = np.zeros((h, w), np.float32)
        for x, y in rng.uniform(0, (w, h), (int(rng.integers(8, 40)), 2)):
            cv2.circle(mask, (int(x), int(y)), radius, 1.0, -1, cv2.LINE_AA)
        soft = cv2.GaussianBlur(mask, (0, 0), radius * float(rng.uniform(0.2, 0.5)))
        out = _over(out, soft, float(rng.uniform(130, 255)), float(rng.uniform(0.3, 0.7)))
    return out


def _coloured_screen(clean: U8, rng: np.random.Generator) -> U8:
    tint = np.array([rng.uniform(0.0, 0.6), rng.uniform(0.1, 0.6), rng.uniform(0.8, 1.0)], np.float32)
    streaks = _streak_noise(clean.shape, rng) * np.float32(rng.uniform(0.3, 0.8))
    return _screen(clean, (streaks[..., None] + np.float32(rng.uniform(0.02, 0.2))) * tint)


def _tapered_strokes(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    length, way = float(rng.uniform(0.03, 0.1) * h), np.radians(rng.uniform(-25, 25))
    along = np.array([np.sin(way), np.cos(way)])
    across = np.array([np.cos(way), -np.sin(way)]) * length * rng.uniform(0.06, 0.16)
    for start in rng.uniform((0, -length), (w, h), (_count(clean.shape, rng, 0.02, 0.08, 0.12 * length**2), 2)):
        foot = start + length * along
        points = np.stack([start, foot + across, foot - across]).round().astype(np.int32)
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_AA)
        cv2.circle(
            mask, tuple(int(v) for v in foot.round()), max(1, round(float(np.hypot(*across)))), 255, -1, cv2.LINE_AA
        )
    return _over(clean, mask.astype(np.float32) / 255, float(rng.uniform(190, 255)), float(rng.uniform(0.4, 0.95)))


def _wavy_lines(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    length, size = float(rng.uniform(0.08, 0.3) * h), float(rng.uniform(1.5, 6))
    period, way = float(rng.uniform(0.04, 0.12) * h), float(rng.uniform(-0.5, 0.5))
    t = np.linspace(0, length, 24)
    for x, y in rng.uniform((0, -length / 2), (w, h), (_count(clean.shape, rng, 0.02, 0.08, length), 2)):
        px = x + way * t + size * np.sin(2 * np.pi * t / period)
        cv2.polylines(mask, [np.stack([px, y + t], 1).round().astype(np.int32)], False, 255, 1, cv2.LINE_AA)
    return _over(clean, mask.astype(np.float32) / 255, float(rng.uniform(200, 255)), float(rng.uniform(0.3, 0.8)))


def _dash_lattice(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    length, way = float(rng.uniform(0.03, 0.08) * h), float(rng.uniform(-0.5, 0.5))
    step_x, step_y = int(rng.integers(8, 30)), int(length * rng.uniform(1.3, 2.5)) + 2
    for row, y in enumerate(range(-step_y, h, step_y)):
        for x in range(-step_x * (row % 2) // 2, w, step_x):
            cv2.line(mask, (x, y), (round(x + way * length), round(y + length)), 255, 1, cv2.LINE_AA)
    return _over(clean, mask.astype(np.float32) / 255, float(rng.uniform(190, 255)), float(rng.uniform(0.3, 0.8)))


def _glass_blobs(clean: U8, rng: np.random.Generator) -> U8:
    h, w = clean.shape[:2]
    clouds = cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32), (0, 0), float(rng.uniform(4, 12)))
    limit = np.quantile(clouds, rng.uniform(0.7, 0.92))
    soft = float(clouds.std() * rng.uniform(0.05, 0.4))
    mask = np.clip((clouds - limit) / soft, 0, 1).astype(np.float32)
    return _over(clean, mask, float(rng.uniform(140, 255)), float(rng.uniform(0.2, 0.6)))


_DRAW: dict[str, Callable[[U8, np.random.Generator], U8]] = {
    "thin-lines": _thin_lines,
    "coloured-streaks": _coloured_streaks,
    "blurred-noise": _blurred_noise,
    "dark-streaks": _dark_streaks,
    "tiled-overlay": _tiled_overlay,
    "opaque-lines": _opaque_lines,
    "snow-dots": _snow_dots,
    "grid-dots": _grid_dots,
    "painted-drops": _painted_drops,
    "gaussian-noise": _gaussian_noise,
    "veil": _veil,
    "stripes": _stripes,
    "smear": _smear,
    "random-strokes": _random_strokes,
    "random-shapes": _random_shapes,
    "random-texture": _random_texture,
    "blocky-lines": _blocky_lines,
    "crossed-lines": _crossed_lines,
    "scratches": _scratches,
    "blurred-discs": _blurred_discs,
    "coloured-screen": _coloured_screen,
    "tapered-strokes": _tapered_strokes,
    "wavy-lines": _wavy_lines,
    "dash-lattice": _dash_lattice,
    "glass-blobs": _glass_blobs,
}
