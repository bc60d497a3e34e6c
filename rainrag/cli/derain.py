"""``rainrag derain``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import complete, console, running
from rainrag.core.names import grouped

if TYPE_CHECKING:
    from rainrag.restore import Done, Failed, Job, Model, Restorer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("derain")(derain)


def derain(
    inputs: Annotated[
        list[str], typer.Argument(help="Files, folders (with all below), or quoted patterns 'rain/**/*.jpg'.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; inputs are never overwritten.")] = Path("derained"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="Shipped set (tiny), folder, .safetensors file or Hub repository; a baseline's weights file."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="unirain, or a network of 'rainrag models'.", autocompletion=complete.models),
    ] = "unirain",
    tile: Annotated[str, typer.Option(help="auto, full, 256, or 256,32 for tiles that overlap by 32.")] = "auto",
    compare: Annotated[bool, typer.Option("--compare", help="Before/after sheets and a page with a slider.")] = False,
    device: Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Memory layout; often faster on a GPU.")
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile; for many images of one size.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Tiles or images at once; 4 on a GPU, 1 on a CPU.")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="--tile auto takes images up to this size whole on a CPU; 500000.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0: the photograph as it came, 1: as restored; between them a blend.")
    ] = 1.0,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Mean over 8 flips and quarter turns, in 8 times the time.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Take the rain out of photographs: same format, size, bit depth, alpha and metadata as the originals.

    Exit code 0 when all are done, 3 when any could not be (the others are done all the same).
    """
    running.check(tile, device, precision)
    from rainrag import restore
    from rainrag.cli import memory
    from rainrag.reports.comparison import Comparison

    not_read: list[tuple[str, str]] = []
    todo = restore.jobs(inputs, out, not_read)
    for line in grouped(not_read):
        console.say(f"not read: {line}", markup=False)
    memory.keep()
    found = restore.find(model, weights)
    settings: dict[str, Any] = {} if max_pixels is None else {"max_pixels": max_pixels}
    engine = restore.Restorer(
        found.network, found.contract, device=device, precision=precision,
        channels_last=channels_last, compile=compiled, batch=batch, strength=strength, ensemble=ensemble, **settings,
    )  # fmt: skip
    fresh = [j for j in todo if overwrite or not j.target.exists()]
    also = Comparison(out) if compare else None
    answers: list[Done | Failed] = []
    expected = _expected(engine, fresh, tile)
    with console.progress("derain, tiles", sum(expected.values())) as advance:
        engine.on_tiles = advance
        for answer in restore.restore_files(engine, fresh, tile, also):
            answers.append(answer)
            if isinstance(answer, restore.Failed) and answer.reason != "network":  # its tiles never came
                advance(expected[answer.job])
    page = also.page("Before and after", answers) if also else None
    failed = [a for a in answers if isinstance(a, restore.Failed)]
    report = _report(found, engine, out, answers, len(todo) - len(fresh), page)
    report["not_read"] = [{"input": path, "reason": why} for path, why in not_read]
    if as_json:
        console.emit(report)
    else:
        _show(report, tile, todo)
    if failed:
        raise typer.Exit(3)


def _expected(engine: Restorer, jobs: Sequence[Job], tile: str) -> dict[Job, int]:
    """Tiles of each file, from the sizes in their headers; says how much there is to do and how long it may take."""
    from rainrag.core.images import size_of

    sizes = {job: size_of(job.source) for job in jobs}
    tiles = {job: engine.tiles_of(size[1], size[0], tile) if size else 1 for job, size in sizes.items()}
    pixels = sum(size[0] * size[1] for size in sizes.values() if size)
    if pixels and not console.QUIET:
        images, total = f"{len(jobs)} image{'s' * (len(jobs) != 1)}", sum(tiles.values())
        took = engine.pace() * pixels
        console.say(f"{images}, {pixels / 1e6:.1f} MP, {total} tile{'s' * (total != 1)}, {console.about(took)}")
    return tiles


def _report(
    model: Model, engine: Restorer, out: Path, answers: Sequence[Done | Failed], skipped: int, page: Path | None
) -> dict[str, Any]:
    from rainrag.restore import Done, Failed

    done = [a for a in answers if isinstance(a, Done)]
    return {
        "out": str(out),
        "model": model.name,
        "weights": model.weights,
        "device": str(engine.device),
        "precision": engine.precision,
        "n": len(done),
        "skipped": skipped,
        "compare": None if page is None else str(page),
        "images": [
            {
                "input": str(a.job.source),
                "output": str(a.job.target),
                "width": a.width,
                "height": a.height,
                "bits": a.bits,
                "format": a.format,
                "inference": a.inference,
                "seconds": round(a.seconds, 4),
                "notes": list(a.notes),
            }
            for a in done
        ],
        "failed": [
            {"input": str(a.job.source), "reason": a.reason, "detail": a.detail, "hint": a.hint}
            for a in answers
            if isinstance(a, Failed)
        ],
    }


#: Notes that a user should see: what is not as it was, or was damaged.
ODD = (
    "palette", "cmyk", "frames", "icc-dropped", "exif-dropped", "xmp-dropped", "comment-dropped", "reduced",
    "damaged-metadata",
)  # fmt: skip


def _show(report: dict[str, Any], tile: str, todo: Sequence[Job]) -> None:
    from rich.markup import escape

    for image in report["images"]:
        console.detail(
            f"{image['output']}: {image['width']} x {image['height']}, {image['inference']}, {image['seconds']} s"
        )
        odd = [n for n in image["notes"] if n.startswith(ODD)]
        if odd:
            console.say(f"[yellow]note[/] {escape(image['input'])}: {escape(', '.join(odd))}")
    for bad in report["failed"]:
        console.say(f"[red]failed[/] {escape(bad['input'])}: {bad['reason']} ({escape(bad['detail'])})")
        if bad["hint"]:
            console.say(f"  [green]hint:[/] {escape(bad['hint'])}")
    total = sum(i["seconds"] for i in report["images"])
    console.table(
        None,
        ["out", "done", "failed", "there already", "not read", "seconds"],
        [
            [
                report["out"],
                report["n"],
                len(report["failed"]),
                report["skipped"],
                len(report["not_read"]),
                f"{total:.1f}",
            ]
        ],
    )
    if report["skipped"]:
        console.say(f"{report['skipped']} results exist already: --overwrite replaces them")
    if report["compare"]:
        console.say(f"before and after: {escape(report['compare'])}")
