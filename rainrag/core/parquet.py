"""Small parquet tables with a stated form: rows in, the same bytes for the same rows out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, MissingError
from rainrag.core.files import atomic


def form(columns: Mapping[str, str]) -> Any:
    """Arrow schema from column name -> ``string``, ``strings``, ``float64``, ``floats``, ``int32``, ``bool``,
    ``binary``."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "strings": pa.list_(pa.string()),
        "float64": pa.float64(),
        "floats": pa.list_(pa.float32()),
        "int32": pa.int32(),
        "bool": pa.bool_(),
        "binary": pa.binary(),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Write atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows], schema=form(columns))
    with atomic(path) as tmp:
        pq.write_table(table, tmp, compression="zstd")


def read_table(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a table.

    Raises:
        MissingError: no such file.
        InputError: when it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise MissingError("no such table", where=path)
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"damaged table: {e}", where=path, hint="remove it and run again") from e
    return rows
