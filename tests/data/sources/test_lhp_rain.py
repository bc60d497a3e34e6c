"""LHP-Rain: by name, never by order."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import files, found, pairs, rejects, scenes, take


def test_equal_names_in_clips_or_flat(tmp_path):
    root = files(tmp_path / "LHP", "train/{input,gt}/clip7/{0001,0002}.png", "test/{input,gt}/clip1/0001.png")
    report, rows = take("lhp-rain", root, tmp_path / "out")
    assert report.pairs == 3
    assert {r["scene"] for r in rows.values()} == {"lhp-rain/train/clip7", "lhp-rain/test/clip1"}
    flat = files(tmp_path / "flat", "{input,gt}/{a,b}.png")
    assert scenes("lhp-rain", flat) == {"train/a": "train/a", "train/b": "train/b"}


def test_a_missing_file_is_reported_and_does_not_shift_the_others(tmp_path):
    root = files(tmp_path / "LHP", "input/{1,2,3}.png", "gt/{1,3}.png")
    assert pairs("lhp-rain", root) == {
        "train/1": ("input/1.png", "gt/1.png"),
        "train/3": ("input/3.png", "gt/3.png"),
    }
    assert rejects("lhp-rain", root) == {"input/2.png": "missing-gt"}


@pytest.mark.parametrize("clean", ["{1,2,4}", "{clean1,clean2,clean3}"])
def test_sides_that_are_named_differently_are_refused_with_the_reason(tmp_path, clean):
    root = files(tmp_path / "LHP", "input/{1,2,3}.png", f"gt/{clean}.png")
    with pytest.raises(LayoutError) as e:
        found("lhp-rain", root)
    assert "sorted order" in str(e.value)
    assert "input/" in str(e.value)
    assert "gt/" in str(e.value)
    assert "--lq-glob" in str(e.value)
