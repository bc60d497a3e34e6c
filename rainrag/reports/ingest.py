"""A contact sheet of a dataset: rainy and clean side of pairs from every part, one self-contained file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rainrag.core import images
from rainrag.data import dataset
from rainrag.data.ingest import REASONS, IngestReport
from rainrag.reports import html

MOST = 12  # pairs of each subset and split


def write(path: Path, report: IngestReport) -> None:
    """Write the sheet of what an ingest made.

    Args:
        path: HTML file.
        report: of the ingest; its dataset is read again, one picture at a time.
    """
    splits = [s for s in dataset.SPLITS if any(s in parts for parts in report.counts.values())]
    rows = [(place, *(parts.get(s, 0) for s in splits)) for place, parts in report.counts.items()]
    sections = [("In short", html.table(["subset", *splits], rows, tuple(range(1, len(splits) + 1))))]
    for place, split, shard_rows, n in parts_of(Path(report.out)):
        sections.append((f"{place}, {split}: {n} pairs", html.grid(map(_card, shard_rows))))
    if report.rejects:
        kinds = Counter(r.reason for r in report.rejects)
        table = html.table(["reason", "pairs", "meaning"], [(r, n, REASONS[r]) for r, n in kinds.most_common()], (1,))
        left = html.table(["key", "reason", "detail"], [(r.key, r.reason, r.detail) for r in report.rejects[:200]])
        sections.append(("Left out", table + left))
    html.write(path, f"Pairs of {report.source}", sections)


def parts_of(data: Path) -> Iterator[tuple[str, str, list[dict[str, Any]], int]]:
    """(subset, split, at most ``MOST`` rows spread evenly over it, rows in all) of every part that has rows."""
    for place, by_split in dataset.counts(data).items():
        for split, n in by_split.items():
            if n:
                wanted = {i * n // MOST for i in range(MOST)} if n > MOST else set(range(n))
                yield place, split, list(_rows(data, place, split, wanted)), n


def _rows(data: Path, place: str, split: str, wanted: set[int]) -> Iterator[dict[str, Any]]:
    """The wanted rows of a part; row groups without any are not read."""
    import pyarrow.parquet as pq

    at = 0
    for shard in sorted((data / "data" / place).glob(f"{split}-*.parquet")):
        file = pq.ParquetFile(shard)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            inside = [i - at for i in sorted(wanted) if at <= i < at + size]
            if inside:
                part = file.read_row_group(group, columns=["key", "night", "notes", "fault", "lq", "gt"])
                yield from part.take(inside).to_pylist()
            at += size


def _card(row: dict[str, Any]) -> str:
    sides = [(side, row[side]) for side in dataset.IMAGES if row[side]]
    shown = [html.picture(images.decode(dataset.image_bytes(cell)).rgb, f"{s} of {row['key']}") for s, cell in sides]
    lines = [html.text(row["key"])]
    if row["fault"]:
        lines.append(f'<span class="bad">planted: {html.text(row["fault"])}</span>')
    if row["notes"]:
        lines.append(f'<span class="dim">{html.text(row["notes"])}</span>')
    return html.card(shown, *lines)
