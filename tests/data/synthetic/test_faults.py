"""Each planted fault does what its name says, measurably, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rainrag.core.errors import UsageError
from rainrag.core.images import U8, psnr8
from rainrag.core.types import Subset
from rainrag.data.synthetic import FAULT_KIND, FAULTS, Rendered, plant, render
from rainrag.data.synthetic.faults import possible
from tests.data.synthetic.scenes import day_scene, night_scene


def sound(subset: Subset = Subset.DRS, seed: int = 0) -> Rendered:
    clean = night_scene() if subset in (Subset.NRS, Subset.NRD) else day_scene()
    return render(clean, subset, np.random.default_rng(seed), 0.7, noise=False)


def faulty(fault: str, subset: Subset = Subset.DRS, seed: int = 0, **kw: object) -> tuple[Rendered, Rendered]:
    """(sound, damaged) pair."""
    pair = sound(subset, seed)
    return pair, plant(pair, fault, np.random.default_rng(seed + 50), **kw)  # type: ignore[arg-type]


def sharpness(rgb: U8) -> float:
    return float(cv2.Laplacian(rgb.mean(2).astype(np.float32), cv2.CV_32F).std())


def test_the_list_is_closed_and_every_fault_has_a_judge() -> None:
    assert set(FAULT_KIND) == set(FAULTS)
    assert {f for f, k in FAULT_KIND.items() if k == "rain"} == {
        "cartoon-streaks",
        "pasted-streaks",
        "implausible-drops",
    }


@pytest.mark.parametrize("subset", list(Subset))
def test_every_possible_fault_changes_the_pair_and_keeps_its_form(subset: Subset) -> None:
    for fault in possible(subset):
        pair, bad = faulty(fault, subset)
        changed = (bad.lq != pair.lq).any() or (bad.gt != pair.gt).any() or bad.subset != pair.subset
        assert changed, fault
        assert bad.lq.shape == bad.gt.shape == pair.gt.shape
        assert bad.lq.dtype == bad.gt.dtype == np.uint8
        again = plant(pair, fault, np.random.default_rng(50))
        assert (again.lq == bad.lq).all(), fault
        assert (again.gt == bad.gt).all(), fault


def test_misalignment_is_found_by_registration() -> None:
    moved = []
    for seed in range(12):
        pair, bad = faulty("misaligned", seed=seed)
        a, b = (x.mean(2).astype(np.float32) for x in (pair.gt, bad.gt))
        (dx, dy), _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F))
        moved.append(np.hypot(dx, dy))
        assert psnr8(pair.gt, bad.gt) < 35
        assert (bad.lq == pair.lq).all()
    assert sum(1.5 < m < 9 for m in moved) >= 4, "the shifts among them"


def test_residual_rain_brings_the_sides_nearer() -> None:
    pair, bad = faulty("residual-rain")
    assert psnr8(bad.lq, bad.gt) > psnr8(pair.lq, pair.gt) + 2
    rain, left = (x.astype(float).ravel() for x in (pair.lq - pair.gt.astype(float), bad.gt - pair.gt.astype(float)))
    assert 0.25 < (rain @ left) / (rain @ rain) < 0.75


def test_wrong_target_shows_the_donor() -> None:
    donor = day_scene(7)
    _, bad = faulty("wrong-target", donors=[donor])
    assert (bad.gt == donor).all()
    _, larger = faulty("wrong-target", donors=[day_scene(8, 70, 70)])
    assert larger.gt.shape == donor.shape
    pair, own = faulty("wrong-target")
    assert psnr8(pair.gt, own.gt) < 20


def test_cartoon_streaks_are_hard_and_saturated() -> None:
    pair, bad = faulty("cartoon-streaks")
    mask = (bad.lq != pair.gt).any(2)
    assert 0.005 < mask.mean() < 0.6
    assert np.unique(bad.lq[mask]).size == 1
    assert bad.lq[mask].min() >= 225


def test_pasted_streaks_repeat() -> None:
    pair = sound()
    wide = Rendered(
        **{**pair.__dict__, "gt": np.full((200, 300, 3), 40, np.uint8), "lq": np.full((200, 300, 3), 40, np.uint8)}
    )
    rain = plant(wide, "pasted-streaks", np.random.default_rng(1)).lq[..., 0].astype(float)
    rain -= rain.mean()
    best = max((rain[:, s:] * rain[:, :-s]).mean() / (rain**2).mean() for s in range(56, 97))
    assert best > 0.9


def test_implausible_drops_refract_nothing() -> None:
    pair, bad = faulty("implausible-drops", Subset.DRD)
    mask = (bad.lq != pair.gt).any(2)
    assert mask.mean() > 0.01
    assert np.unique(bad.lq[mask], axis=0).shape[0] == 1


def test_over_compression_leaves_blocks() -> None:
    pair, bad = faulty("over-compression")
    jumps = np.abs(np.diff(bad.lq.mean(2), axis=1)).mean(0)
    grid = jumps[7::8].mean() / np.delete(jumps, np.s_[7::8]).mean()
    assert grid > 1.3
    assert (bad.gt == pair.gt).all()


def test_colour_cast_moves_red_against_blue() -> None:
    pair, bad = faulty("colour-cast")
    shift = (bad.gt.astype(float) - pair.gt).mean((0, 1))
    assert abs(shift[0] - shift[2]) > 15


def test_relabelling_changes_the_label_alone() -> None:
    for subset, false in ((Subset.DRS, Subset.NRS), (Subset.NRD, Subset.DRD)):
        pair, bad = faulty("day-labelled-night", subset)
        assert bad.subset is false
        assert bad.night is not pair.night
        assert (bad.lq == pair.lq).all()
        assert (bad.gt == pair.gt).all()


@pytest.mark.parametrize("fault", ["blurred", "rescaled"])
def test_one_side_loses_detail(fault: str) -> None:
    seen = set()
    for seed in range(8):
        pair, bad = faulty(fault, seed=seed)
        side = "gt" if (bad.gt != pair.gt).any() else "lq"
        seen.add(side)
        assert sharpness(getattr(bad, side)) < 0.7 * sharpness(getattr(pair, side))
        other = "lq" if side == "gt" else "gt"
        assert (getattr(bad, other) == getattr(pair, other)).all()
    assert seen == {"lq", "gt"}


def test_clean_input_is_the_target_encoded_again() -> None:
    pair, bad = faulty("clean-input")
    assert psnr8(bad.lq, pair.gt) > 32
    assert (bad.lq != bad.gt).any()


def test_swapped_exchanges_the_sides() -> None:
    pair, bad = faulty("swapped")
    assert (bad.lq == pair.gt).all()
    assert (bad.gt == pair.lq).all()


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="no fault") as e:
        faulty("misalinged")
    assert "misaligned" in (e.value.hint or "")
    with pytest.raises(UsageError, match="does not fit"):
        faulty("implausible-drops", Subset.DRS)
