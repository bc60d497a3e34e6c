"""Digests of what a run of the demo wrote, to prove that a change of structure changes no result.

Floats are rounded, and times, paths and versions are left out: the digests are equal on every machine.
``RAINRAG_GOLDEN=write`` rewrites the file where a change of results is intended.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

#: Columns whose values depend on the machine: times, encoded bytes, hashes of rendered pixels, revisions of weights.
LEFT_OUT = {"seconds", "lq", "gt", "sha256", "lq_sha256", "gt_sha256", "lq_phash", "gt_phash", "parent_sha256"}
PLACES = 1  # of PSNR, similarities and the like


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table, rounded, without what depends on the machine."""
    return [{k: rounded(v) for k, v in row.items() if k not in LEFT_OUT} for row in pq.read_table(path).to_pylist()]


def rounded(value: Any) -> Any:
    """Floats of any nesting to ``PLACES`` places."""
    if isinstance(value, float):
        return round(value, PLACES) + 0.0
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def digest(value: Any) -> str:
    """sha256 of canonical JSON, 16 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def tables(folder: Path) -> dict[str, Any]:
    """Every table below a folder by its path; tables without rows by their path alone."""
    return {str(p.relative_to(folder)): rows(p) for p in sorted(folder.rglob("*.parquet")) if ".rainrag" not in p.parts}


def demo(out: Path) -> dict[str, str]:
    """Digests of a demo's folder by what they are of: splits, results, report."""
    splits = tables(out / "splits")
    for path, found in splits.items():
        if path.startswith("ballots"):
            for row in found:
                row.pop("raw"), row.pop("revision")
    results = {p: sorted(f, key=lambda r: r["key"]) for p, f in tables(out / "results").items()}
    summary = json.loads((out / "splits" / "summary.json").read_text())
    return {"splits": digest(splits), "results": digest(results), "report": digest(rounded(summary))}
