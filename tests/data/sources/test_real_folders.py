"""The real folders available locally: $RAINRAG_TESTDATA/data."""

from __future__ import annotations

from collections import Counter

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import found, take

#: source, folder, subset, pairs by split, files left out by reason
FOLDERS = [
    ("rain100l", "Rain100L", "DRS", {"test": 100}, {}),
    ("rain200h", "RainHeavy-small", "DRS", {"train": 20, "test": 5}, {}),
    ("rain200l", "Rain200L", "DRS", {"train": 2, "test": 2}, {}),
    ("rain200h", "Rain200H", "DRS", {"train": 3, "test": 3}, {}),
    ("hq-nightrain", "HQ-NightRain", "NRS", {"train": 4, "validation": 4}, {}),
    ("raindrop", "RainDrop-train-sample", "DRD", {"train": 4}, {"unknown-file": 3}),
    ("outdoor-rain", "Outdoor-Rain", "DRS", {"test": 4}, {"unknown-file": 8}),
    ("outdoor-rain", "Outdoor-Rain/synthetic/Test1", "DRS", {"test": 4}, {}),
    ("rain1400", "DDN-demo", "DRS", {"test": 3}, {"unknown-file": 3}),
    ("ntu-rain", "NTURain-sample", "DRS", {"train": 20}, {}),
]


@pytest.fixture
def real(real_data):
    """A folder of the real data by name; skips where it is not there."""

    def find(name):
        if not (real_data / name).is_dir():
            pytest.skip(f"no {name} among the real data")
        return real_data / name

    return find


@pytest.mark.parametrize(("source", "folder", "subset", "by_split", "left"), FOLDERS)
def test_a_real_folder_ingests(tmp_path, real, source, folder, subset, by_split, left):
    report, rows = take(source, real(folder), tmp_path / "out")
    assert {s: n for s, n in report.counts[subset].items() if n} == by_split
    assert report.pairs == sum(by_split.values())
    assert Counter(r.reason for r in report.rejects) == left
    assert {r["source"] for r in rows.values()} == {source}


@pytest.mark.parametrize("source", ["rain100h", "rain200l", "raindrop", "gtav-nightrain", "rain1400"])
def test_a_real_set_of_another_name_is_refused(real, source):
    with pytest.raises(LayoutError):
        found(source, real("Rain100L"))


def test_frames_of_the_clip_are_one_scene(real):
    assert {p.scene for p in found("ntu-rain", real("NTURain-sample")).pairs} == {"b1_Rain"}


@pytest.mark.parametrize("source", ["rain12000", "rain800"])
def test_one_photograph_stored_twice_is_no_pair(real, source):
    with pytest.raises(LayoutError, match="the halves show the same image"):
        found(source, real("DID-MDN-demo"))


def test_real_photographs_are_no_side_by_side_pairs_but_references(real):
    with pytest.raises(LayoutError, match="the halves do not show the same scene"):
        found("rain800", real("Real-147"))
    for root in (real("Real-147"), real("Real-147/real_input")):
        pairs = found("real-147", root).pairs
        assert len(pairs) == 147
        assert all(p.gt is None for p in pairs)


def test_real_pairs_put_side_by_side_are_recognised(tmp_path, real):
    # heavy rain is the hardest: 8 to 16 dB between the halves
    import numpy as np
    from PIL import Image

    from rainrag.core import images

    folder = real("RainHeavy-small/train/small")
    for rainy in sorted((folder / "rain").iterdir())[:8]:
        sides = [images.read(folder / "norain" / rainy.name).rgb, images.read(rainy).rgb]
        path = tmp_path / "training" / f"{rainy.stem.removeprefix('norain-')}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.concatenate(sides, axis=1)).save(path)
    assert {p.half for p in found("rain800", tmp_path / "training").pairs} == {"right"}


def test_somebody_elses_pairs_go_through_folder(tmp_path, real):
    report, rows = take("folder", real("NiteDR-RoadScene-rain"), tmp_path / "out")
    assert len(rows) == report.pairs == 40
    assert report.rejects == ()
