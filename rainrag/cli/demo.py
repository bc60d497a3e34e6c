"""``rainrag demo``: the whole flow on a small scale. The steps are in ``rainrag.cli.demo_steps``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import complete, console
from rainrag.core.errors import UsageError

if TYPE_CHECKING:
    from rainrag.cli.demo_steps import Demo


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo")(demo)


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Your own images: pairs in folders such as input/ and target/, or rainy photographs alone."),
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Your photographs of real rain, to judge pairs by.")] = None,
    subset: Annotated[
        str | None,
        typer.Option(
            help="Type of your pairs: DRS, DRD, NRS or NRD. Without, streaks, by day or night as the pixels say.",
            autocompletion=complete.subsets,
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Names of --data that belong together: 'RAINY=CLEAN', such as 'wet/{}_*=dry/{}'.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="What the rainy files' names of --data end with.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="--data holds photographs without clean sides, whatever their names.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for everything, and the run's workspace; rainrag-demo, with the name of --data, if not given."
        ),
    ] = None,
    scenes: Annotated[int, typer.Option(min=8, help="Scenes to render; maximum number of your pairs.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the rendered rain.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run every stage once: render, ingest, audit, store, distill, derain, score, leaderboard.

    Needs no network and no data. Every stage is the real one, on little data: the figures show how it works, not how
    well. Run again after an interruption: it goes on where it stopped.
    """
    from rainrag.cli.demo_steps import Demo
    from rainrag.cli.ingesting import say_layout
    from rainrag.data.sources.folder import own_layout

    started = time.monotonic()
    place = Path("rainrag-demo" if data is None else f"rainrag-demo-{data.resolve().name}")
    layout = own_layout(pattern, suffix, unlabelled)
    if layout and data is None:
        raise UsageError("--pattern, --suffix and --unlabelled are of --data", hint="--data FOLDER")
    run = Demo(out or place, data, photos, scenes, seed, subset, layout)
    if run.matched:
        say_layout(*run.matched)
    with Display([s.title for s in run.steps]) as display:
        for step in run.steps:
            display.begin(step.title)
            display.end(step.do(display.advance))
    run.facts["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        console.emit(run.facts)
    else:
        _show(run)


class Display:
    """One progress display for all steps: a line each on a terminal; in a pipe, a line when a step is done.

    Args:
        titles: of the steps, in order.
    """

    def __init__(self, titles: list[str]) -> None:
        self.titles = titles
        self.live: Any = None
        self.tasks: dict[str, Any] = {}
        self.now = ""
        self.since = 0.0

    def __enter__(self) -> Display:
        import sys

        if console.QUIET or not sys.stderr.isatty():
            return self
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.live = Progress(
            TextColumn("{task.description:<34}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[said]}"), console=console.err(),
        )  # fmt: skip
        self.live.start()
        self.tasks = {t: self.live.add_task(t, total=None, start=False, said="") for t in self.titles}
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def begin(self, title: str) -> None:
        """A step starts."""
        self.now, self.since = title, time.monotonic()
        if self.live:
            self.live.start_task(self.tasks[title])

    def advance(self, n: int) -> None:
        """So many items of the step are done; with -n the step has n items."""
        if not self.live:
            return
        task = self.tasks[self.now]
        if n < 0:
            self.live.update(task, total=-n, completed=0)
        else:
            self.live.advance(task, n)

    def end(self, said: str) -> None:
        """The step is done, and came to this."""
        if not self.live:
            at = f"{self.titles.index(self.now) + 1}/{len(self.titles)}"
            console.say(f"{at} {self.now}: {said} ({time.monotonic() - self.since:.1f} s)")
            return
        task = self.live.tasks[self.tasks[self.now]]
        total = max(1, task.total or 0, int(task.completed))
        self.live.update(task.id, total=total, completed=total, said=said)
        self.live.stop_task(task.id)


def _show(run: Demo) -> None:
    facts = run.facts
    shown = [[k, v["pairs"], v["rejected"], f"{v['rejected'] / v['pairs']:.0%}"] for k, v in facts["judged"].items()]
    console.table(
        "What was judged", ["pairs with", "pairs", "rejected", "share"], shown, right=("pairs", "rejected", "share")
    )
    console.table(
        "Why", ["rejected because", "pairs"], [[reason, n] for reason, n in facts["rejected"].items()], right=("pairs",)
    )
    rows = [[r["testset"], r["model"], r["n"], f"{r['psnr']:.2f}", f"{r['ssim']:.4f}"] for r in facts["scores"]]
    if rows:
        console.table(
            "Scores (protocol y: PSNR and SSIM on BT.601 studio luma)",
            ["test set", "model", "n", "psnr", "ssim"], rows, right=("n", "psnr", "ssim"),
        )  # fmt: skip
    for note in facts["notes"]:
        console.say(f"note: {note}")
    console.say(f"done in {facts['seconds']:.0f} s. Open in a browser:")
    for page in facts["pages"]:
        console.out().print(f"  {page}", markup=False)
    console.say("Then, on your own data:")
    for command in facts["next"]:
        console.out().print(f"  {command}", markup=False)
