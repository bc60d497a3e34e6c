"""The demo: every stage on a user's pairs and photographs; sample data; what it prints where there is no terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rainrag.cli import app, console, demo, demo_steps
from rainrag.core import images
from rainrag.core.types import Subset
from rainrag.data import dataset
from rainrag.data.synthetic import backgrounds, render
from tests import golden


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a whole run on own images, what it told programs, and its messages."""
    place = tmp_path_factory.mktemp("demo")
    for i, (background, subset) in enumerate(backgrounds.bundled((Subset.DRS,), 28, 3)):
        rng = np.random.default_rng(i)
        pair = render(backgrounds.crop(background.load(), (128, 96), rng), subset, rng, 0.6)
        sides = {"gt": pair.gt, "lq": pair.lq} if i < 4 else {"photos": pair.lq}
        for side, rgb in sides.items():
            path = place / ("pairs" if i < 4 else "") / side / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    words = ["demo", "--data", str(place / "pairs"), "--photos", str(place / "photos"), "--out", str(place / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINRAG_HOME", "unset")  # the demo sets it; so it is put back
        patch.setattr(demo_steps, "FEWEST", 20)
        result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    return place, json.loads(result.stdout), result.stderr


def test_own_pairs_are_judged_by_own_photographs(ran) -> None:
    place, facts, said = ran
    assert "4 pairs, 24 photographs, 0 left out" in said
    assert "not needed" in said  # nothing is rendered
    assert facts["judged"] == {"no planted fault": {"pairs": 4, "rejected": sum(facts["rejected"].values())}}
    assert facts["kept"] + sum(facts["rejected"].values()) == facts["candidates"] == 4
    assert {r["subset"] for r in dataset.read_rows(place / "out" / "datasets" / "own", ["subset"])} <= {"DRS", "NRS"}


def test_rainy_images_are_derained_and_scored_never_the_clean_ones(ran) -> None:
    place, facts, _ = ran
    out = place / "out"
    names = sorted(p.name for p in (out / "derained").glob("own-*.png"))
    assert names == sorted(p.name for p in (out / "rainy").iterdir())
    for name in names:
        number = name[-6:]
        assert np.array_equal(images.read(out / "rainy" / name).rgb, images.read(place / "pairs" / "lq" / number).rgb)
    assert {s["model"] for s in facts["scores"]} == {"input", "median", "guided", "unirain"}
    assert all(s["psnr"] > 5 and Path(s["file"]).is_file() for s in facts["scores"])


def test_it_ends_with_four_pages_and_three_commands(ran) -> None:
    _, facts, _ = ran
    assert [Path(p).name for p in facts["pages"]] == ["audit.html", "report.html", "compare.html", "index.html"]
    assert all("</html>" in Path(p).read_text() for p in facts["pages"])
    assert len(facts["next"]) == 3
    for command in facts["next"]:
        assert CliRunner().invoke(app, [command.split()[1], "--help"]).exit_code == 0


def test_it_writes_what_it_wrote_before(ran) -> None:
    """Splits, results and report data, digest by digest; where a change is intended: RAINRAG_GOLDEN=write."""
    found, path = golden.demo(ran[0] / "out"), Path(__file__).with_name("golden_demo.json")
    if os.environ.get("RAINRAG_GOLDEN") == "write":
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(path.read_text())


def test_in_a_pipe_each_step_is_one_line(ran) -> None:
    _, facts, said = ran
    steps = [line for line in said.splitlines() if line[:1].isdigit()]
    assert [line.split()[0] for line in steps] == [f"{i}/9" for i in range(1, 10)]
    assert "\r" not in said
    assert facts["seconds"] > 0


def test_sample_data_come_with_planted_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_steps, "FEWEST", 0)  # no stand-ins
    monkeypatch.setattr(demo_steps, "SIZE", (96, 64))
    run = demo_steps.Demo(tmp_path, None, None, 8, 0)
    totals: list[int] = []
    assert run.render(totals.append) == "8 pairs to judge"
    assert totals[0] == -8
    assert sum(totals[1:]) == 8
    assert run.ingest(totals.append).startswith("8 pairs")
    faults = [r["fault"] for r in dataset.read_rows(run.data[0], ["fault"])]
    assert 0 < sum(f is not None for f in faults) < 8


def test_the_tables_tell_what_was_judged_and_why(ran, capsys: pytest.CaptureFixture[str]) -> None:
    place, facts, _ = ran
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINRAG_HOME", "unset")
        run = demo_steps.Demo(place / "other", None, None, 8, 0)
    run.facts |= facts
    demo._show(run)
    shown = capsys.readouterr()
    assert "no planted fault\t4" in shown.out
    assert "rejected because\tpairs" in shown.out
    assert all(page in shown.out for page in facts["pages"])
    assert "Then, on your own data" in shown.err
    assert console.QUIET is False
