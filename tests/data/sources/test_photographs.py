"""Real-147, Real3000, NTURain: nothing but photographs."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, scenes, take


def test_real_147(tmp_path):
    root = files(tmp_path / "rainy_image_dataset", "real_input/{1,62,147}.jpg")
    assert pairs("real-147", root) == {f"train/{n}": (f"real_input/{n}.jpg", None) for n in (1, 62, 147)}
    assert set(pairs("real-147", root)) == set(pairs("real-147", root / "real_input"))
    report, _ = take("real-147", root, tmp_path / "out")
    assert report.counts["DRS"]["train"] == 3
    assert report.expected == ("train: 3 pairs, published 147",)


def test_the_copy_with_rain_and_norain_folders_is_not_taken_for_pairs(tmp_path):
    # 'norain' holds the same rainy photographs here
    f = found("real-147", files(tmp_path / "copy", "{rain,norain}/{1,2}.jpg"))
    assert [(p.lq, p.gt) for p in f.pairs] == [("norain/1.jpg", None), ("norain/2.jpg", None)]
    assert {r.reason for r in f.rejects} == {"duplicate-key"}


def test_real3000_knows_its_test_numbers(tmp_path):
    root = files(tmp_path / "Real3000", "{1,1704,1705,1999,2004,2005,3000}.png")
    assert {p.stem: p.split for p in found("real3000", root).pairs} == {
        "1": "train",
        "1704": "train",
        "1705": "test",
        "1999": "test",
        "2004": "test",
        "2005": "train",
        "3000": "train",
    }
    report, rows = take("real3000", root, tmp_path / "out")
    assert report.counts["other"] == {"train": 4, "test": 3}  # what kind of rain is not known
    assert all(r["real"] for r in rows.values())


def test_rain_direction_beside_real3000_is_passed_over(tmp_path):
    root = files(tmp_path / "set", "Real3000/1.png", "RainDirection/{rainy,latent,streak}/1.png")
    assert [p.lq for p in found("real3000", root).pairs] == ["Real3000/1.png"]


def test_frames_of_a_clip_are_one_scene(tmp_path):
    root = files(tmp_path / "data_NTU", "train/b1_Rain/{00001,00002,00003}.jpg", "train/a1_Rain/00001.jpg")
    assert scenes("ntu-rain", root) == {
        "train/b1_Rain/00001": "b1_Rain",
        "train/b1_Rain/00002": "b1_Rain",
        "train/b1_Rain/00003": "b1_Rain",
        "train/a1_Rain/00001": "a1_Rain",
    }
    _, rows = take("ntu-rain", root / "train/b1_Rain", tmp_path / "out")
    assert {r["scene"] for r in rows.values()} == {"ntu-rain/b1_Rain"}
