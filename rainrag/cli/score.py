"""``rainrag score`` and ``rainrag explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rainrag.cli import complete, console
from rainrag.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("score")(score)
    app.command("explain")(explain)


def score(
    out: Annotated[Path, typer.Argument(help="Folder of results (PNG or JPEG).")],
    gt: Annotated[Path, typer.Argument(help="Folder of clean targets with the same names.")],
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="y (default), y-trunc, matlab-y, unirain, rgb, y-full, pyiqa-y, weatherbench, ntire-raindrop; repeatable.",
            autocompletion=complete.protocols,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Further metric: lpips, niqe, brisque; of pyiqa: dists, …")
    ] = None,
    border: Annotated[int | None, typer.Option(min=0, help="Cut so many pixels from each side.")] = None,
    multiple: Annotated[int | None, typer.Option(min=1, help="Centre-crop to multiples of this.")] = None,
    window: Annotated[str | None, typer.Option(help="SSIM window: valid or same.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="float64 throughout.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out what has no partner or cannot be read, with a note.")
    ] = False,
    pattern: Annotated[
        str | None, typer.Option(help="Names that belong together: 'RESULT=TARGET', such as '{}_net={}_gt'.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="What the results' names end with: _MyNet_Rain100L.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let pyiqa fetch weights of its metrics.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
    per_image: Annotated[
        bool, typer.Option("--per-image", help="Print every image's scores, the worst first.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write every image's scores to this file, the worst first (first protocol).")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write the worst ten beside their targets to this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Score a folder of results against its targets; every number with the protocol that made it."""
    from rich.markup import escape

    from rainrag.evaluation import metrics, worst
    from rainrag.evaluation import score as work

    if window not in (None, "valid", "same"):
        raise UsageError(f"no window '{window}'", hint="valid or same")
    protocols = [metrics.protocol(n, border=border, multiple=multiple, window=window) for n in protocol or ["y"]]
    matched = work.match(out, gt, allow_missing, pattern, suffix)
    console.say(matched.layout, markup=False)
    found = []
    for p in protocols:
        name = p.name
        with console.progress(f"score ({name})") as advance:
            found.append(
                work.score_folders(
                    out,
                    gt,
                    p,
                    metric or (),
                    allow_missing,
                    matched=matched,
                    exact=exact,
                    download=download,
                    workers=workers,
                    progress=advance,
                )
            )
    _files(found[0].images, matched.pairs, csv, sheet)
    if as_json:
        documents = [s.to_dict() for s in found]
        console.emit(documents[0] if len(documents) == 1 else documents)
        return
    for s in found:
        rows = []
        for name, value in s.mean.items():
            span = s.interval.get(name)
            shown = "inf" if value is None and name == "psnr" else "-" if value is None else f"{value:.4f}"
            rows.append(
                [name, shown, "" if span is None else f"{span[0]:.4f} .. {span[1]:.4f}", s.signature.get(name, "")]
            )
        console.table(
            f"{len(s.images)} images", ["metric", "mean", "95 % interval", "signature"], rows, right=("mean",)
        )
        if per_image:
            names = list(s.signature)
            ordered = worst.order(s.images)
            rows = [[r["key"], *("inf" if r[n] is None else f"{r[n]:.4f}" for n in names)] for r in ordered]
            console.table(None, ["key", *names], rows, right=tuple(names))
        for name, why in s.unavailable.items():
            console.say(f"[yellow]{name} is unavailable[/]: {why}")
        for note in s.notes:
            console.say(f"note: {escape(note)}")


def _files(
    rows: list[dict[str, Any]], pairs: list[tuple[str, Path, Path]], csv: Path | None, sheet: Path | None
) -> None:
    """The table and the contact sheet, where they are asked for."""
    from rainrag.core.files import write_bytes, write_text
    from rainrag.core.images import encode_png
    from rainrag.evaluation import worst

    if csv:
        write_text(csv, worst.table(rows))
        console.say(f"every image, the worst first: {csv}", markup=False)
    if sheet:
        write_bytes(sheet, encode_png(worst.sheet(pairs, rows)))
        console.say(f"the worst {min(10, len(rows))}: {sheet}", markup=False)


def explain(
    number: Annotated[float, typer.Argument(help="A published figure: PSNR in dB, or SSIM up to 1.")],
    images: Annotated[Path | None, typer.Option(help="Folder of results it was computed from.")] = None,
    gt: Annotated[Path | None, typer.Option(help="Folder of their targets.")] = None,
    result: Annotated[Path | None, typer.Option(help="A result of 'rainrag bench' whose images were saved.")] = None,
    pattern: Annotated[str | None, typer.Option(help="As for 'rainrag score'.")] = None,
    suffix: Annotated[str | None, typer.Option(help="As for 'rainrag score'.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="How near counts as equal; 0.01 dB or 0.001.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which protocol a published number is consistent with."""
    from dataclasses import asdict

    from rainrag.evaluation import score as work

    if result is not None:
        from rainrag.evaluation.results import folders

        images, gt = folders(result)
    if images is None or gt is None:
        raise UsageError("which images?", hint="rainrag explain 38.99 --images OUT --gt GT, or --result FILE.json")
    matched = work.match(images, gt, pattern=pattern, suffix=suffix)
    pairs, notes = matched.pairs, matched.notes
    console.say(matched.layout, markup=False)
    with console.progress("explain", len(pairs)) as advance:
        found = work.explain(number, pairs, advance)
    near = tolerance if tolerance is not None else (0.01 if number > 1 else 0.001)
    fits = [e for e in found if abs(e.gap) <= near]
    if as_json:
        console.emit(
            {"number": number, "n": len(pairs), "consistent": [asdict(e) for e in fits], "all": [asdict(e) for e in found],
             "notes": notes}
        )  # fmt: skip
        return
    rows = [[f"{e.value:.4f}", f"{e.gap:+.4f}", e.signature, e.about] for e in found]
    console.table(
        f"{number} on {len(pairs)} images", ["value", "gap", "signature", "which is"], rows, right=("value", "gap")
    )
    if fits:
        console.say(f"consistent with: {'; '.join(e.about for e in fits)}")
    else:
        console.say(f"no convention comes within {near}: other images, weights or targets, nearest is {found[0].about}")
