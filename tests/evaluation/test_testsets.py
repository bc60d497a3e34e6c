"""Test sets: the table, identity by content, scenes by names and pixels, contamination."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rainrag.core import images, workspace
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.jobs import create
from rainrag.data import ingest, sources
from rainrag.evaluation import metrics, testsets
from rainrag.evaluation.run import NO_REFERENCE
from tests.conftest import picture, rainy


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sets from outside, but in tests that ask for them."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("RAINRAG_TESTDATA", raising=False)


def ingested(name: str, root: Path) -> Path:
    out = workspace.place("datasets", name)
    ingest.ingest(sources.get(name), root, out, create("local", workers=1))
    return out


@pytest.mark.parametrize("testset", testsets.TABLE.values(), ids=lambda t: t.name)
def test_every_entry_can_be_followed(testset: testsets.TestSet) -> None:
    if testset.source != "splits":
        source = sources.get(testset.source)
        assert testset.split in ("train", "test", "validation")
        assert not testset.subset or testset.subset in source.subsets
    for name in testset.kin:
        sources.get(name)
    for name in testset.protocols:
        assert name == "no-reference" or name in metrics.PRESETS
    assert testset.paired != ("no-reference" in testset.protocols)
    re.compile(testset.part)
    assert testsets.how(testset)


def test_the_issue_s_sets_are_there() -> None:
    wanted = [
        "rainrag-drs",
        "rainrag-drd",
        "rainrag-nrs",
        "rainrag-nrd",
        "realrain-1k-l",
        "realrain-1k-h",
        "rainds-real-rd",
        "rainds-real-rds",
        "weatherbench-rain",
        "weatherbench-dehaze",
        "weatherbench-derain",
        "weatherbench-desnow",
        "rain100l",
        "rain100h",
        "rain200l",
        "rain200h",
        "test100",
        "test1200",
        "test2800",
        "spa-data",
        "raindrop-a",
        "raindrop-b",
        "gtav-nightrain",
        "gt-rain",
        "lhp-rain",
    ]
    assert set(wanted) <= set(testsets.TABLE)
    assert any(not t.paired for t in testsets.TABLE.values())
    assert NO_REFERENCE


def test_one_content_is_one_set_wherever_it_lies(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Rain100L", 3)
    unpacked = testsets.open_set(f"rain100l={root}")
    dataset = testsets.open_set(f"rain100l={ingested('rain100l', root)}")
    assert [i.key for i in unpacked.items] == [i.key for i in dataset.items] == ["0", "1", "2"]
    assert unpacked.sha256 == dataset.sha256
    for a, b in zip(unpacked.items, dataset.items, strict=True):
        assert a.data() == b.data()
        assert (a.phash, a.scene == b.scene) == (b.phash, True)
    assert testsets.open_set("rain100l").sha256 == dataset.sha256  # from the workspace
    assert "rain100l" in testsets.at_hand()
    assert "rain100h" not in testsets.at_hand()


def test_another_pixel_is_another_set(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Rain100L", 3)
    before = testsets.open_set(f"rain100l={root}").sha256
    (root / "target" / "1.png").write_bytes(images.encode_png(255 - picture(1)))
    assert testsets.open_set(f"rain100l={root}").sha256 != before


def test_parts_and_subsets_are_kept_apart(tmp_path: Path) -> None:
    for kind in ("raindrop", "rainstreak", "rainstreak_raindrop"):
        for n in (1, 2):
            for place, rgb in ((kind, rainy(picture(n), 1)), ("gt", picture(n))):
                path = tmp_path / "RainDS_real" / "test_set" / place / f"{n}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(images.encode_png(rgb))
    both = testsets.open_set(f"rainds-real-rds={tmp_path / 'RainDS_real'}")
    drops = testsets.open_set(f"rainds-real-rd={tmp_path / 'RainDS_real'}")
    assert [i.key for i in both.items] == ["rainstreak_raindrop/1", "rainstreak_raindrop/2"]
    assert [i.key for i in drops.items] == ["raindrop/1", "raindrop/2"]
    assert "2 images, published 98" in both.notes


def test_scenes_are_joined_by_pixels(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Rain100L", 4)
    shutil.copy(root / "target" / "1.png", root / "target" / "3.png")
    scenes = [i.scene for i in testsets.open_set(f"rain100l={root}").items]
    assert scenes[1] == scenes[3]
    assert len(set(scenes)) == 3


def test_bad_images_are_left_out_by_key_with_a_reason(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Rain100L", 4)
    data = (root / "input" / "1.png").read_bytes()
    (root / "input" / "1.png").write_bytes(data[: len(data) // 2])
    (root / "target" / "2.png").write_bytes(images.encode_png(picture(2, 50, 32)))
    opened = testsets.open_set(f"rain100l={root}")
    assert [i.key for i in opened.items] == ["0", "3"]
    assert opened.skipped["1"].startswith("truncated")
    assert "sizes differ" in opened.skipped["2"]
    assert any(n.startswith("left out: 1 (truncated") for n in opened.notes)
    for side in ("input", "target"):
        (root / side / "0.png").write_bytes(b"")
        (root / side / "3.png").write_bytes(b"")
    with pytest.raises(InputError, match="not one image"):
        testsets.open_set(f"rain100l={root}")


def test_two_folders_of_anybody_s(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "My Set", 2, lq="a", gt="b")
    opened = testsets.open_set(f"folder:{root / 'a'},{root / 'b'}")
    assert (opened.name, len(opened.items), opened.testset.paired) == ("my-set", 2, True)
    alone = testsets.open_set(f"folder:{root / 'a'}")
    assert (alone.testset.paired, alone.items[0].gt, alone.testset.protocols) == (False, None, ("no-reference",))


def test_the_first_images_are_a_set_of_their_own(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Rain100L", 3)
    whole = testsets.open_set(f"rain100l={root}")
    part = testsets.open_set(f"rain100l={root}", limit=2)
    assert (part.name, len(part.items)) == ("rain100l-first2", 2)
    assert part.sha256 != whole.sha256
    assert whole.first(3) is whole


def test_what_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="rainrag download rain100h, then rainrag ingest rain100h"):
        testsets.open_set("rain100h")
    with pytest.raises(MissingError, match="rainrag distill"):
        testsets.open_set("own-drs")
    with pytest.raises(UsageError, match=r"did you mean .*rain100l"):
        testsets.open_set("rain100")


def test_seen_scenes(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    opened = testsets.open_set(f"rain100l={write_pairs(tmp_path / 'Rain100L', 4)}")
    n = len(opened.items)
    assert testsets.seen(opened, ()) == [False] * n  # learned nothing
    assert testsets.seen(opened, None) == [None] * n  # nobody says
    assert testsets.seen(opened, ("spa-data",)) == [None] * n  # not known to share scenes, nor known not to
    # Known leaks of the training part of Rain200L: keys 1 and 2.
    assert testsets.seen(opened, ("rain200l",)) == [None, True, True, None]
    # Every scene that was trained on is known: its neighbours by hash are seen, all others are not.
    hashes = [images.phash(picture(0)), images.phash(picture(77))]
    assert testsets.seen(opened, ("folder",), hashes) == [True, False, False, False]


def test_a_training_part_was_seen_by_what_trained_on_it(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "RainDrop"
    for n in range(2):
        for side, name, rgb in (("data", f"{n}_rain", rainy(picture(n))), ("gt", f"{n}_clean", picture(n))):
            path = root / "train" / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    opened = testsets.open_set(f"raindrop-sample={root}")
    assert testsets.seen(opened, ("raindrop",)) == [True, True]
    assert testsets.seen(opened, ("rain13k",)) == [None, None]


def test_real_sets_at_hand(real_data: Path) -> None:
    counts = {
        "rain100l": (100, 91), "rain200l-sample": (2, 2), "rain200h-sample": (5, 5), "hq-nightrain-sample": (4, 4),
        "raindrop-sample": (4, 4), "ddn-demo": (3, 3), "outdoor-rain-sample": (4, 4), "nitedr-roadscene": (40, 40),
    }  # fmt: skip
    assert set(counts) <= set(testsets.at_hand())
    for name, (n, scenes) in counts.items():
        opened = testsets.open_set(name)
        assert (len(opened.items), len({i.scene for i in opened.items}), opened.skipped) == (n, scenes, {}), name
