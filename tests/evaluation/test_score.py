"""Scoring folders: pairing by key, signatures, notes; and explaining a published number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core import images
from rainrag.core.errors import InputError
from rainrag.evaluation import metrics, score
from tests.conftest import picture, rainy

run = CliRunner()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """out/ and gt/ with three images; out is rainy."""
    for name, seed in (("2", 2), ("10", 10), ("sub/1", 1)):
        for side, rgb in (("out", rainy(picture(seed), seed)), ("gt", picture(seed))):
            path = tmp_path / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    return tmp_path / "out", tmp_path / "gt"


def test_json_has_what_scripts_need(folders: tuple[Path, Path]) -> None:
    done = run.invoke(app, ["score", *map(str, folders), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["n"] == 3
    assert report["signature"]["psnr"] == "psnr|y601-studio|u8round|full|pair:key|mean-img|v1"
    assert [r["key"] for r in report["images"]] == ["2", "10", "sub/1"]
    one = metrics.score(rainy(picture(2), 2), picture(2))
    assert report["images"][0]["psnr"] == pytest.approx(one["psnr"])
    assert report["psnr"] == pytest.approx(sum(r["psnr"] for r in report["images"]) / 3)
    low, high = report["interval"]["ssim"]
    assert low <= report["ssim"] <= high


def test_pairs_by_key_never_by_order(folders: tuple[Path, Path]) -> None:
    out, gt = folders
    (out / "2.png").rename(out / "3.png")
    with pytest.raises(InputError, match=r"only in .*3"):
        score.pair(out, gt)
    pairs, notes = score.pair(out, gt, allow_missing=True)
    assert [k for k, _, _ in pairs] == ["10", "sub/1"]
    assert "1 outputs and 1 targets" in notes[0]


def test_marks_of_the_sides_are_taken_off_where_plain_names_do_not_meet(tmp_path: Path) -> None:
    for n in (1, 2):
        for side, name in (
            ("out", f"{n}.png"),
            ("gt", f"norain-{n}.png"),
            ("dr", f"{n}_DR.png"),
            ("g2", f"{n}_GT.png"),
        ):
            path = tmp_path / side / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(images.encode_png(picture(n)))
    pairs, notes = score.pair(tmp_path / "out", tmp_path / "gt")
    assert [(k, b.name) for k, _, b in pairs] == [("1", "norain-1.png"), ("2", "norain-2.png")]
    assert "marks" in notes[0]
    assert [(a.name, b.name) for _, a, b in score.pair(tmp_path / "dr", tmp_path / "g2")[0]] == [
        ("1_DR.png", "1_GT.png"),
        ("2_DR.png", "2_GT.png"),
    ]


def test_equal_images_are_infinite_and_said_so(folders: tuple[Path, Path]) -> None:
    _, gt = folders
    report = score.score_folders(gt, gt, metrics.PRESETS["y"]).to_dict()
    assert report["psnr"] is None
    assert report["ssim"] == pytest.approx(1)
    assert "3 of 3 images equal" in report["notes"][0]
    json.dumps(report, allow_nan=False)


def test_a_bad_image_is_named(folders: tuple[Path, Path]) -> None:
    out, gt = folders
    data = (out / "2.png").read_bytes()
    (out / "2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"^2: .*end early"):
        score.score_folders(out, gt, metrics.PRESETS["y"])


def test_two_files_of_one_key_are_refused(folders: tuple[Path, Path]) -> None:
    out, gt = folders
    shutil.copy(out / "2.png", out / "2.jpg")
    with pytest.raises(InputError, match="two files with one name"):
        score.score_folders(out, gt, metrics.PRESETS["y"])


def test_unavailable_metrics_say_why_and_the_rest_goes_on(folders: tuple[Path, Path]) -> None:
    pytest.importorskip("pyiqa", reason="the extra 'metrics' is not installed")
    done = run.invoke(app, ["score", *map(str, folders), "--metric", "pyiqa:niqe", "--metric", "nonsense", "--json"])
    report = json.loads(done.stdout)
    assert report["pyiqa:niqe"] is None
    assert "niqe_modelparameters.mat" in report["unavailable"]["pyiqa:niqe"]
    assert "no metric 'nonsense'" in report["unavailable"]["nonsense"]
    assert report["psnr"] > 0


def test_workers_do_not_change_the_numbers(folders: tuple[Path, Path]) -> None:
    one = score.score_folders(*folders, metrics.PRESETS["y"], workers=1).to_dict()
    assert one == score.score_folders(*folders, metrics.PRESETS["y"], workers=4).to_dict()


@pytest.mark.parametrize("name", ["y", "matlab-y", "rgb", "unirain"])
def test_explain_finds_the_protocol_behind_a_number(tmp_path: Path, name: str) -> None:
    for n in range(3):
        for side, rgb in (("out", rainy(picture(n, 60, 50), n)), ("gt", picture(n, 60, 50))):
            path = tmp_path / side / f"{n}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    pairs, _ = score.pair(tmp_path / "out", tmp_path / "gt")
    number = score.score_pairs(pairs, metrics.PRESETS[name]).mean["psnr"]
    done = run.invoke(
        app, ["explain", f"{number:.4f}", "--images", str(tmp_path / "out"), "--gt", str(tmp_path / "gt"), "--json"]
    )
    found = json.loads(done.stdout)
    assert found["consistent"][0]["signature"] == metrics.PRESETS[name].signature("psnr")
    assert abs(found["all"][-1]["gap"]) > abs(found["all"][0]["gap"])
