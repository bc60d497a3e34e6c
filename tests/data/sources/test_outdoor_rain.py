"""Outdoor-Rain: fifteen to one, with fog."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, take


def test_streaks_with_accumulation_and_scenes_by_split(tmp_path):
    root = files(
        tmp_path / "Outdoor-Rain",
        "train/in/im_0001_s{80,85,90,95,100}_a{04,05,06}.png",
        "synthetic/Test1/in/im_{0001,0002}_s80_a04.png",
        "train/gt/im_0001.png",
        "synthetic/Test1/gt/im_{0001,0002}.png",
        "web/Image1.png",
    )
    report, rows = take("outdoor-rain", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 15, "test": 2}
    # Test1 starts its numbers again: the same number is another scene
    assert {r["scene"] for r in rows.values()} == {
        f"outdoor-rain/{s}" for s in ("train/im_0001", "test/im_0001", "test/im_0002")
    }
    row = rows["outdoor-rain/train/im_0001_s100_a06"]
    assert (row["streak"], row["accumulation"], row["drop"], row["night"]) == (True, True, False, False)
    assert [(r.key, r.reason) for r in report.rejects] == [("web/Image1.png", "unknown-file")]


def test_the_root_may_be_test1_and_the_folder_input(tmp_path):
    root = files(tmp_path / "Test1", "input/im_0003_s85_a05.png", "gt/im_0003.png")
    assert pairs("outdoor-rain", root) == {"test/im_0003_s85_a05": ("input/im_0003_s85_a05.png", "gt/im_0003.png")}
    assert (
        found("outdoor-rain", files(tmp_path / "x", "in/im_0001_s80_a04.png", "gt/im_0001.png")).pairs[0].split
        == "train"
    )
