"""What the site says: order, groups, contamination, published figures; and that it needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard import boards, networks, papers, plot
from leaderboard.build import build
from rainrag.errors import InputError, MissingError
from tests.leaderboard.conftest import rows, run

ROOT = Path(__file__).parents[2]


def test_runs_without_torch(illustrated: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from leaderboard.build import build\n"
        "print(build([Path(sys.argv[1])], Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(illustrated), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "index.html")


def test_equal_results_give_equal_sites(illustrated: Path, site: Path, tmp_path: Path) -> None:
    again = build([illustrated], tmp_path)
    for path in site.parent.rglob("*"):
        if path.is_file():
            assert (again.parent / path.relative_to(site.parent)).read_bytes() == path.read_bytes()


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for path in (site, *site.parent.glob("*.css"), *site.parent.glob("*.js")):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, path
        assert "https:" not in text, path


def test_contamination_is_marked_with_clean_scores_beside(site: Path) -> None:
    text = site.read_text()
    assert '<span class="badge warn" title="2 of 6 images are of scenes trained on">seen 2</span>' in text
    assert "4 images" in text


def test_unknown_contamination_is_marked(tmp_path: Path) -> None:
    run(tmp_path / "r", "mine", rows(1, 25.0, seen=None))
    assert '<span class="badge" title="which scenes' in build([tmp_path / "r"], tmp_path / "s").read_text()


def test_published_figures_stand_beside_ours(illustrated: Path) -> None:
    board = next(b for b in boards.gather([illustrated]) if b.name == "rain100l--y")
    top = board.table.standings[0]
    assert top.result.model == "prenet"
    assert top.published[0].psnr == 37.48  # the authors' README


def test_what_cannot_be_told_apart_shares_a_letter(tmp_path: Path) -> None:
    for seed, (name, mean) in enumerate((("one", 30.0), ("two", 30.0), ("three", 20.0))):
        run(tmp_path, name, rows(seed, mean, 12))
    (board,) = boards.gather([tmp_path])
    letters = {s.result.model: s.group for s in board.table.standings}
    ranks = {s.result.model: s.rank for s in board.table.standings}
    assert letters["one"] == letters["two"] != letters["three"]
    assert ranks == {"one": (1, 2), "two": (1, 2), "three": (3, 3)}


def test_names_cannot_carry_markup(tmp_path: Path) -> None:
    run(tmp_path / "r", "x", rows(1, 25.0), weights='<img src=x onerror="1">', sha256="0" * 64)
    text = build([tmp_path / "r"], tmp_path / "s").read_text()
    assert "<img" not in text


def test_images_may_lie_elsewhere(illustrated: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    for path in illustrated.glob("*/*--*--*.*"):
        (bare / path.parent.name).mkdir(parents=True, exist_ok=True)
        (bare / path.parent.name / path.name).write_bytes(path.read_bytes())
    build([bare], tmp_path / "without")
    assert not (tmp_path / "without" / "images").exists()
    build([bare], tmp_path / "with", images=[illustrated])
    assert len(list((tmp_path / "with" / "images").rglob("*.png"))) == 30
    text = (tmp_path / "with" / "data" / "rain100l--y.js").read_text()
    data = json.loads(text.split(",", 1)[1].rsplit(")", 1)[0])
    for name in (*data["inputs"].values(), *data["runs"][0]["images"].values()):
        assert (tmp_path / "with" / name).is_file()


def test_no_folder_no_results_or_one_run_twice(illustrated: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        build([tmp_path / "gone"], tmp_path / "s")
    with pytest.raises(InputError, match="no result"):
        build([tmp_path], tmp_path / "s")
    with pytest.raises(InputError, match="in two folders"):
        build([illustrated, illustrated], tmp_path / "s")


def test_the_snapshot_of_the_cards_is_current() -> None:
    assert networks.load() == networks.snapshot(), "run: python -m leaderboard.networks"


def test_published_tables_are_whole() -> None:
    found = {p.name: p for p in papers.tables()}
    first = found["table1_rainrag"]
    assert first.columns == ("Venue", "DRS", "DRD", "NRS", "NRD", "Average")
    best = max(first.rows, key=lambda r: float(r[1]["Average"].text[0]))
    assert best[0] == "UniRain"
    assert best[1]["DRS"].text == ("29.58", "0.8400", "0.1814")
    inferred = [n for n, cells in found["table5_optimization"].rows if any(c.inferred for c in cells.values())]
    assert inferred == ["UniRain", "UniRain", "PIGWM"]


def test_the_plot_puts_cheap_left_and_good_up() -> None:
    svg = plot.draw("t", [plot.Point("a", 10, 1, 30.0), plot.Point("b", 100, 9, 25.0)])
    a, b = (dict(zip(("x", "y", "r"), map(float, part.split('"')[3:8:2]), strict=True)) for part in _dots(svg))
    assert (a["x"] > b["x"], a["y"] > b["y"], a["r"] > b["r"]) == (True, True, True)  # larger circles are drawn first
    assert plot.draw("t", [plot.Point("a", 10, 1, 30.0)]) == ""


def _dots(svg: str) -> list[str]:
    return [part.split(">")[0] for part in svg.split("<circle ")[1:]]
