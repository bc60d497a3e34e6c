"""The rain descriptor sees rain: streaks and where they point, drops, veil, lamps, noise; and tells rain from dryness."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core import images
from rainrag.core.images import U8
from rainrag.core.types import Subset
from rainrag.data import synthetic
from rainrag.retrieval.encoders import rain

SHAPE = (192, 256)


def scene(seed: int, low: int = 60, high: int = 180) -> U8:
    """A calm picture: smooth colours with some sensor noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(low, high, (5, 7, 3)).astype(np.uint8)
    base = images.resize(coarse, SHAPE[::-1], "bicubic").astype(np.float32)
    return np.clip(base + rng.normal(0, 1.5, base.shape), 0, 255).astype(np.uint8)


def streaked(rgb: U8, degrees: float, seed: int = 0, count: int = 90) -> U8:
    """The picture with bright lines in one direction; 0 is horizontal, 90 upright, as in the descriptor."""
    rng = np.random.default_rng(seed)
    layer = np.zeros(SHAPE, np.float32)
    dx, dy = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for _ in range(count):
        x, y = rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0])
        a, b = (int(x - 9 * dx), int(y - 9 * dy)), (int(x + 9 * dx), int(y + 9 * dy))
        cv2.line(layer, a, b, float(rng.uniform(25, 60)), 1, cv2.LINE_AA)
    return np.clip(rgb + cv2.GaussianBlur(layer, (0, 0), 0.8)[..., None], 0, 255).astype(np.uint8)


def at(rgb: U8, name: str) -> float:
    return rain.word(rain.describe(rgb), name)


def test_names_groups_and_values_agree() -> None:
    values = rain.describe(scene(0))
    assert values.shape == (len(rain.NAMES),)
    assert values.dtype == np.float32
    assert sorted(i for g in rain.GROUPS.values() for i in g) == list(range(len(rain.NAMES)))
    # each group counts alike, whatever its size
    weights = rain.distance_weights()
    assert {round(float((weights[list(g)] ** 2).sum()), 5) for g in rain.GROUPS.values()} == {1.0}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), width=st.integers(16, 300), height=st.integers(16, 300), kind=st.integers(0, 3))
def test_any_picture_has_finite_bounded_values(seed: int, width: int, height: int, kind: int) -> None:
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 256)
    rgb = [
        rng.integers(0, 256, (height, width, 3)),
        np.full((height, width, 3), level),
        np.zeros((height, width, 3)),
        np.where(rng.random((height, width, 1)) < 0.5, 0, 255).repeat(3, 2),
    ][kind].astype(np.uint8)
    values = rain.describe(rgb)
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 8
    assert np.array_equal(values, rain.describe(rgb))


@pytest.mark.parametrize("degrees", [30, 60, 75, 90, 110, 150])
def test_the_direction_of_streaks_is_recovered(degrees: float) -> None:
    y = images.luma(streaked(scene(1), degrees))
    angle, length = rain.direction(rain.ridges(y, 1.0))
    off = abs((np.degrees(angle) - degrees + 90) % 180 - 90)
    assert off < 6
    assert length > 0.5  # streaks point one way
    assert rain.direction(rain.ridges(images.luma(scene(1)), 1.0))[1] < 0.25  # noise points nowhere


def test_streaks_raise_what_is_named_after_them() -> None:
    for seed in range(3):
        clean = scene(seed)
        rainy = streaked(clean, 85, seed)
        for name in ("ridge-fine", "ridge-aligned-fine", "ridge-upright-fine"):
            assert at(rainy, name) > at(clean, name) + 0.3, name
        assert at(rainy, "ridge-calm") > at(clean, "ridge-calm") + 0.02
        assert at(streaked(clean, 5, seed), "ridge-upright-fine") < 0.3  # lines that lie are not falling rain


def test_more_rain_is_more() -> None:
    clean = scene(4)
    seen = [at(streaked(clean, 80, 4, count), "ridge-fine") for count in (0, 20, 60, 180)]
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 0.3


