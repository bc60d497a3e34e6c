"""Rain1400: fourteen to one, and the demo of the code."""

from __future__ import annotations

from tests.data.sources.build import files, pairs, rejects, scenes, take


def test_fourteen_rainy_images_share_a_clean_one(tmp_path):
    fourteen = "{" + ",".join(map(str, range(1, 15))) + "}"
    root = files(
        tmp_path / "DDN",
        f"training/rainy_image/{{1,2}}_{fourteen}.jpg",
        "training/ground_truth/{1,2}.jpg",
        "testing/rainy_image/901_1.jpg",
        "testing/ground_truth/901.jpg",
    )
    report, rows = take("rain1400", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 28, "test": 1}
    assert {r["scene"] for r in rows.values()} == {"rain1400/1", "rain1400/2", "rain1400/901"}
    assert rows["rain1400/train/2_14"]["gt_format"] == "jpeg"
    assert pairs("rain1400", root)["train/1_14"] == ("training/rainy_image/1_14.jpg", "training/ground_truth/1.jpg")


def test_a_bare_folder_counts_as_train(tmp_path):
    root = files(tmp_path / "DDN", "rainy_image/1_1.jpg", "ground_truth/1.jpg", "rainy_image/2_1.jpg")
    assert set(pairs("rain1400", root)) == {"train/1_1"}
    assert rejects("rain1400", root) == {"rainy_image/2_1.jpg": "missing-gt"}


def test_paired_copies_keep_the_scene(tmp_path):
    root = files(tmp_path / "DDN-Data", "train/{input,target}/3_{1,2}.jpg", "test/input/4_1.jpg", "test/target/4.jpg")
    assert scenes("rain1400", root) == {"train/3_1": "3", "train/3_2": "3", "test/4_1": "4"}
    assert pairs("rain1400", root)["train/3_1"] == ("train/input/3_1.jpg", "train/target/3_1.jpg")


def test_the_demo(tmp_path):
    root = files(tmp_path / "demo", "synthetic/{1,2,3}{rain,ground_truth}.jpg", "real_world/1.jpg")
    assert pairs("rain1400", root) == {
        f"test/{n}": (f"synthetic/{n}rain.jpg", f"synthetic/{n}ground_truth.jpg") for n in "123"
    }
    assert rejects("rain1400", root) == {"real_world/1.jpg": "unknown-file"}
