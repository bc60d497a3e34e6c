"""Rain100L/H and Rain200L/H: five layouts, the same keys."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import files, found, keys, pairs, rejects, scenes, take


def test_authors_folders_where_the_rainy_file_is_called_norain_too(tmp_path):
    root = files(
        tmp_path / "RainHeavy", "train/small/{rain,norain}/norain-{1,10}.png", "test/small/{rain,norain}/norain-1.png"
    )
    assert pairs("rain200h", root) == {
        "test/1": ("test/small/rain/norain-1.png", "test/small/norain/norain-1.png"),
        "train/1": ("train/small/rain/norain-1.png", "train/small/norain/norain-1.png"),
        "train/10": ("train/small/rain/norain-10.png", "train/small/norain/norain-10.png"),
    }
    assert scenes("rain200h", root) == {"test/1": "test/1", "train/1": "train/1", "train/10": "train/10"}
    report, rows = take("rain200h", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 2, "test": 1}
    assert report.expected == ("train: 2 pairs, published 1800", "test: 1 pairs, published 200")
    row = rows["rain200h/train/10"]
    assert (row["streak"], row["drop"], row["night"], row["real"], row["scene"]) == (
        True,
        False,
        False,
        False,
        "rain200h/train/10",
    )


def test_authors_archives_with_scale_suffix(tmp_path):
    root = files(tmp_path / "Rain100H", "rain/X2/norain-{001,2}x2.png", "norain/norain-{001,2}.png")
    assert pairs("rain100h", root) == {
        "test/001": ("rain/X2/norain-001x2.png", "norain/norain-001.png"),
        "test/2": ("rain/X2/norain-2x2.png", "norain/norain-2.png"),
    }


def test_one_folder_for_both_sides(tmp_path):
    # RainTrainH has holes; RainTrainL holds streak and region maps beside the pairs
    root = files(tmp_path / "RainTrainH", "{rain,norain}-{1,3}.png", "rainstreak-1.png", "rainregion-1.png")
    assert pairs("rain100h", root) == {
        "train/1": ("rain-1.png", "norain-1.png"),
        "train/3": ("rain-3.png", "norain-3.png"),
    }
    assert rejects("rain100h", root) == {}
    assert pairs("rain100h", files(tmp_path / "all", "RainTrainH/{rain,norain}-5.png")) == {
        "train/5": ("RainTrainH/rain-5.png", "RainTrainH/norain-5.png")
    }


def test_rainy_files_one_folder_below_the_clean_ones(tmp_path):
    root = files(tmp_path / "sets", "Rain100H/rainy/rain-{001,002}.png", "Rain100H/norain-{001,002}.png")
    expected = {"test/001", "test/002"}
    assert set(pairs("rain100h", root)) == set(pairs("rain100h", root / "Rain100H")) == expected
    assert pairs("rain100h", root / "Rain100H")["test/001"] == ("rainy/rain-001.png", "norain-001.png")


def test_a_rain_folder_that_holds_both_sides(tmp_path):
    root = files(tmp_path / "Rain100L", "rain/{rain,norain}-1.png")
    assert pairs("rain100l", root) == {"test/1": ("rain/rain-1.png", "rain/norain-1.png")}


@pytest.mark.parametrize(
    ("source", "paths", "stems"),
    [
        ("rain200l", ["Rain200L/{train,test}/{input,target}/{1,2}.png"], {"train/1", "train/2", "test/1", "test/2"}),
        (
            "rain200h",
            ["test/Rain200H/{input,target}/1.png", "train/Rain200H/{input,target}/7.png"],
            {"test/1", "train/7"},
        ),
        ("rain200h", ["test/Rain200H/{input,targets}/1.png"], {"test/1"}),
        ("rain100l", ["test/Rain100L/{input,target}/{1,100}.png"], {"test/1", "test/100"}),
        ("rain100h", ["R100H/{inputcrop,cleancrop}/4.png"], {"test/4"}),
    ],
)
def test_input_and_target_folders(tmp_path, source, paths, stems):
    assert set(pairs(source, files(tmp_path / "sets", *paths))) == stems


def test_a_bare_folder_has_the_split_that_circulates_in_that_form(tmp_path):
    assert set(pairs("rain100l", files(tmp_path / "Rain100L", "{input,target}/1.png"))) == {"test/1"}
    assert set(pairs("rain200l", files(tmp_path / "Rain200L", "{input,target}/1.png"))) == {"train/1"}


def test_keys_are_the_same_from_every_root(tmp_path):
    files(
        tmp_path / "Rain13K", "test/{Rain100L,Rain100H}/{input,target}/{1,2}.png", "train/Rain13K/{input,target}/1.png"
    )
    roots = [tmp_path / "Rain13K", tmp_path / "Rain13K/test", tmp_path / "Rain13K/test/Rain100L"]
    for i, root in enumerate(roots):
        assert keys("rain100l", root, tmp_path / f"out{i}") == ["test/1", "test/2"]


def test_folders_of_other_releases_are_passed_over(tmp_path):
    root = files(tmp_path / "sets", "{Rain100L,Rain100H,Rain200L}/{input,target}/1.png")
    f = found("rain100l", root)
    assert [p.lq for p in f.pairs] == ["Rain100L/input/1.png"]
    assert f.rejects == []
    assert len(f.passed) == 4
    with pytest.raises(LayoutError, match="Passed over as part of another set"):
        found("rain100l", root / "Rain200L")
    # its own name further down outweighs another's above it
    nested = files(tmp_path / "Rain200H and others", "Rain100L/{input,target}/1.png")
    assert len(found("rain100l", nested).pairs) == 1
