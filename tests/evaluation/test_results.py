"""Results on disk: what is written comes back, and what was changed by hand shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.types import Result
from rainrag.evaluation import results

ROWS: list[dict[str, Any]] = [
    {"key": "a/1", "scene": "s1", "seen": False, "psnr": 30.25, "ssim": 0.9, "seconds": 0.5},
    {"key": "a/2", "scene": "s2", "seen": None, "psnr": 31.75, "ssim": 0.7, "seconds": 0.25},
]
RESULT = Result(
    model="prenet",
    weights="rain100l",
    weights_sha256="0123456789abcdef" * 4,
    testset="rain100l",
    testset_sha256="f" * 64,
    protocol="y",
    signature={"psnr": "psnr|…", "ssim": "ssim|…"},
    inference="full",
    n=2,
    mean={"psnr": 31.0, "ssim": 0.8, "lpips": None},
    interval={"psnr": (30.25, 31.75), "ssim": None},
    environment={"python": "3.12"},
    seconds=0.75,
    peak_memory_mb=None,
    trained_on=("rain100l",),
    clean={"n": 1, "mean": {"psnr": 30.25}},
    notes=("one", "two"),
)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    assert path == tmp_path / "rain100l" / "prenet--01234567--y.json"
    assert results.load(path) == RESULT
    assert results.scores(path) == ROWS
    assert results.problems(path) == []
    assert results.find(tmp_path) == results.find(tmp_path, "rain100l") == [path]
    assert results.find(tmp_path, "rain100h") == []


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    one, two = (results.save(tmp_path / n, RESULT, ROWS) for n in "ab")
    for suffix in (".json", ".parquet"):
        assert one.with_suffix(suffix).read_bytes() == two.with_suffix(suffix).read_bytes()


def test_names_tell_weights_tiles_and_odd_characters() -> None:
    assert results.stem("My Net", None, "y") == "my-net--none--y"
    assert results.stem("input", None, "y-trunc", "256,32") == "input--none--y-trunc--tile256-32"
    assert results.stem("input", "ABCDEF0123", "y", "full") == "input--abcdef01--y--full"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("seconds", 0.1, "digest differs"),
        ("mean", {"psnr": 32.0, "ssim": 0.8}, "mean psnr is 32.0, that of the images is 31.0"),
        ("n", 3, "n is 3, 2 images are listed"),
        ("testset", "rain100h", "which its name does not say"),
        ("model", 7, "'model' is 7"),
        ("n", True, "'n' is True"),
        ("schema", 99, "its schema is 99"),
        ("weights", "/home/me/net.pth", "path of somebody's machine"),
    ],
)
def test_edits_show(tmp_path: Path, field: str, value: Any, says: str) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, field: value}))
    assert any(says in p for p in results.problems(path)), results.problems(path)
    with pytest.raises(IntegrityError, match=r"."):
        results.check(path)


def test_an_edited_score_shows_even_when_the_mean_stays(tmp_path: Path) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    document = path.read_text()
    moved = [{**ROWS[0], "psnr": 30.0}, {**ROWS[1], "psnr": 32.0}]
    results.save(tmp_path, RESULT, moved)
    path.write_text(document)
    assert results.problems(path) == ["the digest differs: it was edited after the run"]


def test_fields_are_exactly_those_of_the_record(tmp_path: Path) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    document = json.loads(path.read_text())
    extra = {k: v for k, v in document.items() if k != "notes"} | {"note": "x"}
    path.write_text(json.dumps(extra))
    assert results.problems(path) == ["no field 'notes'", "unknown field 'note'"]
    with pytest.raises(InputError, match="no field 'notes'"):
        results.load(path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    table = path.with_suffix(".parquet")
    table.write_bytes(table.read_bytes()[:40])
    assert "damaged parquet" in results.problems(path)[0]
    table.unlink()
    assert "scores of its images are gone" in results.problems(path)[0]
    with pytest.raises(MissingError, match="no such result"):
        results.load(tmp_path / "nothing.json")
    path.write_text("[]")
    with pytest.raises(InputError, match="no object"):
        results.load(path)


def test_folders_of_saved_images(tmp_path: Path) -> None:
    path = results.save(tmp_path, RESULT, ROWS)
    with pytest.raises(MissingError, match="were not saved"):
        results.folders(path)
    for folder in (path.with_suffix(""), path.parent / "targets"):
        folder.mkdir()
    assert results.folders(path) == (path.with_suffix(""), path.parent / "targets")
    with pytest.raises(MissingError, match="no such result"):
        results.folders(tmp_path / "x.json")


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(5, 60), min_size=1, max_size=12), infinite=st.booleans())
def test_any_scores_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], infinite: bool
) -> None:
    root = tmp_path_factory.mktemp("r")
    rows = [{"key": str(i), "scene": str(i), "seen": None, "psnr": v, "seconds": 0.0} for i, v in enumerate(values)]
    if infinite:
        rows[0]["psnr"] = None
    mean = None if infinite else sum(values) / len(values)
    result = replace(
        RESULT, n=len(rows), signature={"psnr": "p"}, mean={"psnr": mean}, interval={"psnr": None}, clean=None
    )
    path = results.save(root, result, rows)
    assert results.problems(path) == []
    assert results.load(path) == result
    assert results.scores(path) == rows
