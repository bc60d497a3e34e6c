"""Rain800 and Rain12000: two sides in one file; which is rainy, and whether they are two sides at all, is measured."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rainrag.core import images
from rainrag.core.errors import LayoutError
from rainrag.core.files import sha256_file
from rainrag.data.dataset import read_rows
from tests.data.sources.build import files, found, picture, rejects, take

SIZE = (96, 64)


def clean(name: str) -> np.ndarray:
    """Soft blocks: structure, little gradient."""
    grid = np.random.default_rng(zlib.crc32(name.encode())).integers(20, 200, (6, 9, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(grid).resize(SIZE, Image.Resampling.BICUBIC))


def rainy(name: str) -> np.ndarray:
    """The clean image with short bright streaks."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    rgb = clean(name).astype(float)
    for x, y in zip(rng.integers(0, SIZE[0], 60), rng.integers(0, SIZE[1], 60), strict=True):
        rgb[y : y + 9, x] += 70
    return np.clip(rgb, 0, 255).astype(np.uint8)


def write(root: Path, name: str, left: np.ndarray, right: np.ndarray, **how) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([left, right], axis=1)).save(path, **{"quality": 95, **how})


def test_rain800_has_the_clean_half_on_the_left(tmp_path):
    root = tmp_path / "rain"
    for n in range(1, 5):
        write(root, f"training/{n}.jpg", clean(f"a{n}"), rainy(f"a{n}"))
    write(root, "test_syn/1.jpg", clean("t1"), rainy("t1"))
    files(root, "test_nature/1.jpg")
    f = found("rain800", root)
    assert {p.half for p in f.pairs} == {"right"}
    assert f.passed == ["test_nature/1.jpg"]
    report, rows = take("rain800", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 4, "test": 1}
    row = rows["rain800/train/2"]
    assert (row["lq_format"], row["gt_format"], row["lq_width"], row["lq_height"]) == ("png", "png", *SIZE)
    assert row["parent_sha256"] == sha256_file(root / "training/2.jpg")
    lq, gt = pixels(tmp_path / "out", "rain800/train/2")
    whole = images.read(root / "training/2.jpg").rgb
    assert (gt == whole[:, : SIZE[0]]).all()
    assert (lq == whole[:, SIZE[0] :]).all()


def pixels(out: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    row = next(r for r in read_rows(out) if r["key"] == key)
    return tuple(images.decode(row[side]["bytes"]).rgb for side in ("lq", "gt"))


def test_the_majority_of_a_folder_decides(tmp_path):
    # a single clean image of strong texture does not turn the folder
    root = tmp_path / "DID-MDN-training" / "Rain_Heavy" / "train2018new"
    for n in range(4):
        write(root, f"{n}.jpg", rainy(f"m{n}"), clean(f"m{n}"))
    write(root, "9.jpg", clean("m9"), rainy("m9"))
    assert {p.half for p in found("rain12000", root).pairs} == {"left"}


def test_rain12000_densities_share_the_clean_image(tmp_path):
    root = tmp_path / "DID-MDN-datasets"
    for density in ("Light", "Medium", "Heavy"):
        for n in (1, 2):
            write(root, f"DID-MDN-training/Rain_{density}/train2018new/{n}.jpg", rainy(f"c{n}"), clean(f"c{n}"))
    write(root, "TestA/1.jpg", rainy("t1"), clean("t1"))
    f = found("rain12000", root)
    assert {f"{p.split}/{p.stem}": p.scene for p in f.pairs} == {
        "test/testa/1": "test/testa/1",
        **{f"train/{d}/{n}": f"train/{n}" for d in ("light", "medium", "heavy") for n in (1, 2)},
    }
    parts = root / "DID-MDN-training"
    assert {p.stem for p in found("rain12000", parts / "Rain_Light").pairs} == {"light/1", "light/2"}
    assert {p.stem for p in found("rain12000", parts / "Rain_Light/train2018new").pairs} == {"light/1", "light/2"}


@pytest.mark.parametrize("source", ["rain800", "rain12000"])
def test_halves_that_show_the_same_image_are_refused(tmp_path, source):
    # a demo folder of the network's repository: one photograph twice, JPEG-coded
    for n in range(5):
        write(tmp_path / "demo", f"facades/github/{n}.jpg", rainy(f"s{n}"), rainy(f"s{n}"))
    with pytest.raises(LayoutError, match=r"not-a-pair: 5.*the halves show the same image"):
        found(source, tmp_path / "demo")


def test_photographs_that_are_no_pairs_are_refused(tmp_path):
    for n in range(9):
        write(tmp_path / "photos", f"{n}.jpg", clean(f"l{n}"), clean(f"r{n}"))
    with pytest.raises(LayoutError, match="the halves do not show the same scene"):
        found("rain800", tmp_path / "photos")


def test_a_bad_folder_beside_a_good_one_is_reported(tmp_path):
    for n in range(3):
        write(tmp_path / "set", f"training/{n}.jpg", clean(f"g{n}"), rainy(f"g{n}"))
        write(tmp_path / "set", f"github/{n}.jpg", rainy(f"s{n}"), rainy(f"s{n}"))
    assert [p.lq for p in found("rain800", tmp_path / "set").pairs] == [f"training/{n}.jpg" for n in range(3)]
    assert rejects("rain800", tmp_path / "set") == {f"github/{n}.jpg": "unknown-file" for n in range(3)}


def test_damaged_and_odd_files_do_not_decide_and_are_left_to_ingest(tmp_path):
    root = tmp_path / "set" / "training"
    for n in range(3):
        write(root, f"{n}.jpg", clean(f"g{n}"), rainy(f"g{n}"))
    (root / "8.jpg").write_bytes((root / "1.jpg").read_bytes()[:400])
    Image.fromarray(picture("odd", (33, 24))).save(root / "9.jpg")
    report, rows = take("rain800", root, tmp_path / "out")
    assert sorted(rows) == [f"rain800/train/{n}" for n in range(3)]
    assert {(r.key, r.reason) for r in report.rejects} == {
        ("rain800/train/8", "truncated"),
        ("rain800/train/9", "side-by-side"),
    }


def test_a_folder_in_which_nothing_decodes_is_refused(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training/1.jpg").write_bytes(b"")
    with pytest.raises(LayoutError, match="none of 1 files can be decoded"):
        found("rain800", tmp_path)


def test_a_tie_is_refused(tmp_path):
    write(tmp_path / "set", "training/1.jpg", clean("a"), rainy("a"))
    write(tmp_path / "set", "training/2.jpg", rainy("b"), clean("b"))
    with pytest.raises(LayoutError, match="as many files look rainy on the left as on the right"):
        found("rain800", tmp_path / "set")


def test_paired_copies_of_rain12000(tmp_path):
    root = files(tmp_path / "DID-Data", "{train,test}/{input,target}/1.png")
    assert {(p.split, p.lq, p.gt) for p in found("rain12000", root).pairs} == {
        ("train", "train/input/1.png", "train/target/1.png"),
        ("test", "test/input/1.png", "test/target/1.png"),
    }
