"""What ``rainrag ingest`` does behind its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from rainrag.cli import console
from rainrag.core import workspace
from rainrag.core.errors import MissingError, RainRAGError, UsageError
from rainrag.core.jobs import create
from rainrag.core.names import grouped, printable
from rainrag.core.types import Reject, Source
from rainrag.data import ingest as work
from rainrag.data import sources
from rainrag.data.sources import layouts


def one(source: Source, root: Path, out: Path, workers: int | None, **settings: Any) -> work.IngestReport:
    """Ingest one set with a progress bar; first of all, say how its files pair."""
    layout = settings.pop("layout", None)
    matched = layouts.match(source, root, (layout,) if layout else None)
    say_layout(*matched)
    with console.progress(f"ingest {source.name}") as advance:
        return work.ingest(
            source,
            root,
            out,
            create("local", workers=workers),
            progress=lambda _, n: advance(n),
            planned=lambda n: advance(-n),
            matched=matched,
            **settings,
        )


def say_layout(layout: layouts.Layout, found: layouts.Found) -> None:
    """The first line of what is said: the layout taken, and how many pairs it gives; then what is not read."""
    console.say(printable(found.described(layout)), markup=False)
    for line in grouped(found.unread):
        console.say(f"not read: {line}", markup=False)


def show_plan(
    source: Source,
    root: Path,
    out: Path,
    splits: list[str] | None,
    limit: int | None,
    per_scene: int | None,
    layout: layouts.Layout | None,
    as_json: bool,
) -> None:
    """What would be ingested: pairs, scenes, bytes, files that fit nothing. Writes nothing."""
    from collections import Counter

    from rainrag.core.files import human_bytes

    found_layout, found = layouts.match(source, root, (layout,) if layout else None)
    pairs = work.select(found.pairs, splits, limit, per_scene)
    files = {f for p in pairs for f in (p.lq, p.gt) if f}
    size = sum(work.file_size(root / f) for f in files)
    plan = {
        "source": source.name,
        "out": str(out),
        "layout": printable(found.described(found_layout)),
        "pairs": sum(p.gt is not None for p in pairs),
        "unlabelled": sum(p.gt is None for p in pairs),
        "by_split": dict(Counter(p.split for p in pairs)),
        "scenes": len({(p.split, p.scene) for p in pairs}),
        "bytes": size,
        "left_out": dict(Counter(r.reason for r in found.rejects)),
        "not_read": dict(Counter(why for _, why in found.unread)),
    }
    say_layout(found_layout, found)
    if as_json:
        console.emit(plan)
        return
    for key, value in plan.items():
        typer.echo(f"{key:10} {human_bytes(size) if key == 'bytes' else value}")


def everything(workers: int | None, dry_run: bool, as_json: bool) -> None:
    """Ingest every set whose unpacked folder lies in the workspace; say how to get the others.

    Raises:
        MissingError: when there is none.
    """
    raw = workspace.place("raw")
    known = [n for n in sources.names() if n not in ("folder", "rendered")]
    here = [n for n in known if (raw / n).is_dir()]
    if not here:
        wanted = "\n".join(f"  {raw / n}  <- rainrag download {n}" for n in known[:8])
        raise MissingError(
            f"no set lies in the workspace. Each belongs in its folder:\n{wanted}\n  … ('rainrag sources' lists all "
            f"{len(known)})",
            where=raw,
            hint="rainrag ingest rendered --scenes 40 works without any download; or name a folder: "
            "rainrag ingest folder --root DIR",
        )
    reports = []
    for name in here:
        source = sources.get(name)
        if dry_run:
            show_plan(
                source, raw / name, workspace.place("datasets", name), None, None, source.per_scene, None, as_json
            )
            continue
        try:
            reports.append(
                one(source, raw / name, workspace.place("datasets", name), workers, per_scene=source.per_scene)
            )
        except RainRAGError as e:  # the other sets go on; the reader sees which one did not
            console.say(f"[red]{name}: {e}[/]")
    if as_json:
        console.emit([r.to_dict() for r in reports])
    else:
        for r in reports:
            show(r, False)
    if not dry_run and len(reports) < len(here):
        raise typer.Exit(3)


def render(
    root: Path,
    scenes: int | None,
    backgrounds: Path | None,
    seed: int,
    faults: bool,
    workers: int | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write rendered rain below ``root``, which is then ingested like any set; report photographs that could not be used.

    Raises:
        UsageError: when no number of scenes is given and nothing was rendered before.
    """
    if scenes is None:
        if root.is_dir():
            return
        raise UsageError("how many scenes?", hint="rainrag ingest rendered --scenes 40")
    if dry_run:
        typer.echo(f"would render {scenes} scenes below {root}")
        raise typer.Exit
    from rainrag.data.synthetic import generate

    if overwrite:
        generate.clear(root)
    with console.progress("render", scenes) as advance:
        report = generate.write(root, scenes, backgrounds, seed, faults=faults, workers=workers, progress=advance)
    for note in report.notes:
        console.say(note)
    for r in report.rejects[:20]:
        console.say(f"[yellow]left out[/] {r.key}: {r.reason} ({r.detail})")
    if len(report.rejects) > 20:
        console.say(f"… and {len(report.rejects) - 20} more photographs")
    for fault, n in report.faults.items():
        console.say(f"planted: {n} {fault}")


def show(report: work.IngestReport, as_json: bool) -> None:
    """Print what an ingest did."""
    if as_json:
        console.emit(report.to_dict())
        return
    rows = [
        [place, *(parts.get(s, 0) for s in ("train", "test", "validation"))] for place, parts in report.counts.items()
    ]
    title = f"{report.source}: {report.pairs - report.unlabelled} pairs"
    if report.unlabelled:
        title += f", {report.unlabelled} images without a clean side"
    console.table(title, ["subset", "train", "test", "validation"], rows)
    left_out(report.rejects, work.REASONS, f"{report.out}/report.json")
    for note, n in report.notes.items():
        console.say(f"note: {n} images are '{note}'")
    for line in report.expected:
        console.say(f"count differs: {line}")
    place, split = _fullest(report)
    console.say(f'load it with: datasets.load_dataset("{report.out}", "{place}", split="{split}")')


def left_out(rejects: Sequence[Reject], reasons: dict[str, str], more: str) -> None:
    """Files that were left out, grouped by reason and counted, the most frequent first, with a few of each."""
    groups: dict[str, list[Reject]] = {}
    for r in rejects:
        groups.setdefault(r.reason, []).append(r)
    for reason, found in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        console.say(f"left out {len(found)}, {reason}: {reasons.get(reason, reason)}", markup=False)
        for r in found[:EXAMPLES]:
            console.say(
                f"  {r.key}" + (f": {r.detail}" if r.detail and r.detail != reasons.get(reason) else ""), markup=False
            )
        if len(found) > EXAMPLES:
            console.say(f"  … and {len(found) - EXAMPLES} more: {more}", markup=False)


EXAMPLES = 5


def _fullest(report: work.IngestReport) -> tuple[str, str]:
    """Config and split that hold most rows: what the hint should load."""
    sizes = {(place, split): n for place, parts in report.counts.items() for split, n in parts.items()}
    place, split = max(sizes, key=lambda at: sizes[at])
    return ("all" if place == "other" else place), split
