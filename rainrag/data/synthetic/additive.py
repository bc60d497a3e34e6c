"""Streaks as the field's synthetic sets have them: a grey layer added to code values, O = B + S.

The model of Li et al. (CVPR 2016) and Yang et al. (CVPR 2017), by which Rain100L, Rain200H and their like were made.
It is not how light adds, and no photograph looks so; a network that is to be measured on those sets has to know it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rainrag.core.images import F32, U8
from rainrag.data.synthetic.raster import Strokes, draw


@dataclass(frozen=True)
class Overlay:
    """A layer of streaks; lengths in pixels, brightness in code values (0..255).

    Args:
        mean: mean of the layer over the image.
        peak: typical brightness of a single streak.
        length, sigma: typical length, and standard deviation across.
        spread: standard deviation of the logarithm of brightness from streak to streak, half of it for length and
            sigma.
        angles: directions from the vertical, degrees; heavy layers cross several.
        jitter: standard deviation of the direction from streak to streak, degrees.
        ripple: share by which brightness oscillates along a streak.
    """

    mean: float
    peak: float
    length: float
    sigma: float
    spread: float
    angles: tuple[float, ...]
    jitter: float
    ripple: float

    @classmethod
    def sample(cls, rng: np.random.Generator, strength: float) -> Overlay:
        """A layer of a strength in [0, 1]: mean 1.5 to 90 codes, the range of Rain200L (5) to Rain200H (7 to 87)."""
        ways = 1 + (int(rng.choice(3, p=[0.6, 0.25, 0.15])) if strength > 0.5 else 0)
        main = float(np.clip(rng.normal(0, 12), -40, 40))
        return cls(
            mean=1.5 * 60.0**strength,
            peak=float(rng.uniform(6, 36) + 45 * strength * rng.random()),
            length=float(np.exp(rng.uniform(np.log(18), np.log(110)))),
            sigma=float(rng.uniform(0.55, 1.1) + 0.6 * strength * rng.random()),
            spread=float(rng.uniform(0.4, 0.8)),
            angles=(main, *(float(np.clip(main + rng.normal(0, 12), -60, 60)) for _ in range(ways - 1))),
            jitter=float(rng.uniform(0.1, 1.5) ** 2),
            ripple=float(rng.uniform(0.3, 1.0)),
        )


def layer(overlay: Overlay, shape: tuple[int, int], rng: np.random.Generator) -> F32:
    """(H, W) brightness of the streaks in code values, never negative."""
    h, w = shape
    pad = overlay.length
    spread = np.exp(0.5 * (1 + 0.5**2 + 0.5**2) * overlay.spread**2)  # mean of the product of three log-normals
    single = overlay.peak * overlay.length * overlay.sigma * np.sqrt(2 * np.pi) * spread
    count = int(rng.poisson(overlay.mean * (h + 2 * pad) * (w + 2 * pad) / single))
    length = overlay.length * rng.lognormal(0, 0.5 * overlay.spread, count)
    sigma = overlay.sigma * rng.lognormal(0, 0.5 * overlay.spread, count)
    angle = np.radians(rng.choice(overlay.angles, count) + rng.normal(0, overlay.jitter, count))
    peak = overlay.peak * rng.lognormal(0, overlay.spread, count)
    strokes = Strokes(
        x=rng.uniform(-pad, w + pad, count),
        y=rng.uniform(-pad, h + pad, count),
        dx=length * np.sin(angle),
        dy=length * np.cos(angle),
        sigma=sigma,
        mass=peak * length * sigma * np.sqrt(2 * np.pi),
        ripple=overlay.ripple * rng.random(count),
        cycles=rng.uniform(0.8, 2.5, count),
        phase=rng.normal(0, 0.7, count),  # near 0: brightest amid, faint towards the ends
    )
    return draw(strokes, shape)


def compose(clean: U8, overlay: Overlay, rng: np.random.Generator) -> U8:
    """Clean code values plus the layer, clipped at white."""
    streaks = layer(overlay, (clean.shape[0], clean.shape[1]), rng)
    return np.asarray(np.clip(clean + streaks[..., None] + np.float32(0.5), 0, 255), np.uint8)
