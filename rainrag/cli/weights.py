"""``rainrag weights fetch|list|check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import complete, console
from rainrag.core.errors import InputError

if TYPE_CHECKING:
    from rainrag.core.recorded import Recorded

group = typer.Typer(no_args_is_help=True, help="The published networks' weights: fetch, list and check them.")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(group, name="weights")


def _recorded() -> Recorded:
    """Checksums of everything that was fetched, wherever it was put."""
    from rainrag.core import workspace
    from rainrag.core.recorded import Recorded

    return Recorded(workspace.place("weights", "checksums.json"))


@group.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A network (see: rainrag models).", autocompletion=complete.networks)],
    tag: Annotated[str | None, typer.Option(help="Which weights, or 'all'; needed where there are several.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; in the workspace if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Fetch published weights where a program can, or print the exact steps for a person (exit code 4)."""
    from rainrag import baselines
    from rainrag.baselines import fetch as work
    from rainrag.core import hub, workspace
    from rainrag.data import download

    folder = out or workspace.place("weights", name)
    card = baselines.card_of(name)
    chosen = work.choose(card, tag)
    if not any(w.archive.fetchable for w in chosen):
        steps = [line for w in chosen for line in work.steps(card, w, folder)]
        if as_json:
            console.emit({"network": name, "out": str(folder), "steps": steps})
        else:
            typer.echo("\n".join(steps))
        raise typer.Exit(4)
    with console.progress(f"fetch {name}") as advance:
        hosts = work.Hosts(_recorded(), lambda repository: hub.resolve(repository).revision, download._bytes(advance))
        found = work.fetch(name, tag, folder, hosts)
    if as_json:
        console.emit([f.to_dict() for f in found])
        return
    for f in found:
        says = "" if f.loads else f"; does not load as it is: {f.reason}"
        console.say(f"{f.tag}: {f.path} (sha256 {f.sha256}, {f.status}){says}")


@group.command("list")
def listing(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show the weights in the workspace, and whether they are as they were published or first fetched."""
    from rainrag.baselines import fetch as work
    from rainrag.core import workspace

    folder = workspace.place("weights")
    found = work.listing(folder, _recorded())
    if as_json:
        console.emit([f.to_dict() for f in found])
        return
    if not found:
        console.say(f"no weights in {folder}; fetch some: rainrag weights fetch NAME")
        return
    rows = [[f.network, f.tag, f.path.name, f.path.stat().st_size, f.sha256[:12], f.status] for f in found]
    console.table("Weights", ["network", "tag", "file", "bytes", "sha256", "status"], rows, right=("bytes",))
    for f in found:
        if f.status == "changed":
            console.say(f"[red]changed[/] {f.path}: not the file that was fetched first; remove it and fetch it again")


@group.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A weights file.")],
    name: Annotated[str, typer.Argument(help="The network it should fit.", autocompletion=complete.networks)],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Load a file strictly into a network; say which weights it is, or why it does not load (exit code 3)."""
    from rainrag.baselines import fetch as work

    try:
        found, weights = work.check(name, file, _recorded())
    except InputError as e:
        if not as_json:
            raise
        console.emit({"network": name, "path": str(file), "loads": False, "reason": e.what, "hint": e.hint})
        raise typer.Exit(e.exit_code) from e
    document: dict[str, Any] = found.to_dict()
    document["trained_on"] = weights.trained_on if weights else None
    document["licence"] = weights.licence if weights else None
    if as_json:
        console.emit(document)
        return
    typer.echo(f"loads into {name}; sha256 {found.sha256}")
    if weights:
        typer.echo(f"it is '{weights.tag}' ({found.status}), trained on {', '.join(weights.trained_on)}")
        typer.echo(f"licence: {weights.licence}")
    else:
        typer.echo("none of the published weights that are known here: what it was trained on is not known")
