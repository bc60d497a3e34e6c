"""Shards of a dataset: bounded row groups, and what is said of damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core.errors import InputError
from rainrag.core.files import read_json
from rainrag.core.types import RainPair
from rainrag.data import audit, dataset
from rainrag.data.contamination import Ledger
from rainrag.distill.plan import plan
from rainrag.retrieval import build

Rows = list[dict[str, Any]]


def rows(sizes: list[int]) -> Rows:
    """Rows whose two images together have so many bytes."""
    pair = RainPair("k", "s", "train", "x", None, None, None, None, None, "rain", True, "x", "a", "b", "c", "d", 1, 1, 1, 1,
                    "png", "png")  # fmt: skip
    cells = [({"bytes": b"l" * (n // 2), "path": "l"}, {"bytes": b"g" * (n - n // 2), "path": "g"}) for n in sizes]
    return [{**dataset.row(pair, lq, gt), "key": f"k{i}"} for i, (lq, gt) in enumerate(cells)]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [([10] * 3, [3]), ([40] * 5, [2, 2, 1]), ([250], [1]), ([10, 250, 10], [1, 1, 1]), ([50, 50, 1], [2, 1]), ([], [])],
)
def test_row_groups_hold_a_bounded_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int], groups: list[int]
) -> None:
    monkeypatch.setattr(dataset, "GROUP_BYTES", 100)
    dataset.write_rows(tmp_path / "a.parquet", rows(sizes))
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == groups
    assert [r["key"] for _, part in dataset.groups(tmp_path / "a.parquet", ["key"]) for r in part] == [
        f"k{i}" for i in range(len(sizes))
    ]


def test_the_bound_is_what_the_hub_shows() -> None:
    assert dataset.GROUP_BYTES <= 100_000_000


def test_a_damaged_shard_is_our_error_whoever_reads_it(tmp_path: Path, write_pairs: Any) -> None:
    write_pairs(tmp_path / "raw", 3)
    made = ["ingest", "folder", "--root", tmp_path / "raw", "--name", "n", "--subset", "DRS", "--out", tmp_path / "set"]
    assert CliRunner().invoke(app, [*map(str, made), "--workers", "1"]).exit_code == 0
    (shard,) = [p for p in (tmp_path / "set/data").rglob("*.parquet") if pq.read_metadata(p).num_rows]
    data = bytearray(shard.read_bytes())
    data[8:200] = b"\xff" * 192  # pages; the footer is whole
    for damaged in (bytes(data), bytes(data[: len(data) // 2]), b""):
        shard.write_bytes(damaged)
        for read in (
            lambda: audit.entries(tmp_path / "set"),
            lambda: plan([tmp_path / "set"], Ledger([])),
            lambda: build.photographs([tmp_path / "set"]),
            lambda: list(dataset.read_rows(tmp_path / "set")),
        ):
            with pytest.raises(InputError, match="damaged shard") as e:
                read()
            assert shard.name in str(e.value.where)


def test_an_ingest_that_took_nothing_leaves_no_dataset(tmp_path: Path) -> None:
    for side in ("input", "target"):
        (tmp_path / "raw" / side).mkdir(parents=True)
        (tmp_path / "raw" / side / "0.png").write_bytes(b"not an image, but long enough to be looked at")
    words = [
        "ingest",
        "folder",
        "--root",
        tmp_path / "raw",
        "--name",
        "n",
        "--subset",
        "DRS",
        "--out",
        tmp_path / "set",
    ]
    done = CliRunner().invoke(app, [*map(str, words), "--workers", "1"])
    assert isinstance(done.exception, InputError)
    assert not dataset.is_dataset(tmp_path / "set")
    assert not list((tmp_path / "set").rglob("*.parquet"))


def test_json_that_is_too_deep_or_no_text_is_our_error(tmp_path: Path) -> None:
    for content in (b"[" * 100_000, b"{", b"\xff\xfe", b"1" * 5000):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(InputError, match="not a JSON file"):
            read_json(tmp_path / "x.json")
