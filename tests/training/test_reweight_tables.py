from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rainrag.benchmarks.tables import reweighting

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[reweighting.Run, reweighting.Run]]:
    calm, diverging = reweighting.curves(False), reweighting.curves(True)
    return {
        name: (reweighting.simulate(build, calm), reweighting.simulate(build, diverging))
        for name, build in reweighting.READINGS.items()
    }


def test_the_literal_reading_pours_weight_on_the_diverging_type(runs: dict[str, tuple[reweighting.Run, ...]]) -> None:
    _, diverging = runs["literal"]
    assert diverging.af[65] == 1.0
    assert diverging.weights[70][0] > 0.8


def test_absolute_values_leave_balance_after_ordinary_slowing(runs: dict[str, tuple[reweighting.Run, ...]]) -> None:
    calm, diverging = runs["paper (absolute values, all rounds)"]
    assert calm.af[22] is not None
    assert calm.af[40] is not None
    assert calm.af[22] > 0.3 > 0.05 > calm.af[40]
    assert diverging.weights[80][0] < 0.1


def test_a_window_makes_steady_divergence_usual(runs: dict[str, tuple[reweighting.Run, ...]]) -> None:
    _, diverging = runs["absolute values, last 10 rounds"]
    assert diverging.af[70] is not None
    assert diverging.af[99] is not None
    assert diverging.af[70] < 0.01 < 0.9 < diverging.af[99]
    assert diverging.weights[99][0] > 0.8


def test_the_authors_variant_is_mostly_stability(runs: dict[str, tuple[reweighting.Run, ...]]) -> None:
    calm, diverging = runs["authors"]
    assert max(v for v in calm.af[25:55] if v is not None) < 0.2
    assert 0.1 < diverging.weights[80][0] < 0.2


def test_positive_keeps_every_promise(runs: dict[str, tuple[reweighting.Run, ...]]) -> None:
    calm, diverging = runs["positive (ours)"]
    assert [calm.af[t] for t in (22, 30, 40)] == [1.0, 1.0, 1.0]
    assert max(v for v in diverging.af[66:] if v is not None) < 0.05
    assert max(w[0] for w in diverging.weights[66:]) < 0.2
    for name, holds in reweighting.PROPERTIES.items():
        kept = {reading for reading, build in reweighting.READINGS.items() if holds(build)}
        assert "positive (ours)" in kept, name
        assert len(kept) < len(reweighting.READINGS), f"every reading keeps '{name}': it tells nothing apart"


def test_the_page_shows_what_the_script_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert reweighting.main(["--csv", str(tmp_path / "rounds.csv")]) == 0
    page = (ROOT / "docs" / "reweighting.md").read_text()
    for table in capsys.readouterr().out.strip().split("\n\n"):
        assert table in page
    rows = list(csv.DictReader((tmp_path / "rounds.csv").open()))
    assert len(rows) == 2 * reweighting.ROUNDS * len(reweighting.READINGS)


def test_the_picture_is_the_scripts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture is drawn with matplotlib (extra dev)")
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    for path in (first, second):
        reweighting.draw(path)
    assert first.read_bytes() == second.read_bytes()
    assert "diverges from round 60" in (ROOT / "docs" / "assets" / "reweighting.svg").read_text()
