"""Night: lamps, glow, light cones, noise, and day turned to night."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rainrag.core.images import is_night
from rainrag.data.synthetic import light, night
from rainrag.data.synthetic.night import Lighting
from tests.data.synthetic.scenes import day_scene, night_scene
from tests.data.synthetic.test_streaks import CALM

LIGHTING = Lighting(
    lamp_gain=5.0, near_gain=8.0, cone_gain=1.0, ambient=0.002, glare=0.02, spread=0.03, shot=0.0, read=0.0
)  # fmt: skip


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A night scene in linear light, and its lamps."""
    linear = light.decode(night_scene())
    return linear, night.lamps(linear, LIGHTING)


def test_lamps_are_found_where_they_are() -> None:
    _, sources = scene()
    y, x = np.unravel_index(sources.sum(2).argmax(), sources.shape[:2])
    assert (x * 4, y * 4) == (pytest.approx(48, abs=6), pytest.approx(45, abs=6))
    assert sources.sum(2)[:, -10:].max() == 0, "no lamp on the right"


def test_a_bright_sky_is_no_lamp() -> None:
    assert night.lamps(light.decode(day_scene()), LIGHTING)[:8].max() < 0.1


def test_glow_keeps_light_and_fades_with_distance() -> None:
    point = np.zeros((96, 96, 3), np.float32)
    point[48, 48] = 100
    glow = night.glow(point, 0.02)[..., 0]
    assert glow.sum() == pytest.approx(100, rel=0.05)
    assert glow[48, 48] > glow[48, 54] > glow[48, 66] > 0


def test_glare_only_adds() -> None:
    linear, sources = scene()
    more = night.glare(linear, sources, LIGHTING) - linear
    assert more.min() >= 0
    assert more[40:50, 60].mean() > 3 * more[40:50, 150].mean()


def test_streaks_show_where_there_is_light() -> None:
    linear, sources = scene()
    field = night.light_field(linear, sources, LIGHTING).mean(2)
    rain = np.mean(
        [
            night.compose_streaks(
                linear, sources, replace(CALM, rate=80.0), replace(LIGHTING, glare=0.0), np.random.default_rng(s)
            )
            - linear
            for s in range(6)
        ],
        axis=(0, 3),
    )
    assert rain.min() >= 0
    blocks = [a.reshape(7, 16, 10, 16).mean((1, 3)).ravel() for a in (rain, field)]
    assert np.corrcoef(*blocks)[0, 1] > 0.7


def test_streaks_take_the_colour_of_the_lamp() -> None:
    linear = scene()[0] * np.array([1.0, 0.7, 0.3], np.float32)
    sources = night.lamps(linear, LIGHTING)
    lit = night.compose_streaks(
        linear, sources, replace(CALM, rate=80.0), replace(LIGHTING, ambient=0.0), np.random.default_rng(0)
    )
    red, _, blue = (lit - linear)[50:90, 30:70].mean((0, 1))
    assert red > 1.8 * blue


def test_noise_has_the_variance_asked_for() -> None:
    grey = np.full((200, 200, 3), 0.25, np.float32)
    noisy = night.noise(grey, replace(LIGHTING, shot=4e-4, read=0.005), np.random.default_rng(0))
    assert (noisy - grey).var() == pytest.approx(4e-4 * 0.25 + 0.005**2, rel=0.05)
    assert night.noise(grey, LIGHTING, np.random.default_rng(0)) is grey


@pytest.mark.parametrize("seed", range(4))
def test_relit_days_are_nights_of_the_same_scene(seed: int) -> None:
    day = day_scene(seed)
    dark = light.encode(night.relight(light.decode(day), np.random.default_rng(seed)))
    assert is_night(dark)
    assert dark.max() > 200, "a lamp shines"
    ground = slice(60, 110)
    detail = [a[ground].mean(2) - light.blur(a[ground].mean(2).astype(np.float32), 3) for a in (day, dark)]
    assert np.corrcoef(detail[0].ravel(), detail[1].ravel())[0, 1] > 0.5


def test_bokeh_shows_unclipped_lamps() -> None:
    """Drops out of focus gather the lamp's light: brighter discs than the clipped picture could give."""
    from tests.data.synthetic.test_drops import PANE

    linear, sources = scene()
    glass = replace(PANE, coverage=0.3, aperture=0.6)
    rich, poor = (
        night.compose_drops(linear, s, glass, replace(LIGHTING, glare=0.0), np.random.default_rng(2))
        for s in (sources, 0 * sources)
    )
    assert rich.mean() > poor.mean()
