import numpy as np
import pytest

from rainrag.core.errors import UsageError
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic.street import street


@pytest.fixture(scope="module")
def clean():
    return street(np.random.default_rng(4), (192, 128), False)


@pytest.mark.parametrize("kind", false_rain.KINDS)
def test_same_seed_same_bytes_other_seed_other_bytes(clean, kind):
    first, again, other = (false_rain.draw(clean, kind, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == clean.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", false_rain.KINDS)
def test_every_kind_is_visible_and_leaves_the_clean_side_alone(clean, kind):
    before = clean.copy()
    for seed in range(5):
        change = false_rain.draw(clean, kind, np.random.default_rng(seed)).astype(int) - clean
        assert np.percentile(np.abs(change).max(axis=2), 99) >= 6
    assert np.array_equal(clean, before)


def test_dark_streaks_darken_and_thin_lines_brighten(clean):
    rng = np.random.default_rng
    assert (false_rain.draw(clean, "dark-streaks", rng(3)).astype(int) - clean).mean() < -1
    assert (false_rain.draw(clean, "thin-lines", rng(3)).astype(int) - clean).mean() > 0.5


def test_tiles_repeat():
    flat = np.full((256, 256, 3), 90, np.uint8)
    change = false_rain.draw(flat, "tiled-overlay", np.random.default_rng(8)).astype(float)[..., 0]
    periods = [p for p in range(48, 129) if np.array_equal(change[: 256 - p], change[p:])]
    assert periods


def test_the_two_groups_share_no_kind_and_cover_all():
    assert len(false_rain.KINDS) >= 12
    assert {*false_rain.TUNED} | {*false_rain.HELD_OUT} == {*false_rain.KINDS}
    assert not {*false_rain.TUNED} & {*false_rain.HELD_OUT}
    assert {*false_rain.DROPS} & {*false_rain.TUNED}
    assert {*false_rain.DROPS} & {*false_rain.HELD_OUT}


def test_dry_is_the_photograph_itself_in_a_new_array(clean):
    dry = false_rain.draw(clean, "dry", np.random.default_rng(0))
    assert np.array_equal(dry, clean)
    assert dry is not clean


def test_unknown_kinds_and_small_pictures_are_refused(clean):
    with pytest.raises(UsageError, match="no false rain 'thin-line'") as e:
        false_rain.draw(clean, "thin-line", np.random.default_rng(0))
    assert "thin-lines" in str(e.value.hint)
    with pytest.raises(UsageError, match="at least 64"):
        false_rain.draw(clean[:32], "veil", np.random.default_rng(0))
