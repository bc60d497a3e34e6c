"""Ingest as a whole: what load_dataset gives, what is left out and why, resume and workers to the byte."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core import images
from rainrag.core.errors import InputError, IntegrityError, LayoutError
from rainrag.core.files import sha256_bytes, sha256_file
from rainrag.core.jobs import create
from rainrag.core.types import PairFiles, subset_of
from rainrag.data import dataset, ingest, sources
from tests.conftest import picture, rainy

run = CliRunner()


def own(root: Path, out: Path, workers: int = 1, **settings: object) -> ingest.IngestReport:
    flags = {"streak": True, "drop": False, "night": None}
    flags.update({k: settings.pop(k) for k in list(settings) if k in flags})
    source = ingest.renamed(sources.get("folder"), "mine", **flags)
    return ingest.ingest(source, root, out, create("local", workers=workers), **settings)


def tree_hashes(out: Path) -> dict[str, str]:
    """Every file of a dataset but the logs."""
    return {
        str(p.relative_to(out)): sha256_file(p)
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != "timings.log"
    }


def test_load_dataset_gives_the_bytes_that_went_in(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    from datasets import load_dataset

    write_pairs(tmp_path / "in" / "train", 3)
    write_pairs(tmp_path / "in" / "test", 2, first=10)
    out = tmp_path / "out"
    report = own(tmp_path / "in", out, night=False)
    assert report.counts["DRS"] == {"train": 3, "test": 2}
    loaded = load_dataset(str(out), "DRS", split="train")
    assert loaded["key"] == ["mine/train/0", "mine/train/1", "mine/train/2"]
    np.testing.assert_array_equal(np.asarray(loaded[1]["gt"]), picture(1))
    np.testing.assert_array_equal(np.asarray(loaded[1]["lq"]), rainy(picture(1), 1))
    assert [r["key"] for r in load_dataset(str(out), split="DRS", streaming=True)] == loaded["key"]
    assert load_dataset(str(out), "all", split="test").num_rows == 2
    assert set(load_dataset(str(out), "DRS")) == {"train", "test"}
    empty = load_dataset(str(out), "NRD", split="train", streaming=True)
    assert list(empty) == []
    assert set(empty.features) == set(dataset.columns())
    raw = next(dataset.read_rows(out, split="train"))
    assert raw["lq"]["bytes"] == (tmp_path / "in/train/input/0.png").read_bytes()
    assert raw["lq_sha256"] == sha256_bytes(raw["lq"]["bytes"])


def test_night_is_judged_from_pixels_where_nobody_says(tmp_path: Path) -> None:
    for i, level in enumerate((30, 160)):
        clean = np.clip(picture(i).astype(int) // 4 + level - 30, 0, 255).astype(np.uint8)
        for side, rgb in (("input", rainy(clean)), ("target", clean)):
            path = tmp_path / "in" / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    report = own(tmp_path / "in", tmp_path / "out")
    assert report.counts["NRS"]["train"] == 1
    assert report.counts["DRS"]["train"] == 1
    assert report.night_judged == 2
    assert "judged from mean luma" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        ((True, False, False), "DRS"), ((False, True, False), "DRD"), ((True, True, False), "DRD"),
        ((True, False, True), "NRS"), ((True, True, True), "NRD"), ((False, False, True), None),
        ((None, False, True), None), ((True, None, False), None), ((True, False, None), None),
    ],
)  # fmt: skip
def test_subset_follows_from_the_flags(flags: tuple[bool | None, ...], want: str | None) -> None:
    assert subset_of(*flags) == want


def test_all_that_is_bad_is_named_and_the_rest_goes_in(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 12)
    lq, gt = root / "input", root / "target"
    good = (lq / "0.png").read_bytes()
    (lq / "0.png").write_bytes(good[:-40])
    (lq / "1.png").write_bytes(b"")
    (gt / "2.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (lq / "3.png").write_bytes(images.encode_jpeg(rainy(picture(3), 3)))
    (gt / "4.png").unlink()
    (lq / "5.png").unlink()
    (lq / "6.png").write_bytes((gt / "6.png").read_bytes())
    (gt / "7.png").write_bytes(images.encode_png(picture(7)[:-1, :-1]))
    (lq / "8.PNG").write_bytes(good)
    (gt / "9.jpg").write_bytes((gt / "9.png").read_bytes())
    (gt / "9.png").rename(gt / "9.bmp")
    out = io.BytesIO()
    Image.fromarray(picture(10)).convert("CMYK").save(out, "JPEG")
    (gt / "10.png").write_bytes(out.getvalue())
    done = run.invoke(
        app, ["ingest", "folder", "--root", str(root), "--out", str(tmp_path / "out"), "--subset", "DRS", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    reasons = {r["key"].rsplit("/", 1)[-1].split(".")[0]: r["reason"] for r in report["rejects"]}
    assert reasons == {
        "0": "truncated", "1": "empty", "2": "lfs-pointer", "4": "missing-gt", "5": "missing-lq", "6": "identical",
        "7": "size-mismatch", "8": "case-clash", "9": "ambiguous-gt",
    }  # fmt: skip
    assert report["pairs"] == 3
    assert report["notes"]["lq extension:png is jpeg"] == 1
    assert report["notes"]["gt cmyk"] == 1
    assert set(reasons.values()) <= set(ingest.REASONS)
    card = (tmp_path / "out/README.md").read_text()
    assert "1 size-mismatch" in card


def test_nothing_usable_is_an_error_with_reasons(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 2)
    for path in (root / "input").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="2 empty"):
        own(root, tmp_path / "out")


def test_workers_and_repeats_give_the_same_bytes(
    tmp_path: Path, write_pairs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pairs(tmp_path / "in", 9)
    plan = ingest.shards_by_size
    monkeypatch.setattr(ingest, "shards_by_size", lambda *a, **k: plan(*a, **{**k, "most_rows": 2}))
    for name, workers in (("one", 1), ("two", 2), ("again", 1)):
        own(root, tmp_path / name, workers=workers)
    assert len(list((tmp_path / "one/data/DRS").glob("train-0*.parquet"))) >= 3
    assert tree_hashes(tmp_path / "one") == tree_hashes(tmp_path / "two") == tree_hashes(tmp_path / "again")


KILLED = """
import sys
from pathlib import Path
from rainrag.data import dataset, ingest, sources
from rainrag.core.jobs import create
plan = ingest.shards_by_size
ingest.shards_by_size = lambda *a, **k: plan(*a, **{**k, "most_rows": 1})
if sys.argv[3] != "0":
    import os, signal
    count = [0]
    def stop(inner):
        def wrapped(*a, **k):
            count[0] += 1
            if count[0] == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*a, **k)
        return wrapped
    os.replace = stop(os.replace)
