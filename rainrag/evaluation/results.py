"""Results on disk: one JSON a run, the score of every image in a parquet beside it, and a digest over both.

Layout, below the workspace's ``results`` or a repository's ``leaderboard/results``::

    <testset>/<model>--<weights>--<protocol>[--<tiles>].json      the fields of records.Result, `schema` and `digest`
    <testset>/<model>--<weights>--<protocol>[--<tiles>].parquet   key, scene, seen, one column a metric, seconds
    <testset>/<model>--<weights>--<protocol>[--<tiles>]/KEY.png   restored images, where they were saved
    <testset>/inputs/KEY.*, <testset>/targets/KEY.*               both sides, where images were saved

``<weights>`` is the first eight digits of the weights' sha256, or ``none``. Needs no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import atomic, canonical, read_json, sha256_bytes, write_json
from rainrag.core.types import Result

SCHEMA = 1
#: Columns of the parquet that are no metric.
COLUMNS = ("key", "scene", "seen", "seconds")
#: Note of a run beside which other work ran: its seconds are nowhere shown as a speed.
BUSY = "timed on a busy machine: its seconds are no measurement"
_FIELDS = {f.name: str(f.type) for f in fields(Result)}
_SAFE = re.compile(r"[^a-z0-9.+_]+")
#: Allowed JSON kinds by a field's annotation.
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "dict": (dict,),
    "tuple": (list,),
    "None": (type(None),),
}


# ---------------------------------------------------------------- names
def stem(model: str, weights_sha256: str | None, protocol: str, tile: str = "auto") -> str:
    """File name of a run without its extension.

    Args:
        tile: as asked for; ``auto`` leaves no mark.
    """
    parts = [model, (weights_sha256 or "none")[:8], protocol]
    if tile != "auto":
        parts.append(tile if tile.startswith(("full", "tile")) else f"tile{tile}".replace(",", "-"))
    return "--".join(_SAFE.sub("-", p.lower()).strip("-") for p in parts)


def find(root: Path, testset: str | None = None) -> list[Path]:
    """JSON files of all runs below a folder, of one test set where given, sorted."""
    return sorted(root.glob(f"{testset or '*'}/*--*--*.json"))


def folders(path: Path) -> tuple[Path, Path]:
    """Folders of a run's restored images and of their targets.

    Raises:
        MissingError: when they were not saved.
    """
    out, gt = path.with_suffix(""), path.parent / "targets"
    if not path.is_file():
        raise MissingError("no such result", where=path, hint="'rainrag bench' makes them; name the .json file")
    if not out.is_dir() or not gt.is_dir():
        raise MissingError(
            "the images of this result were not saved",
            where=out,
            hint="rainrag bench … --save-images --always, or name both folders with --images and --gt",
        )
    return out, gt


# ---------------------------------------------------------------- writing
def plain(result: Result) -> dict[str, Any]:
    """A result as JSON has it."""
    document = {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(result).items()}
    document["interval"] = {n: None if v is None else list(v) for n, v in result.interval.items()}
    return document


def digest(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """sha256 over a result's JSON (without its digest) and the scores of its images, independent of their encoding."""
    bare = {k: v for k, v in document.items() if k != "digest"}
    return sha256_bytes(canonical({"result": bare, "images": list(rows)}).encode())


def save(root: Path, result: Result, rows: Sequence[dict[str, Any]], tile: str = "auto") -> Path:
    """Write a run: the parquet first, so that a JSON that is there is a run that is whole.

    Args:
        rows: {"key", "scene", "seen" (trained on this scene; None where unknown), metric: value or None, "seconds"}.

    Returns:
        The JSON's path.
    """
    path = root / result.testset / f"{stem(result.model, result.weights_sha256, result.protocol, tile)}.json"
    named = ["key", "scene", "seen", *result.signature, "seconds"]
    kept = [{n: r.get(n) for n in named} for r in rows]
    _write_scores(path.with_suffix(".parquet"), kept, list(result.signature))
    document = {"schema": SCHEMA, **plain(result)}
    write_json(path, {**document, "digest": digest(document, kept)})
    return path


