from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core import images, workspace
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.jobs import create
from rainrag.data import contamination
from rainrag.data.ingest import ingest, renamed
from rainrag.data.sources import get
from rainrag.training import cache, data, run
from rainrag.training.batches import Batches, Part, dihedral, grown, middle
from rainrag.training.recipe import Recipe
from tests.conftest import picture, rainy

TYPES = ("drs", "drd", "nrs", "nrd")


def folder(root: Path, scenes: int = 4, size: tuple[int, int] = (24, 20)) -> Path:
    for k, t in enumerate(TYPES):
        for i in range(scenes):
            clean = picture(100 * k + i, *size)
            for side, rgb in (("input", rainy(clean, i)), ("target", clean)):
                path = root / t / side / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(images.encode_png(rgb))
    return root


def item(key: str, kind: str = "DRS", scene: str = "", phash: str = "", source: str = "s") -> data.Item:
    return data.Item(key, kind, source, scene or key, phash, key)


# ---------------------------------------------------------------- collecting
def test_unirains_layout_and_a_dataset_give_the_same_pixels(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    ingest(get("unirain"), root, tmp_path / "data", create("local", workers=1))
    files, rows = data.collect([root]), data.collect([tmp_path / "data"])
    assert [i.type for i in files.items] == [i.type for i in rows.items] == sorted([t.upper() for t in TYPES] * 4)
    a, b = (cache.build(f.items)[0] for f in (files, rows))
    for i, j in zip(files.items, rows.items, strict=True):
        assert (a.pair(i.key) == b.pair(j.key)).all()
    clean = images.read(root / "nrd/target/2.png").rgb
    assert (a.pair("set/train/nrd/2")[1] == clean).all()


def test_rows_of_other_parts_are_hashed_not_trained_on(tmp_path: Path, write_pairs) -> None:
    write_pairs(tmp_path / "raw/train", 3)
    write_pairs(tmp_path / "raw/test", 2, first=7)
    source = renamed(get("rain200l"), "mine")
    ingest(source, tmp_path / "raw", tmp_path / "data", create("local", workers=1))
    found = data.collect([tmp_path / "data"])
    assert [i.key for i in found.items] == ["mine/train/0", "mine/train/1", "mine/train/2"]
    assert [t["key"] for t in found.tests] == ["mine/test/7", "mine/test/8"]


def test_a_folder_that_is_nothing_and_a_set_named_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        data.collect([tmp_path / "nowhere"])
    root = folder(tmp_path / "set", 1)
    with pytest.raises(InputError, match="two pairs have the key"):
        data.collect([root, root])


# ---------------------------------------------------------------- the cache
def test_bad_pairs_are_left_out_with_their_reason(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    (root / "drs/input/0.png").write_bytes(b"")
    whole = (root / "drs/target/1.png").read_bytes()
    (root / "drs/target/1.png").write_bytes(whole[: len(whole) // 2])
    (root / "drd/input/3.png").write_bytes(images.encode_png(picture(1, 10, 10)))
    pixels, items, bad = cache.build(data.collect([root]).items)
    assert {b.key: b.reason for b in bad} == {
        "set/train/drs/0": "empty", "set/train/drs/1": "truncated", "set/train/drd/3": "size-mismatch",
    }  # fmt: skip
    assert len(items) == 13
    assert set(pixels.places) == {i.key for i in items}


def test_a_cache_is_found_again_and_changed_data_get_another(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    first = cache.build(data.collect([root]).items)[0]
    stamp = {p: p.stat().st_mtime_ns for p in first.folder.glob("*.u8")}
    assert {p: p.stat().st_mtime_ns for p in cache.build(data.collect([root]).items)[0].folder.glob("*.u8")} == stamp
    (root / "drs/input/0.png").write_bytes(images.encode_png(picture(5, 24, 20)))
    assert cache.build(data.collect([root]).items)[0].folder != first.folder


def test_a_broken_off_cache_goes_on_and_is_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", 20)  # 80 pairs: two shards
    items = data.collect([root]).items
    pixels = cache.build(items)[0]
    want = {p.name: p.read_bytes() for p in pixels.folder.glob("*.u8")}
    assert len(want) == 2
    (pixels.folder / "00001.u8").unlink()
    (pixels.folder / ".rainrag/pixels/shard-00001.json").unlink()
    seen: list[int] = []
    cache.build(items, progress=seen.append)
    assert {p.name: p.read_bytes() for p in pixels.folder.glob("*.u8")} == want


def test_large_pictures_keep_a_window_of_both_sides(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", 1, (40, 30))
    items = data.collect([root]).items
    pixels = cache.build(items, window=16)[0]
    pair = pixels.pair("set/train/drs/0")
    assert pair.shape == (2, 16, 16, 3)
    clean = images.read(root / "drs/target/0.png").rgb
    windows = np.lib.stride_tricks.sliding_window_view(clean, (16, 16, 3)).reshape(-1, 16, 16, 3)
    at = [i for i, w in enumerate(windows) if (w == pair[1]).all()]
    rain = images.read(root / "drs/input/0.png").rgb
    same = np.lib.stride_tricks.sliding_window_view(rain, (16, 16, 3)).reshape(-1, 16, 16, 3)
    assert [(same[i] == pair[0]).all() for i in at] == [True]


def test_a_full_disk_is_said_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = data.collect([folder(tmp_path / "set", 1)]).items
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("U", (), {"free": 100})())
    with pytest.raises(MissingError, match="window"):
        cache.build(items)
    assert cache.size(items, None) == 4 * 24 * 20 * 6


# ---------------------------------------------------------------- division
def test_test_scenes_are_left_out_wherever_they_come_from(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    hashed = {t: images.phash(images.read(root / t / "target/0.png").rgb) for t in TYPES}
    contamination.extend(workspace.place("ledger.jsonl"), [{"key": "someset/test/1", "phash": hashed["drs"]}])
    # the same scene a second time, under another name and other rain
    clean = picture(0, 24, 20)
    (root / "nrs/input/9.png").write_bytes(images.encode_png(rainy(clean, 5)))
    (root / "nrs/target/9.png").write_bytes(images.encode_png(clean))
    _, items, _ = cache.build(data.collect([root]).items)
    tests = [{"key": "set/test/drd/0", "phash": hashed["drd"]}]
    made = data.divide(items, tests, pairs=2, share=0.5, seed=0)
    gone = {r.key: r.detail for r in made.rejects}
    assert gone == {
        "set/train/drs/0": "shows someset/test/1", "set/train/nrs/9": "shows someset/test/1",
        "set/train/drd/0": "shows set/test/drd/0",
    }  # fmt: skip
    used = {i.key for part in (made.train, made.probe) for items in part.values() for i in items}
    assert not used & set(gone)
    assert len(used) == 17 - 3


@settings(max_examples=60, deadline=None)
@given(
    scenes=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["DRS", "NRD", "haze"])), min_size=8, max_size=60),
    pairs=st.integers(1, 9),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 5),
)
def test_no_scene_is_in_training_and_probe(scenes, pairs, share, seed) -> None:
    items = [item(f"k{n}", kind, f"scene{s}") for n, (s, kind) in enumerate(scenes)]
    try:
        made = data.divide(items, [], pairs, share, seed)
    except InputError:
        return  # a type with one scene, or whose scenes were all held out for another type
    train = {i.scene for part in made.train.values() for i in part}
    probe = {i.scene for part in made.probe.values() for i in part}
    assert not train & probe
    assert made.types == tuple(t for t in ("DRS", "NRD", "haze") if t in {i.type for i in items})
    assert all(1 <= len(part) <= pairs for part in made.probe.values())
    assert data.divide(items, [], pairs, share, seed) == made


def test_a_type_of_one_scene_is_refused() -> None:
    items = [item("a", "DRS"), item("b", "DRS"), item("c", "NRS", "one"), item("d", "NRS", "one")]
    with pytest.raises(InputError, match="type NRS has too few scenes"):
        data.divide(items, [], 4, 0.1, 0)


# ---------------------------------------------------------------- batches
@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> run.Prepared:
    root = tmp_path_factory.mktemp("train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINRAG_HOME", str(root / "home"))
        return run.prepare([folder(root / "set", 5)], Recipe(patch=16, probe_pairs=2), None)


def test_a_batch_depends_on_its_step_alone(ready: run.Prepared) -> None:
    recipe = Recipe(patch=16, batch=8, steps=50)
    whole = Batches(ready.pixels, ready.division, recipe)
    some = [whole[s] for s in range(4)]
    late = Batches(ready.pixels, ready.division, recipe)[3]
    assert (late["lq"] == some[3]["lq"]).all()
    assert not (some[2]["lq"] == some[3]["lq"]).all()
    assert some[0]["counts"] == [2, 2, 2, 2]
    assert some[0]["lq"].shape == (8, 16, 16, 3)


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 2), (2, 2)])
def test_parts_make_up_the_same_batch(ready: run.Prepared, world: int, accumulate: int) -> None:
    recipe = Recipe(patch=16, batch=8, steps=50)
    whole = Batches(ready.pixels, ready.division, recipe)[5]["gt"]
    parts = [
        Batches(ready.pixels, ready.division, recipe, Part(rank, world, accumulate))[5 * accumulate + a]
        for rank in range(world)
        for a in range(accumulate)
    ]
    assert (whole == np.concatenate([p["gt"] for p in parts])).all()
    assert all(p["counts"] == [2, 2, 2, 2] for p in parts)


