"""RaindropClarity: day and night, drops and clear, blur passed over."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, scenes, take


def test_day_and_night_by_the_same_relative_path(tmp_path):
    root = files(
        tmp_path / "clarity",
        "DayRainDrop_Train/{Drop,Blur,Clear}/{00001,00211}/00_1.png",
        "NightRainDrop_Train/{Drop,Blur,Clear}/00197/{1,2}.png",
        "NightRainDrop_Test/{Drop,Clear}/00060/1.png",
    )
    report, rows = take("raindrop-clarity", root, tmp_path / "out")
    assert report.counts["DRD"] == {"train": 2, "test": 0}
    assert report.counts["NRD"] == {"train": 2, "test": 1}
    assert report.night_judged == 0
    assert report.rejects == ()
    assert len(found("raindrop-clarity", root).passed) == 4  # Blur
    assert rows["raindrop-clarity/train/night/00197/2"]["scene"] == "raindrop-clarity/night/00197"
    assert pairs("raindrop-clarity", root)["train/day/00211/00_1"] == (
        "DayRainDrop_Train/Drop/00211/00_1.png",
        "DayRainDrop_Train/Clear/00211/00_1.png",
    )


def test_a_part_as_the_root_and_a_folder_without_a_split(tmp_path):
    root = files(
        tmp_path / "clarity", "NightRainDrop_Test/{Drop,Clear}/00060/1.png", "DayRainDrop/{Drop,Clear}/00002/1.png"
    )
    assert set(pairs("raindrop-clarity", root / "NightRainDrop_Test")) == {"test/night/00060/1"}
    assert scenes("raindrop-clarity", root / "DayRainDrop") == {"train/day/00002/1": "day/00002"}
