"""``rainrag audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rainrag.cli import console

if TYPE_CHECKING:
    from rainrag.audit import Report


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("audit")(audit)


def audit(
    data: Annotated[list[Path], typer.Argument(help="Datasets, or plain folders of photographs or pairs.")],
    against: Annotated[list[Path] | None, typer.Option(help="Test sets that must not be trained on.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures, one file.")] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Add the scenes of DATA's test and validation parts (of a plain folder: all) to this file."),
    ] = None,
    gates: Annotated[bool, typer.Option("--gate/--no-gate", help="Check pairs for faults.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Find undecodable files, unsound pairs, duplicates, and scenes shared between training and test sets.

    Exit code 0 whatever is found: the report tells. Training scenes of any test set at hand are known by the packaged
    ledger; more are added with --ledger.
    """
    from rainrag import audit as work
    from rainrag import ledger as ledgers
    from rainrag.engine import create

    with console.progress("audit") as advance:
        report, items = work.audit(data, create("local", workers=workers), against or (), gates=gates, progress=advance)
    if ledger:
        rows = [{"key": i.key, "phash": i.phash} for i in items if i.split != "train"]
        added = ledgers.extend(ledger, rows)
        console.say(f"{added} scenes added to {ledger}")
    if html:
        from rainrag.reports import audit as auditing

        auditing.write(html, report, data, against or [])
        console.say(f"report: {html}")
    if as_json:
        console.emit(report.to_dict())
    else:
        _show(report)


def _show(report: Report) -> None:
    rows = [
        ["images or pairs", report.images],
        ["undecodable", len(report.undecodable)],
        ["unsound pairs", len(report.pairs)],
        ["groups of duplicates", len(report.duplicates)],
        ["clips", len(report.scenes)],
        ["leaks", len(report.leaks)],
        ["files that fit nowhere", len(report.unplaced)],
    ]
    console.table("Audit", ["what", "how many"], rows, right=("how many",))
    for x in report.undecodable[:10]:
        console.say(f"[red]undecodable[/] {x['key']}: {x['reason']}")
    for x in report.pairs[:10]:
        console.say(f"[yellow]unsound[/] {x['key']}: {x['reason']} ({x['detail']})")
    for g in report.duplicates[:10]:
        console.say(f"[yellow]same picture[/] {', '.join(g)}")
    for leak in report.leaks[:10]:
        console.say(f"[red]leak[/] {leak['key']} is {leak['against']} ({leak['kind']}, {leak['distance']} of 256 bits)")
    console.say("all of it: --json; with pictures: --html FILE")
