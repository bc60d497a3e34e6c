"""The audit's report: what was found, with pictures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.data import dataset, pair_checks
from rainrag.data.audit import AuditReport, Entry, entries
from rainrag.data.sources.layouts import Layout
from rainrag.reports import html

MOST = 60  # pictures of each kind; the JSON has all


class Pictures:
    """Pictures of audited items by key, read when they are wanted.

    Args:
        data: the audited datasets or folders.
        against: those that they were compared with.
        layout: how the files of plain folders in ``data`` pair.
    """

    def __init__(self, data: Sequence[Path], against: Sequence[Path] = (), layout: Layout | None = None) -> None:
        found = [*(entries(d, layout) for d in data), *(entries(d) for d in against)]
        self.entries: dict[str, Entry] = {e.key: e for shards, _ in found for s in shards for e in s.rows}

    def sides(self, key: str) -> list[str]:
        """``img`` elements of the rainy and the clean side of an item."""
        entry = self.entries.get(key)
        if entry is None:
            return [html.picture(None, key)]
        return [html.picture(rgb, f"{side} of {key}") for side, rgb in self._read(entry)]

    def _read(self, entry: Entry) -> list[tuple[str, images.U8 | None]]:
        if entry.shard is None:
            files = [("rainy side", entry.lq)] + ([("clean side", entry.gt)] if entry.gt else [])
            return [(side, _decoded(path)) for side, path in files]

        part = dataset.group(entry.shard, entry.group, ["key", "lq", "gt"])
        row = next(r for r in part if r["key"] == entry.key)
        cells = [("rainy side", row["lq"])] + ([("clean side", row["gt"])] if row["gt"] else [])
        return [(side, images.decode(dataset.image_bytes(cell)).rgb) for side, cell in cells]


def _decoded(path: str) -> images.U8 | None:
    try:
        return images.read(path).rgb
    except DecodeError:  # reported among the undecodable; here only the picture is missing
        return None


def write(
    path: Path, report: AuditReport, data: Sequence[Path], against: Sequence[Path], layout: Layout | None = None
) -> None:
    """Write the report.

    Args:
        path: HTML file.
        data, against, layout: as given to the audit, for the pictures.
    """
    pictures = Pictures(data, against, layout)
    counts: list[tuple[str, Any]] = [
        ("images or pairs", report.images),
        ("undecodable", len(report.undecodable)),
        ("unsound pairs", len(report.pairs)),
        ("groups of duplicates", len(report.duplicates)),
        ("clips", len(report.scenes)),
        ("leaks", len(report.leaks)),
        ("files that fit nowhere", len(report.unplaced)),
        ("scenes with several rainy versions", report.many_to_one["with_several"]),
    ]
    sections = [("In short", html.table(["what", "how many"], counts, numbers=(1,)))]
    if report.leaks:
        sections.append(("Scenes shared with a test set", _leaks(report, pictures)))
    if report.pairs:
        sections.append(("Unsound pairs", _pairs(report, pictures)))
    if report.duplicates:
        cards = [
            html.card([p for key in g[:4] for p in pictures.sides(key)[-1:]], html.text(", ".join(g)))
            for g in report.duplicates[:MOST]
        ]
        sections.append(("The same picture under several names", html.grid(cards)))
    rest = [(x["key"], x["reason"], x["detail"]) for x in (*report.undecodable, *report.unplaced)]
    if rest:
        sections.append(("Files left out", html.table(["file", "reason", "detail"], rest)))
    names = ", ".join(d.name for d in data)
    html.write(path, f"Audit of {names}", sections)


def _leaks(report: AuditReport, pictures: Pictures) -> str:
    cards = []
    for leak in report.leaks[:MOST]:
        shown = pictures.sides(leak["key"])[-1:] + pictures.sides(leak["against"])[-1:]
        line = f"{html.text(leak['key'])} is <b>{html.text(leak['against'])}</b>"
        cards.append(html.card(shown, line, f"{html.text(leak['kind'])}, {leak['distance']} of 256 bits differ"))
    return html.grid(cards)


def _pairs(report: AuditReport, pictures: Pictures) -> str:
    kinds = Counter(p["reason"] for p in report.pairs)
    head = html.table(
        ["reason", "pairs", "meaning"], [(r, n, pair_checks.REASONS[r]) for r, n in kinds.most_common()], (1,)
    )
    cards = [
        html.card(pictures.sides(p["key"]), html.text(p["key"]), f"{html.text(p['reason'])}: {html.text(p['detail'])}")
        for p in report.pairs[:MOST]
    ]
    return head + html.grid(cards)
