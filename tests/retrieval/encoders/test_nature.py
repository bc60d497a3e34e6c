"""Natural-scene statistics: shapes of known distributions, and what drawn strokes change."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core import images
from rainrag.retrieval.encoders import nature
from tests.conftest import picture


def at(rgb: images.U8, name: str) -> float:
    return float(nature.describe(rgb)[nature.NAMES.index(name)])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 9999), kind=st.integers(0, 2), side=st.integers(48, 200))
def test_any_picture_has_finite_values(seed: int, kind: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = [
        rng.integers(0, 256, (side, side, 3)),
        np.full((side, side, 3), rng.integers(0, 256)),
        picture(seed, side, side),
    ][kind].astype(np.uint8)
    values = nature.describe(rgb)
    assert values.shape == (len(nature.NAMES),)
    assert np.isfinite(values).all()
    assert np.array_equal(values, nature.describe(rgb))


def test_sparse_detail_has_heavier_tails_than_noise() -> None:
    rng = np.random.default_rng(0)
    noise = np.repeat(np.clip(rng.normal(128, 20, (160, 160, 1)), 0, 255), 3, axis=2).astype(np.uint8)
    sparse = np.full((160, 160, 3), 128, np.uint8)
    sparse[rng.random((160, 160)) < 0.02] = 250
    # a generalised Gaussian of shape 2 is the Gaussian; dividing by local deviations shortens the tails of noise
    assert at(noise, "shape") > 2
    assert at(sparse, "shape") < 0.5


def test_the_residual_holds_thin_bright_lines_and_no_broad_ones() -> None:
    y = np.full((64, 64), 90, np.float32)
    y[:, 20] = 150  # thin
    y[:, 40:52] = 150  # broad
    left = nature.residual(y)
    assert np.all(left[:, 20] == 60)
    assert np.all(left[:, 44:48] == 0)


def test_drawn_strokes_have_one_level_and_no_detail() -> None:
    rng = np.random.default_rng(1)
    base = cv2.GaussianBlur(picture(3, 256, 192), (0, 0), 2)
    hard, soft = np.zeros(base.shape[:2], np.float32), np.zeros(base.shape[:2], np.float32)
    for _ in range(70):
        x, y = int(rng.integers(0, 256)), int(rng.integers(0, 192))
        cv2.line(hard, (x, y), (x + 3, y + 26), 1.0, 2)
        cv2.line(soft, (x, y), (x + 3, y + 26), float(rng.uniform(0.2, 1)), 2)
    soft = cv2.GaussianBlur(soft, (0, 0), 1.5)
    drawn = np.where(hard[..., None] > 0, 235, base).astype(np.uint8)  # one colour, as a pen has
    seen = np.clip(base + 90 * soft[..., None], 0, 255).astype(np.uint8)
    assert at(drawn, "spike") > 2 * at(seen, "spike")
    assert at(drawn, "entropy") < at(seen, "entropy")
    assert at(drawn, "inner-detail") < at(seen, "inner-detail")


def test_blur_and_noise_move_the_statistics_apart() -> None:
    plain = picture(5, 200, 160)
    soft = cv2.GaussianBlur(plain, (0, 0), 2)
    assert at(soft, "spread") < at(plain, "spread") - 0.1
