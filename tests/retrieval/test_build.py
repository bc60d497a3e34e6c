"""Filling a store: what becomes a reference and what does not, adding, resuming, keys, one writer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rainrag.core import images
from rainrag.core.errors import InputError, IntegrityError, MissingError, RainRAGError
from rainrag.core.files import lock
from rainrag.retrieval import build as stock
from rainrag.retrieval.encoders import graphic
from rainrag.retrieval.store import Store
from tests.conftest import picture
from tests.retrieval.stores import Here, PlainTriplets, photographs


def build(data: list[Path], where: Path, **how: object) -> Store:
    engine = how.pop("engine", Here())
    triplets = how.pop("triplets", PlainTriplets())
    return stock.build(data, where, triplets, engine, **how)  # type: ignore[arg-type]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Everything that has to be equal after a resume: all files but logs and Chroma's."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "chroma" not in p.parts and p.name not in ("timings.log", ".lock")
    }


def test_each_photograph_has_its_reason(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 4)
    (root / "copy.jpg").write_bytes(images.encode_jpeg(picture(1, 128, 96), 85))  # of 1.png
    (root / "half.png").write_bytes((root / "2.png").read_bytes()[:200])
    (root / "small.png").write_bytes(images.encode_png(picture(9, 128, 95)))
    (root / "empty.jpg").write_bytes(b"")
    tint = np.arange(128, dtype=np.uint8)[None, :, None] * np.array([0.2, 0.5, 1.0])
    stripes = np.where(np.arange(128)[None, :, None] // 9 % 2, tint, tint * 0.3) * np.ones((96, 1, 1))
    (root / "tint.png").write_bytes(images.encode_png(stripes.astype(np.uint8)))
    (root / "notes.txt").write_text("no photograph")
    store = build([root], tmp_path / "store")
    assert store.keys == [f"rain/{i}" for i in range(4)]
    left = {x["key"]: x["reason"] for x in store.manifest["left_out"]}
    assert left == {
        "rain/copy": "near-duplicate", "rain/half": "truncated", "rain/small": "too-small", "rain/empty": "empty",
        "rain/tint": "graphic",
    }  # fmt: skip
    assert next(x for x in store.manifest["left_out"] if x["key"] == "rain/copy")["detail"] == "of rain/1"
    assert store.verify() == []


def test_rows_hold_the_triplet_and_the_photographs_own_bytes(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    big = picture(5, 1500, 900)
    (root / "big.png").write_bytes(images.encode_png(big))
    store = build([root], tmp_path / "store")
    rows = store.some(set(store.keys), ["image", "caption", "text", "structure", "width", "licence"])
    assert rows["rain/0"]["image"]["bytes"] == (root / "0.png").read_bytes()
    shown = images.decode(rows["rain/big"]["image"]["bytes"]).rgb
    assert shown.shape == (614, 1024, 3)  # large ones are shrunk
    assert images.psnr8(shown, images.fit(big, 1024)) > 30
    refs = store.references()
    made = PlainTriplets()([picture(1, 128, 96)])[0]
    assert np.array_equal(refs.texts[1], made.text)
    assert np.array_equal(refs.structures[1], made.structure)
    assert np.allclose(refs.features[1], made.feature / np.linalg.norm(made.feature), atol=1e-6)
    assert np.array_equal(store.signals()["nature"][1], made.signals["nature"])
    assert rows["rain/1"]["caption"] == made.caption


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_killed_build_goes_on_and_ends_byte_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    monkeypatch.setattr(stock, "PART", 3)
    root = photographs(tmp_path / "rain", 8)
    build([root], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build([root], tmp_path / "killed", engine=Here(killed_after))
    again = Here()
    build([root], tmp_path / "killed", engine=again)
    assert len(again.ran) == 3 - killed_after  # finished shards are not measured twice
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_building_again_measures_what_changed_and_forgets_what_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "PART", 2)
    root = photographs(tmp_path / "rain", 4)
    first = build([root], tmp_path / "store")
    engine = Here()
    assert build([root], tmp_path / "store", engine=engine).fingerprint == first.fingerprint
    assert engine.ran == []
    (root / "3.png").write_bytes(images.encode_png(picture(77, 128, 96)))  # same size, other content
    store = build([root], tmp_path / "store", engine=(engine := Here()))
    assert len(engine.ran) == 1
    assert store.fingerprint != first.fingerprint
    assert np.array_equal(store.references().texts[3], PlainTriplets()([picture(77, 128, 96)])[0].text)
    (root / "2.png").unlink()
    assert build([root], tmp_path / "store").keys == ["rain/0", "rain/1", "rain/3"]


def test_adding_passes_over_what_is_there(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 3)
    build([root], tmp_path / "store")
    photographs(root, 2, first=3)
    other = photographs(tmp_path / "more", 1, first=50)
    triplets = PlainTriplets()
    store = build([root, other / "50.png"], tmp_path / "store", add=True, triplets=triplets)
    assert len(triplets.seen) == 3  # 3, 4 and 50
    assert store.keys == ["more/50", *(f"rain/{i}" for i in range(5))]
    assert store.verify() == []
    assert store.index().collection().count() == 6


def test_a_bad_photograph_of_an_earlier_build_is_still_told_after_adding(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    (root / "bad.png").write_bytes(b"")
    build([root], tmp_path / "store")
    store = build([photographs(tmp_path / "more", 1, first=9)], tmp_path / "store", add=True)
    assert [x["key"] for x in store.manifest["left_out"]] == ["rain/bad"]


def test_two_photographs_of_one_name_are_refused(tmp_path: Path) -> None:
    a, b = photographs(tmp_path / "a" / "rain", 1), photographs(tmp_path / "b" / "rain", 1, first=0)
    assert stock.photographs([a, b])  # the same photograph twice is one
    assert sum(s.size for s in stock.photographs([a, b])) == 1
    (b / "0.png").write_bytes(images.encode_png(picture(5, 128, 96)))
    with pytest.raises(InputError, match="'rain/0'"):
        build([a, b], tmp_path / "store")
    build([a], tmp_path / "store")
    with pytest.raises(InputError, match="'rain/0'"):
        build([b], tmp_path / "store", add=True)
    assert Store.open(tmp_path / "store").verify() == []


def test_vectors_of_two_encoders_are_never_mixed(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    store = build([root], tmp_path / "store")
    other = PlainTriplets("other")
    for add in (False, True):
        with pytest.raises(IntegrityError, match="captioner, encoder differ"):
            build([root], tmp_path / "store", triplets=other, add=add)
    with pytest.raises(IntegrityError):
        store.check(other.identity())
    again = build([root], tmp_path / "store", triplets=other, overwrite=True)
    assert again.manifest["identity"] == other.identity()
    assert again.fingerprint != store.fingerprint
    assert again.verify() == []


def test_overwriting_removes_nothing_of_the_users(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    build([root], tmp_path / "store")
    (tmp_path / "store" / "mine.txt").write_text("mine")
    build([root], tmp_path / "store", overwrite=True)
    assert (tmp_path / "store" / "mine.txt").read_text() == "mine"


def test_one_writer(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    store = build([root], tmp_path / "store")
    with lock(tmp_path / "store" / ".lock"):
        for write in (
            lambda: build([root], tmp_path / "store"),
            lambda: store.remove(["rain/0"]),
            store.rebuild,
        ):
            with pytest.raises(RainRAGError, match="another process is writing"):
                write()


def test_only_photographs_without_targets(tmp_path: Path, write_pairs: object) -> None:
    pairs = write_pairs(tmp_path / "pairs", 3)  # type: ignore[operator]
    with pytest.raises(InputError, match="these are pairs"):
        build([pairs], tmp_path / "store")
    with pytest.raises(MissingError):
        build([tmp_path / "nowhere"], tmp_path / "store")
    only_bad = tmp_path / "bad"
    only_bad.mkdir()
    (only_bad / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="'empty': 1"):
        build([only_bad], tmp_path / "store")


def test_a_dataset_gives_its_unlabelled_rows_of_real_rain(tmp_path: Path, write_pairs: object) -> None:
    from rainrag.core.jobs.local import Local
    from rainrag.data import ingest, sources

    photographs(tmp_path / "real" / "real_input", 3, first=1)
    ingest.ingest(sources.get("real-147"), tmp_path / "real", tmp_path / "datasets" / "real", Local(1))
    pairs = write_pairs(tmp_path / "pairs", 2)  # type: ignore[operator]
    ingest.ingest(sources.get("folder"), pairs, tmp_path / "datasets" / "pairs", Local(1))
    assert stock.datasets(tmp_path / "datasets") == [tmp_path / "datasets" / "real"]
    assert stock.datasets(tmp_path / "nowhere") == []
    store = build([tmp_path / "datasets" / "real"], tmp_path / "store")
    assert len(store.keys) == 3
    got = store.some({store.keys[0]}, ["image"])[store.keys[0]]["image"]["bytes"]
    assert got == (tmp_path / "real" / "real_input" / "1.png").read_bytes()
    with pytest.raises(InputError, match="no unlabelled"):
        build([tmp_path / "datasets" / "pairs"], tmp_path / "store2")
    # a moved dataset is the same content: nothing is measured again
    shutil.move(tmp_path / "datasets" / "real", tmp_path / "moved")
    engine = Here()
    build([tmp_path / "moved"], tmp_path / "store", engine=engine)
    assert engine.ran == []


# ---------------------------------------------------------------- graphics
def test_graphics_and_photographs_by_their_colours() -> None:
    photo = picture(3, 160, 120)
    grey = np.repeat(images.luma(photo).astype(np.uint8)[..., None], 3, axis=2)
    tinted = np.clip(grey * np.array([0.3, 0.6, 1.0]), 0, 255).astype(np.uint8)
    assert not graphic.measure(photo).graphic
    assert graphic.measure(grey).colour is None  # a black-and-white photograph has none to judge by
    assert not graphic.measure(grey).graphic
    assert graphic.measure(tinted).graphic
    noise = np.random.default_rng(0).normal(128, 30, (120, 160, 1)).repeat(3, axis=2)
    texture = np.clip(noise + np.linspace(-40, 40, 160)[None, :, None], 0, 255).astype(np.uint8)
    assert graphic.measure(texture).layout < graphic.ALIKE  # the slope across it is no layout
    assert graphic.measure(texture).graphic


def test_on_real_photographs(real_data: Path) -> None:
    """Hand labels: tinted graphics and textures are out, black-and-white street photographs are not."""

    def signs(name: str) -> graphic.Signs:
        return graphic.measure(images.read(real_data / name).rgb)

    for n in (124, 144):
        assert signs(f"Real-147/real_input/{n}.jpg").graphic
    for n in (7, 13, 37, 88, 5, 20):
        assert not signs(f"Real-147/real_input/{n}.jpg").graphic
