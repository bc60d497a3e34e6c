"""``rainrag calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rainrag.cli import console

if TYPE_CHECKING:
    from rainrag.distill.evaluate_voters import Rate, VoterReport


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("calibrate")(calibrate)


def calibrate(
    store: Annotated[str | None, typer.Option(help="Reference store: folder or address; the workspace's.")] = None,
    voters: Annotated[
        str, typer.Option(help="As for distill: statistical, or internvl,llava,mobilevlm …")
    ] = "statistical",
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs; else bundled ones and made-up streets.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=2, help="Clean scenes; each gives a sound pair and one a fault.")] = 40,
    seed: Annotated[int, typer.Option(help="Of scenes, rain and faults.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; repeatable.")] = None,
    quorum: Annotated[int | None, typer.Option(min=1, help="Yes votes needed; a strict majority.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Share of photographs like the store's that the panel may reject.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Statistical voters compare with: retrieved, random, or store.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be rendered and asked; ask nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure checks and voters on rendered rain, planted faults, false rain and dry scenes: what they keep and catch."""
    from dataclasses import asdict

    from rainrag import voters as voting
    from rainrag.core import workspace
    from rainrag.distill import evaluate_voters as work
    from rainrag.retrieval.store import Store

    cases = work.planned_cases(backgrounds, scenes, seed, fault or ())
    opened = Store.open(store or workspace.place("store"))
    panel = voting.panel(voters, store=_own(voters, str(opened.path)), alpha=alpha, context=context)
    if dry_run:
        _plan(cases, [v.name for v in panel], as_json)
        return
    with console.progress("calibrate", cases * (1 + len(panel))) as advance:
        found = work.run(
            opened,
            panel,
            folder=backgrounds,
            scenes=scenes,
            seed=seed,
            faults=fault or (),
            quorum=quorum,
            alpha=alpha or 0.05,
            progress=advance,
        )
    if as_json:
        console.emit(asdict(found))
        return
    _show(found)


def _own(voters: str, path: str) -> str | None:
    """The store's folder as a setting, where one of the voters knows it."""
    from rainrag import voters as voting

    return path if set(voting.members(voters)) & set(voting.GROUPS["statistical"]) else None


def _plan(cases: int, names: list[str], as_json: bool) -> None:
    calls = dict.fromkeys(names, cases)
    if as_json:
        console.emit({"cases": cases, "calls": calls})
        return
    console.table("would ask", ["voter", "questions"], [[n, c] for n, c in calls.items()], right=("questions",))


def _show(found: VoterReport) -> None:
    """A row a fault, a column a judge."""
    alone = [n for n in found.figures if not n.startswith("without ")]
    whole = found.figures[alone[-1]]
    rows = [["sound pairs kept", *(_cell(found.figures[n].keep) for n in alone)]]
    rows += [[f"{f} rejected", *(_cell(found.figures[n].faults[f]) for n in alone)] for f in whole.faults]
    rows += [
        ["all faults rejected", *(_cell(found.figures[n].all) for n in alone)],
        ["AUC, rain faults", *(_cell(found.figures[n].auc_rain) for n in alone)],
    ]
    console.table(f"{found.scenes} scenes, {found.cases} pairs; shares with 95 % intervals", ["", *alone], rows)
    left = {n: f for n, f in found.figures.items() if n.startswith("without ")}
    if left:
        console.table(
            "leave one out",
            ["panel", "sound pairs kept", "rain faults rejected", "AUC, rain faults"],
            [[n, _cell(f.keep), _cell(f.rain), _cell(f.auc_rain)] for n, f in left.items()],
        )
    for p in found.promises:
        span = f" ({p.interval[0]:.3f}-{p.interval[1]:.3f})" if p.interval else ""
        note = ", too few for a calibration of their own" if p.pooled else ""
        console.say(f"the panel rejects {p.rejected:.3f}{span} of the store's {p.n} {p.stratum} photographs{note}")
    for name, share in found.abstained.items():
        if share > 0.05:
            console.say(f"[yellow]{name}[/] abstained on {share:.0%} of the pairs; an abstention is not a yes")
    console.say("rain was rendered, not photographed: these rates compare judges, they are no promise for other data")


def _cell(rate: Rate | None) -> str:
    if rate is None or rate.share is None:
        return "-"
    return f"{rate.share:.2f}" if rate.low is None else f"{rate.share:.2f} ({rate.low:.2f}-{rate.high:.2f})"
