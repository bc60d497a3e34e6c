"""GT-Rain: one clean frame a clip, but for one clip."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, rejects, scenes, take

TREE = (
    "GT-RAIN_train/Gurutto_1-2/Gurutto_1-2-Webcam-{R,C}-{000,001}.png",
    "GT-RAIN_train/Gurutto_0-1/Gurutto_0-1-Webcam-R-{000,001,002}.png",
    "GT-RAIN_train/Gurutto_0-1/Gurutto_0-1-Webcam-C-000.png",
    "GT-RAIN_test/Winter_Garden_0-4/Winter_Garden_0-4-Webcam-R-{000,288}.png",
    "GT-RAIN_test/Winter_Garden_0-4/Winter_Garden_0-4-Webcam-C-000.png",
    "val/Table_Rock_0-1/Table_Rock_0-1-Webcam-R-010.png",
    "val/Table_Rock_0-1/Table_Rock_0-1-Webcam-C-000.png",
)


def test_one_clean_frame_a_clip_and_the_exception(tmp_path):
    root = files(tmp_path / "GT-RAIN", *TREE)
    got = pairs("gt-rain", root)
    exception = "GT-RAIN_train/Gurutto_1-2/Gurutto_1-2-Webcam"
    assert got["train/Gurutto_1-2/Gurutto_1-2-Webcam-R-001"] == (f"{exception}-R-001.png", f"{exception}-C-001.png")
    rule = "GT-RAIN_train/Gurutto_0-1/Gurutto_0-1-Webcam"
    assert got["train/Gurutto_0-1/Gurutto_0-1-Webcam-R-002"] == (f"{rule}-R-002.png", f"{rule}-C-000.png")
    report, rows = take("gt-rain", root, tmp_path / "out")
    by_split = {}
    for row in rows.values():
        by_split[row["split"]] = by_split.get(row["split"], 0) + 1
    # the published test scenes are test, whatever their folder is called
    assert by_split == {"train": 5, "test": 2, "validation": 1}
    assert report.rejects == ()
    assert report.night_judged == 8


def test_the_scene_is_the_place_so_that_one_webcam_is_one_scene(tmp_path):
    of = scenes("gt-rain", files(tmp_path / "GT-RAIN", *TREE))
    assert set(of.values()) == {"Gurutto", "Winter", "Table"}
    assert of["train/Gurutto_1-2/Gurutto_1-2-Webcam-R-000"] == of["train/Gurutto_0-1/Gurutto_0-1-Webcam-R-000"]


def test_a_clip_as_the_root_keeps_its_keys(tmp_path):
    root = files(tmp_path / "GT-RAIN", *TREE)
    clip = root / "val/Table_Rock_0-1"
    assert pairs("gt-rain", clip) == {
        "validation/Table_Rock_0-1/Table_Rock_0-1-Webcam-R-010": (
            "Table_Rock_0-1-Webcam-R-010.png",
            "Table_Rock_0-1-Webcam-C-000.png",
        )
    }


def test_in_the_exceptional_clip_a_missing_clean_frame_is_missing(tmp_path):
    root = files(
        tmp_path / "x", "Gurutto_1-2/Gurutto_1-2-Webcam-R-{000,001}.png", "Gurutto_1-2/Gurutto_1-2-Webcam-C-000.png"
    )
    assert len(found("gt-rain", root).pairs) == 1
    assert rejects("gt-rain", root) == {"Gurutto_1-2/Gurutto_1-2-Webcam-R-001.png": "missing-gt"}


def test_dark_scenes_become_night(tmp_path):
    root = files(tmp_path / "GT-RAIN", *TREE[:1])
    files(root, *TREE[1:3], light=30)
    report, _ = take("gt-rain", root, tmp_path / "out")
    assert report.counts["NRS"]["train"] == 3
    assert report.counts["DRS"]["train"] == 2
