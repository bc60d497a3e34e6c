"""Folders of files through a restorer: order, what is bad among what is good, groups, memory; paths; before and after."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rainrag.core import images
from rainrag.core.errors import MissingError, RainRAGError, UsageError
from rainrag.reports.comparison import GAP, Comparison, eight, sheet
from rainrag.restore import Done, Failed, Restorer, folder, image_file, jobs, restore_files
from tests.conftest import picture
from tests.restore import nets


def write(path: Path, seed: int = 0, width: int = 12, height: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_png(picture(seed, width, height)))
    return path


def names(found: list[Any], out: Path) -> list[tuple[str, str]]:
    return [(j.name, j.target.relative_to(out).as_posix()) for j in found]


# ---------------------------------------------------------------- which files, and where they go
def test_a_folders_tree_is_kept(tmp_path: Path) -> None:
    for n in ("a/10.png", "a/9.png", "b.JPG", "deep/er/c.webp"):
        write(tmp_path / "in" / n)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    got = names(jobs([tmp_path / "in"], tmp_path / "out"), tmp_path / "out")
    assert got == [(n, n) for n in ("a/9.png", "a/10.png", "b.JPG", "deep/er/c.webp")]


def test_two_folders_keep_their_names_and_no_file_comes_twice(tmp_path: Path) -> None:
    x, y = write(tmp_path / "x" / "1.png"), write(tmp_path / "y" / "1.png")
    got = names(jobs([x.parent, y.parent, y], tmp_path / "out"), tmp_path / "out")
    assert got == [("x/1.png", "x/1.png"), ("y/1.png", "y/1.png")]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in ("rain/2/a.png", "rain/1/b.png", "rain/1/c.txt", "rain/top.png"):
        write(tmp_path / n)
    monkeypatch.chdir(tmp_path)
    assert [j.name for j in jobs(["rain/**/*"], "out")] == ["1/b.png", "2/a.png", "top.png"]
    assert [j.name for j in jobs(["rain/*/a.*"], "out")] == ["2/a.png"]
    with pytest.raises(MissingError, match="no image fits"):
        jobs(["rain/*.jpg"], "out")


def test_a_file_with_a_bracket_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "rain [1].png")
    assert [j.source for j in jobs([path], tmp_path / "out")] == [path]


def test_a_file_that_is_named_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    path = write(tmp_path / "photo.dat")
    assert [j.name for j in jobs([path], tmp_path / "out")] == ["photo.dat"]


def test_results_are_never_inputs_nor_over_them(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png")
    write(tmp_path / "in" / "out" / "a.png", 1)
    assert [j.name for j in jobs([tmp_path / "in"], tmp_path / "in" / "out")] == ["a.png"]
    with pytest.raises(UsageError, match="overwrite"):
        jobs([tmp_path / "in" / "a.png"], tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UsageError, match="overwrite"):
        jobs([tmp_path / "in" / "a.png"], tmp_path / "link")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="no images in"):
        jobs([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(MissingError, match="no such file"):
        jobs([tmp_path / "gone.png"], tmp_path / "out")


# ---------------------------------------------------------------- through the network
def run(tmp_path: Path, network: torch.nn.Module, batch: int = 1, **more: Any) -> list[Done | Failed]:
    engine = Restorer(network, device="cpu", batch=batch)
    return list(restore_files(engine, jobs([tmp_path / "in"], tmp_path / "out"), **more))


@pytest.mark.parametrize("batch", [1, 3])
def test_every_file_has_an_answer_in_order_and_bad_ones_stop_none(tmp_path: Path, batch: int) -> None:
    for i in range(12):
        write(tmp_path / "in" / f"{i}.png", i, 12 + 4 * (i > 7))
    (tmp_path / "in" / "3.png").write_bytes(b"")
    (tmp_path / "in" / "5.png").write_bytes((tmp_path / "in" / "6.png").read_bytes()[:-30])
    network = nets.Darker()
    got = run(tmp_path, network, batch)
    assert [a.job.name for a in got] == [f"{i}.png" for i in range(12)]
    assert {a.job.name: a.reason for a in got if isinstance(a, Failed)} == {"3.png": "empty", "5.png": "truncated"}
    for a in got:
        if isinstance(a, Done):
            before, after = (images.read(p).rgb for p in (a.job.source, a.job.target))
            assert np.abs(after.astype(int) * 2 - before).max() <= 1
            assert (a.width, a.height, a.bits, a.format, a.inference) == (before.shape[1], 8, 8, "png", "full")
    assert not (tmp_path / "out" / "3.png").exists()
    assert max(s[0] for s in network.shapes) == batch
    assert {s[3] for s in network.shapes} == {12, 16}  # sizes are never mixed


def test_an_image_that_the_network_spoils_is_reported_and_its_neighbours_are_done(tmp_path: Path) -> None:
    class Picky(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x.mean((1, 2, 3), keepdim=True) > 0.99, x * float("nan"), x)

    for i in range(4):
        write(tmp_path / "in" / f"{i}.png", i)
    Image.new("RGB", (12, 8), "white").save(tmp_path / "in" / "2.png")
    got = run(tmp_path, Picky(), 4)
    assert [isinstance(a, Done) for a in got] == [True, True, False, True]
    assert isinstance(got[2], Failed)
    assert (got[2].reason, got[2].job.name) == ("network", "2.png")


def test_a_tiling_that_does_not_fit_stops_at_once(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.png")
    with pytest.raises(UsageError, match="no tiling"):
        run(tmp_path, nets.Darker(), tile="some")


def test_a_result_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path / "in" / f"{i}.png", i)
    (tmp_path / "out").write_text("a file where the folder should be")
    network = nets.Darker()
    with pytest.raises(RainRAGError, match="cannot write"):
        run(tmp_path, network)
    assert len(network.shapes) < 30


def test_few_images_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        write(tmp_path / "in" / f"{i}.png", i)
    lock, now, most = threading.Lock(), 0, 0
    read, encode = image_file.read, image_file.encode

    def reading(path: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        return read(path)

    def writing(photo: Any, pixels: Any) -> bytes:
        nonlocal now
        with lock:
            now -= 1
        return encode(photo, pixels)

    monkeypatch.setattr(folder.image_file, "read", reading)
    monkeypatch.setattr(folder.image_file, "encode", writing)
    assert len(run(tmp_path, nets.Darker())) == 40
    assert most <= 4 * folder.WAITING


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    import cv2

    deep = np.arange(96 * 3, dtype=np.uint16).reshape(8, 12, 3) * 200
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "deep.png"), deep)
    got = run(tmp_path, nets.Darker())[0]
    assert isinstance(got, Done)
    assert got.bits == 16
    back = cv2.imread(str(got.job.target), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    assert np.abs(back.astype(int) * 2 - deep).max() <= 2


# ---------------------------------------------------------------- before and after
def test_a_sheet_holds_both_pictures() -> None:
    before, after = picture(1, 200, 100), picture(2, 200, 100)
    got = sheet(before, after, "street.png")
    strip = got.shape[0] - 100
    assert got.shape == (100 + strip, 400 + GAP, 3)
    assert np.array_equal(got[strip:, :200], before)
    assert np.array_equal(got[strip:, 200 + GAP :], after)
    assert got[:strip, :200].max() > 150  # the word "before" in light letters


def test_sixteen_bits_for_the_eye() -> None:
    assert eight(np.array([0, 257, 65535], np.uint16)).tolist() == [0, 1, 255]


def test_the_page_shows_each_pair_and_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainrag.reports.comparison.MOST", 2)
    for n in ("<b>.png", "2.png", "sub/3.png"):
        write(tmp_path / "in" / n)
    also = Comparison(tmp_path / "out")
    assert also.page("x") is None
    (tmp_path / "in" / "bad.png").write_bytes(b"no image & nothing else, of no kind whatsoever")
    answers = run(tmp_path, nets.Darker(), also=also)
    assert len(answers) == 4
    page = also.page("Before and after", answers)
    assert page == tmp_path / "out" / "compare.html"
    text = page.read_text()
    assert text.count('type="range"') == 2
    assert "1 more are in the folder" in text
    assert "<b>.png" not in text  # names are text, never markup
    assert text.count('class="sheet" href="compare/') == 2
    assert "compare/%3Cb%3E.png" in text
    assert text.count(", full, ") == 2  # what was done
    assert "Failed: 1" in text
    assert "not-an-image" in text
    assert "http://" not in text
    assert "https://" not in text
    sheets = sorted(
        p.relative_to(tmp_path / "out" / "compare").as_posix() for p in (tmp_path / "out" / "compare").rglob("*.png")
    )
    assert len(sheets) == 3
