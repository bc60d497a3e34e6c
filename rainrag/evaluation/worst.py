"""The worst images of a result: a table of all images with the worst first, and a contact sheet of the worst ten."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.errors import InputError
from rainrag.core.images import U8

#: Pixels of the longer side of a picture on the contact sheet.
SIDE = 240
#: What stands before a text that a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def order(rows: Sequence[dict[str, Any]], metric: str = "psnr") -> list[dict[str, Any]]:
    """Rows of ``Scores.images``, the worst first; None (equal to the target) last, ties by key."""
    return sorted(rows, key=lambda r: (r[metric] is None, r[metric] if r[metric] is not None else 0.0, r["key"]))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV, the worst first; an infinite PSNR is ``inf``, a key that begins as a formula gets an apostrophe."""
    if not rows:
        raise InputError("no image to write", hint="score at least one image")
    out = io.StringIO()
    names = list(rows[0])
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in order(rows):
        key = f"'{row['key']}" if row["key"].startswith(_FORMULA) else row["key"]
        rest = ("inf" if n == "psnr" and row[n] is None else "" if row[n] is None else repr(row[n]) for n in names[1:])
        writer.writerow([key, *rest])
    return out.getvalue()


def sheet(pairs: Sequence[tuple[str, Path, Path]], rows: Sequence[dict[str, Any]], n: int = 10) -> U8:
    """Contact sheet of the worst images, (H, W, 3) uint8: one line each with output, target and their difference.

    The difference is four times the absolute one around black; above each line stand key and scores.

    Args:
        pairs: (key, output, target), as they were scored.
        rows: of ``Scores.images``.
        n: lines.
    """
    from PIL import Image, ImageDraw

    where = {key: (out, gt) for key, out, gt in pairs}
    lines = []
    for row in order(rows)[:n]:
        out, gt = (images.read(path).rgb for path in where[row["key"]])
        h, w = min(out.shape[0], gt.shape[0]), min(out.shape[1], gt.shape[1])
        apart = np.abs(out[:h, :w].astype(np.int16) - gt[:h, :w])
        views = [images.fit(x, SIDE) for x in (out, gt, np.clip(4 * apart, 0, 255).astype(np.uint8))]
        line = Image.new("RGB", (3 * (SIDE + 4), max(v.shape[0] for v in views) + 18), "white")
        scores = "  ".join(f"{k} {'inf' if v is None else f'{v:.4f}'}" for k, v in row.items() if k != "key")
        text = f"{row['key']}  {scores}".encode("ascii", "replace").decode()  # the built-in font has no more
        ImageDraw.Draw(line).text((2, 3), text, fill="black")
        for at, view in enumerate(views):
            line.paste(Image.fromarray(view), (at * (SIDE + 4), 18))
        lines.append(np.asarray(line))
    if not lines:
        raise InputError("no image to show", hint="score at least one image")
    return np.concatenate(lines)
