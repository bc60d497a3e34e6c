"""Montages: sizes, places, labels, and the same bytes for the same input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rainrag.core.images import U8
from rainrag.voters.montage import capped, montage


def flat(value: int, width: int = 60, height: int = 40) -> U8:
    """One colour, and none that a label in black, grey and white could hold."""
    return np.full((height, width, 3), (value, 0, 255 - value), np.uint8)


def where(made: U8, value: int) -> npt.NDArray[np.bool_]:
    return np.asarray((made == (value, 0, 255 - value)).all(2))


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (300, 4000), (5000, 2), (64, 64)])
def test_an_image_is_shrunk_to_the_cap_and_keeps_its_aspect(width: int, height: int) -> None:
    out = capped(flat(9, width, height), 100_000)
    h, w = out.shape[:2]
    assert h * w <= 100_000
    if width * height <= 100_000:
        assert (w, h) == (width, height)
    else:
        assert h * w > 90_000
        assert w / h == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_every_image_is_there_once_and_the_candidate_is_the_largest(n: int) -> None:
    values = [200, *(20 + 10 * i for i in range(n))]
    made = montage(flat(200, 600, 400), [flat(v, 600, 400) for v in values[1:]], 500 * 500)
    assert made.shape == (500, 500, 3)
    areas = [int(where(made, v).sum()) for v in values]
    assert all(a > 100 for a in areas), areas
    assert areas[0] > 1.2 * max(areas[1:])
    columns = [np.nonzero(where(made, v).any(0))[0] for v in values]
    assert columns[0].max() < min(c.min() for c in columns[1:])  # the candidate stands left of all


def test_a_small_image_is_not_enlarged() -> None:
    made = montage(flat(200, 30, 20), [flat(50, 12, 10)], 400 * 400)
    assert where(made, 200).sum() == 600
    assert where(made, 50).sum() == 120


def test_labels_are_drawn_and_tell_panels_apart() -> None:
    made = montage(flat(127), [flat(127), flat(127)], 480 * 480)
    strip = 480 // 24
    bright = made[:strip, :320].max(2) > 200
    assert bright.any(0).sum() > 40  # CANDIDATE
    first, second = made[:strip, 320:480], made[240 : 240 + strip, 320:480]
    assert first.max() > 200
    assert not np.array_equal(first, second)  # REAL 1, REAL 2


def test_the_same_input_gives_the_same_pixels_and_the_order_counts() -> None:
    query, a, b = flat(200), flat(30), flat(90)
    one = montage(query, [a, b], 300 * 300)
    np.testing.assert_array_equal(one, montage(query, [a, b], 300 * 300))
    assert not np.array_equal(one, montage(query, [b, a], 300 * 300))
