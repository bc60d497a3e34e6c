"""One clean photograph in, one rainy pair out."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from rainrag.core.errors import UsageError
from rainrag.core.images import U8, is_night, psnr8
from rainrag.core.types import Subset, subset_of
from rainrag.data.synthetic import naive_overlay, render
from tests.data.synthetic.scenes import day_scene, night_scene

TYPES = list(Subset)


def background(subset: Subset) -> U8:
    return night_scene() if subset in (Subset.NRS, Subset.NRD) else day_scene()


@pytest.mark.parametrize("subset", TYPES)
def test_a_pair_of_each_type(subset: Subset) -> None:
    clean = background(subset)
    before = clean.copy()
    pair = render(clean, subset, np.random.default_rng(0), 0.6)
    assert pair.lq.shape == pair.gt.shape == clean.shape
    assert pair.lq.dtype == np.uint8
    assert (clean == before).all(), "the background is left alone"
    assert (pair.gt == clean).all()
    assert subset_of(pair.streak, pair.drop, pair.night) is subset
    assert 8 < psnr8(pair.lq, pair.gt) < 45
    json.dumps(pair.params)


@pytest.mark.parametrize("subset", TYPES)
def test_the_generator_alone_decides(subset: Subset) -> None:
    clean = background(subset)
    first, again, other = (render(clean, subset, np.random.default_rng(s), 0.6) for s in (1, 1, 2))
    assert (first.lq == again.lq).all()
    assert first.params == again.params
    assert (first.lq != other.lq).any()


@pytest.mark.parametrize("subset", TYPES)
def test_stronger_is_worse_on_average(subset: Subset) -> None:
    clean = background(subset)
    quality = [np.mean([psnr8(*_sides(clean, subset, seed, s)) for seed in range(8)]) for s in (0.05, 0.95)]
    assert quality[0] > quality[1] + 3


def _sides(clean: U8, subset: Subset, seed: int, strength: float) -> tuple[U8, U8]:
    pair = render(clean, subset, np.random.default_rng(seed), strength, noise=False)
    return pair.lq, pair.gt


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (200, 64)])
@pytest.mark.parametrize("subset", TYPES)
def test_any_size_from_64(subset: Subset, size: tuple[int, int]) -> None:
    clean = np.ascontiguousarray(np.resize(background(subset), (*size, 3)))
    assert render(clean, subset, np.random.default_rng(3), 1.0).lq.shape == (*size, 3)


def test_a_day_picture_becomes_night_on_both_sides() -> None:
    pair = render(day_scene(), Subset.NRS, np.random.default_rng(0), 0.3)
    assert pair.params["relit"]
    assert is_night(pair.gt)
    assert psnr8(pair.lq, pair.gt) > 15
    kept = render(day_scene(), Subset.NRS, np.random.default_rng(0), 0.3, relight=False)
    assert (kept.gt == day_scene()).all()


def test_mixed_rain_has_both_and_belongs_to_the_drops() -> None:
    pair = render(day_scene(), Subset.DRD, np.random.default_rng(0), 0.5, mixed=True)
    assert pair.streak
    assert pair.drop
    assert {"shower", "glass"} <= set(pair.params)
    assert not render(day_scene(), Subset.DRD, np.random.default_rng(0), 0.5, mixed=False).streak


def test_additive_style_only_brightens() -> None:
    pair = render(day_scene(), Subset.DRS, np.random.default_rng(0), 0.5, style="additive")
    assert (pair.lq >= pair.gt).all()
    assert pair.streak
    assert not pair.accumulation


def test_misuse_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="64 x 64"):
        render(day_scene(width=63), Subset.DRS, rng)
    with pytest.raises(UsageError, match="strength"):
        render(day_scene(), Subset.DRS, rng, 1.5)
    with pytest.raises(UsageError, match="additive"):
        render(day_scene(), Subset.NRD, rng, style="additive")


def test_naive_overlay_is_uniform_white() -> None:
    clean = day_scene()
    out = naive_overlay(clean, np.random.default_rng(0))
    more = out.astype(int) - clean
    assert more.min() >= 0
    assert 0.01 < np.mean(more > 0) < 0.7


def test_the_package_loads_nothing_until_asked() -> None:
    code = "import sys, rainrag.data.synthetic.source; assert 'cv2' not in sys.modules; rainrag.data.synthetic.render"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
