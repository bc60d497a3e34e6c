"""RainDrop: suffixes, renamed folders, two test sets."""

from __future__ import annotations

import pytest

from tests.data.sources.build import files, pairs, rejects, scenes, take


def test_train_and_both_tests_with_their_own_keys(tmp_path):
    root = files(
        tmp_path / "RainDrop",
        "train/data/{0,1}_rain.png",
        "train/gt/{0,1}_clean.png",
        "train/preview/0.png",
        "test_a/data/0_rain.png",
        "test_a/gt/0_clean.png",
        "test_b/data/{0,183}_rain.jpg",
        "test_b/gt/{0,183}_clean.jpg",
    )
    report, rows = take("raindrop", root, tmp_path / "out")
    assert report.counts["DRD"] == {"train": 2, "test": 3}
    assert report.rejects == ()
    assert {k: r["scene"] for k, r in rows.items()} == {
        "raindrop/train/0": "raindrop/train/0",
        "raindrop/train/1": "raindrop/train/1",
        "raindrop/test/a/0": "raindrop/test_a/0",
        "raindrop/test/b/0": "raindrop/test_b/0",
        "raindrop/test/b/183": "raindrop/test_b/183",
    }
    assert rows["raindrop/test/b/183"]["lq_format"] == "jpeg"
    assert set(pairs("raindrop", root / "test_a")) == {"test/a/0"}
    assert set(pairs("raindrop", root / "test_b")) == {"test/b/0", "test/b/183"}


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        ("raindrop/train/input/0_rain.png", "raindrop/train/gt/0_clean.png"),
        ("rain_image/0_rain.png", "clean_image/0_clean.png"),
        ("train/data/0_rain.png", "train/gt/0_clean.jpg"),
        ("train/input/0_rain.png", "train/target/0_rain.png"),
    ],
)
def test_renamed_copies(tmp_path, rainy, clean):
    assert pairs("raindrop", files(tmp_path / "set", rainy, clean)) == {"train/0": (rainy, clean)}


def test_inputs_without_a_clean_side_are_reported(tmp_path):
    root = files(tmp_path / "set", "rain_image/{0,1}_rain.png", "clean_image/{0,2}_clean.png", "_test_data/test_1.png")
    assert scenes("raindrop", root) == {"train/0": "train/0"}
    assert rejects("raindrop", root) == {
        "rain_image/1_rain.png": "missing-gt",
        "clean_image/2_clean.png": "missing-lq",
        "_test_data/test_1.png": "unknown-file",
    }