def test_only_bright_lines_are_bright_ridges() -> None:
    y = np.full((64, 64), 120, np.float32)
    bright, dark = y.copy(), y.copy()
    bright[:, 32], dark[:, 32] = 170, 70
    seen, missed = rain.ridges(bright, 1.0), rain.ridges(dark, 1.0)
    assert seen.bright[8:-8, 32].min() > 5
    assert missed.bright[8:-8, 32].max() < 1e-3
    assert missed.dark[8:-8, 32].min() > 5
    assert np.abs(np.sin(seen.angle[8:-8, 32])).min() > 0.99  # along the line: upright


def test_a_tiled_layer_repeats_and_rain_does_not() -> None:
    tile = streaked(np.zeros((*SHAPE, 3), np.uint8), 80, 6)[:64, :64]
    tiled = np.tile(tile, (3, 4, 1))
    loose = streaked(np.zeros((*SHAPE, 3), np.uint8), 80, 6)
    assert rain.repetition(images.luma(tiled)) > 2 * rain.repetition(images.luma(loose))


def test_drops_are_soft_round_patches() -> None:
    rng = np.random.default_rng(7)
    sharp = rng.integers(40, 200, (*SHAPE, 3)).astype(np.uint8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 4)
    mask = np.zeros(SHAPE, np.uint8)
    for _ in range(7):
        cv2.circle(mask, (int(rng.integers(20, 236)), int(rng.integers(20, 172))), 15, 1, -1)
    glass = np.where(mask[..., None] > 0, soft, sharp).astype(np.uint8)
    assert at(sharp, "soft-cells") < 0.05
    assert at(glass, "soft-cells") > 0.3
    assert at(glass, "soft-spread") > at(sharp, "soft-spread") + 0.2
    assert at(soft, "soft-cells") < 0.3  # a picture that is soft everywhere has no drops


def test_veil_lamps_noise_and_blocks_are_seen() -> None:
    clean = scene(8)
    misty = (0.5 * clean + 100).astype(np.uint8)
    assert at(misty, "dark-channel") > at(clean, "dark-channel") + 0.5
    assert at(misty, "contrast") < at(clean, "contrast")
    assert at(misty, "saturation") < at(clean, "saturation")

    night = scene(9, 5, 40)
    lit = night.copy()
    for x, y in ((40, 50), (120, 90), (200, 60)):
        halo = np.zeros(SHAPE, np.float32)
        cv2.circle(halo, (x, y), 6, 600.0, -1)
        lit = np.clip(lit + cv2.GaussianBlur(halo, (0, 0), 5)[..., None], 0, 255).astype(np.uint8)
    assert (at(night, "lamp-count"), at(night, "glow")) == (0, 0)
    assert at(lit, "lamp-count") == pytest.approx(np.log2(4) / 4)  # three
    assert at(lit, "glow") > 0.6

    rng = np.random.default_rng(10)
    noisy = np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    assert at(noisy, "noise") > at(clean, "noise") + 0.3
    _, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 8])
    assert at(cv2.imdecode(packed, cv2.IMREAD_COLOR), "jpeg-blocks") > at(noisy, "jpeg-blocks") + 0.3


@pytest.mark.parametrize("subset", [Subset.DRS, Subset.NRS])
def test_rendered_rain_against_its_clean_twin(subset: Subset) -> None:
    more = []
    for seed in range(6):
        clean = scene(20 + seed, 20 if subset is Subset.NRS else 60, 90 if subset is Subset.NRS else 180)
        made = synthetic.render(clean, subset, np.random.default_rng(seed), strength=0.8)
        more.append(at(made.lq, "ridge-calm") > at(made.gt, "ridge-calm"))
    assert sum(more) >= 5


def test_evidence_is_the_documented_sum() -> None:
    values = np.zeros(len(rain.NAMES), np.float32)
    assert rain.evidence(values) == pytest.approx(rain.WET)
    values[rain.NAMES.index("saturation")] = 1
    assert rain.evidence(values) == pytest.approx(rain.WET - 2)
    clean = scene(11)
    assert rain.evidence(rain.describe(streaked(clean, 88, 11))) > rain.evidence(rain.describe(clean)) + 0.5
