"""HQ-NightRain: three kinds of rain over the same names."""

from __future__ import annotations

import pytest

from tests.data.sources.build import files, pairs, scenes, take

ID = "0a579286-882afcc7"


@pytest.mark.parametrize("form", ["{}/train/{{input,target}}/{}.jpg", "train/{}/{{input,target}}/{}.jpg"])
def test_the_subset_folder_tells_the_rain(tmp_path, form):
    root = files(tmp_path / "HQ", *(form.format(part, ID) for part in ("RS", "RD", "SD")), light=30)
    report, rows = take("hq-nightrain", root, tmp_path / "out")
    assert report.counts["NRS"]["train"] == 1
    assert report.counts["NRD"]["train"] == 2
    flags = {k.split("/")[2]: (r["streak"], r["drop"], r["night"]) for k, r in rows.items()}
    assert flags == {"RS": (True, False, True), "RD": (False, True, True), "SD": (True, True, True)}
    assert {r["scene"] for r in rows.values()} == {f"hq-nightrain/{ID}"}  # one background


def test_subset_names_as_in_the_result_links(tmp_path):
    root = files(tmp_path / "HQ", f"HQ-NightRain-RD/test/{{input,target}}/{ID}.jpg")
    assert pairs("hq-nightrain", root) == {
        f"test/RD/{ID}": (f"HQ-NightRain-RD/test/input/{ID}.jpg", f"HQ-NightRain-RD/test/target/{ID}.jpg")
    }
    assert set(pairs("hq-nightrain", root / "HQ-NightRain-RD/test")) == {f"test/RD/{ID}"}


def test_the_authors_sample_has_no_subset_folder_and_counts_as_streaks(tmp_path):
    root = files(tmp_path / "dataset", f"{{train,validation,test}}/{{input,target}}/{ID}.jpg", light=30)
    assert scenes("hq-nightrain", root) == dict.fromkeys([f"{s}/{ID}" for s in ("train", "validation", "test")], ID)
    assert take("hq-nightrain", root, tmp_path / "out")[0].counts["NRS"] == {"train": 1, "test": 1, "validation": 1}
