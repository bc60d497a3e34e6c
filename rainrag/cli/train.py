"""``rainrag train``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rainrag.cli import complete, console


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train")(train)


MACHINE = "Where it runs"
DEVICES = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "gpu": "gpu"}  # Lightning's word for cuda


def train(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="A dataset (splits of 'rainrag distill', or of 'rainrag ingest'), or a folder "
            "{drs,drd,nrs,nrd}/{input,target}; repeatable. The workspace's splits if not given."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="unirain, or a network of 'rainrag models'.", autocompletion=complete.models)
    ] = "unirain",
    recipe: Annotated[
        str, typer.Option(help="paper, laptop, cpu, shipped-tiny, or a YAML file.", autocompletion=complete.recipes)
    ] = "laptop",
    weights: Annotated[
        str | None, typer.Option(help="Begin with these instead of fresh ones; as 'rainrag bench' names them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; in the workspace's runs if not given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Steps, in place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the recipe's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the recipe: lr=1e-3, network.preset=tiny; repeatable."),
    ] = None,
    logger: Annotated[str, typer.Option(help="tensorboard, wandb or none.")] = "tensorboard",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode; default: one per core.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=MACHINE)] = "auto",
    devices: Annotated[int | None, typer.Option(min=1, help="GPUs of each machine.", rich_help_panel=MACHINE)] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, under torchrun.", rich_help_panel=MACHINE)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Train UniRain or any baseline on pairs of all rain types alike.

    Scenes of known test sets are left out. After every round a held-out probe of each type is measured: it weighs the
    types, chooses the checkpoint, and is a point to go on from with --resume.
    """
    work = _library()
    from rainrag.cli import memory
    from rainrag.core import workspace
    from rainrag.core.errors import UsageError

    if device not in DEVICES:
        raise UsageError(f"no device '{device}'", hint=f"one of {', '.join(DEVICES)}")
    roots = tuple(data or [workspace.place("splits")])
    chosen = work.load(recipe, setting or (), steps=max_steps, seed=seed)
    request = work.Request(model.lower(), roots, chosen, out, resume, logger, devices, nodes, DEVICES[device], weights)
    if dry_run:
        _show_plan(work.plan(request), as_json)
        return
    memory.keep()
    with console.progress("decode") as decoding:
        work.prepare(roots, chosen, workers, decoding)
    with console.progress("train", chosen.steps) as advance:
        report = _reporter(chosen.steps, not console.QUIET)
        result = work.train(request, workers, advance=advance, report=report)
    if not result:
        return  # another process reports
    if as_json:
        console.emit(result)
    else:
        _show(result)


def _library() -> Any:
    from rainrag.core.errors import MissingError

    try:
        import lightning  # noqa: F401
    except ModuleNotFoundError as e:
        raise MissingError("training needs Lightning", hint="pip install 'rainrag[train]'") from e
    from rainrag import training as work

    return work


def _reporter(steps: int, wanted: bool) -> Callable[[dict[str, Any]], None]:
    """Says after each round how far training is."""
    start: list[tuple[float, int]] = []

    def report(figures: dict[str, Any]) -> None:
        step = figures["step"]
        start.append((time.monotonic(), step))
        if not wanted:
            return
        seconds, done = start[-1][0] - start[0][0], step - start[0][1]
        eta = f", {_span(seconds / done * (steps - step))} to go" if done else ""
        each = " ".join(f"{t} {v:.2f}" for t, v in figures["psnr"].items())
        weights = " ".join(f"{w:.2f}" for w in figures["weights"].values())
        console.say(f"step {step} of {steps}: probe {figures['mean']:.3f} dB ({each}), weights {weights}{eta}")

    return report


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.emit(plan)
        return
    from rainrag.core.files import human_bytes

    shown = {
        "model": f"{plan['model']}, {plan['parameters']:,} parameters",
        "pairs": ", ".join(f"{t} {n}" for t, n in plan["pairs"].items()),
        "cannot be used": plan["left_out"],
        "pixel cache": human_bytes(plan["cache_bytes"]),
        "steps": f"{plan['recipe']['steps']:,} of {plan['recipe']['batch']} crops of {plan['recipe']['patch']} pixels",
        "run folder": plan["out"],
    }
    console.table(None, ["what", "value"], [[k, v] for k, v in shown.items()])


def _show(result: dict[str, Any]) -> None:
    first, best = result["first_probe"]["psnr"], result["probe"]["psnr"]
    pairs = result["data"]["pairs"]
    rows = [[t, pairs[t]["train"], pairs[t]["probe"], f"{first[t]:.2f}", f"{best[t]:.2f}"] for t in best]
    console.table(
        f"{result['model']}, {result['parameters']:,} parameters, step {result['best_step']} of {result['steps']}",
        ["type", "pairs", "probe pairs", "PSNR before, dB", "after"],
        rows,
        right=("pairs", "probe pairs", "PSNR before, dB", "after"),
    )
    for reason, n in result["data"]["left_out"].items():
        console.say(f"[yellow]left out[/] {n}: {reason} (left-out.json)")
    console.say(f"weights: {result['out']}/{result['weights']['path']}")
    if result["model"] == "unirain":
        console.say(f"use them: rainrag derain PHOTO --weights {result['out']}/weights")
    else:
        weights = f"{result['out']}/{result['weights']['path']}"
        console.say(f"use them: rainrag derain PHOTO --model {result['model']} --weights {weights}")
