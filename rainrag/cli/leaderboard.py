"""``rainrag leaderboard``: the static site of all results, and the guard over committed ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rainrag.cli import console
from rainrag.core.errors import IntegrityError

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def register(app: typer.Typer) -> None:
    """Add the verb with its commands."""
    verb = typer.Typer(no_args_is_help=True, help="The results as a static site; a guard over committed results.")
    verb.command()(build)
    verb.command()(check)
    app.add_typer(verb, name="leaderboard")


def build(
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of results, repeatable; the repository's and the workspace's if not given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the site; in the workspace if not given.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Results folder with images of 'bench --save-images', where they are not beside the results."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the site: tables with intervals, published figures, every image. It opens without a server."""
    from rainrag.core import workspace
    from rainrag.leaderboard.build import RESULTS
    from rainrag.leaderboard.build import build as make

    roots = list(results or ()) or [r for r in (RESULTS, workspace.place("results")) if r.is_dir()]
    with console.progress("tables") as advance:
        page = make(roots, out or workspace.place("leaderboard"), images=tuple(images or ()), progress=advance)
    if as_json:
        console.emit({"page": str(page), "results": [str(r) for r in roots]})
    else:
        typer.echo(page)


def check(
    results: Annotated[Path | None, typer.Option(help="Folder of results; the repository's if not given.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Enter new results in the roll of those that must stay as they are.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --accept: also results that were changed or removed on purpose.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make sure that committed results are whole, unedited, all there, and there once.

    Exit code 5 when they are not.
    """
    from rainrag.evaluation import results as reader
    from rainrag.leaderboard import check as guard
    from rainrag.leaderboard.build import RESULTS

    root = results or RESULTS
    wrong = guard.check(root)
    if accept:
        wrong = [p for p in wrong if not (replace and p.kind in ("changed", "removed"))]
        if not wrong:
            guard.accept(root)
    runs, fresh = len(reader.find(root)), guard.fresh(root)
    if as_json:
        console.emit({"results": runs, "new": fresh, "problems": [asdict(p) for p in wrong]})
    else:
        for p in wrong:
            typer.echo(f"{p.run}: {p.kind}: {p.what}")
    if wrong:
        raise IntegrityError(
            f"{len(wrong)} problems in {runs} results",
            where=root,
            hint="restore the files; --accept --replace where a change or removal is meant",
        )
    console.say(f"{runs} results: whole, unedited, all there")
    if fresh:
        console.say(f"{len(fresh)} of them are new and not in the roll yet: rainrag leaderboard check --accept")
