"""Small clean scenes for the tests of rendered rain."""

from __future__ import annotations

import cv2
import numpy as np

from rainrag.core.images import U8


def day_scene(seed: int = 0, width: int = 160, height: int = 112) -> U8:
    """A bright scene with sky above, blocks and fine texture below."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (6, 9, 3)).astype(np.uint8)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    scene[: height // 3] = (150, 185, 225)
    scene += rng.normal(0, 8, (height, width, 1))
    return np.clip(scene, 0, 255).astype(np.uint8)


def night_scene(seed: int = 0, width: int = 160, height: int = 112) -> U8:
    """A dark scene with one lamp, left of the middle, that lights the ground below it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    far = np.hypot(x - 0.3 * width, y - 0.4 * height)
    scene = 8 + 60 * np.exp(-far / (0.15 * width))[..., None] * np.array([1, 0.8, 0.5])
    scene = scene + rng.normal(0, 1.5, (height, width, 1))
    scene[far < 4] = 255
    return np.clip(scene, 0, 255).astype(np.uint8)
