"""One model on one test set, for ``rainrag.api``: a room must not know the checkout, this one may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rainrag.cli import checkout
from rainrag.records import Result


def run(
    model: str, testset: str, weights: str | None, out: Path | None, limit: int | None, settings: dict[str, Any]
) -> list[Result]:
    """Run, score and write; one result a protocol.

    Raises:
        MissingError: without a checkout, weights or images.
    """
    checkout.require("benchmarks", "baselines")
    from benchmarks import bench, entrants, testsets
    from rainrag import results, workspace

    opened = testsets.open_set(testset, limit)
    entrant = entrants.find(model, weights, opened.testset.kin)
    paths = bench.run(entrant, opened, bench.Settings(**settings), out or workspace.place("results"))
    return [results.load(p) for p in paths]
