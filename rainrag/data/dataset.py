"""A dataset on disk: one schema, parquet shards, a card; what ``datasets.load_dataset(folder)`` reads offline.

Layout: ``data/<DRS|DRD|NRS|NRD|other>/<split>-*.parquet`` and a README.md whose YAML names the configs: ``default``
(each subset's training part as a split), one a subset (train, test, and validation where there is one), and ``all``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import InputError, MissingError
from rainrag.core.files import atomic, fingerprint, sha256_bytes, write_text
from rainrag.core.types import RainPair, Subset

if TYPE_CHECKING:
    import pyarrow as pa

SUBSETS = tuple(s.value for s in Subset)
OTHER = "other"  # rows of no subset: other weather, unknown flags
SPLITS = ("train", "test", "validation")
IMAGES = ("lq", "gt")
_KINDS = {"bool": "bool", "int": "int32", "float": "float64", "str": "string"}


def columns() -> dict[str, str]:
    """Column name -> arrow type name, in order: RainPair's fields, then the two images."""
    named: dict[str, str] = {}
    for f in fields(RainPair):
        kind = str(f.type).split(" | ")[0]
        named[f.name] = {"Subset": "string", "tuple[str, ...]": "string"}.get(kind) or _KINDS[kind]
    return {**named, **dict.fromkeys(IMAGES, "image")}


def schema(extra: dict[str, str] | None = None) -> pa.Schema:
    """Arrow schema with the features of ``datasets`` in its metadata, so that empty shards know their types too.

    Args:
        extra: further columns, name -> arrow type name or ``image``.
    """
    import pyarrow as pa

    arrow = {
        "string": pa.string(),
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "float64": pa.float64(),
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    }
    named = {**columns(), **(extra or {})}
    features: dict[str, dict[str, str]] = {
        name: {"mode": "RGB", "_type": "Image"} if kind == "image" else {"dtype": kind, "_type": "Value"}
        for name, kind in named.items()
    }
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, arrow[kind]) for name, kind in named.items()], metadata=meta)


def row(pair: RainPair, lq: dict[str, Any], gt: dict[str, Any] | None, **extra: Any) -> dict[str, Any]:
    """One row: a record and its two images ({"bytes", "path"}; bytes None where only the path is kept)."""
    plain = dict(vars(pair))  # as flat as it is: asdict copies deeply, at a tenth of ingest's own time
    plain["subset"] = None if pair.subset is None else str(pair.subset.value)
    plain["notes"] = "; ".join(pair.notes)
    return {**plain, "lq": lq, "gt": gt, **extra}


GROUP = 64  # rows per row group: what a writer holds, and what a streaming reader has to fetch at once
GROUP_BYTES = 90_000_000  # of its images: the viewer of the Hub refuses row groups above 286 MiB, and wants 100 MB


