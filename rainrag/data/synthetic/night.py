"""Rain by night: lamps light it, so it shows near them and before lit ground, in their colours.

Sources: Narasimhan and Nayar, "Shedding light on the weather", CVPR 2003 (glow of a source in a scattering medium);
Garg and Nayar (2006, 2007) for streaks; the noise of a sensor as a Poisson and a Gaussian part (Foi et al., IEEE TIP
2008). docs/rendered-rain.md has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rainrag.core.images import F32
from rainrag.data.synthetic import drops, light, streaks
from rainrag.data.synthetic.drops import Glass
from rainrag.data.synthetic.streaks import Shower

_LAMP = 0.45  # linear light above which a pixel that stands out from its surroundings counts as a lamp
_COARSE = 4  # light spreads smoothly: its field is computed on a grid so many times coarser
_CONE = 10.0  # drops within a lamp's cone are far nearer to it than the camera is


@dataclass(frozen=True)
class Lighting:
    """How the night's light meets the rain.

    Args:
        lamp_gain: true radiance of a lamp relative to the white it is clipped to.
        near_gain: how much brighter a drop is than the surface behind it in the same light. Asphalt returns about a
            tenth of its light, evenly; a drop passes nearly all of it on towards the camera.
        cone_gain: share of the lamps' light that reaches the drops around them.
        ambient: light from nowhere in particular, in units of white.
        glare: optical thickness of the wet air around lamps: the share of their light that glows.
        spread: reach of the glow, as a share of the image's longer side.
        shot, read: noise added by the camera to the rainy side: variance a unit of light, and standard deviation in
            the dark, in units of white.
    """

    lamp_gain: float
    near_gain: float
    cone_gain: float
    ambient: float
    glare: float
    spread: float
    shot: float
    read: float

    @classmethod
    def sample(cls, rng: np.random.Generator, strength: float, noise: bool | None = None) -> Lighting:
        """Plausible light for rain of a strength in [0, 1]; heavier rain glows more.

        Args:
            noise: None adds a little of it to half of the pictures.
        """
        noisy = bool(rng.random() < 0.5) if noise is None else noise
        shot, read = float(rng.uniform(0, 4e-5)), float(rng.uniform(0, 6e-4))
        return cls(
            lamp_gain=float(rng.uniform(2, 8)),
            near_gain=float(rng.uniform(4, 24)),
            cone_gain=float(rng.uniform(0.3, 2.0)),
            ambient=float(rng.uniform(0, 0.005)),
            glare=float(rng.uniform(0, 0.1) * (0.2 + strength)),
            spread=float(rng.uniform(0.01, 0.05)),
            shot=shot if noisy else 0.0,
            read=read if noisy else 0.0,
        )


def lamps(linear: F32, lighting: Lighting) -> F32:
    """Light of the sources alone, unclipped, on a grid four times coarser: (H/4, W/4, 3) radiance.

    Sources are bright pixels that stand out from their wide surroundings; what they lost to clipping is put back by
    ``lamp_gain``.
    """
    h, w = linear.shape[:2]
    peak = linear.max(2)
    small = (max(2, w // _COARSE), max(2, h // _COARSE))
    around = light.blur(cv2.resize(peak, small, interpolation=cv2.INTER_AREA), 0.06 * max(small))
    around = cv2.resize(around, (w, h), interpolation=cv2.INTER_LINEAR)
    weight = np.clip((peak - _LAMP) / (1 - _LAMP), 0, 1) * np.clip((peak - 2 * around) * 5, 0, 1)
    sources = linear * (np.float32(lighting.lamp_gain) * weight)[..., None]
    return np.asarray(cv2.resize(sources, small, interpolation=cv2.INTER_AREA), np.float32)


def glow(sources: F32, spread: float) -> F32:
    """Light of sources scattered by wet air: a narrow core and ever wider, fainter skirts.

    A sum of Gaussians whose widths double and whose energies halve stands for the atmospheric point spread function of
    Narasimhan and Nayar (2003), which falls off as an exponential in the angle.
    """
    sigma = spread * max(sources.shape[:2])
    total = np.zeros_like(sources)
    for k, share in enumerate((0.53, 0.27, 0.13, 0.07)):
        total += np.float32(share) * light.blur(sources, sigma * 2**k)
    return total


def _enlarge(layer: F32, like: F32) -> F32:
    h, w = like.shape[:2]
    return np.asarray(cv2.resize(layer, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def light_field(linear: F32, sources: F32, lighting: Lighting) -> F32:
    """(H, W, 3) radiance that a drop would show at each place: lit ground behind it, lamps near it, ambient light.

    Args:
        sources: as ``lamps`` gives them.
    """
    sh, sw = sources.shape[:2]
    near = light.blur(cv2.resize(linear, (sw, sh), interpolation=cv2.INTER_AREA), 0.008 * max(sh, sw))
    cones = glow(sources, 2 * lighting.spread)
    field = lighting.near_gain * near + _CONE * lighting.cone_gain * cones + lighting.ambient
    return _enlarge(np.minimum(field, 4.0).astype(np.float32), linear)


def glare(linear: F32, sources: F32, lighting: Lighting) -> F32:
    """The scene plus part of its lamps' light spread around them; clipped lamps have it to spare, nothing darkens."""
    return linear + _enlarge(np.float32(lighting.glare) * glow(sources, lighting.spread), linear)


