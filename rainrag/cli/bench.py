"""``rainrag bench``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import complete, console, running
from rainrag.core.errors import MissingError, UsageError

if TYPE_CHECKING:
    from rainrag.benchmarks.planning import Asked, Missing, Step
    from rainrag.benchmarks.ranking import Standing, Table
    from rainrag.benchmarks.tables import Experiment


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench")(bench)


HOW = "How it is run"


def bench(
    experiment: Annotated[
        str | None, typer.Argument(help="A table of the paper (table1 … table7), or real-sets. See docs/bench.md.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="unirain (default) and names of 'rainrag models'; commas or repeated.", autocompletion=complete.models
        ),
    ] = None,
    testset: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME=FOLDER, or folder:INPUTS,TARGETS; repeatable. Default: all that are available locally.",
            autocompletion=complete.testsets,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="File, folder or published tag; MODEL=… where there are several models.")
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="y, y-trunc, matlab-y, unirain, rgb, …; the test set's own if not given.",
            autocompletion=complete.protocols,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Further metric: lpips, niqe, brisque; of pyiqa: dists, …")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of restored images instead of a network; --model names it.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="--images: names that belong together, 'RESULT=INPUT', such as '{}_net={}'.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="--images: what the names end with: _MyNet_Rain100L.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Train the models first, by this recipe of 'rainrag train'.", autocompletion=complete.recipes
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="What to train on with --recipe; the workspace's splits if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; in the workspace if not given.")] = None,
    only_missing: Annotated[
        bool, typer.Option("--only-missing/--always", help="Leave out what is there, of the same images and weights.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="The first images of each set, as a set of its own.")] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Two images of each set, nothing kept: does it run at all?")
    ] = False,
    save_images: Annotated[
        bool, typer.Option("--save-images", help="Keep restored images, inputs and targets beside the results.")
    ] = False,
    tile: Annotated[str, typer.Option(help="auto, full, 256, or 256,32.", rich_help_panel=HOW)] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.", rich_help_panel=HOW)] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.", rich_help_panel=HOW)] = "fp32",
    download: Annotated[
        bool, typer.Option("--download", help="Let pyiqa fetch weights of its metrics.", rich_help_panel=HOW)
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run models on test sets; one result a run, with every image's score, intervals, and what was published.

    Exit code 4 when something that was asked for is missing (the rest is done all the same).
    """
    running.check(tile, device, precision)
    from rainrag.benchmarks import planning, tables
    from rainrag.evaluation import run as work

    if images is None and (pattern or suffix):
        raise UsageError("--pattern and --suffix are of --images", hint="--images FOLDER")
    models = tuple(m for given in model or () for m in given.split(",") if m)
    settings = work.BenchSettings(
        tuple(protocol or ()), tuple(metric or ()), tile, device, precision, save_images and not smoke, download
    )
    folder = None if images is None else (_only(models) or images.resolve().name.lower(), images)
    asked = planning.Asked(
        experiment, models, tuple(testset or ()), _by_model(weights or (), models), folder, 2 if smoke else limit,
        pattern=pattern, suffix=suffix,
    )  # fmt: skip
    if recipe:
        asked = _trained(asked, recipe, data, dry_run)
    with planning.results_root(out, smoke) as root:
        steps, missing = planning.plan(asked, settings, root)
        if dry_run:
            _show_plan(steps, missing, as_json)
        else:
            if not steps and missing and not experiment:
                raise _all_missing(missing)
            _run([s for s in steps if not (only_missing and s.done)])
            _show(steps, missing, tables.get(experiment) if experiment else None, as_json)
    if missing:
        raise typer.Exit(4)


def _only(models: Sequence[str]) -> str | None:
    if len(models) > 1:
        raise UsageError("a folder of images is of one model", hint="one --model to name it by")
    return models[0] if models else None


