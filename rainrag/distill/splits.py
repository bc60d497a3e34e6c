"""The RainRAG splits: kept pairs as a dataset of four subsets, with a lock that says what made them.

Train and test are scene-disjoint over all subsets; no scene of any known test set is in train. What is not used is
written down with its reason; rejected rows have a config of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rainrag.core import images
from rainrag.core.files import fingerprint, natural, sha256_bytes, sha256_file, write_json
from rainrag.core.jobs.stage import Engine, Job, Shard
from rainrag.core.parquet import read_table, write_table
from rainrag.core.types import Tier
from rainrag.data import dataset, pair_tone
from rainrag.distill.stages import DistillSettings, Outcome, Plan
from rainrag.distill.vote_stage import BALLOT_FORM, ballot_row
from rainrag.retrieval.store import Store

TITLE = "RainRAG splits"
LICENCE = "mixed, see the licence column"
TEST_PAIRS = 100
TEST_SHARE = 0.1  # of a subset's scenes, where the sources' test parts hold fewer pairs

#: Why a kept pair is in neither part.
UNUSED = {
    "known-test-scene": "the scene belongs to a known test set, so it is not trained on",
    "test-part": "of a source's test part, and the test part of the split is full",
    "test-scene": "the scene is in the test part of a split",
    "per-scene": "the scene has enough pairs already",
    "quota": "the subset has enough pairs already",
}

EXTRA = {"tier": "string", "reason": "string", "yes": "int32", "no": "int32", "abstain": "int32", "group": "string"}


@dataclass(frozen=True)
class Choice:
    """Which kept pairs go where.

    Args:
        train, test: subset -> keys in order.
        unused: kept pairs in neither part, with a reason of ``UNUSED``.
    """

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    unused: dict[str, str]


def _order(keys: Iterable[str], seed: int) -> list[str]:
    """Keys in a random order that depends on seed and keys alone."""
    return sorted(keys, key=lambda k: hashlib.sha256(f"{seed}:{k}".encode()).digest())


def _spread(keys: Sequence[str], group: Mapping[str, str], seed: int) -> list[str]:
    """Keys so that every scene comes once before any comes twice."""
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int, str]] = []
    for k in _order(keys, seed):
        turn = seen.get(group[k], 0)
        seen[group[k]] = turn + 1
        ranked.append((turn, len(ranked), k))
    return [k for _, _, k in sorted(ranked)]


def choose(planned: Plan, outcome: Outcome, settings: DistillSettings, test_pairs: int = TEST_PAIRS) -> Choice:
    """Divide kept pairs into train and test.

    Test: up to ``test_pairs`` a subset from the sources' test parts, spread over scenes; where these hold fewer,
    further scenes are set aside until a tenth of the subset's is. Train: the rest, without barred and test
    scenes, capped a scene (best margin, then retrieval, first) and a subset.
    """
    group = {k: r["group"] for k, r in planned.rows.items()}
    kept = {
        s: [k for k, r in planned.rows.items() if r["subset"] == s and outcome.verdicts[k].keep]
        for s in dataset.SUBSETS
    }
    test = {s: _test_of(planned, kept[s], group, settings.seed, test_pairs) for s in dataset.SUBSETS}
    aside = {group[k] for keys in test.values() for k in keys}
    unused: dict[str, str] = {}
    train: dict[str, list[str]] = {}
    for subset in dataset.SUBSETS:
        chosen = set(test[subset])
        free = []
        for k in kept[subset]:
            if k in chosen:
                continue
            if planned.rows[k]["split"] != "train":
                unused[k] = "test-part"
            elif group[k] in aside:
                unused[k] = "test-scene"
            elif group[k] in planned.barred:
                unused[k] = "known-test-scene"
            else:
                free.append(k)
        train[subset] = _capped(free, group, outcome, settings, unused)
    return Choice(train, {s: sorted(v, key=natural) for s, v in test.items()}, unused)


def _test_of(planned: Plan, kept: list[str], group: Mapping[str, str], seed: int, most: int) -> list[str]:
    own = [k for k in kept if planned.rows[k]["split"] != "train"]
    chosen = _spread(own, group, seed)[:most]
    if len(chosen) >= most:
        return chosen
    free = [k for k in kept if planned.rows[k]["split"] == "train" and group[k] not in planned.barred]
    scenes = _order({group[k] for k in free}, seed)
    all_scenes = {group[k] for k in kept}
    most_scenes = max(1, int(len(all_scenes) * TEST_SHARE)) if len(all_scenes) > 1 else 0
    for scene in scenes[: max(0, most_scenes - len({group[k] for k in chosen}))]:
        if len(chosen) >= most:
            break
        chosen += _order([k for k in free if group[k] == scene], seed)[: most - len(chosen)]
    return chosen


def _capped(
    keys: list[str], group: Mapping[str, str], outcome: Outcome, settings: DistillSettings, unused: dict[str, str]
) -> list[str]:
    if settings.per_scene:
        scenes: dict[str, list[str]] = {}
        for k in sorted(keys, key=lambda k: (-outcome.verdicts[k].margin, -outcome.retrieval.get(k, 0.0), natural(k))):
            scenes.setdefault(group[k], []).append(k)
        keys = [k for members in scenes.values() for k in members[: settings.per_scene]]
        unused.update({k: "per-scene" for members in scenes.values() for k in members[settings.per_scene :]})
    if settings.quota and len(keys) > settings.quota:
        ranked = _spread(keys, group, settings.seed)
        keys = ranked[: settings.quota]
        unused.update(dict.fromkeys(ranked[settings.quota :], "quota"))
    return sorted(keys, key=natural)


# ---------------------------------------------------------------- writing
@dataclass
class Collect:
    """The stage: rows gathered from the sources' shards into the splits' shards, bytes as they are.

    Only where the exposure of a clean side was corrected is it written anew, and the row says so.
    """

    name: str = "collect"
    version: int = 2

    def settings(self) -> dict[str, Any]:
        """Nothing but the rows, which are the job's input."""
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Write one shard."""
        import pyarrow.parquet as pq

        target, *wanted = shard.rows
        by_address: dict[tuple[str, int], set[str]] = {}
        for key, address, _ in wanted:
            by_address.setdefault(address, set()).add(key)
        found: dict[str, dict[str, Any]] = {}
        for (path, group), keys in sorted(by_address.items()):
            with dataset.undamaged(path):
                part = pq.ParquetFile(path).read_row_group(group, columns=list(dataset.columns()))
            at = [i for i, k in enumerate(part.column("key").to_pylist()) if k in keys]
            found.update({r["key"]: r for r in part.take(at).to_pylist()})
        dataset.write_rows(out / target, [_gathered(found[k], extra) for k, _, extra in wanted], EXTRA)
        return {"files": {target: sha256_file(out / target)}, "rows": len(wanted)}


def _gathered(row: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """A source's row with what was decided of it."""
    curve = extra.get("exposure")
    plain = {**row, **{k: v for k, v in extra.items() if k != "exposure"}}
    if not curve:
        return plain
    gt = images.decode(dataset.image_bytes(row["gt"]), row["key"]).rgb
    data = images.encode_png(pair_tone.expose(gt, *curve))
    note = f"exposure of the clean side corrected: scale {curve[0]:g}, gamma {curve[1]:g}"
    return {
        **plain,
        "gt": {"bytes": data, "path": str(PurePosixPath(row["gt"]["path"] or row["key"]).with_suffix(".png"))},
        "gt_sha256": sha256_bytes(data),
        "gt_format": "PNG",
        "notes": "; ".join(n for n in (row["notes"], note) if n),
    }


