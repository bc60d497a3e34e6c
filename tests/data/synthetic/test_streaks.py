"""Streaks follow from the rain and the camera; the additive style is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rainrag.data.synthetic import additive, light, physics, streaks
from rainrag.data.synthetic.additive import Overlay
from rainrag.data.synthetic.streaks import Shower
from tests.data.synthetic.scenes import day_scene

CALM = Shower(
    rate=30.0, exposure=0.01, focal=1000.0, aperture=2.0, focus=10.0, wind=0.0, turbulence=0.0, speed=0.0,
    headroom=2.0, ripple=0.0, mist=0.0, depth=30.0,
)  # fmt: skip


def one_drop(monkeypatch: pytest.MonkeyPatch, shower: Shower) -> streaks.Strokes:
    """Strokes of drops of 2 mm at one metre: 2 pixels wide at a focal length of 1000 pixels."""
    monkeypatch.setattr(physics, "visible_drops", lambda rng, n, rate, least: (np.full(n, 2.0), np.full(n, 2.0)))
    return streaks.strokes(shower, (100, 150), np.random.default_rng(0))


def test_length_is_speed_times_exposure_times_focal_over_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = one_drop(monkeypatch, CALM)
    np.testing.assert_allclose(drawn.dy, 6.548 * 0.01 * 1000 / 1.0, rtol=1e-3)
    np.testing.assert_allclose(drawn.dx, 0, atol=1e-9)


def test_mass_is_the_area_of_the_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_allclose(one_drop(monkeypatch, CALM).mass, np.pi)  # pi/4 * 2^2


def test_blur_is_the_circle_of_confusion(monkeypatch: pytest.MonkeyPatch) -> None:
    disc = 2e-3 * 1000 * (1 / 1 - 1 / 10)  # pixels
    np.testing.assert_allclose(one_drop(monkeypatch, CALM).sigma, np.sqrt(0.45**2 + (4 + disc**2) / 16))


def test_wind_slants_and_driving_fans_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slanted = one_drop(monkeypatch, replace(CALM, wind=6.548))
    np.testing.assert_allclose(slanted.dx, slanted.dy, rtol=1e-3)
    driven = one_drop(monkeypatch, replace(CALM, speed=15.0))
    assert (np.sign(driven.dx) == np.sign(driven.x - 75)).all()


def test_more_rain_hides_more() -> None:
    shares = [
        np.mean([streaks.opacity(replace(CALM, rate=r), (96, 144), np.random.default_rng(i)).mean() for i in range(8)])
        for r in (5.0, 30.0, 150.0)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_opacity_is_a_share() -> None:
    alpha = streaks.opacity(replace(CALM, rate=200.0, exposure=0.001), (96, 144), np.random.default_rng(1))
    assert alpha.min() >= 0
    assert alpha.max() < 1


def test_longer_exposure_fades_the_streaks_and_keeps_their_mass() -> None:
    short, long = (
        streaks.opacity(replace(CALM, exposure=t), (200, 300), np.random.default_rng(2)) for t in (0.001, 0.02)
    )
    assert long.max() < 0.5 * short.max()
    assert long.mean() == pytest.approx(short.mean(), rel=0.35)


def test_drops_brighten_what_is_darker_than_the_sky() -> None:
    linear = np.full((96, 144, 3), 0.05, np.float32)
    linear[:10] = 0.9
    out = streaks.compose(linear, CALM, np.random.default_rng(3))
    assert (out[12:] >= linear[12:] - 1e-6).all()
    assert out[12:].max() > 0.08
    assert np.abs(out - linear).max() < 1, "no stroke may replace the scene"


def test_the_veil_follows_koschmieder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaks, "pseudo_depth", lambda linear: np.ones(linear.shape[:2], np.float32))
    shower = replace(CALM, mist=1.0)
    linear, air = np.full((70, 80, 3), 0.2, np.float32), np.full(3, 0.8, np.float32)
    beta = physics.extinction(30.0) * 2 * 30
    assert shower.thickness == pytest.approx(beta)
    expected = 0.2 * np.exp(-beta) + 0.8 * (1 - np.exp(-beta))
    np.testing.assert_allclose(streaks.veil(linear, shower, air), expected, rtol=1e-4)


def test_depth_grows_upwards() -> None:
    depth = streaks.pseudo_depth(np.full((96, 128, 3), 0.3, np.float32))
    assert depth[10].mean() > depth[48].mean() > depth[85].mean()
    assert 0 <= depth.min() <= depth.max() <= 1


def test_additive_layer_never_darkens_and_is_grey() -> None:
    clean = day_scene()
    out = additive.compose(clean, Overlay.sample(np.random.default_rng(0), 0.6), np.random.default_rng(1))
    more = out.astype(int) - clean
    assert more.min() >= 0
    assert more.max() > 20
    open_pixels = (out < 255).all(2)
    assert np.ptp(more[open_pixels], axis=-1).max() <= 1


@pytest.mark.parametrize("strength", [0.2, 0.7])
def test_additive_mean_is_as_asked(strength: float) -> None:
    got, asked = [], []
    for seed in range(12):
        overlay = Overlay.sample(np.random.default_rng(seed), strength)
        got.append(additive.layer(overlay, (160, 240), np.random.default_rng(seed + 100)).mean())
        asked.append(overlay.mean)
    assert np.mean(got) == pytest.approx(np.mean(asked), rel=0.12)


def test_linear_compositing_differs_from_adding_codes() -> None:
    """The same light added to a dark and a bright place raises the dark code far more."""
    dark, bright = light.decode(np.array([20], np.uint8)), light.decode(np.array([200], np.uint8))
    plus = np.float32(0.05)
    assert int(light.encode(dark + plus)[0]) - 20 > 3 * (int(light.encode(bright + plus)[0]) - 200)
