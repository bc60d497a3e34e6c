"""URIR-8K: the folder has to name the pattern."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import files, found, take


def test_patterns_by_folder_name(tmp_path):
    root = files(
        tmp_path / "URIR",
        "rain_streak/train/{input,target}/1.png",
        "raindrop/train/{input,target}/1.png",
        "Rain accumulation/train/{input,target}/1.png",
        "train/nighttime_rain/{input,target}/1.png",
    )
    report, rows = take("urir-8k", root, tmp_path / "out")
    assert {k.split("/")[2]: r["subset"] for k, r in rows.items()} == {
        "streak": "DRS",
        "drop": "DRD",
        "accumulation": None,
        "night": "NRS",
    }
    assert rows["urir-8k/train/accumulation/1"]["accumulation"]
    assert rows["urir-8k/train/night/1"]["night"]
    assert report.night_judged == 3
    assert len({r["scene"] for r in rows.values()}) == 4


def test_a_bare_folder_is_not_guessed(tmp_path):
    with pytest.raises(LayoutError):
        found("urir-8k", files(tmp_path / "URIR", "train/{input,target}/1.png"))
