"""VRDS and Video-Waterdrop: frames in clips."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, rejects, scenes, take


def test_vrds_frames_have_streaks_and_drops(tmp_path):
    root = files(
        tmp_path / "VRDS",
        "{lq,gt,01drop,drop,mstreak}/c{01,02}/{00000000,00000001}.png",
        "{testlq,testgt}/c01/00000000.png",
    )
    report, rows = take("vrds", root, tmp_path / "out")
    assert report.counts["DRD"] == {"train": 4, "test": 1}
    assert report.rejects == ()  # masks and streak maps are passed over
    assert len(found("vrds", root).passed) == 12
    row = rows["vrds/train/c02/00000001"]
    assert (row["streak"], row["drop"]) == (True, True)
    assert {r["scene"] for r in rows.values()} == {"vrds/train/c01", "vrds/train/c02", "vrds/test/c01"}


def test_video_waterdrop_train_and_synthetic_test(tmp_path):
    root = files(
        tmp_path / "vwr",
        "train_vid/{rainy_vid,rainy_mask,clean_vid}/0001/{1,2}.png",
        "train_img/train/{data,gt}/0_rain.png",
        "syn/{rainy_vid,clean_vid}/0001/1.png",
        "real/0005/1.png",
    )
    report, rows = take("video-waterdrop", root, tmp_path / "out")
    assert report.counts["DRD"] == {"train": 2, "test": 1}
    assert rows["video-waterdrop/test/0001/1"]["streak"] is False
    assert rejects("video-waterdrop", root) == {"real/0005/1.png": "unknown-file"}
    assert scenes("video-waterdrop", root) == {
        "test/0001/1": "test/0001",
        "train/0001/1": "train/0001",
        "train/0001/2": "train/0001",
    }
    assert set(pairs("video-waterdrop", root / "syn")) == {"test/0001/1"}
    assert set(pairs("video-waterdrop", root / "train_vid")) == {"train/0001/1", "train/0001/2"}


def test_frames_at_night_become_night(tmp_path):
    root = files(tmp_path / "vwr", "syn/{rainy_vid,clean_vid}/0001/1.png", light=30)
    assert take("video-waterdrop", root, tmp_path / "out")[0].counts["NRD"]["test"] == 1
