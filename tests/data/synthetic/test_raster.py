"""Linear light and strokes."""

from __future__ import annotations

import numpy as np
import pytest

from rainrag.data.synthetic import light
from rainrag.data.synthetic.raster import Strokes, draw


def strokes(**changed: object) -> Strokes:
    """One upright stroke amid a 64 x 64 image."""
    given = {
        "x": 31.3, "y": 32.7, "dx": 0.0, "dy": 20.0, "sigma": 1.1, "mass": 50.0,
        "ripple": 0.0, "cycles": 0.0, "phase": 0.0,
    } | changed  # fmt: skip
    return Strokes(**{k: np.atleast_1d(np.asarray(v, np.float64)) for k, v in given.items()})


def test_every_code_survives_the_round_trip() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (light.encode(light.decode(codes)) == codes).all()


def test_half_the_light_is_code_188() -> None:
    assert light.encode(np.array([0.5], np.float32))[0] == 188
    assert light.decode(np.array([188], np.uint8))[0] == pytest.approx(0.5, abs=0.005)


def test_light_beyond_white_clips() -> None:
    assert light.encode(np.array([-1.0, 7.0], np.float32)).tolist() == [0, 255]


@pytest.mark.parametrize("sigma", [1.5, 6.0, 20.0])
def test_blur_keeps_the_mean(sigma: float) -> None:
    layer = np.random.default_rng(0).random((96, 128)).astype(np.float32)
    assert light.blur(layer, sigma).mean() == pytest.approx(layer.mean(), rel=0.01)


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 160])
@pytest.mark.parametrize("length", [0.5, 12.0, 25.0])
def test_mass_is_kept_whatever_the_direction(angle: float, length: float) -> None:
    a = np.radians(angle)
    canvas = draw(strokes(dx=length * np.sin(a), dy=length * np.cos(a)), (64, 64))
    assert canvas.sum() == pytest.approx(50.0, rel=0.03)
    assert canvas.min() >= 0


def test_a_stroke_lies_where_it_should() -> None:
    canvas = draw(strokes(), (64, 64))
    rows, columns = np.nonzero(canvas > 0.05 * canvas.max())
    assert (canvas.sum(0) * np.arange(64)).sum() / canvas.sum() == pytest.approx(31.3, abs=0.05)
    assert (canvas.sum(1) * np.arange(64)).sum() / canvas.sum() == pytest.approx(32.7, abs=0.05)
    assert rows.max() - rows.min() == pytest.approx(20, abs=2)
    assert columns.max() - columns.min() <= 6


def test_turning_the_stroke_turns_the_picture() -> None:
    upright = draw(strokes(x=32.0, y=32.0), (65, 65))
    lying = draw(strokes(x=32.0, y=32.0, dx=20.0, dy=0.0), (65, 65))
    np.testing.assert_allclose(upright, lying.T, atol=1e-6)


def test_ripple_moves_light_along_the_stroke_but_makes_none() -> None:
    plain, rippled = (draw(strokes(ripple=r, cycles=2.0), (64, 64)) for r in (0.0, 0.8))
    assert rippled.sum() == pytest.approx(plain.sum(), rel=0.05)
    assert rippled.sum(1).max() > 1.3 * plain.sum(1).max()


def test_strokes_outside_are_cut_off() -> None:
    assert draw(strokes(x=-40.0), (64, 64)).sum() == 0
    half = draw(strokes(x=0.0 - 0.5), (64, 64))
    assert half.sum() == pytest.approx(25.0, rel=0.05)
    assert draw(strokes()[np.array([], int)], (64, 64)).sum() == 0
