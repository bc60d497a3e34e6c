"""RainDS: three rainy versions of one clean image, with prefixes in the rendered part."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, rejects, scenes, take

REAL = "RainDS_real/{train_set,test_set}/{raindrop,rainstreak,rainstreak_raindrop,gt}/{2,6}.png"
SYN = (
    "RainDS_syn/{train_set,test_set}/raindrop/{rd-1,pie-rd-1}.png",
    "RainDS_syn/{train_set,test_set}/rainstreak/{rain-1,pie-rain-1}.png",
    "RainDS_syn/{train_set,test_set}/rainstreak_raindrop/{rd-rain-1,pie-rd-rain-1}.png",
    "RainDS_syn/{train_set,test_set}/gt/{norain-1,pie-norain-1}.png",
)


def test_real_has_the_same_number_on_all_sides(tmp_path):
    root = files(tmp_path / "RainDS", REAL, *SYN)
    report, rows = take("rainds-real", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 2, "test": 2}
    assert report.counts["DRD"] == {"train": 4, "test": 4}  # drops, and drops with streaks
    assert report.rejects == ()
    flags = {
        k: (rows[f"rainds-real/test/{k}/2"]["streak"], rows[f"rainds-real/test/{k}/2"]["drop"])
        for k in ("raindrop", "rainstreak", "rainstreak_raindrop")
    }
    assert flags == {"raindrop": (False, True), "rainstreak": (True, False), "rainstreak_raindrop": (True, True)}
    assert len({r["scene"] for r in rows.values()}) == 4
    assert rows["rainds-real/train/raindrop/6"]["scene"] == rows["rainds-real/train/rainstreak/6"]["scene"]


def test_syn_maps_prefixes(tmp_path):
    root = files(tmp_path / "RainDS", REAL, *SYN)
    report, rows = take("rainds-syn", root, tmp_path / "out")
    assert report.pairs == 12
    assert report.rejects == ()
    got = pairs("rainds-syn", root)
    assert got["train/rainstreak/pie-1"] == (
        "RainDS_syn/train_set/rainstreak/pie-rain-1.png",
        "RainDS_syn/train_set/gt/pie-norain-1.png",
    )
    assert got["test/rainstreak_raindrop/1"][1] == "RainDS_syn/test_set/gt/norain-1.png"
    assert {r["scene"] for r in rows.values()} == {
        f"rainds-syn/{s}/{n}" for s in ("train", "test") for n in ("1", "pie-1")
    }


def test_rs_prefixes_and_clear_folders(tmp_path):
    root = files(
        tmp_path / "flat",
        "rainstreak/rs-4.png",
        "rainstreak_raindrop/rd-rs-4.png",
        "raindrop/rd-5.png",
        "Clear/norain-4.png",
    )
    assert pairs("rainds-syn", root) == {
        "train/rainstreak/4": ("rainstreak/rs-4.png", "Clear/norain-4.png"),
        "train/rainstreak_raindrop/4": ("rainstreak_raindrop/rd-rs-4.png", "Clear/norain-4.png"),
    }
    assert rejects("rainds-syn", root) == {"raindrop/rd-5.png": "missing-gt"}
    root = files(tmp_path / "flat2", "{raindrop,Clear}/8.png")
    assert pairs("rainds-real", root) == {"train/raindrop/8": ("raindrop/8.png", "Clear/8.png")}


def test_a_split_folder_as_the_root(tmp_path):
    root = files(tmp_path / "RainDS", REAL, *SYN)
    real = root / "RainDS_real/test_set"
    assert scenes("rainds-real", real) == {
        f"test/{k}/{n}": f"test/{n}" for k in ("raindrop", "rainstreak", "rainstreak_raindrop") for n in (2, 6)
    }
    assert len(found("rainds-syn", root / "RainDS_syn/test_set").pairs) == 6
