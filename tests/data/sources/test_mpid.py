"""MPID: photographs and rendered pairs are two sources."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, take

TREE = (
    "RID/images/{1,2}.jpg",
    "RIS/1.jpg",
    "Rain_streak_Real/1.jpg",
    "Raindrop_Real/1.jpg",
    "Rain_mist_real/1.jpg",
    "Rain_streak_Synthetic/train/{input,target}/1.png",
    "Raindrop_Synthetic/test/{rain,norain}/1.png",
    "Rain_mist_Synthetic/{input,gt}/1.png",
)


def test_photographs_have_no_target_and_no_invented_kind(tmp_path):
    root = files(tmp_path / "MPID", *TREE)
    report, rows = take("mpid", root, tmp_path / "out")
    assert report.pairs == 6
    assert all(r["gt_sha256"] is None and r["real"] for r in rows.values())
    assert {k.removeprefix("mpid/train/"): (r["subset"], r["streak"], r["drop"]) for k, r in rows.items()} == {
        "RID/images/1": (None, None, None),
        "RID/images/2": (None, None, None),
        "RIS/1": (None, None, None),
        "Rain_streak_Real/1": ("DRS", True, False),
        "Raindrop_Real/1": ("DRD", False, True),
        "Rain_mist_real/1": ("DRS", True, False),
    }
    assert len(found("mpid", root).passed) == 6


def test_synthetic_parts_are_pairs(tmp_path):
    root = files(tmp_path / "MPID", *TREE)
    report, rows = take("mpid-synthetic", root, tmp_path / "out")
    assert {k: (r["subset"], r["accumulation"]) for k, r in rows.items()} == {
        "mpid-synthetic/train/Rain_streak_Synthetic/1": ("DRS", None),
        "mpid-synthetic/test/Raindrop_Synthetic/1": ("DRD", None),
        "mpid-synthetic/train/Rain_mist_Synthetic/1": ("DRS", True),
    }
    assert not any(r["real"] for r in rows.values())
    assert {r.reason for r in report.rejects} == {"unknown-file"}


def test_a_part_as_the_root(tmp_path):
    root = files(tmp_path / "MPID", *TREE)
    assert set(pairs("mpid", root / "RID")) == {"train/RID/images/1", "train/RID/images/2"}
    assert set(pairs("mpid-synthetic", root / "Raindrop_Synthetic")) == {"test/Raindrop_Synthetic/1"}
