"""The guard over committed results: schema, digests, duplicates, and nothing that was there before gone or changed.

The roll, ``results/roll.json``, is what was there: run -> digest. A result that is edited and given a new digest, or
removed, no longer agrees with it; the roll is extended by ``rainrag leaderboard check --accept``, whose change shows in
the review of a commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, MissingError
from rainrag.core.files import read_json, write_json
from rainrag.evaluation import results

ROLL = "roll.json"


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    Args:
        kind: ``damaged`` (schema, digest, means), ``stray``, ``removed``, ``changed`` or ``duplicate``.
        run: ``<testset>/<run>``.
        what: in words.
    """

    kind: str
    run: str
    what: str


def check(root: Path) -> list[Problem]:
    """Everything that is wrong with a folder of results.

    Raises:
        MissingError: when the folder is not there.
        InputError: when its roll cannot be read, or there is nothing to check.
    """
    if not root.is_dir():
        raise MissingError("no such folder", where=root, hint="'rainrag bench --out' makes results")
    paths = results.find(root)
    roll = read_roll(root)
    if not paths and not roll:
        raise InputError("no result to check", where=root, hint="'rainrag bench --out' makes results")
    wrong = [Problem("damaged", name(root, p), w) for p in paths for w in results.problems(p)]
    bad = {p.run for p in wrong}
    digests = {name(root, p): read_json(p)["digest"] for p in paths if name(root, p) not in bad}
    wrong += _strays(root)
    wrong += _against_roll(digests, bad, roll)
    wrong += _duplicates(root, [p for p in paths if name(root, p) in digests])
    return sorted(wrong, key=lambda p: (p.run, p.kind, p.what))


def name(root: Path, path: Path) -> str:
    """``<testset>/<run>``."""
    return path.relative_to(root).with_suffix("").as_posix()


def read_roll(root: Path) -> dict[str, str]:
    """run -> digest, as it was accepted; empty where nothing was.

    Raises:
        InputError: when it is no such table.
    """
    path = root / ROLL
    if not path.is_file():
        return {}
    roll: Any = read_json(path)
    if not isinstance(roll, dict) or not all(isinstance(v, str) for v in roll.values()):
        raise InputError("not a roll of results", where=path, hint="restore the file from the repository's history")
    return roll


def fresh(root: Path) -> list[str]:
    """Runs that the roll does not have yet."""
    roll = read_roll(root)
    return [run for p in results.find(root) if (run := name(root, p)) not in roll]


def accept(root: Path) -> int:
    """Write the roll again from what is there; how many runs it holds."""
    roll = {name(root, p): read_json(p)["digest"] for p in results.find(root)}
    write_json(root / ROLL, roll)
    return len(roll)


def _strays(root: Path) -> Iterator[Problem]:
    """Scores without a result, or a result whose name no reader finds; they would be left out in silence."""
    found = {p.with_suffix("") for p in results.find(root)}
    for path in sorted(root.glob("*/*")):
        if path.suffix in (".json", ".parquet") and path.with_suffix("") not in found:
            yield Problem("stray", name(root, path), f"'{path.name}' belongs to no result")


def _against_roll(digests: dict[str, str], bad: set[str], roll: dict[str, str]) -> Iterator[Problem]:
    for run, digest in roll.items():
        if run not in digests and run not in bad:
            whole = not any(r.startswith(f"{run.split('/')[0]}/") for r in digests)
            split = f", and with it the whole test set '{run.split('/')[0]}'" if whole else ""
            yield Problem("removed", run, f"it was there before{split}")
        elif run in digests and digests[run] != digest:
            yield Problem("changed", run, "its digest is not the accepted one")


def _duplicates(root: Path, paths: list[Path]) -> Iterator[Problem]:
    """One model with one set of weights twice under one protocol on the same images, in the same manner."""
    first: dict[tuple[Any, ...], str] = {}
    for path in paths:
        r = results.load(path)
        weights = r.weights_sha256 or r.weights
        what = (r.testset, r.testset_sha256, r.model, weights, r.protocol, r.inference)
        run = name(root, path)
        if what in first:
            yield Problem("duplicate", run, f"the same run as {first[what]}")
        first.setdefault(what, run)