@contextlib.contextmanager
def shard_writer(path: Path, extra: dict[str, str] | None = None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write one shard atomically, row by row; the same rows give the same bytes. At most ``GROUP`` rows are held,
    of ``GROUP_BYTES`` together.

    Pixels are already compressed, so image columns are stored as they are; row groups are small, so that streaming
    reads little at a time.

    Yields:
        ``add(row)``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = schema(extra)
    plain = [n for n in form.names if not pa.types.is_struct(form.field(n).type)]
    held: list[dict[str, Any]] = []
    size = 0
    with (
        atomic(path) as tmp,
        pq.ParquetWriter(
            tmp,
            form,
            compression=dict.fromkeys(plain, "zstd"),
            use_dictionary=[n for n in plain if pa.types.is_string(form.field(n).type)],
            write_statistics=plain,
        ) as writer,
    ):

        def flush() -> None:
            nonlocal size
            if held:  # an empty shard has no row group: the loader of datasets stumbles over one of no rows
                writer.write_table(pa.Table.from_pylist(held, schema=form))
                held.clear()
                size = 0

        def add(row: dict[str, Any]) -> None:
            nonlocal size
            own = sum(len(v["bytes"] or b"") for v in row.values() if isinstance(v, dict))
            if size + own > GROUP_BYTES:
                flush()
            held.append(row)
            size += own
            if len(held) == GROUP:
                flush()

        yield add
        flush()


def write_rows(path: Path, rows: Iterable[dict[str, Any]], extra: dict[str, str] | None = None) -> None:
    """Write one shard of rows (see ``shard_writer``)."""
    with shard_writer(path, extra) as add:
        for one in rows:
            add(one)


def shard_path(subset: Subset | str | None, split: str, name: str) -> str:
    """Relative path of a shard."""
    place = OTHER if subset is None else str(getattr(subset, "value", subset))
    return f"data/{place}/{split}-{name}.parquet"


def fill_empty(out: Path, extra: dict[str, str] | None = None, splits: tuple[str, ...] = ("train", "test")) -> None:
    """Give every (subset, split) that has no shard an empty one, so that every config loads."""
    for place in (*SUBSETS, OTHER):
        for split in splits:
            have = sorted((out / "data" / place).glob(f"{split}-*.parquet"))
            empty = out / shard_path(place, split, "empty")
            if not [p for p in have if p != empty]:
                write_rows(empty, [], extra)
            else:
                empty.unlink(missing_ok=True)


# ---------------------------------------------------------------- card
def configs(out: Path) -> list[dict[str, Any]]:
    """The YAML ``configs`` of a dataset folder, from the shards that are there.

    ``datasets`` cannot load a split of no rows (except as a stream), and one such split spoils a load of its whole
    config. So a config names the splits that have rows, and only one that has none at all names its empty shards.
    """
    table = counts(out)

    def config(name: str, parts: list[tuple[str, list[str], str]]) -> dict[str, Any]:
        """Parts are (split, places, file prefix)."""
        files = []
        for keep_empty in (False, True):
            for split, places, prefix in parts:
                paths = [
                    f"data/{p}/{prefix}-*.parquet"
                    for p in places
                    if prefix in table.get(p, {}) and (keep_empty or table[p][prefix])
                ]
                if paths:
                    files.append({"split": split, "path": paths})
            if files:
                break
        return {"config_name": name, "data_files": files}

    default = config("default", [(s, [s], "train") for s in SUBSETS])
    default["default"] = True
    one = [config(s, [(split, [s], split) for split in SPLITS]) for s in SUBSETS]
    return [default, *one, config("all", [(split, [*SUBSETS, OTHER], split) for split in SPLITS])]


def counts(out: Path) -> dict[str, dict[str, int]]:
    """Rows by subset (and ``other``) and split, read from the parquet footers."""
    import pyarrow.parquet as pq

    found: dict[str, dict[str, int]] = {}
    for place in (*SUBSETS, OTHER):
        for path in sorted((out / "data" / place).glob("*.parquet")):
            split = path.name.split("-", 1)[0]
            with undamaged(path):
                rows = pq.ParquetFile(path).metadata.num_rows
            found.setdefault(place, {}).setdefault(split, 0)
            found[place][split] += rows
    return found


def write_card(out: Path, title: str, body: str, licence: str, extra_configs: Iterable[dict[str, Any]] = ()) -> None:
    """Write README.md: YAML that ``load_dataset`` reads, then counts and the text.

    Args:
        licence: SPDX id in lower case, or anything else, which is then written as ``other`` with its name.
    """
    import yaml

    known = {"cc-by-nc-sa-4.0", "mit", "apache-2.0", "cc-by-4.0", "bsd-3-clause", "cc0-1.0"}
    head: dict[str, Any] = {"pretty_name": title, "task_categories": ["image-to-image"], "tags": ["image deraining"]}
    if licence.lower() in known:
        head["license"] = licence.lower()
    else:
        head["license"] = "other"
        head["license_name"] = "".join(c if c.isalnum() else "-" for c in licence.lower())[:60].strip("-")
    head["configs"] = _told_apart(out, [*configs(out), *extra_configs])
    table = counts(out)
    splits = [s for s in SPLITS if any(s in v for v in table.values())]
    lines = ["| subset | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    for place, by_split in table.items():
        lines.append(f"| {place} | " + " | ".join(str(by_split.get(s, 0)) for s in splits) + " |")
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    write_text(out / "README.md", f"---\n{text}---\n\n# {title}\n\n" + "\n".join(lines) + f"\n\n{body.strip()}\n")


def _told_apart(out: Path, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The configs, each with a word that changes with its rows.

    ``datasets`` finds what it has cached of a local folder by the folder's name and this YAML, not by the files: without
    the word it would go on giving the old rows of a folder that was made again, or those of another ``splits``.
    """
    digests: dict[Path, str] = {}
    for config in found:
        paths = sorted({p for f in config["data_files"] for pattern in f["path"] for p in out.glob(pattern)})
        digests |= {p: _digest(p) for p in paths if p not in digests}
        config["description"] = f"rows {fingerprint([[p.relative_to(out).as_posix(), digests[p]] for p in paths])}"
    return found


def _digest(shard: Path) -> str:
    """Of a shard's rows; of images the paths, for their pixels' hashes are columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = pq.read_schema(shard)
    columns = [f"{n}.path" if pa.types.is_struct(form.field(n).type) else n for n in form.names]
    sink = pa.BufferOutputStream()
    table = pq.read_table(shard, columns=columns).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sha256_bytes(sink.getvalue().to_pybytes())


# ---------------------------------------------------------------- reading
def is_dataset(path: Path) -> bool:
    """Whether a folder is a dataset of ours (or any with its layout)."""
    return (path / "README.md").is_file() and (path / "data").is_dir() and any((path / "data").glob("*/*.parquet"))


def shards(path: Path, split: str | None = None) -> list[Path]:
    """Parquet files of a dataset, sorted; of one split where given.

    Raises:
        MissingError: when there is no dataset.
    """
    if not is_dataset(path):
        raise MissingError(
            "no dataset here (README.md and data/*/*.parquet expected)",
            where=path,
            hint="make one with: rainrag ingest NAME --root FOLDER --out " + str(path),
        )
    found = []
    for place in (*SUBSETS, OTHER):
        found += sorted((path / "data" / place).glob(f"{split or '*'}-*.parquet"))
    return found


@contextlib.contextmanager
def undamaged(shard: str | Path) -> Iterator[None]:
    """Turns pyarrow's errors for a shard that is damaged, or no parquet, into ours.

    Raises:
        InputError: naming the shard.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as e:
        what = " ".join(str(e).split())[:300]
        raise InputError(f"damaged shard: {what}", where=shard, hint="ingest again with --overwrite") from e


def read_rows(path: Path, names: list[str] | None = None, split: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a dataset, shard by shard; a bounded number is in memory.

    Args:
        names: columns, None for all.

    Raises:
        InputError: when a shard is damaged.
    """
    import pyarrow.parquet as pq

    for shard in shards(path, split):
        with undamaged(shard):
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=64, columns=names):
                yield from batch.to_pylist()


def groups(shard: str | Path, names: list[str]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows of a shard by row group: (number of the group, its rows).

    Raises:
        InputError: when the shard is damaged, or lacks a column.
    """
    import pyarrow.parquet as pq

    with undamaged(shard):
        file = pq.ParquetFile(shard)
        missing = [n for n in names if n not in file.schema_arrow.names]
    if missing:
        raise InputError(f"no column {', '.join(missing)}", where=shard, hint="ingest again with --overwrite")
    for group in range(file.num_row_groups):
        with undamaged(shard):
            rows: list[dict[str, Any]] = file.read_row_group(group, columns=names).to_pylist()
        yield group, rows


def group(shard: str | Path, number: int, names: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of one row group.

    Raises:
        InputError: when the shard is damaged.
    """
    import pyarrow.parquet as pq

    with undamaged(shard):
        rows: list[dict[str, Any]] = pq.ParquetFile(shard).read_row_group(number, columns=list(names)).to_pylist()
    return rows


def image_bytes(image: dict[str, Any]) -> bytes:
    """Encoded bytes of an image cell, read from its path where only that was kept."""
    from rainrag.core.images import read_bytes

    data = image["bytes"]
    return data if data is not None else read_bytes(image["path"])
