"""``rainrag ingest``."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from rainrag.cli import complete, console
from rainrag.core.errors import MissingError, UsageError, did_you_mean

if TYPE_CHECKING:
    pass


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ingest")(ingest)


def ingest(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A source; without one, every set found in the workspace.", autocompletion=complete.sources
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The unpacked set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the dataset goes.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of pairs.")] = None,
    per_scene: Annotated[int | None, typer.Option(min=1, help="Maximum number of pairs per scene.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    link: Annotated[bool, typer.Option("--link/--embed", help="Keep paths instead of bytes.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Discard existing results if the settings differ.")
    ] = False,
    lq_glob: Annotated[str | None, typer.Option(help="folder: the rainy files, relative to --root.")] = None,
    gt_glob: Annotated[str | None, typer.Option(help="folder: their clean files; * must stand for the same.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="folder: names that belong together: 'RAINY=CLEAN', such as 'wet/{}_*=dry/{}'.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="folder: what the rainy files' names end with.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="folder: photographs without clean sides, whatever their names.")
    ] = False,
    called: Annotated[str | None, typer.Option("--name", help="folder: name of the set in keys.")] = None,
    subset: Annotated[
        str | None, typer.Option(help="folder: DRS, DRD, NRS or NRD for all pairs.", autocompletion=complete.subsets)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="folder: licence of the images.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="rendered: number of scenes.")] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="rendered: folder of clean photographs.")] = None,
    seed: Annotated[int, typer.Option(help="rendered: seed.")] = 0,
    faults: Annotated[
        bool, typer.Option("--faults", help="rendered: plant known faults in a share of samples.")
    ] = False,
    keep_ledger_scenes: Annotated[
        bool, typer.Option("--keep-ledger-scenes", help="Do not leave known test scenes out of training parts.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a contact sheet of the pairs, one file.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Pair the files, say what would be done, write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Turn a public set, your own folder or rendered rain into one dataset for load_dataset."""
    from rainrag.cli import ingesting
    from rainrag.core import workspace
    from rainrag.data import sources
    from rainrag.data.dataset import SPLITS

    if name is None:
        alone = {
            "--root": root, "--out": out, "--split": split, "--limit": limit, "--per-scene": per_scene, "--link": link,
            "--overwrite": overwrite, "--lq-glob": lq_glob, "--gt-glob": gt_glob, "--pattern": pattern,
            "--suffix": suffix, "--unlabelled": unlabelled, "--name": called, "--subset": subset,
            "--licence": licence, "--scenes": scenes, "--backgrounds": backgrounds, "--faults": faults,
            "--keep-ledger-scenes": keep_ledger_scenes, "--html": html,
        }  # fmt: skip
        if given := [option for option, value in alone.items() if value]:
            raise UsageError(
                f"{', '.join(given)} without the name of a source",
                hint="rainrag ingest NAME …; your own pairs: rainrag ingest folder --root DIR; all names: rainrag sources",
            )
        ingesting.everything(workers, dry_run, as_json)
        return
    if name not in sources.TABLE and (os.sep in name or Path(name).is_dir()):
        raise UsageError(
            f"'{name}' is a folder, and the name of a source belongs here",
            hint=f"your own pairs or photographs: rainrag ingest folder --root {quote(name)} --name mine; a public set: "
            f"rainrag ingest NAME --root {quote(name)} (all names: rainrag sources)",
        )
    source = sources.find(name)
    name = source.name
    own = {
        "name": called, "subset": subset, "licence": licence, "lq_glob": lq_glob, "gt_glob": gt_glob,
        "pattern": pattern, "suffix": suffix, "unlabelled": unlabelled,
    }  # fmt: skip
    if name != "folder" and any(own.values()):
        raise UsageError(
            f"{', '.join('--' + k.replace('_', '-') for k, v in own.items() if v)} only fit the source 'folder'",
            hint="rainrag ingest folder --root DIR …",
        )
    if name == "rendered" and scenes is None and (backgrounds or faults):
        raise UsageError("--backgrounds and --faults need --scenes", hint="rainrag ingest rendered --scenes 40 …")
    if name != "rendered" and (scenes or backgrounds or faults):
        raise UsageError("--scenes, --backgrounds and --faults only fit the source 'rendered'")
    unknown = [s for s in split or () if s not in SPLITS]
    if unknown:
        raise UsageError(f"no split '{unknown[0]}'", hint=did_you_mean(unknown[0], list(SPLITS)))
    target = out or workspace.place("datasets", called or name)
    where = root or workspace.place("raw", name)
    if name == "rendered":
        ingesting.render(where, scenes, backgrounds, seed, faults, workers, dry_run, overwrite)
    if not where.is_dir():
        own_way = "--root FOLDER of your pairs or photographs"
        hint = own_way if name == "folder" else f"rainrag download {name}, or --root FOLDER of the unpacked set"
        raise MissingError(f"'{name}' is not available locally", where=where, hint=hint)
    layout = None
    if name == "folder":
        from rainrag.data.sources.folder import own_folder, own_layout

        layout = own_layout(pattern, suffix, unlabelled, lq_glob, gt_glob)
        source = own_folder(source, called, subset, licence)
    if dry_run:
        ingesting.show_plan(source, where, target, split, limit, per_scene, layout, as_json)
        return
    report = ingesting.one(
        source, where, target, workers, layout=layout, splits=split, limit=limit, per_scene=per_scene, link=link,
        overwrite=overwrite, keep_ledger_scenes=keep_ledger_scenes,
    )  # fmt: skip
    if html:
        from rainrag.reports import ingest as sheet

        sheet.write(html, report)
        console.say(f"contact sheet: {html}")
    ingesting.show(report, as_json)
