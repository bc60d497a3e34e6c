"""``splits.lock``: what made the splits, and what differs from it elsewhere or later."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rainrag.core.files import fingerprint
from rainrag.core.types import Voter
from rainrag.data import dataset, pair_checks
from rainrag.distill.splits import Choice
from rainrag.distill.stages import DistillSettings, Outcome, Plan
from rainrag.retrieval.store import Store

VERSION = 1


@dataclass
class Inputs:
    """What went into a distillation, for the lock."""

    store: Store
    voters: list[Voter]
    settings: DistillSettings
    specs: str = ""
    alpha: float = 0.05
    options: dict[str, Any] = field(default_factory=dict)


def lock_of(inputs: Inputs, planned: Plan, outcome: Outcome, choice: Choice) -> dict[str, Any]:
    """The content of ``splits.lock``: enough to say, elsewhere and later, what differs and why."""

    def line(k: str) -> list[str]:
        r = planned.rows[k]
        return [k, r["gt_phash"], r["lq_sha256"], r["gt_sha256"]]

    sources: dict[str, dict[str, Any]] = {}
    for r in planned.rows.values():
        entry = sources.setdefault(r["source"], {"pairs": 0, "licence": r["licence"], "content": []})
        entry["pairs"] += 1
        entry["content"].append(r["lq_sha256"] + r["gt_sha256"])
    for entry in sources.values():
        entry["content"] = fingerprint(sorted(entry["content"]))
    return {
        "version": VERSION,
        "settings": asdict(inputs.settings),
        "voters": [{"name": v.name, "revision": v.revision, "prompt": v.prompt} for v in inputs.voters],
        "specs": inputs.specs,
        "alpha": inputs.alpha,
        "options": inputs.options,
        "gate": pair_checks.identity(),
        "store": {"fingerprint": inputs.store.fingerprint, "identity": inputs.store.manifest["identity"]},
        "sources": dict(sorted(sources.items())),
        "splits": {
            s: {"train": [line(k) for k in choice.train[s]], "test": [line(k) for k in choice.test[s]]}
            for s in dataset.SUBSETS
        },
        "barred": sorted(set(planned.barred.values())),
        "candidates": len(planned.rows),
        "kept": sum(v.keep for v in outcome.verdicts.values()),
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two locks, in words, causes first."""
    out = []
    for part in ("settings", "gate", "store", "voters", "options"):
        if before[part] != now[part]:
            out.append(f"{part}: {_short(before[part])} then, {_short(now[part])} now")
    for name in sorted({*before["sources"], *now["sources"]}):
        a, b = before["sources"].get(name), now["sources"].get(name)
        if a is None or b is None:
            out.append(f"source {name}: {'not there then' if a is None else 'missing now'}")
        elif a["content"] != b["content"]:
            out.append(f"source {name}: other content ({a['pairs']} pairs then, {b['pairs']} now)")
    for subset in dataset.SUBSETS:
        for part in ("train", "test"):
            a = {tuple(x) for x in before["splits"][subset][part]}
            b = {tuple(x) for x in now["splits"][subset][part]}
            if a != b:
                gone, new = sorted(x[0] for x in a - b), sorted(x[0] for x in b - a)
                out.append(f"{subset}/{part}: {len(gone)} pairs gone{_some(gone)}, {len(new)} new{_some(new)}")
    return out


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else text[:157] + "…"


def _some(keys: list[str]) -> str:
    return f" ({', '.join(keys[:3])}{' …' if len(keys) > 3 else ''})" if keys else ""
