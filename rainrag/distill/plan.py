"""The plan of a distillation: which rows of which shards, and which scenes they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError
from rainrag.core.files import fingerprint, natural
from rainrag.core.jobs.stage import Shard
from rainrag.data import audit, dataset
from rainrag.data.contamination import Ledger

COLUMNS = [
    "key", "source", "split", "scene", "subset", "weather", "night", "drop", "real", "licence", "fault",
    "lq_sha256", "gt_sha256", "gt_phash", "lq_phash", "lq_width", "lq_height",
]  # fmt: skip


@dataclass
class Plan:
    """Rows of the data sets, and the scenes they belong to.

    Attributes:
        rows: candidates by key: columns of the dataset, ``address`` (shard, row group) and ``group`` (joined scene).
        real: unlabelled photographs of rain, keys to rows.
        skipped: reason -> rows that are no candidates.
        barred: scene groups that must not be trained on, with the test scene that bars them.
    """

    rows: dict[str, dict[str, Any]]
    real: dict[str, dict[str, Any]]
    skipped: dict[str, int]
    barred: dict[str, str]

    def shards(self) -> list[Shard]:
        """Candidates by row group, in key order: one read of a row group serves all its rows."""
        groups: dict[tuple[str, int], list[str]] = {}
        for key, row in self.rows.items():
            groups.setdefault(row["address"], []).append(key)
        found = []
        for (path, group), keys in sorted(groups.items()):
            rows = tuple((k, self.rows[k]["lq_sha256"], self.rows[k]["night"], self.rows[k]["drop"]) for k in keys)
            found.append(
                Shard(fingerprint([Path(path).name, group, [r[:2] for r in rows]]), ((path, group), *rows), len(rows))
            )
        return found


def plan(data: Sequence[Path], ledger: Ledger) -> Plan:
    """Read the metadata of datasets and join their scenes.

    Raises:
        InputError: when two datasets hold the same key, or there is no labelled pair.
    """
    rows: dict[str, dict[str, Any]] = {}
    real: dict[str, dict[str, Any]] = {}
    skipped: dict[str, int] = {}
    for root in data:
        for path in dataset.shards(root):
            for group, found in dataset.groups(path, COLUMNS):
                for row in found:
                    row["address"] = (str(path), group)
                    if row["key"] in rows or row["key"] in real:
                        raise InputError(f"two rows have the key {row['key']}", where=root, hint="name each set once")
                    if row["gt_sha256"] is None:
                        real[row["key"]] = row
                    elif row["subset"] is None:
                        skipped["no subset"] = skipped.get("no subset", 0) + 1
                    else:
                        rows[row["key"]] = row
    if not rows:
        raise InputError("no labelled pairs of one of the four types in the data", where=", ".join(map(str, data)))
    ordered = {k: rows[k] for k in sorted(rows, key=natural)}
    _join_scenes(ordered)
    return Plan(ordered, real, skipped, _barred(ordered, ledger))


def _join_scenes(rows: Mapping[str, dict[str, Any]]) -> None:
    """Give every row its group: scenes whose clean sides show the same picture are one, across sets.

    One row stands for its scene, so the comparison is of scenes, not of pairs.
    """
    first: dict[str, str] = {}
    for key, row in rows.items():
        first.setdefault(row["scene"], key)
    scenes = sorted(first, key=natural)
    items = [
        audit.Item(
            rows[first[s]]["key"], None, None, rows[first[s]]["gt_sha256"], rows[first[s]]["gt_phash"], "", False
        )
        for s in scenes
    ]
    links = [(i, j) for i, j, _ in audit.near_pairs(items)]
    name = dict(zip(scenes, scenes, strict=True))
    for members in audit.groups(len(scenes), links):
        for i in members:
            name[scenes[i]] = scenes[members[0]]
    for row in rows.values():
        row["group"] = name[row["scene"]]


def _barred(rows: Mapping[str, dict[str, Any]], ledger: Ledger) -> dict[str, str]:
    """Groups that hold a scene of a known test set: the ledger's, or a test or validation part of the data."""
    barred: dict[str, str] = {}
    for key, row in rows.items():
        if row["split"] != "train":
            barred.setdefault(row["group"], key)
    seen: set[str] = set()
    for row in rows.values():
        if row["gt_phash"] in seen:
            continue
        seen.add(row["gt_phash"])
        hit = ledger.find(row["gt_phash"])
        if hit:
            barred.setdefault(row["group"], hit.key)
    return barred
