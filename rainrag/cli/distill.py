"""``rainrag distill``: the RainRAG splits. What is done with them afterwards is in ``rainrag.cli.publish``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import console
from rainrag.cli.stages import stages

if TYPE_CHECKING:
    from rainrag.distill.pipeline import DistillSummary, Request


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    from rainrag.cli import publish

    app.command("distill")(distill)
    app.command("verify")(publish.verify)
    app.command("report")(publish.report)
    app.command("push")(publish.push)


VOTING = "Voters"
RETRIEVAL = "Retrieval"
MACHINE = "Where it runs"


def distill(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Datasets made by 'rainrag ingest'; all of the workspace if none is named."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="The reference store: a folder, or http://host:port of its Chroma server.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the splits go.")] = None,
    voters: Annotated[
        str,
        typer.Option(
            help="statistical, internvl,llava,mobilevlm, endpoint:MODEL@http://host:port/v1, or any mixture.",
            rich_help_panel=VOTING,
        ),
    ] = "statistical",
    quorum: Annotated[
        int | None,
        typer.Option(min=1, help="Yes votes needed; the strict majority if not given.", rich_help_panel=VOTING),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            help="Share of photographs like the store's that a calibrated panel rejects; for a majority, each voter.",
            rich_help_panel=VOTING,
        ),
    ] = 0.05,
    decide: Annotated[
        str | None,
        typer.Option(
            help="calibrated: p-values combined, for voters that give them; majority: the paper's, for all others.",
            rich_help_panel=VOTING,
        ),
    ] = None,
    keep_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Keep this share of each type, the best by rank (the paper: 0.026).",
            rich_help_panel=VOTING,
        ),
    ] = None,
    all_voters: Annotated[
        bool,
        typer.Option("--all-voters", help="Do not stop when the decision is certain.", rich_help_panel=VOTING),
    ] = False,
    audit_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pairs on which all vote, for agreement.", rich_help_panel=VOTING),
    ] = 0.05,
    allow_abstentions: Annotated[
        bool,
        typer.Option(
            "--allow-abstentions",
            help="Go on when a voter abstains on over a fifth of its first 100 questions.",
            rich_help_panel=VOTING,
        ),
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code of a voter's repository.", rich_help_panel=VOTING),
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, a voter's setting (docs: Voters).", rich_help_panel=VOTING),
    ] = None,
    k1: Annotated[int, typer.Option(help="Nearest captions.", rich_help_panel=RETRIEVAL)] = 100,
    k2: Annotated[int, typer.Option(help="Nearest features among them.", rich_help_panel=RETRIEVAL)] = 20,
    k3: Annotated[
        int, typer.Option(help="Nearest structures among them: the references.", rich_help_panel=RETRIEVAL)
    ] = 3,
    ablate: Annotated[
        str | None,
        typer.Option(help="The paper's ablations: vlm-only, no-retrieval, no-generation.", rich_help_panel=RETRIEVAL),
    ] = None,
    correct_exposure: Annotated[
        bool,
        typer.Option(
            "--correct-exposure",
            help="Correct a target of another exposure where one curve explains it; the row says so.",
        ),
    ] = False,
    per_scene: Annotated[int | None, typer.Option(min=1, help="Maximum number of training pairs per scene.")] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="Maximum number of training pairs per subset.")] = None,
    seed: Annotated[int, typer.Option(help="Of the test part, the audit sample and random references.")] = 0,
    engine: Annotated[str, typer.Option(help="local or ray.", rich_help_panel=MACHINE)] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes or actors; default: one per core.", rich_help_panel=MACHINE)
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; one is started here if not given.", rich_help_panel=MACHINE)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Discard existing results if the settings differ.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Probe this machine for a minute, print costs, write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Judge every pair against real photographs and keep what looks real: the RainRAG splits.

    A gate drops unsound pairs, retrieval finds real photographs of similar scenes, the voters compare, the majority
    decides. Run again after an interruption: it goes on where it stopped.
    """
    from rainrag.core import workspace
    from rainrag.distill import pipeline
    from rainrag.distill.stages import DistillSettings
    from rainrag.retrieval.search import Sizes

    settings = DistillSettings(
        Sizes(k1, k2, k3),
        quorum,
        all_voters,
        audit_share,
        ablate,
        seed,
        per_scene,
        quota,
        decide,
        keep_share,
        correct_exposure,
    )
    options = {**options_of(setting or []), **({"trust_remote_code": True} if trust_remote_code else {})}
    request = pipeline.Request(list(data or []), store, voters, settings, options, alpha, engine, workers, address)
    request.allow_abstentions = allow_abstentions
    if dry_run:
        _estimate(request, as_json)
        return
    target = out or workspace.place("splits")
    with stages() as progress:
        summary = pipeline.make(request, target, overwrite, progress)
    if as_json:
        console.emit(summary.__dict__)
    else:
        _show(summary)


