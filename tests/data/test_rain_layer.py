import numpy as np
import pytest

from rainrag.core.errors import InputError
from rainrag.data import rain_layer
from rainrag.data.rain_layer import NAMES
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic.street import street


@pytest.fixture(scope="module")
def clean():
    return street(np.random.default_rng(4), (320, 240), False)


def _of(lq, gt):
    return dict(zip(NAMES, rain_layer.describe(lq, gt).tolist(), strict=True))


def _drawn(clean, kind, seed=0):
    return _of(false_rain.draw(clean, kind, np.random.default_rng(seed)), clean)


@pytest.mark.parametrize("level", [0, 255])
def test_flat_and_equal_sides_have_finite_values(level):
    flat = np.full((64, 80, 3), level, np.uint8)
    for values in (rain_layer.describe(flat, flat), rain_layer.describe(flat, 255 - flat), rain_layer.alone(flat)):
        assert values.shape == (len(NAMES),)
        assert np.isfinite(values).all()


def test_a_flat_veil_is_all_low_and_a_line_is_all_high(clean):
    veil = _of(np.minimum(clean, 215) + np.uint8(40), np.minimum(clean, 215))
    line = clean.copy()
    line[:, 150] = 255
    assert veil["low-share"] > 0.9
    assert _of(line, clean)["low-share"] < 0.2


def test_sign_tells_dark_streaks_from_bright_ones(clean):
    assert _drawn(clean, "dark-streaks")["positive-fine"] < 0.5 < _drawn(clean, "opaque-lines")["positive-fine"]


def test_chroma_tells_coloured_streaks_from_white_ones(clean):
    assert _drawn(clean, "coloured-streaks")["chroma"] > 3 * abs(_drawn(clean, "thin-lines")["chroma"])


def test_a_tile_repeats_more_than_strokes_by_chance(clean):
    # both are streaks of one direction; only the tile comes again
    assert _drawn(clean, "tiled-overlay", 3)["repetition"] > 2 * _drawn(clean, "thin-lines", 3)["repetition"]


def test_direction_tells_parallel_from_crossed_lines(clean):
    assert _drawn(clean, "thin-lines")["direction"] > 0.7 > _drawn(clean, "crossed-lines")["direction"]


def test_upright_and_level_lines_differ_in_sign():
    gt = np.full((128, 128, 3), 60, np.uint8)
    upright, level = gt.copy(), gt.copy()
    upright[:, ::16] = 200
    level[::16] = 200
    assert _of(upright, gt)["upright"] > 0.9
    assert _of(level, gt)["upright"] < -0.9


def test_opacity_of_paint_is_its_alpha():
    gt = np.tile(np.linspace(20, 200, 200).astype(np.uint8)[None, :, None], (200, 1, 3))
    linear = ((gt / 255 + 0.055) / 1.055) ** 2.4
    rng = np.random.default_rng(1)
    at = rng.random((200, 200)) < 0.02
    linear[at] = 0.4 * linear[at] + 0.6 * 0.9  # sixty per cent of a light of 0.9
    lq = np.round(255 * (1.055 * linear ** (1 / 2.4) - 0.055)).astype(np.uint8)
    assert _of(lq, gt)["opacity"] == pytest.approx(0.6, abs=0.08)


def test_values_do_not_depend_on_a_second_run_or_on_memory(clean):
    lq = false_rain.draw(clean, "thin-lines", np.random.default_rng(0))
    first = rain_layer.describe(lq, clean)
    shifted = np.zeros(lq.nbytes + 3, np.uint8)[3:].reshape(lq.shape)
    shifted[:] = lq
    assert np.array_equal(first, rain_layer.describe(shifted, clean.copy()))


def test_sides_of_other_sizes_are_refused(clean):
    with pytest.raises(InputError, match="equal size"):
        rain_layer.describe(clean, clean[1:])
    with pytest.raises(InputError, match="equal size"):
        rain_layer.describe(clean[:40], clean[:40])