def _shards(
    planned: Plan, place: str, split: str, extras: Mapping[str, dict[str, Any]], keys: list[str]
) -> list[Shard]:
    """Shards of one place and split, cut by the pixels their rows hold."""
    rows = {**planned.rows, **planned.real}
    shards: list[Shard] = []
    part: list[Any] = []
    weight = 0
    for k in keys:
        size = 4 * rows[k]["lq_width"] * rows[k]["lq_height"]  # two sides of about two bytes a pixel
        if part and (weight + size > 128 << 20 or len(part) >= 512):
            shards.append(_shard(place, split, len(shards), part))
            part, weight = [], 0
        part.append((k, rows[k]["address"], extras[k]))
        weight += size
    if part:
        shards.append(_shard(place, split, len(shards), part))
    return shards


def _shard(place: str, split: str, number: int, part: list[Any]) -> Shard:
    target = dataset.shard_path(place, split, f"{number:05d}")
    return Shard(f"{place}-{split}-{number:05d}", (target, *part), len(part))


def _extras(planned: Plan, outcome: Outcome) -> dict[str, dict[str, Any]]:
    extras = {}
    for k, v in outcome.verdicts.items():
        yes, no, abstain = v.tally
        extras[k] = {
            "tier": v.tier.value, "reason": v.reason, "yes": yes, "no": no, "abstain": abstain,
            "group": planned.rows[k]["group"], "exposure": outcome.exposure.get(k),
        }  # fmt: skip
    for k, r in planned.real.items():
        extras[k] = {
            "tier": Tier.REAL.value,
            "reason": "",
            "yes": None,
            "no": None,
            "abstain": None,
            "group": r["scene"],
        }
    return extras


