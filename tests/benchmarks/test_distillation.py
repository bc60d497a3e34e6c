"""The benchmark of distillation: halves that share no scene, measures that survive the file, tables from figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rainrag.benchmarks.distillation import cache, evaluate, measure, scenes, tune_gate
from rainrag.core.types import Ballot
from rainrag.data import pair_checks
from rainrag.distill import evaluate_voters
from rainrag.distill.evaluate_voters import BOTH, Judged, Rate
from tests.conftest import picture, rainy


def judged(scene: str, fault: str | None, reason: str | None, p: float, retrieval: float) -> Judged:
    ballot = Ballot("k", "a", "r", "p", (), "yes" if p > 0.05 else "no", p, "")
    return Judged(scene, "DRS", fault, reason, (ballot,), retrieval)


def test_every_photograph_is_in_one_half_and_clips_are_for_tuning() -> None:
    halves = [scenes.half_of(f"folder/{i}.jpg") for i in range(200)]
    assert set(halves) == set(scenes.HALVES)
    assert scenes.half_of("CamVid/day/1.png") == scenes.half_of("CamVid/dusk/2.png") == "tuning"
    assert scenes.half_of("a/7.jpg") == scenes.half_of("b/7.jpg"), "the same file in two folders is one scene"


def test_what_the_gate_measured_survives_the_file(tmp_path: Path) -> None:
    gt = picture(1, 120, 96)
    lq = rainy(gt, 1)
    cases = [
        evaluate_voters.Case("a/sound", "a", "NRD", None, lq, gt, True, True),
        evaluate_voters.Case("a/same", "a", "NRD", "clean-input", gt, gt, True, True),
    ]
    seen = measure.see(cases)
    cache.write_seen(tmp_path / "x.parquet", seen)
    assert cache.read_seen(tmp_path / "x.parquet") == seen
    assert seen[0].measures == pair_checks.measure(lq, gt)
    assert seen[1].measures is None, "equal pictures need no measure"


def test_without_generation_the_best_retrieved_are_kept_as_many_as_the_full_run_keeps() -> None:
    told = [
        judged("1", None, None, 0.9, 0.1),
        judged("2", None, None, 0.01, 0.9),
        judged("3", "cartoon-streaks", None, 0.01, 0.5),
        judged("4", "swapped", "swapped", 0.9, 0.99),
    ]
    full = evaluate_voters.judges(["a"])[BOTH]
    assert [full(c).keep for c in told] == [True, False, False, False]
    judge = evaluate.by_retrieval(told, ["a"])
    assert [judge(c).keep for c in told] == [False, True, False, False], "one, and none that the gate stopped"


def test_logistic_regression_finds_the_boundary_it_was_drawn_with() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    y = (rng.random(4000) < 1 / (1 + np.exp(-(2 * x[:, 0] - 1 * x[:, 1] + 0.5)))).astype(float)
    assert np.allclose(tune_gate.logistic(x, y), [2, -1, 0.5], atol=0.25)


def test_cells_say_what_is_missing() -> None:
    assert evaluate.cell(None) == evaluate.cell(Rate(0, None)) == "-"
    assert evaluate.cell(Rate(1, 1.0)) == "1.00"
    assert evaluate.cell(Rate(9, 0.9, 0.85, 0.95)) == "0.90 (0.85-0.95)"
