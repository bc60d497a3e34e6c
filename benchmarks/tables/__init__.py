"""Experiments: which models run on which test sets, one file a table of the paper, beside what was published."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rainrag.core.errors import UsageError, did_you_mean

PUBLISHED = Path(__file__).parents[2] / "leaderboard" / "published"

#: name -> "module:attr" of an Experiment
TABLE: dict[str, str] = {
    "table1": "rainrag.benchmarks.tables.table1:EXPERIMENT",
    "table2": "rainrag.benchmarks.tables.table2:EXPERIMENT",
    "table3": "rainrag.benchmarks.tables.table3:EXPERIMENT",
    "table4": "rainrag.benchmarks.tables.table4:EXPERIMENT",
    "table5": "rainrag.benchmarks.tables.table5:EXPERIMENT",
    "table6": "rainrag.benchmarks.tables.table6:EXPERIMENT",
    "table7": "rainrag.benchmarks.tables.table7:EXPERIMENT",
    "real-sets": "rainrag.benchmarks.tables.real_sets:EXPERIMENT",
}


@dataclass(frozen=True)
class Entry:
    """One row of a table: a model, and where its weights are when the default ones are not meant.

    Args:
        label: the row's name in the paper, where it is not the model's.
        weights: as ``--weights``; a path is relative to the workspace.
        train: command that makes these weights, for rows that have to be trained.
    """

    model: str
    label: str = ""
    weights: str | None = None
    train: str = ""


@dataclass(frozen=True)
class Experiment:
    """A table of the paper, or a set of runs of our own.

    Args:
        entries: rows; empty where nothing is run.
        testsets: of ``rainrag.evaluation.testsets``.
        protocols: empty for those of each test set.
        published: file below ``leaderboard/published``.
        about: what it shows and how it is made, for people.
        optional: test sets that are not available locally are left out without a complaint.
    """

    name: str
    title: str
    about: str
    entries: tuple[Entry, ...] = ()
    testsets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    published: str = ""
    optional: bool = False

    def figures(self) -> list[dict[str, str]]:
        """The published rows, every value as it is printed there."""
        return read(self.published) if self.published else []


def names() -> list[str]:
    """All names, in the table's order."""
    return list(TABLE)


def get(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        UsageError: with the nearest names, for an unknown one.
    """
    if name not in TABLE:
        raise UsageError(f"no experiment '{name}'", hint=f"{did_you_mean(name, names())} Single sets: --testset NAME")
    module, attr = TABLE[name].split(":")
    experiment: Experiment = getattr(import_module(module), attr)
    return experiment


def read(name: str) -> list[dict[str, str]]:
    """Rows of a file of published figures."""
    with open(PUBLISHED / name, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def published() -> list[dict[str, str]]:
    """All published rows that are of one model on one test set."""
    found = []
    for path in sorted(PUBLISHED.glob("*.csv")):
        found += [r for r in read(path.name) if r.get("model") and r.get("testset") and r.get("psnr_db")]
    return found
