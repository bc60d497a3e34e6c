"""Streets that no camera saw: clean scenes with depth, texture, windows and lamps, by day and by night.

They stand in where there are no photographs. A pinhole camera at eye height looks down a straight street; surfaces
get a daylight reflectance and, by night, lamps light what is near them. Plain geometry of our own, no photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from rainrag.core.images import F32, U8
from rainrag.data.synthetic import light
from rainrag.data.synthetic.night import add_bulb, lamp_colour, lamp_pool

_OVER = 2  # drawn so many times larger, then averaged: antialiasing
_EYE = 1.6  # m above the road
_FAR = 120.0  # m
_NIGHT_MEAN = 0.045  # linear: a night exposure is at most so bright on average


@dataclass
class _Canvas:
    """What is being drawn: reflectance and own light (linear), and the camera."""

    reflectance: F32
    emission: F32
    focal: float
    centre: tuple[float, float]

    def project(self, points: F32) -> F32:
        """(N, 3) metres (right, up from the road, ahead) to (N, 2) pixels."""
        z = np.maximum(points[:, 2], 0.1)
        x = self.centre[0] + self.focal * points[:, 0] / z
        y = self.centre[1] + self.focal * (_EYE - points[:, 1]) / z
        return np.stack([x, y], -1).astype(np.float32)

    def panel(self, corners: F32, texture: F32, glow: F32 | None = None) -> None:
        """Draw a textured rectangle of the world: corners top left, top right, bottom right, bottom left."""
        h, w = self.reflectance.shape[:2]
        th, tw = texture.shape[:2]
        quad = self.project(corners)
        x0, y0 = np.maximum(np.floor(quad.min(0)), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(quad.max(0)) + 1, (w, h)).astype(int)
        if x0 >= x1 or y0 >= y1:
            return
        flat = np.array([[0, 0], [tw, 0], [tw, th], [0, th]], np.float32) - np.float32(0.5)  # texels are areas
        matrix = cv2.getPerspectiveTransform(flat, quad - np.array([x0, y0], np.float32))
        box, here = (int(x1 - x0), int(y1 - y0)), (slice(y0, y1), slice(x0, x1))
        mask = cv2.warpPerspective(np.ones((th, tw), np.uint8), matrix, box, flags=cv2.INTER_NEAREST) > 0
        for layer, source in ((self.reflectance, texture), (self.emission, glow)):
            if source is None:
                layer[here][mask] = 0
                continue
            seen = cv2.warpPerspective(source, matrix, box, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            layer[here][mask] = seen[mask]


def street(rng: np.random.Generator, size: tuple[int, int], night: bool) -> U8:
    """A clean street scene.

    Args:
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    w, h = size[0] * _OVER, size[1] * _OVER
    canvas = _Canvas(
        np.zeros((h, w, 3), np.float32),
        np.zeros((h, w, 3), np.float32),
        focal=float(rng.uniform(0.6, 1.1)) * w,
        centre=(float(rng.uniform(0.35, 0.65)) * w, float(rng.uniform(0.42, 0.6)) * h),
    )
    sky = _sky(rng, (h, w), night)
    half = float(rng.uniform(4, 8))  # m, half the road
    _ground(canvas, rng, half)
    _skyline(canvas, rng, night)
    walk = half + float(rng.uniform(2, 4))
    for side in (-1, 1):
        _buildings(canvas, rng, side * walk, night)
    _trees(canvas, rng, half + 0.8)
    _cars(canvas, rng, half, night)
    posts = _posts(canvas, rng, half + 0.4)
    picture = _illuminate(canvas, sky, posts, rng, night)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return light.encode(np.asarray(picture + rng.normal(0, 0.0015, picture.shape), np.float32))


