"""Rain13K: the training folder and five test sets."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from rainrag.data.sources import get
from tests.data.sources.build import files, pairs, scenes, take

TREE = (
    "train/Rain13K/{input,target}/{1.jpg,2.png}",
    "test/{Test100,Rain100H,Rain100L,Test1200,Test2800}/{input,target}/{1,2}.png",
)


def test_train_and_the_five_tests(tmp_path):
    root = files(tmp_path / "Datasets", *TREE)
    report, rows = take("rain13k", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 2, "test": 10}
    assert {"rain13k/train/Rain13K/1", "rain13k/test/Test100/1", "rain13k/test/Rain100L/2"} <= set(rows)
    assert rows["rain13k/train/Rain13K/1"]["lq_format"] == "jpeg"
    assert report.expected == ()  # copies differ by a pair: the number is not checked


def test_rain100l_and_rain100h_share_their_clean_images(tmp_path):
    of = scenes("rain13k", files(tmp_path / "Datasets", *TREE))
    assert of["test/Rain100L/1"] == of["test/Rain100H/1"]
    assert of["test/Rain100L/1"] != of["test/Rain100L/2"]
    assert of["test/Test100/1"] != of["test/Test1200/1"]


def test_every_root_gives_the_same_keys(tmp_path):
    root = files(tmp_path / "Datasets", *TREE)
    assert set(pairs("rain13k", root / "train")) == set(pairs("rain13k", root / "train/Rain13K"))
    assert set(pairs("rain13k", root / "test/Test100")) == {"test/Test100/1", "test/Test100/2"}
    mirror = files(
        tmp_path / "mirror", "Rain13K/train/{input,target}/1.png", "Rain13K/test/Test100/{input,target}/1.png"
    )
    assert set(pairs("rain13k", mirror)) == {"train/Rain13K/1", "test/Test100/1"}


def test_a_folder_of_another_name_is_not_guessed(tmp_path):
    with pytest.raises(LayoutError):
        pairs("rain13k", files(tmp_path / "x", "Test1/{input,target}/1.png"))


def test_it_says_what_it_was_merged_from():
    assert {"rain1400", "rain800", "rain100h", "rain12"} <= set(get("rain13k").contains)
