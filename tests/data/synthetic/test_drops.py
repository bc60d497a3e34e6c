"""Drops on glass: refraction, defocus, sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rainrag.data.synthetic import drops
from rainrag.data.synthetic.drops import Beads, Glass

PANE = Glass(
    coverage=0.2, smallest=0.3, largest=2.0, power=2.4, contact=40.0, sag=0.0, wobble=0.0, trails=0.0,
    distance=80.0, focal=600.0, aperture=0.01, sky=1.0, ground=1.0, glint=0.0,
)  # fmt: skip


def one_drop(radius: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    beads = Beads(np.array([64.0]), np.array([64.0]), np.array([radius]))
    return drops.relief(beads, PANE, (128, 128), np.random.default_rng(0))


def test_a_drop_covers_its_disc() -> None:
    cover, _ = one_drop()
    assert cover.sum() == pytest.approx(np.pi * 30**2, rel=0.01)
    assert cover.min() >= 0
    assert cover.max() <= 1


def test_the_surface_tilts_outwards_up_to_the_contact_angle() -> None:
    cover, tilt = one_drop()
    assert np.hypot(*tilt[64, 64]) < 0.05
    assert np.degrees(np.arctan(np.hypot(*tilt[64, 93]))) == pytest.approx(40, abs=3)
    assert tilt[64, 90, 0] > 0 > tilt[64, 38, 0]
    assert tilt[cover == 0].max() == 0


def test_a_drop_shows_the_scene_upside_down_and_mirrored() -> None:
    scene = np.full((128, 128, 3), 0.05, np.float32)
    scene[:64, :, 2] = 0.9  # blue above
    scene[:, :64, 0] = 0.9  # red on the left
    _, tilt = one_drop()
    seen = drops.refract(scene, tilt, PANE)
    above, below = seen[44:50, 62:66, 2].mean(), seen[78:84, 62:66, 2].mean()
    assert below > 2 * above
    left, right = seen[62:66, 44:50, 0].mean(), seen[62:66, 78:84, 0].mean()
    assert right > 2 * left


def test_the_rim_is_darker_than_the_middle() -> None:
    scene = np.full((128, 128, 3), 0.5, np.float32)
    _, tilt = one_drop()
    steep = replace(PANE, contact=60.0)
    _, steeper = drops.relief(
        Beads(np.array([64.0]), np.array([64.0]), np.array([30.0])), steep, (128, 128), np.random.default_rng(0)
    )
    assert drops.refract(scene, tilt, PANE)[64, 93].mean() < drops.refract(scene, tilt, PANE)[64, 64].mean()
    assert drops.refract(scene, steeper, steep)[64, 93].max() == 0, "total reflection beyond 48.6 degrees"


def test_overlapping_drops_merge_at_the_higher_surface() -> None:
    rng = np.random.default_rng(0)
    small, large = (
        Beads(*(np.array([v]) for v in (70.0, 64.0, 6.0))),
        Beads(*(np.array([v]) for v in (64.0, 64.0, 30.0))),
    )
    both = Beads(*(np.array([a, b]) for a, b in ((70.0, 64.0), (64.0, 64.0), (6.0, 30.0))))
    _, tilt = drops.relief(both, PANE, (128, 128), rng)
    _, alone = drops.relief(large, PANE, (128, 128), rng)
    _, hidden = drops.relief(small, PANE, (128, 128), rng)
    np.testing.assert_allclose(tilt[64, 74], alone[64, 74])
    assert not np.allclose(tilt[64, 74], hidden[64, 74])


def test_sizes_follow_the_power_law() -> None:
    radius = drops._power_law(np.random.default_rng(0), 1.0, 10.0, 3.0, 50_000)
    assert radius.min() >= 1
    assert radius.max() <= 10
    assert np.median(radius) == pytest.approx((1 - 0.5 * (1 - 0.01)) ** -0.5, rel=0.02)
    assert np.mean(np.pi * radius**2) == pytest.approx(drops._mean_area(1.0, 10.0, 3.0), rel=0.03)


def test_coverage_is_as_asked() -> None:
    covers = [
        drops.relief(
            drops.scatter(PANE, (160, 240), np.random.default_rng(s)), PANE, (160, 240), np.random.default_rng(s)
        )[0].mean()
        for s in range(12)
    ]
    # drops fall where others are: a share of 1 - exp(-0.2) is under water
    assert np.mean(covers) == pytest.approx(1 - np.exp(-0.2), rel=0.2)


@pytest.mark.parametrize("diameter", [3.0, 7.5, 26.0])
def test_defocus_is_a_disc_that_keeps_light(diameter: float) -> None:
    point = np.zeros((128, 128), np.float32)
    point[64, 64] = 100
    blurred = drops.disc_blur(point, diameter)
    assert blurred.sum() == pytest.approx(100, rel=0.02)
    y, x = np.nonzero(blurred > 0.3 * blurred.max())
    assert np.ptp(x) + 1 == pytest.approx(diameter, abs=max(1.5, 0.3 * diameter))
    assert np.ptp(y) == pytest.approx(np.ptp(x), abs=2)


def test_blur_disc_is_aperture_times_scale() -> None:
    assert replace(PANE, aperture=2.0).blur_disc == pytest.approx(2.0 * 600 / 80)


def test_a_dry_pane_changes_nothing() -> None:
    scene = np.random.default_rng(0).random((96, 128, 3)).astype(np.float32)
    np.testing.assert_allclose(
        drops.compose(scene, replace(PANE, coverage=0.0), np.random.default_rng(1)), scene, atol=1e-6
    )


def test_out_of_focus_drops_are_translucent_patches() -> None:
    """More defocus spreads the same water over more of the picture and hides less at each place."""
    scene = np.full((128, 192, 3), 0.1, np.float32)
    scene[:20] = 0.9
    change = [
        np.abs(drops.compose(scene, replace(PANE, aperture=a, coverage=0.05), np.random.default_rng(4)) - scene)[30:]
        for a in (0.05, 3.0)
    ]
    assert change[1].max() < change[0].max()
    assert np.mean(change[1] > 0.01) > np.mean(change[0] > 0.01)


def test_trails_lie_above_their_drop() -> None:
    x, y, size = drops._trail(50.0, 80.0, 10.0, np.random.default_rng(0))
    assert (y < 80).all()
    assert (size < 10).all()
    assert np.abs(x - 50).max() < 20
