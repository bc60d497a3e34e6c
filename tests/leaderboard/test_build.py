"""What the site says: order, groups, contamination, published figures; and that it needs no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import read_json, write_json
from rainrag.evaluation import results
from rainrag.leaderboard import boards, check, networks, papers, plot
from rainrag.leaderboard.build import build
from tests.leaderboard.conftest import rows, run

ROOT = Path(__file__).parents[2]


def test_runs_without_torch(illustrated: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from rainrag.leaderboard.build import build\n"
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


def test_what_is_not_known_of_contamination_is_said_as_exactly_as_it_is_known(tmp_path: Path) -> None:
    known = {"weights": "rain100h", "sha256": "1" * 64}
    run(tmp_path / "r", "prenet", rows(1, 25.0, seen=None), **known, trained_on=("rain100h",))
    run(tmp_path / "r", "mine", rows(2, 24.0, seen=None), **known, trained_on=None)
    text = build([tmp_path / "r"], tmp_path / "s").read_text()
    assert '<span class="badge" title="nobody says what">unknown</span>' in text
    (said,) = re.findall(r'<span class="badge" title="([^"]*)">not compared</span>', text)
    assert said.startswith(
        "the training part of rain100h, which is not available locally: whether it shows scenes of this set was"
    )
    assert "546 of Rain100H" in said  # what its authors say of these weights
    assert ">seen " not in text


def test_seconds_of_a_busy_machine_are_no_speed(tmp_path: Path) -> None:
    run(tmp_path / "r", "slow", rows(1, 25.0), notes=(results.BUSY,))
    text = build([tmp_path / "r"], tmp_path / "s").read_text()
    assert "s / image</button>" not in text
    run(tmp_path / "r", "calm", rows(2, 24.0))
    text = build([tmp_path / "r"], tmp_path / "s").read_text()
    assert "s / image</button>" in text
    assert f'<span title="{results.BUSY}">–</span>' in text
    assert '">0.25</span>' in text  # 1.5 s for 6 images


def test_unirains_weights_have_a_point_beside_the_published_networks(tmp_path: Path) -> None:
    run(tmp_path / "r", "prenet", rows(1, 25.0, 12), weights="rain100l", sha256="1" * 64)
    run(tmp_path / "r", "unirain", rows(2, 26.0, 12), weights="tiny", sha256="2" * 64)
    (board,) = boards.gather([tmp_path / "r"])
    svg = plot.measured(board)
    assert re.search(r'class="dot ours"[^>]*><title>UniRain \(tiny\): [\d.]+ dB, 3\.1 GMACs, 0\.22 M', svg)
    assert "PReNet (rain100l): " in svg
    assert "UniRain: 28.93 dB, 126.5 GMACs, 24.40 M" in plot.published(papers.tables())


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


def test_an_edited_figure_is_not_shown(tmp_path: Path) -> None:
    path = run(tmp_path / "r", "input", rows(1, 20.0))
    build([tmp_path / "r"], tmp_path / "s")
    document = read_json(path)
    document["mean"]["psnr"] = 99.99
    write_json(path, document)
    with pytest.raises(IntegrityError, match=r"rain100l/input--none--y: damaged: .*psnr"):
        build([tmp_path / "r"], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_removed_result_stops_the_build_and_an_empty_folder_does_not(tmp_path: Path) -> None:
    first, second = run(tmp_path / "r", "input", rows(1, 20.0)), run(tmp_path / "r", "median", rows(2, 25.0))
    (tmp_path / "empty").mkdir()
    check.accept(tmp_path / "r")
    assert build([tmp_path / "r", tmp_path / "empty"], tmp_path / "s").is_file()
    second.unlink()
    second.with_suffix(".parquet").unlink()
    with pytest.raises(IntegrityError, match="removed"):
        build([tmp_path / "r"], tmp_path / "s")
    assert first.is_file()


def test_the_snapshot_of_the_cards_is_current() -> None:
    assert networks.load() == networks.snapshot(), "run: python -m rainrag.leaderboard.networks"


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


def test_names_in_the_plot_lie_on_nothing_else() -> None:
    """Circles and names of networks that cost and score nearly the same."""
    points = [plot.Point(f"network {i}", 100 + 3 * i, 25, 28 + 0.05 * i) for i in range(6)]
    svg = plot.draw("t", [*points, plot.Point("cheap", 10, 1, 24.0)])
    names = [(float(x), float(y), a, n) for x, y, a, n in re.findall(
        r'class="name" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]*)<', svg)]  # fmt: skip
    boxes = []
    for x, y, anchor, name in names:
        left = x - {"start": 0, "middle": 3.5, "end": 7}[anchor] * len(name)
        boxes.append((left, y - 11, left + 7 * len(name), y + 3))
    assert len(boxes) == 7
    assert all(not plot._overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(b[0] > 0 and b[2] < plot.WIDTH for b in boxes)


def _dots(svg: str) -> list[str]:
    return [part.split(">")[0] for part in svg.split("<circle ")[1:]]