def options_of(settings: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words as settings: numbers, true, false and JSON objects as such, everything else as text.

    Raises:
        UsageError: without a name or a value; for settings that have options of their own.
    """
    import json

    from rainrag.core.errors import UsageError

    found: dict[str, Any] = {}
    for text in settings:
        name, _, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not name or not value:
            raise UsageError(f"'{text}' is no NAME=VALUE", hint="for example --set rpm=600 --set four-bit=true")
        if name in ("store", "alpha", "sizes", "context", "seed"):
            raise UsageError(f"'{name}' is no voter's setting here", hint="--store, --alpha, --k1 …, --ablate, --seed")
        try:
            plain = json.loads(value)
        except ValueError:
            plain = value
        found[name] = plain if isinstance(plain, bool | int | float | dict) else value
    return found


def _show(summary: DistillSummary) -> None:
    rows = [[s, n["train"], n["test"]] for s, n in summary.splits.items()]
    console.table(
        f"{summary.kept} of {summary.candidates} pairs kept", ["subset", "train", "test"], rows, right=("train", "test")
    )
    for reason, n in summary.rejected.items():
        console.say(f"[yellow]rejected[/] {n}: {reason}")
    for voter, said in summary.answers.items():
        if said["abstain"]:
            console.say(f"[yellow]{voter} abstained[/] on {said['abstain']} of {sum(said.values())} pairs")
    for reason, n in summary.unused.items():
        console.say(f"kept, not used {n}: {reason}")
    for reason, n in summary.skipped.items():
        console.say(f"not judged {n}: {reason}")
    if summary.saved:
        console.say(f"{summary.saved:.0%} of the ballots were not needed to decide")
    there = next(((s, part) for part in ("train", "test") for s, n in summary.splits.items() if n[part]), None)
    if there:
        console.say(f'load it with: datasets.load_dataset("{summary.out}", "{there[0]}", split="{there[1]}")')
    console.say(f"look at it: rainrag report {summary.out}")


def _estimate(request: Request, as_json: bool) -> None:
    from rainrag.core.files import human_bytes
    from rainrag.distill import pipeline

    with console.progress("probe") as advance:
        found = pipeline.probe(request)
        advance(found["sample"])
    if as_json:
        console.emit(found)
        return
    console.table(
        f"{found['pairs']} pairs, {found['images']} images, {human_bytes(found['bytes'])}",
        ["stage", "pairs", "model calls", "seconds a pair", "hours"],
        [
            [s["stage"], s["pairs"], s["calls"], _number(s["seconds_a_pair"]), _number(s["hours"])]
            for s in found["stages"]
        ],
        right=("pairs", "model calls", "seconds a pair", "hours"),
    )
    for s in found["stages"]:
        if s["note"]:
            console.say(f"{s['stage']}: {s['note']}")
    console.say(f"with {found['workers']} workers; measured on {found['sample']} pairs in {found['probed_seconds']} s")
    console.say(f"new files: about {human_bytes(found['bytes_written'])}")


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"