def cloud(rng: np.random.Generator, shape: tuple[int, int], coarse: int = 3) -> F32:
    """(H, W) fractal noise in [0, 1]: octaves of bilinear noise, each twice as fine and half as strong."""
    h, w = shape
    total = np.zeros(shape, np.float32)
    for octave in range(6):
        n = coarse * 2**octave
        grid = rng.random((min(n, h), min(2 * n, w))).astype(np.float32)
        total += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC) / np.float32(2**octave)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def _sky(rng: np.random.Generator, shape: tuple[int, int], night: bool) -> F32:
    """(H, W, 3) radiance of the sky."""
    h = shape[0]
    down = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    if night:
        top = np.array([0.002, 0.003, 0.007], np.float32) * np.float32(rng.uniform(0.3, 2))
        haze = np.array([0.03, 0.02, 0.012], np.float32) * np.float32(rng.uniform(0.2, 1.2))
        return np.asarray((top + down**2 * haze) * (0.7 + 0.6 * cloud(rng, shape)[..., None]), np.float32)
    top = np.array([0.16, 0.3, 0.6], np.float32) * np.float32(rng.uniform(0.6, 1.2))
    haze = np.array([0.6, 0.7, 0.8], np.float32)
    clear = top + down * (haze - top)
    cover = np.clip((cloud(rng, shape) - rng.uniform(0.1, 0.7)) * 3, 0, 1)[..., None]
    shade = (0.45 + 0.45 * cloud(rng, shape, 5))[..., None] * np.float32(rng.uniform(0.7, 1.05))
    return np.asarray(clear + cover * (shade - clear), np.float32)


def _tone(rng: np.random.Generator, low: float, high: float, colour: float) -> F32:
    """(3,) random linear colour of a brightness between two bounds."""
    return np.asarray(rng.uniform(low, high) * (1 + colour * rng.uniform(-1, 1, 3)), np.float32)


def _ground(canvas: _Canvas, rng: np.random.Generator, half: float) -> None:
    """Pavement to the horizon, asphalt between kerbs, marks."""
    paving = _tone(rng, 0.18, 0.35, 0.1) * (0.75 + 0.5 * cloud(rng, (640, 960), 40)[..., None])
    paving[::8] *= 0.75
    paving[:, ::12] *= 0.75
    canvas.panel(_floor(-40, 40), paving.astype(np.float32))
    asphalt = _tone(rng, 0.05, 0.14, 0.08) * (0.6 + 0.8 * cloud(rng, (192, 1024), 16).T[..., None])
    canvas.panel(_floor(-half, half), asphalt.astype(np.float32))
    stripe = np.tile(_tone(rng, 0.45, 0.7, 0.05), (4, 2, 1)).astype(np.float32)
    for edge in (-half, half):
        canvas.panel(_floor(edge - 0.15, edge + 0.15), 0.6 * stripe)
    start, step = float(rng.uniform(1.5, 4)), float(rng.uniform(5, 9))
    for near in np.arange(start, _FAR, step):
        canvas.panel(_floor(-0.08, 0.08, near, near + 0.45 * step), stripe)


def _floor(left: float, right: float, near: float = 0.9, far: float = _FAR) -> F32:
    return np.array([[left, 0, far], [right, 0, far], [right, 0, near], [left, 0, near]], np.float32)


def _wall(x0: float, x1: float, z0: float, z1: float, height: float, base: float = 0.0) -> F32:
    return np.array([[x0, height, z0], [x1, height, z1], [x1, base, z1], [x0, base, z0]], np.float32)


def _skyline(canvas: _Canvas, rng: np.random.Generator, night: bool) -> None:
    """Far blocks across the end of the street, pale with distance."""
    x = -70.0
    while x < 70:
        width = float(rng.uniform(6, 16))
        tone = np.tile(_tone(rng, 0.25, 0.4, 0.08), (4, 4, 1)).astype(np.float32) * np.float32(0.08 if night else 1)
        canvas.panel(_wall(x, x + width, _FAR, _FAR, float(rng.uniform(6, 45))), tone)
        x += width


