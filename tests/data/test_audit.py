"""The audit finds what was planted, and what is known of the real sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core import images, workspace
from rainrag.core.errors import IntegrityError, UsageError
from rainrag.core.jobs import create
from rainrag.core.types import Subset
from rainrag.data import audit, contamination
from rainrag.data.synthetic import render
from tests.conftest import picture, rainy

run = CliRunner()


def call(*args: object) -> dict:
    done = run.invoke(app, ["audit", *map(str, args), "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def put(path: Path, rgb: images.U8, jpeg: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_jpeg(rgb, 60) if jpeg else images.encode_png(rgb))


def big(seed: int) -> images.U8:
    return images.resize(picture(seed, 60, 40), (240, 160), "bicubic")


def test_photographs(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(4):
        put(root / f"{i}.png", big(i))
    put(root / "copy.jpg", big(2)[:-1, :-1], jpeg=True)
    (root / "bad.png").write_bytes(b"")
    report = call(root)
    assert report["duplicates"] == [["photos/2", "photos/copy"]]
    assert report["undecodable"] == [{"key": "photos/bad", "reason": "empty", "detail": "the file has no bytes"}]
    assert report["images"] == 5
    assert not report["clean"]


def test_pairs_are_compared_on_their_clean_side(tmp_path: Path) -> None:
    """The same scene under different rain: hashing rainy files would find nothing."""
    root = tmp_path / "set"
    for i in range(4):
        clean = big(0 if i == 3 else i)
        put(root / "input" / f"{i}.png", rainy(clean, i))
        put(root / "target" / f"{i}.png", clean)
    report = call(root, "--no-gate")
    assert report["duplicates"] == [["set/0", "set/3"]]


def test_leaks_between_train_test_and_against(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 2)):
        for i in range(first, first + 3):
            put(tmp_path / "set" / split / "input" / f"{i}.png", rainy(big(i), i))
            put(tmp_path / "set" / split / "target" / f"{i}.png", big(i))
    put(tmp_path / "other" / "x.jpg", big(1), jpeg=True)
    report = call(tmp_path / "set", "--against", tmp_path / "other", "--no-gate")
    got = {(x["key"], x["against"], x["kind"]) for x in report["leaks"]}
    assert got == {("set/train/2", "set/test/2", "exact"), ("set/train/1", "other/x", "near")}
    assert all(0 <= x["distance"] <= images.NEAR_BITS for x in report["leaks"])


def test_the_ledger_knows_test_scenes_without_pixels(tmp_path: Path) -> None:
    put(tmp_path / "bench" / "a.png", big(8))
    call(tmp_path / "bench", "--ledger", workspace.place("ledger.jsonl"))
    put(tmp_path / "mine" / "b.jpg", big(8)[1:, 1:], jpeg=True)
    put(tmp_path / "mine" / "c.png", big(9))
    report = call(tmp_path / "mine")
    assert [(x["key"], x["against"], x["kind"]) for x in report["leaks"]] == [("mine/b", "bench/a", "ledger")]
    rows = contamination.read(workspace.place("ledger.jsonl"))
    assert [r["key"] for r in rows] == ["bench/a"]
    assert all(len(r["phash"]) == 64 for r in rows)


def test_unsound_pairs_have_their_reasons(tmp_path: Path) -> None:
    """Sizes, identical and swapped sides, shifted and foreign targets, in a plain folder of pairs."""
    root = tmp_path / "set"
    for i, name in enumerate(("good", "size", "identical", "swapped", "shifted", "foreign", "cut")):
        clean = big(i)
        lq, gt = rainy(clean, i), clean
        if name == "size":
            gt = clean[:-7]
        elif name == "identical":
            lq = clean
        elif name == "swapped":
            rain = render(clean, Subset.DRS, np.random.default_rng(i), 0.4)
            lq, gt = rain.gt, rain.lq
        elif name == "shifted":
            gt = np.roll(clean, (5, 6), (0, 1))
        elif name == "foreign":
            gt = big(90)
        put(root / "input" / f"{name}.png", lq)
        put(root / "target" / f"{name}.png", gt)
    whole = (root / "input" / "cut.png").read_bytes()
    (root / "input" / "cut.png").write_bytes(whole[:-2000])
    report = call(root)
    assert {x["key"].split("/")[-1]: x["reason"] for x in report["pairs"]} == {
        "size": "size-mismatch", "identical": "identical", "swapped": "swapped", "shifted": "misaligned",
        "foreign": "wrong-target",
    }  # fmt: skip
    assert [(x["key"], x["reason"]) for x in report["undecodable"]] == [("set/cut", "truncated")]


def test_one_photograph_stored_twice_is_no_pair(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-2, 3, big(0).shape)
    again = np.clip(big(0).astype(int) + noise, 0, 255).astype(np.uint8)
    put(tmp_path / "demo" / "twice.png", np.concatenate([big(0), again], axis=1))
    put(tmp_path / "demo" / "pair.png", np.concatenate([big(1), rainy(big(1))], axis=1))
    put(tmp_path / "demo" / "photo.png", big(2))
    put(tmp_path / "demo" / "flat.png", np.full((40, 80, 3), 90, np.uint8))
    report = call(tmp_path / "demo")
    assert [(x["key"], x["reason"]) for x in report["pairs"]] == [("demo/twice", "not-a-pair")]


def test_did_mdn_demo_holds_no_pairs(real_data: Path) -> None:
    report = call(real_data / "DID-MDN-demo" / "facades")
    assert [x["key"].split("/")[-2] for x in report["pairs"]] == ["github"] * 9
    assert {x["reason"] for x in report["pairs"]} == {"not-a-pair"}


def test_many_to_one_and_same_rainy_file_twice(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    from rainrag.data import ingest, sources

    items = [audit.Item(f"s/train/{i}", "train", f"scene{i // 3}", f"g{i // 3}", "", f"l{i}", True) for i in range(6)]
    assert audit.many_to_one(items) == {"scenes": 2, "with_several": 2, "most": 3, "mean": 3.0}
    assert audit.duplicates(items) == []
    twice = [*items, audit.Item("s/train/9", "train", "scene0", "g0", "", "l1", True)]
    assert audit.duplicates(twice) == [["s/train/1", "s/train/9"]]
    root = write_pairs(tmp_path / "in", 3)
    source = ingest.renamed(sources.get("folder"), "mine", streak=True, drop=False)
    ingest.ingest(source, root, tmp_path / "data", create("local", workers=1))
    report = call(tmp_path / "data", "--no-gate")
    assert report["images"] == 3


def test_frames_of_a_clip_are_one_scene() -> None:
    a = big(1)
    frames = [np.roll(a, 2 * i, axis=1) for i in range(4)] + [big(5)]
    items = [audit.Item(f"clip/{i}", None, None, str(i), images.phash(f), str(i), False) for i, f in enumerate(frames)]
    assert audit.clips(items) == [["clip/0", "clip/1", "clip/2", "clip/3"]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_groups_are_the_connected_parts(n: int, links: list[tuple[int, int]]) -> None:
    links = [(a % n, b % n) for a, b in links]
    got = audit.groups(n, links)
    seen = [i for g in got for i in g]
    assert len(seen) == len(set(seen))
    where = {i: k for k, g in enumerate(got) for i in g}
    assert all(a == b or where[a] == where[b] for a, b in links)
    linked = {i for a, b in links if a != b for i in (a, b)}
    assert set(seen) == linked


def test_report_has_pictures_and_no_outside_address(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    put(root / "1.png", big(1))
    put(root / "2.png", big(1))
    run.invoke(app, ["audit", str(root), "--html", str(tmp_path / "r.html")])
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page


def test_rain100l_has_nine_duplicate_targets(real_data: Path) -> None:
    report = call(real_data / "Rain100L", "--no-gate")
    got = {tuple(int(k.split("/")[-1]) for k in g) for g in report["duplicates"]}
    assert got == {(3, 4), (5, 14), (6, 25), (7, 36), (8, 47), (9, 58), (10, 69), (11, 80), (12, 91)}


def test_rainheavy_train_leaks_into_rain100l(real_data: Path) -> None:
    report = call(real_data / "RainHeavy-small", "--against", real_data / "Rain100L", "--no-gate")
    got = {
        (x["key"].split("/", 1)[1], x["against"].split("/")[-1])
        for x in report["leaks"]
        if x["against"].startswith("Rain100L")
    }
    assert got == {("train/small/norain-1", "1"), ("train/small/norain-10", "2")}


def test_rain100l_was_cut_from_bsds500(real_data: Path) -> None:
    report = call(real_data / "clean-more/BSDS500", "--against", real_data / "Rain100L")
    assert len({x["against"] for x in report["leaks"] if x["against"].startswith("Rain100L")}) == 100
    assert len({x["key"] for x in report["leaks"]}) == 91


def test_ntu_rain_is_one_scene(real_data: Path) -> None:
    assert [len(s) for s in call(real_data / "NTURain-sample")["scenes"]] == [20]


def test_real_pairs_pass_the_gate(real_data: Path) -> None:
    report = call(real_data / "Rain100L")
    assert len(report["pairs"]) <= 2, report["pairs"]


def test_fail_on_makes_an_exit_code_of_findings(tmp_path: Path) -> None:
    put(tmp_path / "set" / "a.png", big(1))
    put(tmp_path / "set" / "b.png", big(1))
    assert run.invoke(app, ["audit", str(tmp_path / "set"), "--workers", "1"]).exit_code == 0
    failed = run.invoke(app, ["audit", str(tmp_path / "set"), "--workers", "1", "--fail-on", "leaks,duplicates"])
    assert isinstance(failed.exception, IntegrityError)
    assert failed.exception.what == "found: 1 duplicates"
    assert run.invoke(app, ["audit", str(tmp_path / "set"), "--workers", "1", "--fail-on", "leaks"]).exit_code == 0
    unknown = run.invoke(app, ["audit", str(tmp_path / "gone"), "--fail-on", "leak"])
    assert isinstance(unknown.exception, UsageError)
    assert "leaks" in str(unknown.exception)


def test_pairs_are_told_by_any_mark_or_pattern_and_files_not_read_are_named(tmp_path: Path) -> None:
    for i in range(2):
        put(tmp_path / "set" / f"{i}_wet.png", rainy(big(i), i))
        put(tmp_path / "set" / f"{i}_dry.png", big(i))
    (tmp_path / "set" / "clip.mp4").write_bytes(b"x")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    done = run.invoke(app, ["audit", str(tmp_path / "set"), "--workers", "1", "--json"])
    assert done.stderr.splitlines()[0].endswith("names without the marks of their side (rain, norain, _gt …): 2 pairs")
    report = json.loads(done.stdout)
    assert report["images"] == 2
    assert {x["key"]: x["reason"] for x in report["unplaced"]} == {"clip.mp4": "not-read", "gone.png": "not-a-file"}
    assert call(tmp_path / "set", "--unlabelled")["images"] == 4
    for name in ("0_wet", "0_dry", "1_wet", "1_dry"):
        side, n = name.split("_")[::-1]
        (tmp_path / "set" / f"{name}.png").rename(tmp_path / "set" / f"{'q' if side == 'wet' else 'z'}{n}.png")
    assert call(tmp_path / "set", "--pattern", "q{}=z{}")["many_to_one"]["scenes"] == 2
