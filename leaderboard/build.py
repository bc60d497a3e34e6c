"""The static site: ``build([results folder], out)`` writes ``out/index.html``, which opens without a server.

Needs no torch: tables come from the results, figures of papers from ``published/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import write_text
from rainrag.evaluation import results as reader
from rainrag.leaderboard import boards, check, pages, papers

STATIC = Path(__file__).parent / "static"
RESULTS = Path(__file__).parent / "results"


def build(
    results: Sequence[Path],
    out: Path,
    *,
    images: Sequence[Path] = (),
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write the site.

    Args:
        results: folders laid out as ``rainrag.evaluation.results`` says. Saved images beside a run are shown.
        out: folder of the site; files of an earlier build are replaced.
        images: further folders, of the same layout, to look for saved images in.
        progress: called with -total first, then with 1 for each table.

    Returns:
        ``out/index.html``.

    Raises:
        MissingError: when a folder is not there.
        InputError: when a result cannot be read, or there is none.
        IntegrityError: when a folder holds what ``check`` refuses, such as a figure that was edited.
    """
    for folder in (*results, *images):
        if not folder.is_dir():
            raise MissingError("no such folder", where=folder, hint="'rainrag bench' makes results")
    for folder in results:
        _refuse_unsound(folder)
    found = boards.gather(results)
    if not found:
        where = ", ".join(map(str, results))
        raise InputError("no result to show", where=where, hint="'rainrag bench' makes results")
    if progress:
        progress(-len(found))
    for board in found:
        detail = boards.details(board, out, images)
        write_text(out / "data" / f"{board.name}.js", script(board.name, detail))
        if progress:
            progress(1)
    for name in ("style.css", "app.js"):
        write_text(out / name, (STATIC / name).read_text())
    page = out / "index.html"
    write_text(page, pages.index(found, papers.tables()))
    return page


def _refuse_unsound(folder: Path) -> None:
    """A site shows no figure that the guard would not let pass."""
    if not check.read_roll(folder) and not reader.find(folder):
        return  # an empty folder beside a full one
    wrong = check.check(folder)
    if wrong:
        shown = "; ".join(f"{p.run}: {p.kind}: {p.what}" for p in wrong[:5])
        raise IntegrityError(
            f"{len(wrong)} problems in the results: {shown}{'; …' if len(wrong) > 5 else ''}",
            where=folder,
            hint=f"rainrag leaderboard check --results {folder}",
        )


def script(name: str, detail: dict[str, Any]) -> str:
    """Data as a script: a page that was opened from a folder may load scripts, but not JSON."""
    text = json.dumps(detail, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"leaderboard.receive({json.dumps(name)},{text})\n"
