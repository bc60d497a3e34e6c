"""``rainrag audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rainrag.cli import console
from rainrag.core.errors import IntegrityError, UsageError
from rainrag.core.names import grouped

if TYPE_CHECKING:
    from rainrag.data.audit import AuditReport


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
    pattern: Annotated[
        str | None,
        typer.Option(help="Names that belong together in a plain folder: 'RAINY=CLEAN', as 'wet/{}_*=dry/{}'."),
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="What the rainy files' names end with.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Photographs without clean sides, whatever their names.")
    ] = False,
    fail_on: Annotated[
        str | None,
        typer.Option(
            help="Exit with 5 where any of these is found: undecodable, pairs, duplicates, leaks, unplaced; commas, or all."
        ),
    ] = None,
    gates: Annotated[bool, typer.Option("--gate/--no-gate", help="Check pairs for faults.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Find undecodable files, unsound pairs, duplicates, and scenes shared between training and test sets.

    Exit code 0 whatever is found, unless --fail-on names it. Training scenes of the available test sets are known by the
    packaged ledger; more are added with --ledger.
    """
    from rainrag.cli.ingesting import say_layout
    from rainrag.core.jobs import create
    from rainrag.data.sources.folder import own_layout

    wanted = findings(fail_on)
    layout = own_layout(pattern, suffix, unlabelled)
    from rainrag.data import audit as work
    from rainrag.data import contamination as ledgers

    with console.progress("audit") as advance:
        report, items = work.audit(
            data, create("local", workers=workers), against or (), gates=gates, layout=layout, say=say_layout,
            progress=advance,
        )  # fmt: skip
    if ledger:
        rows = [{"key": i.key, "phash": i.phash} for i in items if i.split != "train"]
        added = ledgers.extend(ledger, rows)
        console.say(f"{added} scenes added to {ledger}")
    if html:
        from rainrag.reports import audit as auditing

        auditing.write(html, report, data, against or [], layout)
        console.say(f"report: {html}")
    if as_json:
        console.emit(report.to_dict())
    else:
        _show(report)
    if failed := {kind: n for kind in wanted if (n := len(getattr(report, kind)))}:
        raise IntegrityError(
            f"found: {', '.join(f'{n} {kind}' for kind, n in failed.items())}",
            where=", ".join(map(str, data)),
            hint="the list: --json, or --html FILE with pictures",
        )


#: What --fail-on can name: lists of the report.
FINDINGS = ("undecodable", "pairs", "duplicates", "leaks", "unplaced")


def findings(text: str | None) -> tuple[str, ...]:
    """The kinds that --fail-on names.

    Raises:
        UsageError: for an unknown one.
    """
    named = [part for part in (text or "").replace(" ", "").split(",") if part]
    for part in named:
        if part not in (*FINDINGS, "all"):
            raise UsageError(f"--fail-on knows no '{part}'", hint=f"{', '.join(FINDINGS)}, or all")
    return FINDINGS if "all" in named else tuple(dict.fromkeys(named))


def _show(report: AuditReport) -> None:
    from rich.markup import escape

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
        console.say(f"[red]undecodable[/] {escape(x['key'])}: {x['reason']}")
    for x in report.pairs[:10]:
        console.say(f"[yellow]unsound[/] {escape(x['key'])}: {x['reason']} ({escape(x['detail'])})")
    for g in report.duplicates[:10]:
        console.say(f"[yellow]same picture[/] {escape(', '.join(g))}")
    for leak in report.leaks[:10]:
        about = f"{leak['kind']}, {leak['distance']} of 256 bits"
        console.say(f"[red]leak[/] {escape(leak['key'])} is {escape(leak['against'])} ({about})")
    for line in grouped((x["key"], x["detail"] or x["reason"]) for x in report.unplaced):
        console.say(f"left out: {line}", markup=False)
    console.say("all of it: --json; with pictures: --html FILE")