def _write_scores(path: Path, rows: list[dict[str, Any]], metrics: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = [("key", pa.string()), ("scene", pa.string()), ("seen", pa.bool_())]
    form += [(name, pa.float64()) for name in [*metrics, "seconds"]]
    with atomic(path) as tmp:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(form)), tmp, compression="zstd")


# ---------------------------------------------------------------- reading
def load(path: Path) -> Result:
    """A run's result.

    Raises:
        MissingError: when it is not there.
        InputError: when it is no result of this schema.
    """
    document = _document(path)
    wrong = list(_shape(document))
    if wrong:
        raise InputError(f"not a result of schema {SCHEMA}: {'; '.join(wrong)}", where=path, hint="run it again")
    values = {name: document[name] for name in _FIELDS}
    values["interval"] = {k: None if v is None else tuple(v) for k, v in values["interval"].items()}
    for name, kind in _FIELDS.items():
        if kind.startswith("tuple") and values[name] is not None:
            values[name] = tuple(values[name])
    return Result(**values)


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingError("no such result", where=path, hint="'rainrag bench' makes them")
    document = read_json(path)
    if not isinstance(document, dict):
        raise InputError("not a result: the JSON is no object", where=path)
    return document


def scores(path: Path) -> list[dict[str, Any]]:
    """The score of every image of a run, in the order it was run.

    Raises:
        MissingError: when the parquet is not beside the JSON.
        InputError: when it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = path.with_suffix(".parquet")
    if not table.is_file():
        raise MissingError("the scores of its images are gone", where=table, hint="run it again with --always")
    try:
        rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"damaged parquet: {e}", where=table, hint="run it again with --always") from e
    return rows


# ---------------------------------------------------------------- checking
def check(path: Path) -> None:
    """Make sure that a run is whole and unedited.

    Raises:
        IntegrityError: with everything that is wrong.
    """
    wrong = problems(path)
    if wrong:
        raise IntegrityError("; ".join(wrong), where=path, hint="restore the file, or run it again with --always")


def problems(path: Path) -> list[str]:
    """What is wrong with a run's files: their shape, their name, means that are not those of the images, the digest."""
    try:
        document, rows = _document(path), scores(path)
    except (MissingError, InputError) as e:
        return [str(e).splitlines()[0]]
    wrong = list(_shape(document))
    if wrong:
        return wrong
    begin = stem(document["model"], document["weights_sha256"], document["protocol"])
    if path.parent.name != document["testset"] or not (path.stem == begin or path.stem.startswith(f"{begin}--")):
        wrong.append(f"it is of {document['testset']}/{begin}, which its name does not say")
    if str(document["weights"] or "").startswith(("/", "~")):
        wrong.append("the weights' name is a path of somebody's machine")
    wrong += _against_images(document, rows)
    if digest(document, rows) != document["digest"]:
        wrong.append("the digest differs: it was edited after the run")
    return wrong


def _shape(document: dict[str, Any]) -> list[str]:
    if document.get("schema") != SCHEMA:
        return [f"its schema is {document.get('schema')!r}, this version reads {SCHEMA}"]
    wanted = {*_FIELDS, "schema", "digest"}
    wrong = [f"no field '{n}'" for n in sorted(wanted - set(document))]
    wrong += [f"unknown field '{n}'" for n in sorted(set(document) - wanted)]
    for name, kind in _FIELDS.items():
        allowed = tuple(k for part in re.sub(r"\[.*\]", "", kind).split(" | ") for k in _KINDS[part])
        if name in document and (not isinstance(document[name], allowed) or isinstance(document[name], bool)):
            wrong.append(f"'{name}' is {document[name]!r}, not {kind}")
    return wrong


def _against_images(document: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    wrong = []
    if document["n"] != len(rows):
        wrong.append(f"n is {document['n']}, {len(rows)} images are listed")
    if len({r["key"] for r in rows}) != len(rows):
        wrong.append("an image is listed twice")
    for name in document["signature"]:
        if rows and name not in rows[0]:
            wrong.append(f"no column '{name}'")
            continue
        values = [r[name] for r in rows]
        mean = None if not values or any(v is None for v in values) else sum(values) / len(values)
        said = document["mean"].get(name)
        if (mean is None) != (said is None) or (mean is not None and not math.isclose(mean, said, rel_tol=1e-9)):
            wrong.append(f"mean {name} is {said}, that of the images is {mean}")
    return wrong