source = ingest.renamed(sources.get("folder"), "mine", streak=True, drop=False)
ingest.ingest(source, Path(sys.argv[1]), Path(sys.argv[2]), create("local", workers=1))
"""


@pytest.mark.parametrize("at", [2, 5, 8, 14])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    tmp_path: Path, write_pairs: Callable[..., Path], at: int
) -> None:
    root = write_pairs(tmp_path / "in", 4)

    def call(out: str, kill: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(tmp_path / out), str(kill)], check=False
        ).returncode

    assert call("whole", 0) == 0
    assert call("killed", at) == -signal.SIGKILL
    assert call("killed", 0) == 0
    assert tree_hashes(tmp_path / "whole") == tree_hashes(tmp_path / "killed")
    assert not list((tmp_path / "killed").rglob("*.tmp"))


ORPHANS = """
import os, signal, sys, time
from pathlib import Path
from rainrag.data import ingest, sources
from rainrag.core.jobs import create
plan = ingest.shards_by_size
ingest.shards_by_size = lambda *a, **k: plan(*a, **{**k, "most_rows": 1})
def stop(shard, rows):
    import multiprocessing
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
source = ingest.renamed(sources.get("folder"), "mine", streak=True, drop=False)
ingest.ingest(source, Path(sys.argv[1]), Path(sys.argv[2]), create("local", workers=2), progress=stop)
"""


def test_workers_end_with_a_killed_parent_and_a_second_run_finishes(
    tmp_path: Path, write_pairs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pairs(tmp_path / "in", 6)
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(root), str(tmp_path / "killed")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    for _ in range(600):
        if not any(_alive(pid) for pid in workers):
            break
        time.sleep(0.1)
    else:
        pytest.fail("workers outlive their parent")
    plan = ingest.shards_by_size
    monkeypatch.setattr(ingest, "shards_by_size", lambda *a, **k: plan(*a, **{**k, "most_rows": 1}))
    own(root, tmp_path / "killed")
    own(root, tmp_path / "whole")
    assert tree_hashes(tmp_path / "whole") == tree_hashes(tmp_path / "killed")


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_finished_shards_are_not_done_again(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 3)
    own(root, tmp_path / "out")
    shard = next((tmp_path / "out/data").rglob("train-00000.parquet"))
    before = shard.stat().st_mtime_ns
    time.sleep(0.01)
    own(root, tmp_path / "out")
    assert shard.stat().st_mtime_ns == before


def test_other_settings_never_reuse_a_folder(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 3)
    own(root, tmp_path / "out", streak=True)
    with pytest.raises(IntegrityError, match="other settings") as e:
        own(root, tmp_path / "out", drop=True)
    assert "--overwrite" in (e.value.hint or "")
    (root / "input" / "7.png").write_bytes(b"")
    assert own(root, tmp_path / "out", drop=True, overwrite=True).counts["DRD"]["train"] >= 2


def test_link_keeps_paths_not_bytes(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    from datasets import load_dataset

    root = write_pairs(tmp_path / "in", 2)
    own(root, tmp_path / "out", link=True, night=False)
    row = next(dataset.read_rows(tmp_path / "out"))
    assert row["lq"] == {"bytes": None, "path": str((root / "input/0.png").resolve())}
    loaded = load_dataset(str(tmp_path / "out"), "DRS", split="train")
    np.testing.assert_array_equal(np.asarray(loaded[0]["gt"]), picture(0))


def test_what_is_loaded_is_what_is_there_not_what_was(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    """``datasets`` caches local folders by name and card: folders of one name, and one made again, must differ there."""
    from datasets import load_dataset

    for place, first in (("a", 0), ("b", 5)):
        root = write_pairs(tmp_path / place / "in", 2)
        (root / "target" / "0.png").write_bytes(images.encode_png(picture(first)))
        own(root, tmp_path / place / "out", night=False)
        loaded = load_dataset(str(tmp_path / place / "out"), "DRS", split="train")
        np.testing.assert_array_equal(np.asarray(loaded[0]["gt"]), picture(first))
    (root / "target" / "0.png").write_bytes(images.encode_png(picture(6)))
    own(root, tmp_path / "b" / "out", night=False, overwrite=True)
    loaded = load_dataset(str(tmp_path / "b" / "out"), "DRS", split="train")
    np.testing.assert_array_equal(np.asarray(loaded[0]["gt"]), picture(6))


def test_side_by_side_halves_become_lossless_png(tmp_path: Path) -> None:
    clean = picture(5)
    both = np.concatenate([clean, rainy(clean)], axis=1)
    (tmp_path / "x.png").write_bytes(images.encode_png(both))
    stage = ingest.Build(sources.get("folder"), str(tmp_path))
    made = stage.row(PairFiles("x", "x.png", "x.png", "train", "x", half="right"))
    assert isinstance(made, dict)
    np.testing.assert_array_equal(images.decode(made["lq"]["bytes"]).rgb, rainy(clean))
    np.testing.assert_array_equal(images.decode(made["gt"]["bytes"]).rgb, clean)
    assert made["parent_sha256"] == sha256_file(tmp_path / "x.png")
    odd = images.encode_png(both[:, :-1])
    (tmp_path / "y.png").write_bytes(odd)
    rejected = stage.row(PairFiles("y", "y.png", "y.png", "train", "y", half="right"))
    assert not isinstance(rejected, dict)
    assert rejected.reason == "side-by-side"


def test_limit_and_per_scene(tmp_path: Path) -> None:
    pairs = [PairFiles(f"{s}_{i}", "a", "b", split, s) for split in ("test", "train") for s in "ab" for i in range(10)]
    chosen = ingest.select(pairs, per_scene=3)
    assert [p.stem for p in chosen if p.split == "train" and p.scene == "a"] == ["a_0", "a_3", "a_6"]
    assert len(chosen) == 12
    assert [p.split for p in ingest.select(pairs, limit=5)] == ["train"] * 5
    assert {p.split for p in ingest.select(pairs, splits=["test"])} == {"test"}


def test_dry_run_writes_nothing(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 3)
    done = run.invoke(
        app, ["ingest", "folder", "--root", str(root), "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    )
    plan = json.loads(done.stdout)
    assert plan["pairs"] == plan["scenes"] == 3
    assert plan["bytes"] == sum(p.stat().st_size for p in root.rglob("*.png"))
    assert not (tmp_path / "out").exists()


def test_own_globs_pair_by_what_the_star_stands_for(tmp_path: Path) -> None:
    for i in (1, 2):
        for name, rgb in ((f"a/{i}_rain.png", rainy(picture(i))), (f"b/{i}_clean.png", picture(i))):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    (tmp_path / "in/a/3_rain.png").write_bytes(images.encode_png(picture(3)))
    done = run.invoke(
        app,
        ["ingest", "folder", "--root", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--lq-glob", "a/*_rain.png",
         "--gt-glob", "b/*_clean.png", "--name", "globbed", "--subset", "NRD", "--json"],
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["counts"]["NRD"]["train"] == 2
    assert [r["reason"] for r in report["rejects"]] == ["missing-gt"]
    assert [r["key"] for r in dataset.read_rows(tmp_path / "out", ["key"])] == ["globbed/train/1", "globbed/train/2"]


def ingest_own(root: Path, out: Path, *how: str) -> tuple[dict, list[str]]:
    """The report of an ingest of a folder, and what was said."""
    done = run.invoke(app, ["ingest", "folder", "--root", str(root), "--out", str(out), "--name", "m", *how, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr.splitlines()


@pytest.mark.parametrize(
    "names", [("wet/{}.png", "dry/{}.png"), ("{}_rainy.png", "{}_clean.png"), ("{}.png", "{}gt.png")]
)
def test_own_pairs_are_pairs_whatever_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    for i in (1, 2):
        for name, rgb in zip(names, (rainy(picture(i), i), picture(i)), strict=True):
            path = tmp_path / "in" / name.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    (tmp_path / "in" / "notes.txt").write_text("x")
    report, said = ingest_own(tmp_path / "in", tmp_path / "out", "--subset", "DRS")
    assert (report["pairs"], report["unlabelled"]) == (2, 0)
    assert said[0] == report["taken"]
    assert said[0].endswith(": 2 pairs")
    assert report["not_read"] == [{"name": "notes.txt", "reason": "text or table"}]
    assert [r["key"] for r in dataset.read_rows(tmp_path / "out", ["key"])] == ["m/train/1", "m/train/2"]


def test_photographs_are_asked_for_where_names_could_pair(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 2, lq="one", gt="two")
    done = run.invoke(app, ["ingest", "folder", "--root", str(root), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, LayoutError)
    assert "--pattern 'one/{}=two/{}'" in str(done.exception)
    assert not (tmp_path / "out").exists()
    report, said = ingest_own(root, tmp_path / "a", "--pattern", "one/{}=two/{}")
    assert (report["pairs"], report["unlabelled"]) == (2, 0)
    report, said = ingest_own(root, tmp_path / "b", "--unlabelled")
    assert (report["pairs"], report["unlabelled"]) == (4, 4)
    assert said[0] == "photographs without a clean side: 4 images without a clean side"
    plan = run.invoke(app, ["ingest", "folder", "--root", str(root), "--unlabelled", "--dry-run", "--json"])
    assert (json.loads(plan.stdout)["pairs"], json.loads(plan.stdout)["unlabelled"]) == (0, 4)


def test_two_links_to_one_folder_give_all_pairs(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    for part in ("heavy", "light"):
        write_pairs(tmp_path / "in" / part, 3, lq="input", gt="own")
        (tmp_path / "in" / part / "own").rename(tmp_path / "clean" if part == "heavy" else tmp_path / "unused")
        (tmp_path / "in" / part / "target").symlink_to(tmp_path / "clean")
    (tmp_path / "in" / "light" / "back").symlink_to(tmp_path / "in")
    report, _ = ingest_own(tmp_path / "in", tmp_path / "out", "--subset", "DRS")
    assert report["pairs"] == 6
    assert report["rejects"] == []


def test_names_that_are_no_text_are_ingested_under_printable_keys(tmp_path: Path) -> None:
    name = b"gbk-\xd3\xea.png"
    for side, rgb in (("input", rainy(picture(1))), ("target", picture(1))):
        (tmp_path / "in" / side).mkdir(parents=True)
        (Path(os.fsdecode(os.fsencode(tmp_path / "in" / side) + b"/" + name))).write_bytes(images.encode_png(rgb))
    report, _ = ingest_own(tmp_path / "in", tmp_path / "out", "--subset", "DRS")
    assert report["pairs"] == 1
    assert [r["key"] for r in dataset.read_rows(tmp_path / "out", ["key"])] == [r"m/train/gbk-\xd3\xea"]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rejects"] == []


def test_ledger_scenes_stay_out_of_training_parts(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    from rainrag.core import workspace
    from rainrag.data import contamination

    root = write_pairs(tmp_path / "in" / "train", 3)
    write_pairs(tmp_path / "in" / "test", 1, first=1)
    contamination.extend(workspace.place("ledger.jsonl"), [{"key": "other/test/9", "phash": images.phash(picture(1))}])
    report = own(tmp_path / "in", tmp_path / "out", night=False)
    assert report.counts["DRS"] == {"train": 2, "test": 1}
    assert [(r.key, r.reason) for r in report.rejects] == [("mine/train/1", "ledger")]
    kept = own(tmp_path / "in", tmp_path / "all", night=False, keep_ledger_scenes=True)
    assert kept.counts["DRS"]["train"] == 3
    assert root.exists()


def test_without_a_name_the_missing_sets_are_listed() -> None:
    done = run.invoke(app, ["ingest"])
    assert done.exit_code != 0
    assert "rainrag download" in str(done.exception)


def test_options_without_a_name_are_not_passed_over(tmp_path: Path) -> None:
    done = run.invoke(app, ["ingest", "--root", str(tmp_path), "--limit", "3"])
    assert done.exit_code != 0
    assert "--root, --limit without the name of a source" in str(done.exception)


def test_rendered_says_what_was_no_use_and_overwrite_renders_anew(tmp_path: Path) -> None:
    photos, raw = tmp_path / "photos", tmp_path / "raw"
    photos.mkdir()
    (photos / "good.png").write_bytes(
        images.encode_png(np.clip(picture(1, 360, 540) // 2 + 100, 0, 255).astype(np.uint8))
    )
    (photos / "bad.png").write_bytes(b"")

    def call(seed: int, *more: str) -> object:
        return run.invoke(
            app,
            ["ingest", "rendered", "--root", str(raw), "--out", str(tmp_path / "out"), "--scenes", "2", "--workers", "1",
             "--backgrounds", str(photos), "--seed", str(seed), *more],
        )  # fmt: skip

    first = call(0)
    assert first.exit_code == 0, first.output
    assert "bad.png: empty" in first.output
    assert "2 scenes asked for, 1 photographs could be used" in first.output
    before = next(dataset.read_rows(tmp_path / "out"))["lq_sha256"]
    (raw / "note.txt").write_text("mine")
    assert isinstance(call(1).exception, IntegrityError)
    again = call(1, "--overwrite")
    assert again.exit_code == 0, again.output
    assert next(dataset.read_rows(tmp_path / "out"))["lq_sha256"] != before
    assert (raw / "note.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_unreadable_folders_are_reported(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "in", 2)
    locked = root / "locked"
    locked.mkdir(mode=0)
    try:
        report = own(root, tmp_path / "out")
    finally:
        locked.chmod(0o755)
    assert [(r.key, r.reason) for r in report.rejects] == [("locked", "unreadable-folder")]