def test_types_take_turns_where_a_batch_is_too_small_for_all(ready: run.Prepared) -> None:
    batches = Batches(ready.pixels, ready.division, Recipe(patch=16, batch=3, steps=50))
    assert [batches.kinds(s) for s in range(4)] == [[0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3]]


def test_a_batch_that_cannot_be_divided_is_refused(ready: run.Prepared) -> None:
    with pytest.raises(UsageError, match="multiple of 3"):
        Batches(ready.pixels, ready.division, Recipe(patch=16, batch=8), Part(0, 3, 1))


@pytest.mark.parametrize(("turns", "modes"), [(True, {0, 1, 2, 3, 4, 5, 6, 7}), (False, {0, 1})])
def test_both_sides_are_cut_and_turned_alike(ready: run.Prepared, turns: bool, modes: set[int]) -> None:
    """Without turns crops are only mirrored left to right."""
    batches = Batches(ready.pixels, ready.division, Recipe(patch=16, batch=4, steps=50, turns=turns))
    seen = set()
    pairs = {i.key: ready.pixels.pair(i.key) for i in ready.division.train["DRS"]}
    for step in range(6 if turns else 12):
        lq, gt = batches.crop(0, step, 0)
        places = [
            (key, mode, y, x)
            for key, pair in pairs.items()
            for mode in range(8)
            for y in range(5)
            for x in range(9)
            if (dihedral(pair[1, y : y + 16, x : x + 16], mode) == gt).all()
        ]
        assert len(places) == 1
        key, mode, y, x = places[0]
        assert (dihedral(pairs[key][0, y : y + 16, x : x + 16], mode) == lq).all()
        seen.add(mode)
    assert seen <= modes
    assert len(seen) > 1