def noise(linear: F32, lighting: Lighting, rng: np.random.Generator) -> F32:
    """Sensor noise on linear light: variance shot * light + read^2."""
    if not lighting.shot and not lighting.read:
        return linear
    sigma = np.sqrt(np.float32(lighting.shot) * np.maximum(linear, 0) + np.float32(lighting.read) ** 2)
    return np.asarray(linear + sigma * rng.standard_normal(linear.shape, np.float32), np.float32)


def compose_streaks(linear: F32, sources: F32, shower: Shower, lighting: Lighting, rng: np.random.Generator) -> F32:
    """A night scene (linear light) in the rain: drops show the local light instead of a sky.

    Args:
        sources: as ``lamps`` gives them.
    """
    alpha = streaks.opacity(shower, (linear.shape[0], linear.shape[1]), rng)
    scene = glare(linear, sources, lighting)
    brighter = np.maximum(light_field(linear, sources, lighting) - scene, 0)
    return np.asarray(scene + alpha[..., None] * brighter, np.float32)


def compose_drops(linear: F32, sources: F32, glass: Glass, lighting: Lighting, rng: np.random.Generator) -> F32:
    """A night scene (linear light) through a wet pane; unclipped lamps turn drops out of focus into bright discs.

    Args:
        sources: as ``lamps`` gives them.
    """
    return drops.compose(glare(linear, sources, lighting), glass, rng, linear + _enlarge(sources, linear))


def relight(linear: F32, rng: np.random.Generator) -> F32:
    """A night picture made from a day picture: little, bluish light, dark sky, and lamps that light what is below them.

    It is meant for pictures of streets where there are no night photographs; shadows stay where the sun cast them.
    """
    h, w = linear.shape[:2]
    luma = light.luminance(linear)
    dim = linear * np.float32(rng.uniform(0.01, 0.035) / max(float(luma.mean()), 0.05))
    dim *= np.array([0.75, 0.9, 1.25], np.float32) ** np.float32(rng.uniform(0, 1))
    ground = 1 - _sky(linear, luma)
    dim = dim * (0.12 + 0.88 * ground)[..., None]
    out = np.array(dim)
    for _ in range(int(rng.integers(2, 6))):
        x, y, tint = rng.uniform(0, w), rng.uniform(0.15, 0.55) * h, lamp_colour(rng)
        pool = np.float32(rng.uniform(0.08, 0.25)) * ground * lamp_pool((h, w), x, y, rng.uniform(0.15, 0.4) * h)
        out += linear * pool[..., None] * tint
        add_bulb(out, x, y, rng.uniform(0.004, 0.012) * h, tint)
    radius = np.hypot(*(np.linspace(-1, 1, n)[s] for n, s in ((h, np.s_[:, None]), (w, np.s_[None]))))
    vignette = (1 - 0.3 * rng.random() * radius**2 / 2).astype(np.float32)
    return np.asarray(np.clip(out * vignette[..., None], 0, 1), np.float32)


