"""Rain streaks in a photograph: falling drops, seen through a lens during an exposure.

Sizes, speeds, widths, lengths and opacities of the streaks follow from the rain rate and the camera; nothing is drawn
by hand. Sources: Garg and Nayar, "Vision and Rain", IJCV 75 (2007), and "Photorealistic rendering of rain streaks",
SIGGRAPH 2006; Marshall and Palmer (1948); Atlas et al. (1973). docs/rendered-rain.md has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rainrag.core.images import F32
from rainrag.data.synthetic import light, physics
from rainrag.data.synthetic.raster import Strokes, draw

NEAREST = 0.3  # m: closer drops are blurred beyond notice
_MOST = 0.03  # strokes a pixel; the finest drops beyond that are part of the veil
_FINEST = 0.3  # pixels: thinner drops add no visible streak
_PIXEL = 0.45  # pixels: standard deviation of the sensor's and demosaicing's own blur
_DROP_LIGHT = 0.94  # share of the light from its field of view that a drop passes on (Garg and Nayar 2007)


@dataclass(frozen=True)
class Shower:
    """Rain and the camera that looks at it.

    Args:
        rate: mm/h.
        exposure: s.
        focal: focal length in pixels of the image as rendered.
        aperture: diameter of the entrance pupil, mm.
        focus: distance in focus, m.
        wind: sideways speed of the air, m/s; turbulence: its standard deviation from drop to drop.
        speed: of the camera, forwards, m/s: streaks then fan out from the centre.
        headroom: radiance of the sky overhead relative to the brightest part of the photograph (skies are often
            brighter than the picture shows).
        ripple: share by which brightness oscillates along a streak.
        mist: droplets in the air beyond the rain itself, as a multiple of the rain's own extinction.
        depth: distance of the far end of the scene, m.
    """

    rate: float
    exposure: float
    focal: float
    aperture: float
    focus: float
    wind: float
    turbulence: float
    speed: float
    headroom: float
    ripple: float
    mist: float
    depth: float

    @classmethod
    def sample(cls, rng: np.random.Generator, strength: float, night: bool = False) -> Shower:
        """Rain of a strength in [0, 1] (2 to 200 mm/h on a logarithmic scale), and a plausible camera.

        Night cameras expose longer and more of them drive.
        """
        slow, fast = (1 / 40, 1 / 400) if night else (1 / 60, 1 / 500)
        return cls(
            rate=2.0 * 100.0**strength,
            exposure=_log_uniform(rng, fast, slow),
            focal=_log_uniform(rng, 800, 5000),
            aperture=_log_uniform(rng, 0.8, 5.0),
            focus=_log_uniform(rng, 4, 40),
            wind=float(np.clip(rng.normal(0, 1.3), -4, 4)),
            turbulence=float(rng.uniform(0.05, 0.5)),
            speed=float(rng.uniform(5, 20)) if rng.random() < (0.4 if night else 0.15) else 0.0,
            headroom=_log_uniform(rng, 1.5, 3.0 + 7.0 * strength),
            ripple=float(rng.uniform(0, 0.5)),
            mist=float(rng.uniform(1, 6)) if rng.random() < 0.35 else 0.0,
            depth=_log_uniform(rng, 10, 60),
        )

    @property
    def thickness(self) -> float:
        """Optical thickness of the veil at the far end: extinction times (1 + mist) times depth, at most 0.5."""
        return min(physics.extinction(self.rate) * (1 + self.mist) * self.depth, 0.5)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def strokes(shower: Shower, shape: tuple[int, int], rng: np.random.Generator) -> Strokes:
    """The drops in view, as strokes whose mass is covered area times share of the exposure.

    Width f D / z; length f v T / z; blur disc A f |1/z - 1/focus|; mass pi/4 width^2 whatever the length and the blur,
    which is the opacity tau / T of Garg and Nayar spread over the stroke.
    """
    h, w = shape
    pad = 0.15 * max(h, w)  # streaks enter from outside
    area = int((h + 2 * pad) * (w + 2 * pad))
    least = max(_FINEST, (physics.visible_count(shower.rate, shower.focal, area, 1.0) / (_MOST * area)) ** (1 / 3))
    count = int(rng.poisson(physics.visible_count(shower.rate, shower.focal, area, least)))
    diameter, width = physics.visible_drops(rng, count, shower.rate, least)
    width = np.minimum(width, shower.focal * diameter * 1e-3 / NEAREST)
    z = shower.focal * diameter * 1e-3 / width
    x, y = rng.uniform(-pad, w + pad, count), rng.uniform(-pad, h + pad, count)
    moved = shower.focal * shower.exposure / z  # pixels for each m/s
    out = shower.speed * shower.exposure / z
    dx = moved * rng.normal(shower.wind, shower.turbulence, count) + out * (x - w / 2)
    dy = moved * physics.terminal_velocity(diameter) + out * (y - h / 2)
    coc = shower.aperture * 1e-3 * shower.focal * np.abs(1 / z - 1 / shower.focus)
    return Strokes(
        x, y, dx, dy,
        sigma=np.sqrt(_PIXEL**2 + (width**2 + coc**2) / 16),  # a disc of diameter d projects to variance d^2/16
        mass=np.pi / 4 * width**2,
        ripple=shower.ripple * rng.random(count),
        cycles=physics.oscillation(diameter) * shower.exposure,
        phase=rng.uniform(0, 2 * np.pi, count),
    )  # fmt: skip


def opacity(shower: Shower, shape: tuple[int, int], rng: np.random.Generator) -> F32:
    """(H, W) share of the light of the scene that the drops hide, in [0, 1).

    Drops are independent, so shares of time add up to 1 - exp(-sum), as for any Poisson process of occluders.
    """
    return np.asarray(1 - np.exp(-draw(strokes(shower, shape, rng), shape)), np.float32)


def sky_light(linear: F32, headroom: float) -> F32:
    """(3,) radiance that a drop shows by day: the mean of its wide field of view, half of it sky.

    A drop refracts light from some 165 degrees (Garg and Nayar 2007), so it looks like the average of the scene and
    hardly like what is behind it. The sky overhead is out of the frame: the brightest tenth of the picture, mostly
    without its colour, times ``headroom`` stands for it.
    """
    small = cv2.resize(linear, (48, 48), interpolation=cv2.INTER_AREA)
    bright = light.brightest(small)
    sky = 0.3 * bright + 0.7 * max(float(bright.mean()), 0.2)
    return np.asarray(_DROP_LIGHT * (0.5 * headroom * sky + 0.5 * small.mean((0, 1))), np.float32)


def pseudo_depth(linear: F32) -> F32:
    """(H, W) relative depth in [0, 1], from cues alone: higher in the frame is farther, and so is bright and pale."""
    h, w = linear.shape[:2]
    small = cv2.resize(linear, (max(2, w // 8), max(2, h // 8)), interpolation=cv2.INTER_AREA)
    ramp = np.linspace(1, 0.1, small.shape[0], dtype=np.float32)[:, None]
    pale = small.min(2)
    depth = light.blur(np.clip(0.65 * ramp + 0.35 * pale / max(float(pale.max()), 1e-6), 0, 1), 1.5)
    return np.asarray(cv2.resize(depth, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def veil(linear: F32, shower: Shower, air: F32) -> F32:
    """The scene through rain too fine to see: J exp(-b d) + A (1 - exp(-b d)) (Koschmieder 1924).

    b d is the pseudo-depth times ``shower.thickness``.
    """
    hidden = 1 - np.exp(-np.float32(shower.thickness) * pseudo_depth(linear))
    return light.mix(linear, air, np.asarray(hidden, np.float32))


def compose(linear: F32, shower: Shower, rng: np.random.Generator) -> F32:
    """A clean scene by day (linear light) in the rain."""
    drops = sky_light(linear, shower.headroom)
    air = np.minimum(drops, np.float32(0.8))
    return light.mix(veil(linear, shower, air), drops, opacity(shower, (linear.shape[0], linear.shape[1]), rng))
