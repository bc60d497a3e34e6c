"""Whole distillations in the small world: what comes out, what is reused, what is refused, what is paid."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rainrag.core.errors import InputError, IntegrityError, MissingError, UsageError
from rainrag.core.files import read_json
from rainrag.core.parquet import read_table
from rainrag.distill import pipeline
from rainrag.retrieval.search import Sizes
from rainrag.voters import voting
from tests.distill.light import PAID, contents


def verdicts(out: Path) -> dict[str, dict[str, Any]]:
    return {r["key"]: r for r in read_table(out / "verdicts/train-00000.parquet")}


def ballots(out: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for b in read_table(out / "ballots/train-00000.parquet"):
        found.setdefault(b["key"], []).append(b)
    return found


def bill(path: Path) -> Counter[str]:
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


# ---------------------------------------------------------------- what comes out
def test_every_pair_is_somewhere_once_with_its_reason(request_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = pipeline.make(request_of(), out)
    found = verdicts(out)
    assert len(found) == summary.candidates == 33
    assert found["closed/train/5-0"]["reason"] == "gate:wrong-target"
    assert found["closed/train/3-1"]["reason"].startswith("gate:")
    rows = {
        p.parent.name + "/" + p.name.split("-")[0]: pq.read_table(p).to_pylist() for p in out.glob("data/*/*.parquet")
    }
    rejected = {r["key"]: r for r in rows["rejected/train"]}
    assert set(rejected) == {k for k, r in found.items() if not r["keep"]}
    assert all(r["tier"] == "rejected" and r["reason"] == found[k]["reason"] for k, r in rejected.items())
    used: Counter[str] = Counter(
        r["key"] for place, part in rows.items() if not place.startswith("rejected") for r in part
    )
    assert set(used.values()) == {1}
    assert set(used) == {k for k, r in found.items() if r["part"]}
    assert all(bool(r["part"]) != bool(r["unused"]) for r in found.values() if r["keep"])
    # the verdict is the majority of its ballots, and each ballot names what was compared
    for key, cast in ballots(out).items():
        assert found[key]["yes"] == sum(b["answer"] == "yes" for b in cast)
        assert found[key]["keep"] == (found[key]["yes"] >= 2)
        assert all(b["references"] == found[key]["references"] and len(b["references"]) == 3 for b in cast)
        assert found[key]["structural"] == sorted(found[key]["structural"], reverse=True)
    # no clean side of the test part is in a training part
    test = {r["group"] for r in found.values() if r["part"] == "test"}
    assert test.isdisjoint(r["group"] for r in found.values() if r["part"] == "train")
    assert {r["key"]: r["tier"] for r in read_table(out / "references/train-00000.parquet")}.popitem()[1] == "real"


def test_the_calibrated_panel_decides_where_every_voter_gives_p_values(request_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = pipeline.make(request_of("statistical", decide=None), out)
    cast = ballots(out)
    assert {len(b) for b in cast.values()} == {5}, "every ballot counts: none is skipped"
    assert summary.saved == 0
    for key, row in verdicts(out).items():
        if key in cast:
            assert row["keep"] == (row["p"] is not None and row["p"] > 0.2)
            assert row["reason"] == ("plausible" if row["keep"] else "implausible")
        else:
            assert row["p"] is None
    layer = {b["key"]: b["answer"] for part in cast.values() for b in part if b["voter"] == "layer"}
    assert set(layer.values()) <= {"yes", "no"}, "every pair has a clean side, so the layer voter never abstains"


def test_a_share_to_keep_is_kept_within_each_type(request_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline.make(request_of("statistical", decide=None, keep_share=0.25), out)
    found = verdicts(out)
    assert any(r["reason"] == "top-of-panel" for r in found.values())
    for subset in ("DRS", "NRS"):
        rows = [r for r in found.values() if r["subset"] == subset]
        judged = [r for r in rows if not r["reason"].startswith("gate:") and r["reason"] != "undecodable"]
        kept = [r for r in judged if r["keep"]]
        assert len(kept) == min(round(0.25 * len(rows)), len(judged))
        if kept:
            assert min(r["p"] for r in kept) >= max(r["p"] for r in judged if not r["keep"])


def test_four_configs_load_offline_and_as_a_stream(request_of: Any, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "out"
    summary = pipeline.make(request_of(), out)
    for subset in ("DRS", "NRS"):
        for split in ("train", "test"):
            n = summary.splits[subset][split]
            if n:
                assert load_dataset(str(out), subset, split=split).num_rows == n
    streamed = list(load_dataset(str(out), "DRS", split="train", streaming=True))
    assert len(streamed) == summary.splits["DRS"]["train"]
    assert streamed[0]["lq"].size == streamed[0]["gt"].size == (96, 72)
    assert {r["tier"] for r in streamed} == {"distilled"}
    for empty in ("DRD", "NRD"):  # empty, and load all the same
        assert list(load_dataset(str(out), empty, split="train", streaming=True)) == []
    rejected = load_dataset(str(out), "rejected", split="train")
    assert rejected.num_rows == summary.candidates - summary.kept
    assert None not in rejected["reason"]
    assert load_dataset(str(out), "ballots", split="train").num_rows == sum(summary.asked.values())
    assert load_dataset(str(out), "verdicts", split="train").num_rows == summary.candidates


# ---------------------------------------------------------------- stopping early, and paying once
def test_stopping_early_gives_the_same_verdicts_for_fewer_ballots(request_of: Any, tmp_path: Path) -> None:
    outs, summaries = [tmp_path / "early", tmp_path / "all"], []
    bills = [tmp_path / "bill-early", tmp_path / "bill-all"]
    for out, note, everyone in zip(outs, bills, (False, True), strict=True):
        request = request_of(PAID, all_voters=everyone, audit_share=0.0, options={"bill": str(note), "band": everyone})
        summaries.append(pipeline.make(request, out))
    early, full = (verdicts(o) for o in outs)
    assert {k: r["keep"] for k, r in early.items()} == {k: r["keep"] for k, r in full.items()}
    judged = len(ballots(outs[1]))
    assert bill(bills[1]).total() == 3 * judged
    assert summaries[1].saved == 0
    assert 0.1 < summaries[0].saved <= 1 / 3
    assert bill(bills[0]).total() == round(3 * judged * (1 - summaries[0].saved))


def test_the_audit_sample_is_judged_by_all(request_of: Any, tmp_path: Path) -> None:
    summary = pipeline.make(request_of(PAID, audit_share=0.5), tmp_path / "out")
    cast = ballots(tmp_path / "out")
    sample = {k for k in cast if voting.audited(k, 0.5)}
    assert 0 < len(sample) < len(cast)
    assert all(len(cast[k]) == 3 for k in sample)
    assert summary.agreement["items"] == len(sample), "pairs that all judged by need would bias the agreement"


def test_ballots_are_paid_once_for_all_runs(request_of: Any, tmp_path: Path) -> None:
    note = tmp_path / "bill"
    options = {"bill": str(note)}
    pipeline.make(request_of(PAID, audit_share=0.0, options=options), tmp_path / "a")
    first = bill(note)
    assert set(first.values()) == {1}
    pipeline.make(request_of(PAID, audit_share=0.0, options=options), tmp_path / "b")
    assert bill(note) == first, "another folder, the same questions"
    pipeline.make(request_of(PAID, all_voters=True, options=options), tmp_path / "c")
    assert set(bill(note).values()) == {1}, "only the ballots that were skipped before"
    pipeline.make(request_of(PAID, audit_share=0.0, options={**options, "band": 1}), tmp_path / "d")
    assert all(bill(note)[k] == 2 for k in first), "another prompt"


def test_one_picture_under_two_names_is_paid_once(request_of: Any, tmp_path: Path) -> None:
    note = tmp_path / "bill"
    twins = tmp_path / "twins"
    from tests.distill.light import build_dataset

    for name in ("first", "second"):
        build_dataset(twins, name, train=3, first=40)
    request = request_of(PAID, all_voters=True, options={"bill": str(note)})
    request.data = [twins / "first", twins / "second"]
    pipeline.make(request, tmp_path / "out")
    assert bill(note).total() == 9
    assert len(ballots(tmp_path / "out")) == 6


# ---------------------------------------------------------------- reuse
def test_the_same_again_changes_nothing(request_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline.make(request_of(), out)
    before = contents(out)
    pipeline.make(request_of(), out)
    assert contents(out) == before
    pipeline.make(request_of(), tmp_path / "elsewhere")
    assert contents(tmp_path / "elsewhere") == before


CHANGES: list[dict[str, Any]] = [
    {"quorum": 3}, {"alpha": 0.4}, {"sizes": Sizes(10, 5, 2)}, {"all_voters": True}, {"per_scene": 1}, {"quota": 3},
    {"seed": 1}, {"ablate": "no-retrieval"}, {"ablate": "vlm-only"}, {"ablate": "no-generation"},
    {"voters": "descriptor"}, {"data": ("closed",)},
]  # fmt: skip


def test_changed_settings_never_reuse_what_was_made(request_of: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline.make(request_of(), out)
    before = contents(out)
    for change in CHANGES:
        with pytest.raises(IntegrityError, match="other"):
            pipeline.make(request_of(**change), out)
        assert contents(out) == before, change
    # --overwrite makes what a fresh folder would hold, and examines again only where that depends on the change
    for change in ({"quota": 3}, {"sizes": Sizes(10, 5, 2)}):
        log = next(out.glob(".rainrag/work/examined/*/.rainrag/examine/timings.log"))
        examined = log.stat().st_mtime_ns
        pipeline.make(request_of(**change), out, overwrite=True)
        pipeline.make(request_of(**change), tmp_path / str(len(change) + len(str(change))))
        assert contents(out) == contents(tmp_path / str(len(change) + len(str(change))))
        assert (log.exists() and log.stat().st_mtime_ns == examined) == ("quota" in change)


def test_ablations(request_of: Any, tmp_path: Path) -> None:
    full = pipeline.make(request_of(), tmp_path / "full")
    for name in ("vlm-only", "no-retrieval", "no-generation"):
        pipeline.make(request_of(ablate=name), tmp_path / name)
    assert all(not b["references"] for cast in ballots(tmp_path / "vlm-only").values() for b in cast)
    random, chosen = ballots(tmp_path / "no-retrieval"), ballots(tmp_path / "full")
    assert all(len(cast[0]["references"]) == 3 for cast in random.values())
    assert any(random[k][0]["references"] != chosen[k][0]["references"] for k in random)
    top = verdicts(tmp_path / "no-generation")
    assert sum(r["keep"] for r in top.values()) == full.kept, "as many as the full run keeps"
    drs = [r for r in top.values() if r["subset"] == "DRS" and r["retrieval"] is not None]
    assert min(r["retrieval"] for r in drs if r["keep"]) >= max(r["retrieval"] for r in drs if not r["keep"])


# ---------------------------------------------------------------- what is refused
def test_missing_things_are_listed_with_the_way_to_get_them(world: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError) as e:
        pipeline.make(pipeline.Request(), tmp_path / "out")
    assert "rainrag ingest" in e.value.what
    assert "rainrag store build" in e.value.what
    with pytest.raises(MissingError, match="no dataset at"):
        pipeline.make(pipeline.Request([tmp_path / "none"], str(world / "store")), tmp_path / "out")


def test_the_workspace_serves_where_nothing_is_named(world: Path, tmp_path: Path) -> None:
    from rainrag.core import workspace

    workspace.place("datasets").mkdir(parents=True)
    workspace.place("datasets", "free").symlink_to(world / "data" / "free")
    workspace.place("store").symlink_to(world / "store")
    summary = pipeline.make(pipeline.Request(engine="inline", alpha=0.2), tmp_path / "out")
    assert summary.candidates == 5


def test_refusals(request_of: Any, world: Path, tmp_path: Path) -> None:
    for bad in ({"quorum": 4}, {"ablate": "nothing"}, {"voters": "nobody"}, {"alpha": 1.0}):
        with pytest.raises(UsageError):
            pipeline.make(request_of(**bad), tmp_path / "out")
        assert not (tmp_path / "out").exists(), "a mistake leaves no mark"
    with pytest.raises(InputError, match="holds something else"):
        pipeline.make(request_of(), world / "data" / "free", overwrite=True)
    twice = request_of()
    twice.data *= 2
    with pytest.raises(InputError, match="two rows have the key"):
        pipeline.make(twice, tmp_path / "out")


def test_a_damaged_side_is_rejected_not_lost(request_of: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    from tests.distill.light import build_dataset

    data = build_dataset(tmp_path, "torn", train=3, first=40)
    shard = next(data.glob("data/DRS/train-0*.parquet"))
    table = pq.read_table(shard)
    sides = table.column("lq").to_pylist()
    sides[1]["bytes"] = sides[1]["bytes"][:60]
    at = table.schema.get_field_index("lq")
    pq.write_table(
        table.set_column(at, table.schema.field("lq"), pa.array(sides, table.schema.field("lq").type)), shard
    )
    request = request_of()
    request.data = [data]
    pipeline.make(request, tmp_path / "out")
    found = verdicts(tmp_path / "out")
    assert [r["reason"] for r in found.values()].count("undecodable") == 1
    assert found["torn/train/41-0"]["detail"]
    report = read_json(tmp_path / "out" / "summary.json")
    assert report["rejected"]["undecodable"] == 1
