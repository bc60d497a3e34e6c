"""The release layout of UniRain's authors."""

from __future__ import annotations

from tests.data.sources.build import files, pairs, rejects, take


def test_four_types_in_train_and_test(tmp_path):
    root = files(
        tmp_path / "RainRAG",
        "{drs,drd,nrs,nrd}/{input,target}/{a.png,b.jpg}",
        "Test/{drs,drd,nrs,nrd}/{input,target}/a.png",
    )
    report, rows = take("unirain", root, tmp_path / "out")
    for subset in ("DRS", "DRD", "NRS", "NRD"):
        assert report.counts[subset] == {"train": 2, "test": 1}
    assert rows["unirain/train/nrd/b"]["subset"] == "NRD"
    assert len({r["scene"] for r in rows.values()}) == 12
    assert set(pairs("unirain", root / "Test")) == {f"test/{k}/a" for k in ("drs", "drd", "nrs", "nrd")}
    assert set(pairs("unirain", root / "drs")) == {"train/drs/a", "train/drs/b"}


def test_the_target_with_the_same_extension_is_taken(tmp_path):
    root = files(tmp_path / "R", "drs/input/1.png", "drs/target/1.{png,jpg}")
    assert pairs("unirain", root) == {"train/drs/1": ("drs/input/1.png", "drs/target/1.png")}
    assert rejects("unirain", root) == {"drs/target/1.jpg": "missing-lq"}