def _buildings(canvas: _Canvas, rng: np.random.Generator, x: float, night: bool) -> None:
    """A row of fronts along one side, far to near, each closed towards the viewer by its gable."""
    cuts = [float(rng.uniform(2, 5))]
    while cuts[-1] < _FAR:
        cuts.append(cuts[-1] + float(rng.uniform(7, 20)))
    for near, far in reversed(list(pairwise(cuts))):
        if rng.random() < 0.12:
            continue
        height = float(rng.uniform(5, 24))
        front, lit = _front(rng, far - near, height, night)
        gable = np.tile(front.mean((0, 1)) * np.float32(0.7), (4, 4, 1)).astype(np.float32)
        canvas.panel(_wall(x, x + np.sign(x) * 12, near, near, height), gable)
        canvas.panel(_wall(x, x, near, far, height), front, lit)


def _front(rng: np.random.Generator, length: float, height: float, night: bool) -> tuple[F32, F32]:
    """Reflectance and own light of a house front: plaster or brick, rows of windows, some of them lit by night."""
    scale = 14  # texels a metre
    h, w = max(32, int(height * scale)), max(32, int(length * scale))
    grain = 0.75 + 0.5 * cloud(rng, (h, w), 12)[..., None]
    front = _tone(rng, 0.1, 0.55, float(rng.choice([0.08, 0.15, 0.3]))) * grain
    if rng.random() < 0.4:
        front[:: max(3, scale // 4)] *= 0.8  # courses of brick
    lit = np.zeros((h, w, 3), np.float32)
    storey, bay = int(rng.uniform(2.8, 3.8) * scale), int(rng.uniform(1.8, 3.5) * scale)
    tall, wide = int(storey * rng.uniform(0.4, 0.65)), int(bay * rng.uniform(0.35, 0.65))
    share = rng.uniform(0.1, 0.55)
    for top in range(h - storey, 0, -storey):
        for left in range((bay - wide) // 2, w - wide, bay):
            pane = (slice(top, top + tall), slice(left, left + wide))
            front[pane] = _tone(rng, 0.02, 0.12, 0.2)
            front[top + tall : top + tall + 2, left : left + wide] *= 1.4
            if night and rng.random() < share:
                warm = np.array([1.0, 0.75, 0.42], np.float32) if rng.random() < 0.75 else np.array([0.8, 0.95, 1.0])
                lit[pane] = warm * rng.uniform(0.15, 0.9) * np.linspace(0.6, 1, tall)[:, None, None]
    if rng.random() < 0.5:
        sign = (slice(h - storey, h - storey + scale // 2), slice(w // 6, w - w // 6))
        colour = rng.uniform(0.05, 0.9, 3).astype(np.float32)
        front[sign] = colour
        lit[sign] = colour * (0.8 if night else 0.0)
    return np.asarray(front, np.float32), lit


def _trees(canvas: _Canvas, rng: np.random.Generator, x: float) -> None:
    """A few trees: a trunk and a ragged crown."""
    h, w = canvas.reflectance.shape[:2]
    edges, leaves = cloud(rng, (h, w), 24), cloud(rng, (h, w), 40)[..., None]
    for z in sorted(rng.uniform(8, 50, int(rng.integers(0, 7))), reverse=True):
        at = float(rng.choice([-1, 1]) * (x + rng.uniform(0, 1.5)))
        high = float(rng.uniform(3, 6))
        foot, top = canvas.project(np.array([[at, 0, z], [at, high, z]], np.float32))
        scale = canvas.focal / z
        cv2.line(canvas.reflectance, _int(foot), _int(top), (0.06, 0.04, 0.03), max(1, int(0.3 * scale)))
        crown = np.zeros((h, w), np.float32)
        cv2.ellipse(crown, _int(top), (int(1.6 * scale) + 1, int(1.9 * scale) + 1), 0, 0, 360, 1.0, -1)
        ragged = crown * edges > 0.42
        leaf = _tone(rng, 0.05, 0.14, 0.1) * np.array([0.7, 1.2, 0.4], np.float32)
        canvas.reflectance[ragged] = (leaf * (0.4 + 1.2 * leaves))[ragged]
        canvas.emission[ragged] = 0


def _int(point: F32) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _cars(canvas: _Canvas, rng: np.random.Generator, half: float, night: bool) -> None:
    """Cars seen from behind or from the front: a body, a window, two lights."""
    for z in sorted(rng.uniform(6, 60, int(rng.integers(1, 6))), reverse=True):
        coming = bool(rng.random() < 0.5)
        x = float((-1 if coming else 1) * rng.uniform(0.3, 0.8) * half)
        body = np.tile(_tone(rng, 0.03, 0.4, float(rng.choice([0.05, 0.5]))), (4, 4, 1)).astype(np.float32)
        glass = np.full((4, 4, 3), 0.04, np.float32)
        canvas.panel(_wall(x - 0.9, x + 0.9, z, z, 0.95, 0.25), body)
        canvas.panel(_wall(x - 0.7, x + 0.7, z, z, 1.45, 0.95), 0.8 * body)
        canvas.panel(_wall(x - 0.6, x + 0.6, z, z, 1.38, 1.0), glass)
        canvas.panel(_wall(x - 0.9, x + 0.9, z, z, 0.25, 0.0), 0.2 * glass)
        colour = np.array([1.0, 0.95, 0.85] if coming else [0.9, 0.03, 0.02], np.float32)
        for off in (-0.65, 0.65):
            lamp = np.tile(colour * (0.8 if night else 0.4), (4, 4, 1)).astype(np.float32)
            own = lamp * (1.5 if coming else 0.8) if night else None
            canvas.panel(_wall(x + off - 0.14, x + off + 0.14, z, z, 0.78, 0.6), lamp, own)


def _posts(canvas: _Canvas, rng: np.random.Generator, x: float) -> list[tuple[float, float, float]]:
    """Lamp posts along both kerbs; returns place and scale (pixels a metre) of each lamp."""
    found = []
    step, high = float(rng.uniform(12, 25)), float(rng.uniform(4.5, 8))
    for z in np.arange(float(rng.uniform(6, 14)), 80, step)[::-1]:
        for side in (-1, 1):
            arm = side * (x - 1.2)
            points = canvas.project(np.array([[side * x, 0, z], [side * x, high, z], [arm, high, z]], np.float32))
            scale = canvas.focal / float(z)
            for a, b in ((0, 1), (1, 2)):
                thick = max(1, int(0.12 * scale))
                cv2.line(canvas.reflectance, _int(points[a]), _int(points[b]), (0.05, 0.05, 0.05), thick)
            found.append((float(points[2, 0]), float(points[2, 1]), scale))
    return found


def _illuminate(
    canvas: _Canvas, sky: F32, posts: list[tuple[float, float, float]], rng: np.random.Generator, night: bool
) -> F32:
    """(H, W, 3) radiance: sky where nothing was drawn, else reflectance in the light there is, plus own light."""
    shape = (sky.shape[0], sky.shape[1])
    bare = (canvas.reflectance.sum(2) == 0)[..., None]
    if not night:
        sun = np.float32(rng.uniform(0.8, 1.3)) * (1 + 0.08 * rng.uniform(-1, 1, 3)).astype(np.float32)
        return np.asarray(np.where(bare, sky, canvas.reflectance * sun), np.float32)
    tint = lamp_colour(rng)
    lit = np.full((*shape, 3), 0.01 + 0.02 * rng.random(), np.float32)
    pools = np.zeros(shape, np.float32)
    for x, y, scale in posts:
        pools += np.float32(0.35) * lamp_pool(shape, x, y, 5 * scale)
    lit += pools[..., None] * tint
    picture = np.where(bare, sky, canvas.reflectance * lit) + canvas.emission
    for x, y, scale in posts:
        if -50 < x < shape[1] + 50 and -50 < y < shape[0] + 50:
            add_bulb(picture, x, y, 0.12 * scale, tint)
    picture += 0.15 * light.blur(canvas.emission, 0.01 * shape[1])
    return np.asarray(picture * min(1.0, _NIGHT_MEAN / float(picture.mean())), np.float32)
