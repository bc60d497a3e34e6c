import numpy as np
import pytest

from rainrag.core import images
from rainrag.core.types import Subset
from rainrag.data import pair_tone
from rainrag.data.synthetic.generate import visible
from rainrag.data.synthetic.street import street


@pytest.fixture(scope="module")
def pair():
    clean = street(np.random.default_rng(11), (288, 224), False)
    return visible(clean, Subset.DRS, np.random.default_rng(3), relight=False)


def _calm(lq, gt):
    change = np.abs(images.luma(lq) - images.luma(gt))
    return change <= np.median(change)


def _tone(lq, gt):
    return pair_tone.measure(lq, gt, _calm(lq, gt))


def test_equal_sides_differ_in_nothing(pair):
    tone = _tone(pair.gt, pair.gt)
    for name in ("level_dark", "level_middle", "level_bright", "cast", "finest", "blocks_more", "even"):
        assert getattr(tone, name) == 0
    assert tone.slope == pytest.approx(1, abs=0.02)


def test_twice_the_light_is_an_octave(pair):
    half = (pair.gt // 2).astype(np.uint8)
    twice = np.minimum(half.astype(int) * 2, 255).astype(np.uint8)
    tone = _tone(twice, half)
    assert tone.level_bright == pytest.approx(1, abs=0.15)
    assert tone.slope == pytest.approx(2, abs=0.15)


def test_a_cast_is_seen_by_day_and_by_night_alike(pair):
    gains = np.array([1.25, 1.0, 0.8])
    for scale in (1.0, 0.2):
        base = np.clip(pair.gt * scale, 0, 200)
        lq, gt = base.astype(np.uint8), np.clip(base * gains, 0, 255).astype(np.uint8)
        # log2(1.25 / 0.8) is 0.64; the lift of the logarithm takes some of it where it is dark
        assert 0.35 < _tone(lq, gt).cast < 0.7


def test_a_compressed_or_enlarged_clean_side_shows(pair):
    sound = _tone(pair.lq, pair.gt)
    pressed = images.decode(images.encode_jpeg(pair.gt, 8)).rgb
    h, w = pair.gt.shape[:2]
    large = images.resize(images.resize(pair.gt, (w // 2, h // 2), "area"), (w, h), "bicubic")
    assert _tone(pair.lq, pressed).blocks_more > sound.blocks_more + 0.5
    assert _tone(pair.lq, large).finest < sound.finest - 0.5


@pytest.mark.parametrize(("scale", "gamma"), [(1.0, 1.4), (0.8, 1.0), (0.9, 0.75)])
def test_another_exposure_is_found_and_undone(pair, scale, gamma):
    other = pair_tone.expose(pair.gt, scale, gamma)
    found = pair_tone.curve(pair.gt, other, _calm(pair.gt, other))
    assert found is not None
    assert np.abs(pair_tone.expose(other, *found).astype(int) - pair.gt).mean() < 2


def test_another_scene_is_no_exposure(pair):
    other = np.ascontiguousarray(pair.gt[::-1, ::-1])
    assert pair_tone.curve(pair.lq, other, _calm(pair.lq, other)) is None
