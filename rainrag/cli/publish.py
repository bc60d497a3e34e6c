"""What is done with finished splits: ``rainrag verify``, ``rainrag report``, ``rainrag push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rainrag.cli import console
from rainrag.cli.stages import stages
from rainrag.core.files import human_bytes


def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="What 'rainrag distill' wrote; the workspace's if not given.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="A dataset that it was made of; repeatable.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="The reference store.")] = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Rebuild splits from the data available locally and report what differs from their lock.

    Exit code 5 when anything differs.
    """
    from rainrag.core import workspace
    from rainrag.distill import pipeline

    target = folder or workspace.place("splits")
    request = pipeline.Request(data=list(data or []), store=store, engine=engine, workers=workers, address=address)
    with stages() as progress:
        found = pipeline.verify(target, request, progress)
    if as_json:
        console.emit({"folder": str(target), "same": not found, "differences": found})
    else:
        for line in found:
            console.out().print(line, markup=False)
        console.say(f"{len(found)} differences" if found else "the same, pair by pair")
    if found:
        raise typer.Exit(5)


def report(
    folder: Annotated[
        Path | None, typer.Argument(help="What 'rainrag distill' wrote; the workspace's if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file; report.html in the folder if not given.")] = None,
    store: Annotated[str | None, typer.Option(help="The reference store, for pictures of the references.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Write one HTML file of a distillation: pyramid, keep rates, agreement of the voters, pictures with ballots."""
    from rainrag.core import workspace
    from rainrag.reports import distill as reporting
    from rainrag.retrieval.store import Store

    target = folder or workspace.place("splits")
    path = out or target / "report.html"
    where = store or str(workspace.place("store"))
    opened = Store.open(where) if store or (Path(where) / "store.json").exists() else None
    without = reporting.write(path, target, opened)
    if without:
        console.say(f"[yellow]no pictures of the references[/]: {without}")
    if as_json:
        console.emit({"page": str(path), "without_references": without})
    else:
        console.out().print(str(path), markup=False)


def push(
    folder: Annotated[Path, typer.Argument(help="What 'rainrag distill' wrote.")],
    repo: Annotated[str, typer.Argument(help="Dataset repository of the Hub, OWNER/NAME.")],
    rights: Annotated[
        bool,
        typer.Option("--i-have-the-rights", help="Publish all pixels: you may, whatever their sources' licences say."),
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Publish splits on the Hub: lock, ballots and verdicts, and the pixels whose licence permits it.

    Run again after an interruption: files that are there already are not sent twice.
    """
    from rainrag.distill import publish

    with console.progress("pack") as advance:
        parcel = publish.pack(folder, rights, advance)
    sent: dict[str, Any] = {}
    if not dry_run:
        with console.progress("push", len(parcel.files)) as advance:
            sent = publish.push(parcel, repo, private, advance)
    if as_json:
        console.emit({**parcel.to_dict(), **sent})
        return
    columns = ["source", "licence", "rows with pixels", "rows without"]
    console.table(None, columns, [*publish.listed(parcel)], right=tuple(columns[2:]))
    console.say(f"{len(parcel.files)} files, {human_bytes(parcel.size)}")
    if sent:
        console.say(f"{sent['sent']} sent, {sent['there']} were there, {sent['removed']} removed: {sent['url']}")
