"""The campaign's own parts: scenes, crops, schedule, a state that is gone on from, the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rainrag.benchmarks.campaign import plan, prepare, probe
from rainrag.benchmarks.campaign.crops import Crops
from rainrag.benchmarks.campaign.train import Run, Schedule, loss_of
from rainrag.core.errors import InputError
from rainrag.training.data import Item

SMALL = {"preset": "tiny", "widths": [4, 8, 8, 8], "heads": [1, 1, 1, 1], "experts": 2}


class Memory:
    """Pairs in the place of a cache."""

    def __init__(self, pairs: dict[str, Any]) -> None:
        self.pairs = pairs

    def pair(self, key: str) -> Any:
        return self.pairs[key]


def item(key: str, source: str, kind: str = "DRS", scene: str = "", phash: str | None = None) -> Item:
    return Item(key, kind, source, scene or key, phash, key)


def made(shares: dict[tuple[str, str], float], clean: bool = False) -> Crops:
    rng = np.random.default_rng(0)
    items, pairs = [], {}
    for number, (source, kind) in enumerate(shares):
        target = rng.integers(0, 200, (40, 48, 3), dtype=np.uint8)
        key = f"{source}/{kind}"
        items.append(item(key, source, kind))
        pairs[key] = np.stack((target + np.uint8(10 * (number + 1)), target))
    photographs = [np.full((40, 48, 3), 7, np.uint8)] if clean else []
    return Crops(Memory(pairs), items, photographs, shares)  # type: ignore[arg-type]


def test_crops_depend_on_the_step_alone_and_both_sides_are_of_one_place() -> None:
    crops = made({("a", "DRS"): 1.0}, clean=True)
    lq, gt, kinds = crops.batch(5, 6, 16)
    again = crops.batch(5, 6, 16)
    assert all(torch.equal(x, y) for x, y in zip((lq, gt, kinds), again, strict=True))
    assert not torch.equal(lq, crops.batch(6, 6, 16)[0])
    many = [crops.batch(s, 8, 16) for s in range(12)]
    kinds = torch.cat([k for _, _, k in many])
    difference = torch.cat([x - y for x, y, _ in many])
    assert set(kinds.tolist()) == {-1, 0}
    assert difference[kinds == -1].abs().max() == 0
    rain = 255 * difference[kinds == 0].flatten(1)
    assert (rain >= -1e-3).all()
    assert (rain <= 10 + 1 + 1e-3).all()  # 10 codes, or fewer where darkened


def test_shares_are_those_of_the_plan() -> None:
    crops = made({("a", "DRS"): 3.0, ("b", "NRD"): 1.0})
    kinds = torch.cat([crops.batch(s, 16, 16)[2] for s in range(40)])
    assert float((kinds == 0).float().mean()) == pytest.approx(0.75, abs=0.06)
    assert set(kinds.tolist()) == {0, plan.TYPES.index("NRD")}


def test_of_drops_the_rainier_window_is_taken() -> None:
    target = np.zeros((16, 320, 3), np.uint8)
    rainy = target.copy()
    rainy[:, 160:] = 100
    crops = Crops(Memory({"d": np.stack((rainy, target))}), [item("d", "a", "DRD")], [], {("a", "DRD"): 1.0})  # type: ignore[arg-type]
    drops = [float(crops.crop(np.random.default_rng(s), 16)[0][0].max()) > 0 for s in range(200)]
    assert np.mean(drops) == pytest.approx(0.75, abs=0.08)


def test_pictures_that_look_alike_are_one_scene_whatever_their_set() -> None:
    one, near, far = "00" * 32, "00" * 30 + "ffff", "ff" * 32
    items = [item("a/1", "a", scene="x", phash=one), item("b/1", "b", scene="y", phash=near),
             item("b/2", "b", scene="y", phash=far), item("c/1", "c", scene="z", phash="0f" * 32)]  # fmt: skip
    found = prepare.scenes(items)
    assert found["a/1"] == found["b/1"] == found["b/2"] != found["c/1"]


def test_the_plan_names_what_is_ingested() -> None:
    known = {s.name for s in plan.SETS} | {"rain200h", "rain200l", "hq-nightrain", "rendered", "layers"}
    assert {source for source, _ in plan.SHARES} == known
    assert {kind for _, kind in plan.SHARES} == set(plan.TYPES)


def test_the_schedule_by_hand() -> None:
    s = Schedule(100.0, batch=4, patch=96, late_patch=192, late=0.5, lr=1.0, warmup=10)
    assert s.rate(0.0, 0) == pytest.approx(0.1)
    assert s.rate(0.5, 99) == pytest.approx(0.5)
    assert s.rate(1.0, 99) == pytest.approx(0)
    assert s.crops(0.49) == (4, 96)
    assert s.crops(0.5) == (1, 192)


def test_the_loss_by_hand() -> None:
    gt = torch.zeros(1, 3, 4, 4)
    even = torch.full_like(gt, 0.5)  # all in the spectrum's first value: 0.5 * 16 / 4, one of 4 x 3 x 2 numbers a plane
    assert float(loss_of(even, gt, 0.0)) == pytest.approx(0.5, abs=1e-5)
    assert float(loss_of(even, gt, 1.0)) == pytest.approx(0.5 + 2 / 24, abs=1e-5)


class Steps:
    """A clock that goes on by one a look."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(tmp_path: Path, one_thread: None) -> None:
    crops = made({("a", "DRS"): 1.0, ("b", "DRD"): 1.0})
    schedule = Schedule(9.0, batch=2, patch=16, late_patch=16, warmup=2)

    def run(name: str) -> Run:
        found = Run(tmp_path / name, SMALL, schedule)
        found.start = 0.0
        return found

    whole = run("whole")
    whole.until(crops, lambda *_: None, Steps())
    first = run("parts")
    for n in range(4):  # steps at the clock's 2 to 5, as the whole run's
        first.advance(crops, (n + 2) / 9)
    first.save()
    second = run("parts")
    assert second.step == 4
    second.until(crops, lambda *_: None, Steps(4.0))
    assert second.step == whole.step == 7
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name]), name


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path, SMALL, Schedule(0.0))
    run.save()
    (tmp_path / "network.json").unlink()
    with pytest.raises(InputError, match="not one of this network"):
        Run(tmp_path, SMALL | {"widths": [8, 8, 8, 8]}, Schedule(0.0))


def test_gains_by_hand() -> None:
    target = np.full((20, 20, 3), 100, np.uint8)
    pairs = {"a": np.stack((target + 10, target)), "b": np.stack((target + 20, target))}

    class Less(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - 5 / 255

    found = probe.gains(Less(), Memory(pairs), [item("a", "s"), item("b", "s")], side=16)  # type: ignore[arg-type]
    each = [20 * np.log10(10 / 5), 20 * np.log10(20 / 15)]
    assert found["s/DRS"].mean == pytest.approx(np.mean(each), abs=1e-3)
    assert found["s/DRS"].worst == pytest.approx(min(each), abs=1e-3)
    worst, mean = probe.kept(torch.nn.Identity(), [target])
    assert worst == mean == probe.CAP
