"""GTAV-NightRain: two releases that must not be mixed."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import files, found, pairs, rejects, scenes, take

TREE = (
    "set1/Train/Rainy/0001_{00,09}.png",
    "set1/Train/GT/0001.png",
    "set2/Test/Rainy/0001_00.png",
    "set2/Test/GT/0001.png",
    "set3/Rainy/0001_{00,01}.png",
    "set3/GT/0001.png",
    "set3/Test/Rainy/0001_00.png",
    "set3/Test/GT/0001.png",
)


def test_three_sets_with_their_own_numbers(tmp_path):
    root = files(tmp_path / "GTAV-NightRain", *TREE)
    report, rows = take("gtav-nightrain", root, tmp_path / "out")
    assert report.counts["NRS"] == {"train": 4, "test": 2}
    assert {k: r["scene"] for k, r in rows.items()} == {
        "gtav-nightrain/train/set1/0001_00": "gtav-nightrain/set1/0001",
        "gtav-nightrain/train/set1/0001_09": "gtav-nightrain/set1/0001",
        "gtav-nightrain/test/set2/0001_00": "gtav-nightrain/set2/0001",
        "gtav-nightrain/train/set3/0001_00": "gtav-nightrain/set3/0001",
        "gtav-nightrain/train/set3/0001_01": "gtav-nightrain/set3/0001",
        # a part of set3: the scene says so
        "gtav-nightrain/test/set3/0001_00": "gtav-nightrain/set3/0001",
    }


def test_any_case_gives_the_same_keys(tmp_path):
    upper = files(tmp_path / "A", *TREE)
    lower = files(tmp_path / "b", *(t.lower() for t in TREE))
    odd = files(tmp_path / "C", *(t.replace("set", "SET").replace("GT", "gt") for t in TREE))
    assert (
        set(pairs("gtav-nightrain", lower)) == set(pairs("gtav-nightrain", upper)) == set(pairs("gtav-nightrain", odd))
    )
    assert pairs("gtav-nightrain", lower)["train/set1/0001_09"] == (
        "set1/train/rainy/0001_09.png",
        "set1/train/gt/0001.png",
    )


def test_every_root_gives_the_same_keys(tmp_path):
    root = files(tmp_path / "GTAV-NightRain", *TREE)
    assert set(pairs("gtav-nightrain", root / "set1")) == {"train/set1/0001_00", "train/set1/0001_09"}
    assert set(pairs("gtav-nightrain", root / "set1/Train")) == {"train/set1/0001_00", "train/set1/0001_09"}
    assert set(pairs("gtav-nightrain", root / "set3/Test")) == {"test/set3/0001_00"}


def test_two_gt_folders_that_differ_in_case_are_not_chosen_between(tmp_path):
    root = files(
        tmp_path / "G", "set1/Train/Rainy/{0001,0002}_00.png", "set1/Train/{GT,gt}/0001.png", "set1/Train/GT/0002.png"
    )
    assert [p.stem for p in found("gtav-nightrain", root).pairs] == ["set1/0002_00"]
    assert rejects("gtav-nightrain", root) == {"set1/Train/Rainy/0001_00.png": "case-clash"}


def test_the_releases_refuse_each_other(tmp_path):
    first = files(tmp_path / "first", *TREE)
    second = files(
        tmp_path / "second",
        "train/rainy/0001_{00,01}.png",
        "train/gt/0001.png",
        "test/rainy/0001_00.png",
        "test/gt/0001.png",
    )
    assert scenes("gtav-nightrain-rerendered", second) == {
        "train/0001_00": "train/0001",
        "train/0001_01": "train/0001",
        "test/0001_00": "test/0001",
    }
    report, _ = take("gtav-nightrain-rerendered", second, tmp_path / "out")
    assert report.counts["NRS"] == {"train": 2, "test": 1}
    with pytest.raises(LayoutError):
        found("gtav-nightrain", second)
    with pytest.raises(LayoutError):
        found("gtav-nightrain-rerendered", first)
