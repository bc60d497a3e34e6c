"""Rain by hand: the numbers of the literature and of a pocket calculator."""

from __future__ import annotations

import numpy as np
import pytest

from rainrag.data.synthetic import physics


@pytest.mark.parametrize(("diameter", "speed"), [(1.0, 4.03), (2.0, 6.49), (3.0, 8.06), (5.0, 9.09)])
def test_fall_speed_is_that_of_gunn_and_kinzer(diameter: float, speed: float) -> None:
    assert physics.terminal_velocity(diameter) == pytest.approx(speed, rel=0.03)


def test_fall_speed_never_turns_negative() -> None:
    assert physics.terminal_velocity(np.array([0.01, 0.1, 0.3])).min() > 0


def test_slope_of_the_size_distribution() -> None:
    assert physics.slope(1.0) == pytest.approx(4.1)
    assert physics.slope(25.0) == pytest.approx(2.0855, abs=1e-3)


def test_mean_size_is_one_over_the_slope() -> None:
    d = np.linspace(0, 40, 400_001)
    n = physics.concentration(d, 10.0)
    assert np.sum(d * n) / np.sum(n) == pytest.approx(1 / physics.slope(10.0), rel=1e-3)


def test_sizes_and_speeds_give_the_rain_rate_back() -> None:
    d = np.linspace(0, 8, 80_001)  # mm
    volume = np.pi / 6 * (d * 1e-3) ** 3  # m3
    flux = np.sum(volume * physics.concentration(d, 10.0) * physics.terminal_velocity(d)) * (d[1] - d[0])
    assert flux * 1000 * 3600 == pytest.approx(10.0, rel=0.25)  # mm/h; Marshall-Palmer is known not to close exactly


def test_oscillation_of_a_two_millimetre_drop() -> None:
    assert physics.oscillation(2.0) == pytest.approx(121.6, abs=0.5)


def test_extinction_by_hand() -> None:
    assert physics.extinction(25.0) == pytest.approx(0.5 * np.pi * 8000 / 2.0855**3 * 1e-6, rel=1e-3)


def test_visible_count_is_the_integral_over_sizes() -> None:
    rate, focal, pixels, least = 30.0, 900.0, 150_000, 0.5
    d = np.linspace(0, 30, 300_001)
    reach = focal * d * 1e-3 / least
    volume = pixels * reach**3 / (3 * focal**2)
    count = np.sum(physics.concentration(d, rate) * volume) * (d[1] - d[0])
    assert physics.visible_count(rate, focal, pixels, least) == pytest.approx(count, rel=1e-3)


def test_visible_drops_follow_their_laws() -> None:
    diameter, width = physics.visible_drops(np.random.default_rng(0), 40_000, 25.0, 0.5)
    assert diameter.mean() == pytest.approx(4 / physics.slope(25.0), rel=0.02)
    assert width.min() >= 0.5
    assert np.mean(width > 1.0) == pytest.approx(1 / 8, rel=0.05)  # twice as wide: an eighth of the volume


def test_refraction_by_hand() -> None:
    bend, through = physics.snell_deviation(np.radians([0.0, 30.0, 50.0]))
    assert bend[0] == pytest.approx(0)
    assert np.degrees(bend[1]) == pytest.approx(11.8, abs=0.05)
    assert through[0] == pytest.approx(1 - (0.333 / 2.333) ** 2, abs=1e-6)
    assert through[2] == 0, "beyond 48.6 degrees nothing gets through"
    assert 0 < through[1] < through[0]