def _by_model(given: Iterable[str], models: Sequence[str]) -> dict[str, str]:
    """``--weights`` by model; "" for a value without a name."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        known = sign and name in {*models, "unirain"}
        found[name if known else ""] = value if known else text
    return found


def _trained(asked: Asked, recipe: str, data: Path | None, dry_run: bool) -> Asked:
    """The models trained by a recipe, each in its own run; a run that was broken off goes on."""
    from dataclasses import replace

    from rainrag.benchmarks import planning

    if asked.experiment or asked.folder:
        raise UsageError("--recipe trains the models of --model", hint="leave the experiment or --images out")
    weights = {}
    if dry_run:
        raise UsageError("--dry-run does not train", hint="rainrag train --dry-run says what a recipe would do")
    for name in asked.models or ("unirain",):
        with console.progress(f"train {name}") as advance:
            weights[name] = planning.train(name, recipe, data, advance)
    return replace(asked, models=asked.models or ("unirain",), weights=weights)


def _all_missing(missing: Sequence[Missing]) -> MissingError:
    lines = [f"- {m.what}" + (f"\n    {m.hint}" if m.hint else "") for m in missing]
    return MissingError("nothing can be run; missing:\n" + "\n".join(lines), hint="get one of these, then run it again")


def _run(steps: Sequence[Step]) -> None:
    from rainrag.evaluation import run as work
    from rainrag.evaluation.submissions import Folder

    for step in steps:
        if step.entrant.folder is not None:
            console.say(Folder(step.entrant, step.opened).layout, markup=False)
        name = f"{step.entrant.name} on {step.opened.name}"
        with console.progress(name, len(step.opened.items)) as advance:
            work.run(step.entrant, step.opened, step.settings, step.root, advance)


# ---------------------------------------------------------------- showing
def _show_plan(steps: Sequence[Step], missing: Sequence[Missing], as_json: bool) -> None:
    if as_json:
        console.emit({"runs": [s.to_dict() for s in steps], "missing": [m.__dict__ for m in missing]})
        return
    rows = []
    for s in steps:
        d = s.to_dict()
        cost = "" if d["gmacs_256"] is None else f"{d['gmacs_256']:.1f}"
        state = "there" if s.done else "to run"
        rows.append([d["model"], d["weights"], d["testset"], d["n"], ", ".join(d["protocols"]), cost, state])
    columns = ["model", "weights", "test set", "images", "protocols", "GMACs a 256x256", "state"]
    console.table("Runs", columns, rows, right=("images", "GMACs a 256x256"))
    _say_missing(missing)


def _say_missing(missing: Sequence[Missing]) -> None:
    from rich.markup import escape

    for m in missing:
        console.say(
            f"[yellow]missing[/] {escape(m.what)}" + (f"\n  [green]hint:[/] {escape(m.hint)}" if m.hint else "")
        )


def _show(steps: Sequence[Step], missing: Sequence[Missing], experiment: Experiment | None, as_json: bool) -> None:
    from rainrag.benchmarks import ranking

    found = [ranking.table(paths) for paths in _by_table(steps)]
    if as_json:
        figures = experiment.figures() if experiment else []
        missed = [m.__dict__ for m in missing]
        console.emit({"tables": [_document(t) for t in found], "published": figures, "missing": missed})
        return
    for t in found:
        _table(t)
    if experiment:
        _published(experiment)
    _say_missing(missing)


def _by_table(steps: Sequence[Step]) -> list[list[Path]]:
    """Results by test set and protocol."""
    from rainrag.evaluation import results

    groups: dict[tuple[str, str], list[Path]] = {}
    for path in dict.fromkeys(p for s in steps for p in s.paths if p.is_file()):
        result = results.load(path)
        groups.setdefault((result.testset, result.protocol), []).append(path)
    return list(groups.values())


def _document(t: Table) -> dict[str, Any]:
    from rainrag.evaluation import results

    return {
        "testset": t.testset,
        "protocol": t.protocol,
        "metric": t.metric,
        "results": [
            {
                "path": str(s.path),
                "rank": s.rank,
                "group": s.group,
                "published": [p.__dict__ for p in s.published],
                **results.plain(s.result),
            }
            for s in t.standings
        ],
        "compared": [c.__dict__ for c in t.compared],
        "left_out": t.left_out,
        "notes": list(t.notes),
    }


def _table(t: Table) -> None:
    from rainrag.benchmarks import ranking

    names = list(t.standings[0].result.signature)
    columns = ["model", "n", *names, f"{t.metric}, 95 %", "clean", "rank", "group", "published", "s an image"]
    rows = [[ranking.label(s.result), s.result.n, *_figures(s, names, t.metric)] for s in t.standings]
    console.table(f"{t.testset}, protocol {t.protocol}", columns, rows, right=("n", *names, "s an image"))
    first = t.standings[0].result
    console.say(f"{t.testset}: {'; '.join(first.signature.values())}")
    for note in dict.fromkeys([*t.notes, *(n for s in t.standings for n in s.result.notes)]):
        console.say(f"note: {note}")
    if t.left_out:
        console.say(f"note: ranks leave out {t.left_out} images that have no finite {t.metric} everywhere")


def _figures(s: Standing, names: Sequence[str], metric: str) -> list[str]:
    from rainrag.evaluation import results

    r = s.result
    means = ["inf" if r.mean[n] is None else f"{r.mean[n]:.4f}" for n in names]
    span = r.interval.get(metric)
    clean = ""
    if r.clean is not None:
        value = r.clean["mean"].get(metric)
        clean = (
            f"{'-' if value is None else f'{value:.2f}'} ({r.clean['n']}{'' if r.clean['complete'] else ' or fewer'})"
        )
    rank = "" if s.rank is None else f"{s.rank[0]}" if s.rank[0] == s.rank[1] else f"{s.rank[0]}-{s.rank[1]}"
    shown = [f"{p.psnr:g}/{'-' if p.ssim is None else f'{p.ssim:g}'}{'' if p.sure else '?'}" for p in s.published]
    return [
        *means, "" if span is None else f"{span[0]:.2f} .. {span[1]:.2f}", clean, rank, s.group,
        ", ".join(dict.fromkeys(shown)), "busy" if results.BUSY in r.notes else f"{r.seconds / r.n:.2f}",
    ]  # fmt: skip


def _published(experiment: Experiment) -> None:
    figures = experiment.figures()
    if not figures:
        return
    columns = [c for c in figures[0] if c not in ("model", "testset", "source")]
    console.table(f"Published: {experiment.title}", columns, [[r[c] for c in columns] for r in figures])
    console.say(experiment.about)
    for source in dict.fromkeys(r["source"] for r in figures):
        console.say(f"source: {source}")