def test_the_eight_turns_are_distinct() -> None:
    square = np.arange(4 * 4 * 3).reshape(4, 4, 3)
    assert len({dihedral(square, m).tobytes() for m in range(8)}) == 8


def test_shares_hold_for_sources(ready: run.Prepared) -> None:
    items = [item(f"a{n}", source="big") for n in range(90)] + [item(f"b{n}", source="small") for n in range(10)]
    from rainrag.training.batches import Choice

    def share(shares: dict[str, float]) -> float:
        choice = Choice(items, shares)
        rng = np.random.default_rng(0)
        return sum(choice.draw(rng).startswith("b") for _ in range(4000)) / 4000

    assert share({}) == pytest.approx(0.1, abs=0.02)
    assert share({"small": 0.5}) == pytest.approx(0.5, abs=0.03)
    assert share({"small": 0.2, "big": 0.2}) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(UsageError, match="leave nothing"):
        Choice(items, {"small": 1.0})
    with pytest.raises(UsageError, match="a share for 'rain300'"):
        Batches(ready.pixels, ready.division, Recipe(shares={"rain300": 0.5}))


def test_small_pictures_are_mirrored_to_the_crop() -> None:
    pair = np.stack([picture(1, 10, 9), picture(2, 10, 9)])
    big = grown(pair, 16)
    assert big.shape == (2, 16, 16, 3)
    assert (big[:, :9, :10] == pair).all()
    assert (big[:, 9] == big[:, 7]).all()
    assert middle(pair, 4).tolist() == pair[:, 2:6, 3:7].tolist()