def write(
    out: Path,
    planned: Plan,
    outcome: Outcome,
    choice: Choice,
    lock: dict[str, Any],
    store: Store,
    engine: Engine,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the splits, rejected and real rows, ballots, verdicts, references, the card and the lock.

    Args:
        progress: called with the rows that are written, and first with -n for n rows in all.
    """
    extras = _extras(planned, outcome)
    shards: list[Shard] = []
    for subset in dataset.SUBSETS:
        for split, keys in (("train", choice.train[subset]), ("test", choice.test[subset])):
            shards += _shards(planned, subset, split, extras, keys)
    rejected = [k for k, v in outcome.verdicts.items() if not v.keep]
    shards += _shards(planned, "rejected", "train", extras, rejected)
    shards += _shards(planned, "real", "train", extras, sorted(planned.real, key=natural))
    if progress:
        progress(-sum(s.size for s in shards))
    Job(Collect(), out, fingerprint([[s.name, [r[0] for r in s.rows[1:]], s.rows[1][2]] for s in shards])).run(
        shards, engine, (lambda _, n: progress(n)) if progress else None
    )
    _tables(out, planned, outcome, choice)
    kept = store.rows(["sha256", "caption", "licence", "stratum"])
    write_table(out / "references" / "train-00000.parquet", [{**r, "tier": Tier.REAL.value} for r in kept], REFERENCES)
    dataset.fill_empty(out, EXTRA)
    write_json(out / "splits.lock", lock)
    dataset.write_card(out, TITLE, _card(planned, outcome, choice, lock), LICENCE, more(out))


VERDICTS = {
    "key": "string", "source": "string", "subset": "string", "keep": "bool", "reason": "string", "detail": "string",
    "yes": "int32", "no": "int32", "abstain": "int32", "margin": "int32", "p": "float64", "tier": "string", "part": "string",
    "unused": "string", "group": "string", "retrieval": "float64", "caption": "string", "references": "strings",
    "semantic": "floats", "visual": "floats", "structural": "floats", "fault": "string",
}  # fmt: skip


#: The real photographs that were judged against: no pixels, which are the store's.
REFERENCES = dict.fromkeys(("key", "sha256", "caption", "licence", "stratum", "tier"), "string")


def _tables(out: Path, planned: Plan, outcome: Outcome, choice: Choice) -> None:
    """Every ballot and every verdict, with the references they were judged against."""
    ballots = [ballot_row(b) for k in outcome.verdicts for b in outcome.ballots.get(k, []) if b.answer != "skipped"]
    write_table(out / "ballots" / "train-00000.parquet", ballots, BALLOT_FORM)
    part = {k: "train" for keys in choice.train.values() for k in keys}
    part |= {k: "test" for keys in choice.test.values() for k in keys}
    seen: dict[str, dict[str, Any]] = {}
    for path in sorted(outcome.examined.glob("*.parquet")):
        for r in read_table(path, ["key", "caption", "references", "semantic", "visual", "structural"]):
            seen[r["key"]] = r
    rows = []
    for k, v in outcome.verdicts.items():
        plain, (yes, no, abstain) = planned.rows[k], v.tally
        rows.append(
            {
                **seen[k], "source": plain["source"], "subset": plain["subset"], "keep": v.keep, "reason": v.reason,
                "detail": outcome.details.get(k, ""), "yes": yes, "no": no, "abstain": abstain, "margin": v.margin, "p": v.p,
                "tier": v.tier.value, "part": part.get(k), "unused": choice.unused.get(k), "group": plain["group"],
                "retrieval": outcome.retrieval.get(k), "fault": plain["fault"],
            }
        )  # fmt: skip
    write_table(out / "verdicts" / "train-00000.parquet", rows, VERDICTS)


def more(out: Path) -> list[dict[str, Any]]:
    """Further configs: rejected and real rows, ballots, verdicts, references."""
    found = []
    for name, pattern in (
        ("rejected", "data/rejected/train-*.parquet"),
        ("real", "data/real/train-*.parquet"),
        ("ballots", "ballots/*.parquet"),
        ("verdicts", "verdicts/*.parquet"),
        ("references", "references/*.parquet"),
    ):
        if any(out.glob(pattern)):
            found.append({"config_name": name, "data_files": [{"split": "train", "path": [pattern]}]})
    return found


# ---------------------------------------------------------------- card
def _card(planned: Plan, outcome: Outcome, choice: Choice, lock: dict[str, Any]) -> str:
    kept = lock["kept"]
    reasons: dict[str, int] = {}
    for v in outcome.verdicts.values():
        if not v.keep:
            reasons[v.reason] = reasons.get(v.reason, 0) + 1
    unused: dict[str, int] = {}
    for reason in choice.unused.values():
        unused[reason] = unused.get(reason, 0) + 1
    lines = [
        "Made by `rainrag distill` (RainRAG; after UniRain, CVPR 2026: retrieval-augmented judging of public deraining "
        "sets). `splits.lock` says what made it; `rainrag verify` rebuilds it and says what differs.",
        "",
        f"{lock['candidates']} labelled pairs were judged, {kept} kept. The test part went through the same filter "
        "as the training part, as in the paper: scores on it say nothing of pairs that were rejected.",
        "",
        f"Voters: {', '.join(v['name'] for v in lock['voters'])}.",
        "",
        "| source | pairs | licence |",
        "|---|---|---|",
        *(f"| {n} | {e['pairs']} | {e['licence']} |" for n, e in lock["sources"].items()),
        "",
        *(f"- {n} rejected: {r}" for r, n in sorted(reasons.items())),
        *(f"- {n} kept, not used: {r} ({UNUSED[r]})" for r, n in sorted(unused.items())),
        "",
        "Configs: `DRS`, `DRD`, `NRS`, `NRD`, `all`; `rejected` with reasons; `real`: the unlabelled photographs "
        "of the data; `ballots`: every ballot with its references; `verdicts`; `references`: the real photographs that "
        "were judged against. The licence of each image is its source's.",
    ]
    return "\n".join(lines)
