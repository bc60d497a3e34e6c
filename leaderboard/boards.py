"""Results as tables: one board a test set and protocol, with ranks as intervals, and the scores of every image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rainrag.benchmarks import ranking
from rainrag.core import images
from rainrag.core.errors import InputError
from rainrag.core.files import natural, write_bytes
from rainrag.core.types import Result
from rainrag.evaluation import results
from rainrag.evaluation.testsets import TABLE
from rainrag.leaderboard import networks

#: What a browser can show as it is; anything else is shown as PNG.
SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Board:
    """One table of the site.

    Args:
        name: ``<testset>--<protocol>``.
        title: the test set's, for people.
        notes: what a reader of its figures should know.
        metrics: in the order of the columns.
    """

    name: str
    title: str
    table: ranking.Table
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """Images of the largest result."""
        return max(s.result.n for s in self.table.standings)


def gather(roots: Sequence[Path]) -> list[Board]:
    """All results below some folders, one board for each test set and protocol.

    Raises:
        InputError: when a result cannot be read, or two folders hold the same run.
    """
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for root in roots:
        for path in results.find(root):
            runs = found.setdefault((path.parent.name, results.load(path).protocol), {})
            if path.stem in runs:
                raise InputError("this run is in two folders", where=path, hint=f"the other is {runs[path.stem]}")
            runs[path.stem] = path
    order = list(TABLE)
    at = {n: i for i, n in enumerate(order)}
    keys = sorted(found, key=lambda k: (at.get(k[0], len(at)), natural(k[0]), _protocol_order(*k)))
    return [_board(testset, protocol, list(found[testset, protocol].values())) for testset, protocol in keys]


def _protocol_order(testset: str, protocol: str) -> tuple[int, str]:
    usual = TABLE[testset].protocols if testset in TABLE else ()
    return (usual.index(protocol) if protocol in usual else len(usual), protocol)


def _board(testset: str, protocol: str, paths: list[Path]) -> Board:
    table = ranking.table(paths, published=claims)
    known = TABLE.get(testset)
    metrics = dict.fromkeys(m for s in table.standings for m in s.result.signature)
    left = (f"{table.left_out} images have no finite {table.metric} somewhere and are left out of the tests",)
    notes = (*(known.notes if known else ()), *table.notes, *(left if table.left_out else ()))
    name = f"{testset}--{protocol}"
    return Board(name, known.title if known else testset, table, tuple(metrics), tuple(dict.fromkeys(notes)))


def claims(result: Result) -> tuple[ranking.Published, ...]:
    """Published figures of a result's model on its test set, without loading the network."""
    card = networks.load().get(result.model, {"claims": []})
    return ranking.published_of(result, [SimpleNamespace(**c) for c in card["claims"]])


def title(result: Result) -> str:
    """The method's name for people, with its weights."""
    name = networks.load().get(result.model, {}).get("title") or {"unirain": "UniRain"}.get(result.model, result.model)
    return f"{name} ({result.weights})" if result.weights else str(name)


# ---------------------------------------------------------------- every image
def details(board: Board, out: Path, extra: Sequence[Path]) -> dict[str, Any]:
    """What the page shows of single images: scores by run, and where pictures are.

    Args:
        out: the site; pictures are linked (or copied) below ``out/images``.
        extra: further roots to look for saved pictures in.
    """
    runs = []
    keys: dict[str, None] = {}
    for standing in board.table.standings:
        rows = results.scores(standing.path)
        keys |= dict.fromkeys(r["key"] for r in rows)
        runs.append((standing, rows))
    folder = board.table.testset
    places = [runs[0][0].path.parent, *(root / folder for root in extra)]
    both = {
        side: dict(_pictures([p / side for p in places], out, f"{folder}/{side}")) for side in ("inputs", "targets")
    }
    return {
        "title": board.title,
        "protocol": board.table.protocol,
        "metrics": list(board.metrics),
        "keys": list(keys),
        "inputs": both["inputs"],
        "targets": both["targets"],
        "runs": [_run(standing, rows, board, places, out) for standing, rows in runs],
    }


def _run(
    standing: ranking.Standing, rows: list[dict[str, Any]], board: Board, places: list[Path], out: Path
) -> dict[str, Any]:
    r = standing.result
    where = [standing.path.with_suffix(""), *(p / standing.path.stem for p in places)]
    return {
        "id": standing.path.stem,
        "title": title(r),
        "facts": _facts(standing),
        "scores": {row["key"]: [row.get(m) for m in board.metrics] for row in rows},
        "seen": [row["key"] for row in rows if row["seen"]],
        "images": dict(_pictures(where, out, f"{r.testset}/{standing.path.stem}")),
    }


def _facts(standing: ranking.Standing) -> list[list[str]]:
    r = standing.result
    facts = [["Trained on", trained(r)], ["Weights", _weights(r)], ["Inference", r.inference]]
    facts += [[f"Signature, {m}", s] for m, s in r.signature.items()]
    facts += [
        ["Published", f"{p.psnr:.2f}: {p.source}{'' if p.sure else ' (not verified)'}"] for p in standing.published
    ]
    facts += [["Ran on", ", ".join(f"{k} {v}" for k, v in r.environment.items())]]
    facts += [["Note", n] for n in r.notes]
    return facts


def trained(r: Result) -> str:
    """What the weights were trained on, and whether scenes of this set were among it, as far as either is known."""
    if r.trained_on is None:
        return "nobody says what"
    if not r.trained_on:
        return "nothing"
    said = f"the training part of {', '.join(r.trained_on)}"
    if r.clean is None:
        said += ", which is not available locally: whether it shows scenes of this set was not compared"
    elif not r.clean["complete"]:
        said += ": scenes that are known to be in it are marked; others were not compared"
    note = networks.load().get(r.model, {}).get("weights", {}).get(r.weights)
    return f"{said}. {note}" if note else said


def _weights(r: Result) -> str:
    return "none" if r.weights is None else f"{r.weights}, sha256 {(r.weights_sha256 or 'not known')[:16]}"


def _pictures(places: Sequence[Path], out: Path, name: str) -> Iterator[tuple[str, str]]:
    """(key, address within the site) of the pictures in the first of some folders that is there."""
    folder = next((p for p in places if p.is_dir()), None)
    if folder is None:
        return
    for path in sorted(folder.rglob("*.*"), key=lambda p: natural(str(p))):
        key = path.relative_to(folder).with_suffix("").as_posix()
        shown = path.suffix.lower() in SHOWN
        target = out / "images" / name / f"{key}{path.suffix.lower() if shown else '.png'}"
        if shown:
            _link(path, target)
        else:
            write_bytes(target, images.encode_png(images.decode(path.read_bytes()).rgb))
        yield key, target.relative_to(out).as_posix()


def _link(path: Path, target: Path) -> None:
    """Hard link, where the file system can; else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
