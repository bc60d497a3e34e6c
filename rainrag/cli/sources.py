"""``rainrag sources`` and ``rainrag download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rainrag.cli import complete, console


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("sources")(sources)
    app.command("download")(download)


def sources(
    name: Annotated[str | None, typer.Argument(help="One source, in full.", autocompletion=complete.sources)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the public sets: what they hold, their licence, where to get them."""
    from rainrag.core.types import Source
    from rainrag.data import sources as table

    chosen: list[Source] = [table.get(n) for n in ([name] if name else table.names())]
    if as_json:
        listed = [s.to_dict() for s in chosen]
        console.emit(listed[0] if name else listed)
        return
    if name:
        _card(chosen[0])
        return
    rows = []
    for s in chosen:
        pairs = " / ".join(f"{n if n is not None else '?'} {k}" for k, n in s.counts.items()) or "?"
        where = ", ".join(dict.fromkeys(a.host for a in s.archives)) or "-"
        rows.append([s.name, "+".join(s.subsets) or "-", pairs, "real" if s.real else "synthetic", s.licence, where])
    console.table("Sources", ["name", "subsets", "pairs", "kind", "licence", "hosts"], rows)


def _card(s: object) -> None:
    from rainrag.core.types import Source

    assert isinstance(s, Source)
    lines = [
        ("title", s.title), ("paper", s.paper), ("home", s.homepage), ("licence", s.licence),
        ("subsets", ", ".join(s.subsets) or "none (weather or unlabelled)"),
        ("pairs", ", ".join(f"{k} {n if n is not None else 'unknown'}" for k, n in s.counts.items()) or "unknown"),
        ("kind", ("real" if s.real else "synthetic") + f", role {s.role}"),
        ("contains", ", ".join(s.contains)), ("superseded by", s.superseded_by or ""),
    ]  # fmt: skip
    for key, value in lines:
        if value:
            typer.echo(f"{key:14} {value}")
    for layout in s.layouts:
        typer.echo(f"{'layout':14} {layout.expected}")
    for a in s.archives:
        typer.echo(f"{'get it':14} {a.host}: {a.ref}" + (f" (code {a.password})" if a.password else ""))
    for note in s.notes:
        typer.echo(f"{'note':14} {note}")


def download(
    name: Annotated[str, typer.Argument(help="A source (see: rainrag sources).", autocompletion=complete.sources)],
    out: Annotated[Path | None, typer.Option(help="Folder for archives and the unpacked set.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Fetch a set where a program can, or print the exact steps for a person."""
    from rainrag.core import workspace
    from rainrag.data import download as fetcher
    from rainrag.data import sources as table

    source = table.get(name)
    target = out or workspace.place("raw", name)
    steps = fetcher.steps(source, target)
    if dry_run or not any(a.fetchable for a in source.archives):
        if as_json:
            console.emit({"source": name, "out": str(target), "steps": steps})
        else:
            typer.echo("\n".join(steps))
        raise typer.Exit(0 if dry_run else 4)
    with console.progress(f"download {name}") as advance:
        done = fetcher.fetch(source, target, advance)
    if as_json:
        console.emit({"source": name, "out": str(target), "files": done})
    else:
        console.say(f"{len(done)} files in {target}; next: rainrag ingest {name} --root {target}")
