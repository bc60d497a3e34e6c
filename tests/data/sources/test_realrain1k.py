"""RealRain-1k: the light and the heavy part lie side by side."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from rainrag.data.sources import get
from tests.data.sources.build import files, found, pairs, take

TREE = (
    "RealRain-1k-{L,H}/train/{input,target}/{1,2}.png",
    "RealRain-1k-L/validation/{input,target}/1.png",
    "RealRain-1k-H/val/{input,target}/1.png",
    "RealRain-1k-{L,H}/test/{input,target}/1.png",
    "SynRain-13k/test/{input,target}/1.png",
)


@pytest.mark.parametrize("part", ["L", "H"])
def test_only_its_own_part_is_taken(tmp_path, part):
    root = files(tmp_path / "RealRain-1k", *TREE)
    report, rows = take(f"realrain-1k-{part.lower()}", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 2, "test": 1, "validation": 1}
    assert report.rejects == ()
    assert all(p.lq.startswith(f"RealRain-1k-{part}/") for p in found(f"realrain-1k-{part.lower()}", root).pairs)
    assert rows[f"realrain-1k-{part.lower()}/test/1"]["real"]


def test_the_wrong_part_is_refused_and_a_bare_folder_is_test(tmp_path):
    root = files(tmp_path / "RealRain-1k", *TREE)
    with pytest.raises(LayoutError):
        found("realrain-1k-l", root / "RealRain-1k-H")
    assert set(pairs("realrain-1k-l", files(tmp_path / "mine", "{input,target}/1.png"))) == {"test/1"}
    assert get("realrain-1k-l").role == "test"