def _sky(linear: F32, luma: F32) -> F32:
    """(H, W) how much of a pixel is sky, in [0, 1]: bright, smooth, high up, not brownish; edges follow the picture."""
    h = luma.shape[0]
    ramp = np.clip(np.linspace(1.6, -0.6, h, dtype=np.float32), 0, 1)[:, None]
    rough = light.blur(np.abs(luma - light.blur(luma, 3.0)), 3.0)
    smooth = np.clip(1 - 20 * rough, 0, 1)
    blue = np.clip(4 * (linear[..., 2] - 0.9 * linear[..., 0]) / np.maximum(luma, 0.02) + 0.8, 0, 1)
    bright = np.clip((luma - 0.15) / 0.15, 0, 1)
    return _guided(np.asarray(ramp * smooth * blue * bright, np.float32), luma, 0.03 * h)


def _guided(mask: F32, guide: F32, sigma: float, eps: float = 1e-3) -> F32:
    """Guided filter (He et al., ECCV 2010), Gaussian window: ``mask`` smoothed, but not across edges of ``guide``."""
    mean_g, mean_m = light.blur(guide, sigma), light.blur(mask, sigma)
    slope = (light.blur(guide * mask, sigma) - mean_g * mean_m) / (light.blur(guide**2, sigma) - mean_g**2 + eps)
    offset = mean_m - slope * mean_g
    return np.asarray(np.clip(light.blur(slope, sigma) * guide + light.blur(offset, sigma), 0, 1), np.float32)


def lamp_colour(rng: np.random.Generator) -> F32:
    """(3,) linear colour of a street lamp: sodium, warm white or cold white."""
    colours = np.array([[1.0, 0.55, 0.16], [1.0, 0.78, 0.5], [0.85, 0.95, 1.0]], np.float32)
    return np.asarray(colours[rng.choice(3, p=[0.4, 0.35, 0.25])], np.float32)


def lamp_pool(shape: tuple[int, int], x: float, y: float, reach: float) -> F32:
    """(H, W) light of a lamp at a place, 1 at the lamp; its shade sends it downwards."""
    dy = (np.arange(shape[0], dtype=np.float32) - np.float32(y))[:, None] / np.float32(reach)
    dx = (np.arange(shape[1], dtype=np.float32) - np.float32(x))[None] / np.float32(reach)
    return np.asarray(1 / (1 + dx**2 + np.where(dy > 0, 0.45 * dy, 2.0 * dy) ** 2) ** 2, np.float32)


def add_bulb(out: F32, x: float, y: float, radius: float, tint: F32) -> None:
    """Draw a lamp with its halo in the lens, in place: a bright core and a wide faint skirt."""
    h, w = out.shape[:2]
    radius = max(1.0, radius)
    reach = 15 * radius
    x0, x1 = (int(np.clip(v, 0, w)) for v in (x - reach, x + reach))
    y0, y1 = (int(np.clip(v, 0, h)) for v in (y - reach, y + reach))
    square = (np.arange(x0, x1) - x)[None] ** 2 + (np.arange(y0, y1) - y)[:, None] ** 2
    halo = 1.2 * np.exp(-square / (2 * (1.2 * radius) ** 2)) + 0.08 * np.exp(-square / (2 * (5 * radius) ** 2))
    out[y0:y1, x0:x1] += halo.astype(np.float32)[..., None] * (0.7 * tint + 0.3)
