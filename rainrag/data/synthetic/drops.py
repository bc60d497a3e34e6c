"""Drops on the glass in front of the lens: each is a small wide-angle lens that shows the scene upside down.

Shape, refraction and blur follow from the glass, the drop and the camera. Sources: Halimeh and Roser, "Raindrop
detection on car windshields using geometric-photometric environment construction", IV 2009 (drops as spherical caps,
refraction and Fresnel's law); von Bernuth, Volk and Bringmann, ICPR 2018 and ITSC 2019 (drops rendered onto real
photographs, defocused); Qian et al., CVPR 2018 (drops as out-of-focus blends). docs/rendered-rain.md has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core.images import F32, F64
from rainrag.data.synthetic import light, physics

_EDGE = 1.25  # a drop's patch reaches so many radii: contours wobble
_PATCHES = np.array([2, 3, 4, 6, 8, 11, 15, 20, 28, 40, 56, 80, 112, 160])  # half sizes of patches drawn together


@dataclass(frozen=True)
class Glass:
    """A wet pane in front of the lens.

    Args:
        coverage: share of the pane under drops, in [0, 1].
        smallest, largest: drop radii, mm; power: their numbers fall as radius^-power.
        contact: angle at which a drop meets the glass, degrees (30 to 45 on clean glass, more on waxed or dirty).
        sag: lengthening by gravity; wobble: irregularity of the contour, as shares of the radius.
        trails: share of the larger drops that have run and left a trail of droplets.
        distance: from lens to pane, mm.
        focal: focal length in pixels of the image as rendered.
        aperture: diameter of the entrance pupil, mm.
        sky: radiance of the sky above the frame relative to the brightest part of the photograph.
        ground: radiance of the ground below the frame relative to the mean of the photograph.
        glint: brightness of the reflection of the light overhead on each drop, in units of white.
    """

    coverage: float
    smallest: float
    largest: float
    power: float
    contact: float
    sag: float
    wobble: float
    trails: float
    distance: float
    focal: float
    aperture: float
    sky: float
    ground: float
    glint: float

    @classmethod
    def sample(cls, rng: np.random.Generator, strength: float, night: bool = False) -> Glass:
        """A pane of a strength in [0, 1]: 2 to 70 % covered."""
        sharp = rng.random() < 0.4  # stopped down, or focused towards the pane
        return cls(
            coverage=float(0.02 * 35.0**strength),
            smallest=float(rng.uniform(0.15, 0.45)),
            largest=float(rng.uniform(1.2, 4.0)),
            power=float(rng.uniform(1.8, 3.2)),
            contact=float(rng.uniform(20, 50)),
            sag=float(rng.uniform(0, 0.35)),
            wobble=float(rng.uniform(0.03, 0.22)),
            trails=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.3 else 0.0,
            distance=float(np.exp(rng.uniform(np.log(25), np.log(140)))),
            focal=float(np.exp(rng.uniform(np.log(350), np.log(1000)))),
            aperture=float(rng.uniform(0.1, 0.7) if sharp else rng.uniform(0.7, 2.5)),
            sky=float(rng.uniform(0.7, 1.3) if night else np.exp(rng.uniform(np.log(0.8), np.log(4.0)))),
            ground=float(rng.uniform(0.4, 1.0)),
            glint=float(rng.uniform(0, 0.5 if night else 1.5)) if rng.random() < 0.5 else 0.0,
        )

    @property
    def scale(self) -> float:
        """Pixels a millimetre on the pane."""
        return self.focal / self.distance

    @property
    def blur_disc(self) -> float:
        """Diameter in pixels of the disc that a point on the pane is blurred to, the camera being focused far away."""
        return self.aperture * self.scale


@dataclass(frozen=True)
class Beads:
    """Drops on the pane: arrays of N positions and radii in pixels."""

    x: F64
    y: F64
    radius: F64


def scatter(glass: Glass, shape: tuple[int, int], rng: np.random.Generator) -> Beads:
    """Random drops by the power law of sizes, as many as give the coverage, with trails above those that have run."""
    h, w = shape
    low, high = glass.smallest * glass.scale, glass.largest * glass.scale
    low, high = max(low, 0.8), max(1.5 * low, 1.6, min(high, 0.2 * min(h, w)))
    area = glass.coverage * (h + 2 * high) * (w + 2 * high)
    mean = _mean_area(low, high, glass.power)
    count = int(min(rng.poisson(area / mean), 0.012 * h * w))
    radius = _power_law(rng, low, high, glass.power, count)
    x, y = rng.uniform(-high, w + high, count), rng.uniform(-high, h + high, count)
    beads = [np.stack([x, y, radius])]
    for i in np.flatnonzero((rng.random(count) < glass.trails) & (radius > 0.35 * high)):
        beads.append(_trail(x[i], y[i], radius[i], rng))
    joined = np.concatenate(beads, axis=1)
    return Beads(joined[0], joined[1], joined[2])


def _power_law(rng: np.random.Generator, low: float, high: float, power: float, count: int) -> F64:
    """Radii with density radius^-power between two bounds, by the inverse of the distribution."""
    u, k = rng.random(count), 1 - power
    return np.asarray((low**k + u * (high**k - low**k)) ** (1 / k))


def _mean_area(low: float, high: float, power: float) -> float:
    k, m = 1 - power, 3 - power
    second = np.log(high / low) if abs(m) < 1e-9 else (high**m - low**m) / m
    return float(np.pi * second * k / (high**k - low**k))


def _trail(x: float, y: float, radius: float, rng: np.random.Generator) -> F64:
    """Beads (3, N) that a drop left on its way down: a wandering chain, finer towards its start."""
    steps = int(rng.integers(6, 22))
    part = np.linspace(1, 0.25, steps)
    size = radius * part * rng.uniform(0.12, 0.4, steps)
    rise = np.cumsum(radius * rng.uniform(0.3, 0.8, steps)) + 0.8 * radius
    sway = np.cumsum(rng.normal(0, 0.12 * radius, steps))
    return np.stack([x + sway, y - rise, np.maximum(size, 0.8)])


def relief(beads: Beads, glass: Glass, shape: tuple[int, int], rng: np.random.Generator) -> tuple[F32, F32]:
    """Where water is and how its surface tilts.

    Each drop is a spherical cap, lengthened by gravity, with a contour of three low harmonics. Where drops overlap
    the higher surface counts, so that they merge.

    Returns:
        (H, W) cover in [0, 1] with antialiased edges, and (H, W, 2) slope of the surface (x, y).
    """
    height, cover = np.zeros(shape, np.float32).ravel(), np.zeros(shape, np.float32).ravel()
    tilt = np.zeros((height.size, 2), np.float32)
    wave = rng.normal(0, glass.wobble / 2, (6, beads.radius.size)) / np.array([1, 1, 1.5, 1.5, 2, 2])[:, None]
    sag = 1 + glass.sag * rng.random(beads.radius.size)
    steep = np.float32(np.sin(np.radians(glass.contact)))
    group = np.searchsorted(_PATCHES, np.minimum(beads.radius * sag * _EDGE + 1.5, _PATCHES[-1]))
    for g in np.unique(group):
        index, cap, edge, slope = _caps(beads, sag, wave, group == g, int(_PATCHES[g]), steep, shape)
        np.maximum.at(height, index, cap)
        top = cap >= height[index]
        tilt[index[top]] = slope[top]
        np.maximum.at(cover, index, edge)
    return cover.reshape(shape), tilt.reshape(*shape, 2)


def _caps(
    beads: Beads, sag: F64, wave: F64, pick: npt.NDArray[np.bool_], half: int, steep: np.float32, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], F32, F32, F32]:
    """Pixels under some drops of like size: flat index, height, antialiased cover, and (N, 2) slope."""
    h, w = shape
    row0, col0 = np.round(beads.y[pick]).astype(np.int64), np.round(beads.x[pick]).astype(np.int64)
    grid = np.arange(-half, half + 1)
    rows, cols = row0[:, None, None] + grid[:, None], col0[:, None, None] + grid
    r = beads.radius[pick].astype(np.float32)[:, None, None]
    tall = r * sag[pick].astype(np.float32)[:, None, None]
    u = (cols - beads.x[pick][:, None, None]).astype(np.float32) / r
    v = (rows - beads.y[pick][:, None, None]).astype(np.float32) / tall
    keep = (u * u + v * v < (_EDGE + 1 / r) ** 2) & (rows >= 0) & (rows < h) & (cols >= 0) & (cols < w)
    who, _, _ = np.nonzero(keep)
    index = (rows * w + cols)[keep]
    u, v = np.broadcast_to(u, keep.shape)[keep], np.broadcast_to(v, keep.shape)[keep]
    r = r[who, 0, 0]
    dist = np.sqrt(u * u + v * v)
    contour = _contour(u, v, dist, wave[:, pick].astype(np.float32)[:, who]) if half > 4 else np.float32(1)
    rho = dist / contour
    edge = np.clip((1 - rho) * r + np.float32(0.5), 0, 1)
    # a cap of a sphere: sin(tilt) grows linearly from its middle to the contact angle at its edge
    sine = np.minimum(rho, 1) * steep
    cap = r * (np.sqrt(1 - sine**2) - np.sqrt(1 - steep**2))
    gradient = sine / (np.sqrt(1 - sine**2) * np.maximum(dist, np.float32(1e-3)))
    wet = edge > 0
    return index[wet], cap[wet], edge[wet], np.stack([u * gradient, v * gradient], -1)[wet]


def _contour(u: F32, v: F32, dist: F32, wave: F32) -> F32:
    """Radius of irregular contours in the direction of (u, v): harmonics 2 to 4 by complex powers."""
    z = (u + np.complex64(1j) * v) / np.maximum(dist, np.float32(1e-3))
    z2 = z * z
    i = np.complex64(1j)
    total = (wave[0] + i * wave[1]) * z2 + (wave[2] + i * wave[3]) * z2 * z + (wave[4] + i * wave[5]) * z2 * z2
    return np.asarray(np.clip(1 + total.real, 0.6, _EDGE), np.float32)


def surroundings(linear: F32, glass: Glass) -> tuple[F32, float]:
    """The world a drop sees, four times coarser and three times as wide and high as the photograph.

    What is outside the frame is mirrored from it, turning towards sky above and ground below.

    Returns:
        ((3h, 3w, 3) linear light, pixels of the photograph per pixel of it).
    """
    h, w = linear.shape[:2]
    factor = 4.0 if min(h, w) >= 64 else 1.0
    small = cv2.resize(linear, (max(8, int(w / factor)), max(8, int(h / factor))), interpolation=cv2.INTER_AREA)
    sh, sw = small.shape[:2]
    wide = cv2.copyMakeBorder(small, sh, sh, sw, sw, cv2.BORDER_REFLECT)
    bright = light.brightest(small)
    sky = glass.sky * (0.5 * bright + 0.5 * bright.mean())
    ground = glass.ground * small.mean((0, 1))
    ramp = np.clip(np.arange(sh, dtype=np.float32) / (0.6 * sh), 0, 0.85)[:, None, None]
    wide[:sh] += ramp[::-1] * (sky.astype(np.float32) - wide[:sh])
    wide[2 * sh :] += ramp * (ground.astype(np.float32) - wide[2 * sh :])
    return light.blur(wide, 0.8), w / sw


def refract(linear: F32, tilt: F32, glass: Glass) -> F32:
    """What each pixel of the drops shows: the scene in the direction into which the surface bends the ray.

    A ray that leaves water at a surface tilted by t bends by asin(n sin t) - t away from the normal, so the upper half
    of a drop looks down and the image is upside down; Fresnel's law darkens the rim, black beyond 48.6 degrees.
    """
    h, w = linear.shape[:2]
    world, factor = surroundings(linear, glass)
    steep = np.hypot(tilt[..., 0], tilt[..., 1])
    reach, through = _lens(steep, glass.focal)
    push = reach / np.maximum(steep, 1e-6) / np.float32(factor)
    gx = (np.arange(w, dtype=np.float32) + 0.5)[None] / np.float32(factor) - 0.5 + world.shape[1] / 3
    gy = (np.arange(h, dtype=np.float32) + 0.5)[:, None] / np.float32(factor) - 0.5 + world.shape[0] / 3
    seen = cv2.remap(
        world,
        np.asarray(gx - push * tilt[..., 0], np.float32),
        np.asarray(gy - push * tilt[..., 1], np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(seen * through[..., None], np.float32)


_TABLE = np.linspace(0, 4, 1025)  # slopes up to 76 degrees
_BEND, _THROUGH = physics.snell_deviation(np.arctan(_TABLE))


def _lens(steep: F32, focal: float) -> tuple[F32, F32]:
    """Displacement in pixels and transmitted share for each slope, by interpolation in a table."""
    index = np.minimum(steep * np.float32(256), 1024).astype(np.int32)
    reach = (focal * np.tan(np.minimum(_BEND, 1.3))).astype(np.float32)[index]
    return reach, _THROUGH.astype(np.float32)[index]


def add_glints(seen: F32, beads: Beads, glass: Glass, colour: F32) -> F32:
    """Small reflections of the light overhead, in the upper half of the drops that are large enough to show one."""
    for x, y, r in zip(beads.x, beads.y, beads.radius, strict=True):
        if r < 2.5 or glass.glint <= 0:
            continue
        radius = max(1, round(0.08 * r))
        centre = (round(x - 0.3 * r), round(y - 0.45 * r))
        cv2.circle(seen, centre, radius, tuple(float(glass.glint * c) for c in colour), -1, cv2.LINE_AA)
    return seen


def disc_blur(layer: F32, diameter: float) -> F32:
    """Blur by a flat disc, the shape of an open aperture; wide discs are done on a smaller grid."""
    h, w = layer.shape[:2]
    factor = 1
    while diameter / factor > 9 and min(h, w) / (2 * factor) >= 16:
        factor *= 2
    kernel = _disc(round(diameter / factor, 2))
    if kernel.shape[0] == 1:
        return layer
    if factor == 1:
        return np.asarray(cv2.filter2D(layer, -1, kernel, borderType=cv2.BORDER_REFLECT), np.float32)
    small = cv2.resize(layer, (max(1, w // factor), max(1, h // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.filter2D(small, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _disc(diameter: float) -> F32:
    """Antialiased disc of unit sum."""
    radius = diameter / 2
    reach = max(0, int(np.ceil(radius - 0.5)))
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    disc = np.clip(radius - np.hypot(grid[None], grid[:, None]) + 0.5, 0, 1)
    return np.asarray(disc / disc.sum(), np.float32)


def compose(linear: F32, glass: Glass, rng: np.random.Generator, seen_by_drops: F32 | None = None) -> F32:
    """A scene (linear light) through a wet pane.

    Cover and light of the drops are blurred together by the disc of defocus, so that small or close drops turn into
    the translucent patches that photographs show.

    Args:
        seen_by_drops: the light that the drops refract, where it is richer than the picture (night: unclipped lamps).
    """
    shape = (linear.shape[0], linear.shape[1])
    source = linear if seen_by_drops is None else seen_by_drops
    beads = scatter(glass, shape, rng)
    cover, tilt = relief(beads, glass, shape, rng)
    seen = refract(source, tilt, glass)
    seen = add_glints(np.ascontiguousarray(seen), beads, glass, source.reshape(-1, 3).max(0).clip(0.2, 1))
    stacked = disc_blur(np.dstack([seen * cover[..., None], cover]), max(glass.blur_disc, 1.0))
    return np.asarray(linear * (1 - stacked[..., 3:]) + stacked[..., :3], np.float32)
