"""UAV-Rain1k, HQ-RAIN, 4K-Rain13k: input and target."""

from __future__ import annotations

import pytest

from tests.data.sources.build import files, pairs, take


@pytest.mark.parametrize(("source", "subset"), [("uav-rain1k", "DRD"), ("hq-rain", "DRS"), ("4k-rain13k", "DRS")])
def test_equal_names_in_input_and_target(tmp_path, source, subset):
    root = files(tmp_path / "set", "train/{input,target}/{1,2}.png", "test/{input,target}/1.png")
    report, rows = take(source, root, tmp_path / "out")
    assert report.counts[subset] == {"train": 2, "test": 1}
    assert sorted(rows) == [f"{source}/test/1", f"{source}/train/1", f"{source}/train/2"]
    assert len({r["scene"] for r in rows.values()}) == 3
    assert pairs(source, root / "test") == {"test/1": ("input/1.png", "target/1.png")}
