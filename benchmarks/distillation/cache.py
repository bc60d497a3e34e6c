"""What was measured on cases, kept in parquet: rendering and measuring take minutes, deciding again takes seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core.parquet import read_table, write_table
from rainrag.data import pair_checks
from rainrag.distill.evaluate_voters import Looked
from rainrag.retrieval.triplet import STRUCTURE, Triplet

MEASURES = [f.name for f in fields(pair_checks.Measures)]
SIGNALS = ("rain", "texture", "nature", "alone")
FORM = {
    "key": "string", "scene": "string", "subset": "string", "fault": "string", "night": "bool", "drop": "bool",
    "reason": "string", **dict.fromkeys([f"m_{m}" for m in MEASURES], "float64"), "sha256": "string", "phash": "string",
    "caption": "string", "text": "floats", "feature": "floats", "structure": "binary", "seen_night": "bool",
    "seen_drops": "bool", **dict.fromkeys([f"s_{s}" for s in SIGNALS], "floats"), "layer": "floats",
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What the gate measured on a case; measures are None where it needed none."""

    key: str
    scene: str
    subset: str
    fault: str | None
    night: bool
    drop: bool
    measures: pair_checks.Measures | None


def write(path: Path, looked: Iterable[Looked]) -> None:
    """Keep what was measured."""
    write_table(path, (_row(x) for x in looked), FORM)


def read(path: Path) -> list[Looked]:
    """What was measured, the gate's decisions made again by today's limits."""
    return [_looked(r) for r in read_table(path)]


def write_seen(path: Path, seen: Iterable[Seen]) -> None:
    """Keep what the gate measured; what encoders would have said is null."""
    rows = ({"key": x.key, "scene": x.scene, "subset": x.subset, "fault": x.fault, "night": x.night, "drop": x.drop,
             **_measured(x.measures)} for x in seen)  # fmt: skip
    write_table(path, rows, FORM)


def read_seen(path: Path) -> list[Seen]:
    """What the gate measured, of either kind of file."""
    columns = ["key", "scene", "subset", "fault", "night", "drop", *(f"m_{m}" for m in MEASURES)]
    return [
        Seen(r["key"], r["scene"], r["subset"], r["fault"], r["night"], r["drop"], _measures(r))
        for r in read_table(path, columns)
    ]


def _measured(m: pair_checks.Measures | None) -> dict[str, float]:
    return {} if m is None else {f"m_{name}": getattr(m, name) for name in MEASURES}


def _measures(r: dict[str, Any]) -> pair_checks.Measures | None:
    if r[f"m_{MEASURES[0]}"] is None:
        return None
    return pair_checks.Measures(**{m: float(r[f"m_{m}"]) for m in MEASURES})


def _row(x: Looked) -> dict[str, object]:
    t = x.triplet
    return {
        "key": x.key, "scene": x.scene, "subset": x.subset, "fault": x.fault, "night": x.night, "drop": x.drop,
        "reason": x.reason, **_measured(x.measures), "sha256": x.sha256, "phash": x.phash, "caption": t.caption,
        "text": t.text.tolist(), "feature": t.feature.tolist(), "structure": t.structure.tobytes(),
        "seen_night": t.night, "seen_drops": t.drops, **{f"s_{s}": t.signals[s].tolist() for s in SIGNALS},
        "layer": list(x.layer),
    }  # fmt: skip


def _looked(r: dict[str, Any]) -> Looked:
    f32 = np.float32
    triplet = Triplet(
        str(r["caption"]), np.array(r["text"], f32), np.array(r["feature"], f32),
        np.frombuffer(bytes(r["structure"]), np.uint8).reshape(STRUCTURE, STRUCTURE),
        {s: np.array(r[f"s_{s}"], f32) for s in SIGNALS}, bool(r["seen_night"]), bool(r["seen_drops"]),
    )  # fmt: skip
    return Looked(
        str(r["key"]), str(r["scene"]), str(r["subset"]), r["fault"], bool(r["night"]), bool(r["drop"]),
        r["reason"], _measures(r), str(r["sha256"]), str(r["phash"]), triplet, layer=tuple(r["layer"] or ()),
    )  # fmt: skip


def by_scene(looked: Sequence[Looked]) -> dict[str, list[Looked]]:
    """Cases of each scene."""
    out: dict[str, list[Looked]] = {}
    for x in looked:
        out.setdefault(x.scene, []).append(x)
    return out
