"""What is done with finished splits: ``rainrag verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rainrag.cli import console
from rainrag.cli.stages import stages


def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="What 'rainrag distill' wrote; the workspace's if not given.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="A dataset that it was made of; may be repeated.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="The reference store.")] = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Rebuild splits from the data at hand and say what differs from their lock.

    Exit code 5 when anything differs.
    """
    from rainrag import release, workspace

    target = folder or workspace.place("splits")
    request = release.Request(data=list(data or []), store=store, engine=engine, workers=workers, address=address)
    with stages() as progress:
        found = release.verify(target, request, progress)
    if as_json:
        console.emit({"folder": str(target), "same": not found, "differences": found})
    else:
        for line in found:
            console.out().print(line, markup=False)
        console.say(f"{len(found)} differences" if found else "the same, pair by pair")
    if found:
        raise typer.Exit(5)
