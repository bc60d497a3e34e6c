"""``rainrag store``: the reference store of real rainy photographs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import console
from rainrag.core.names import grouped

if TYPE_CHECKING:
    from rainrag.retrieval.search import Trace
    from rainrag.retrieval.store import Store

Where = Annotated[
    str | None,
    typer.Option("--store", help="A folder, or http://host:port of a Chroma server; the workspace's if not given."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")]
ENCODERS = "Encoders"


def register(app: typer.Typer) -> None:
    """Add the verb with its commands."""
    verb = typer.Typer(no_args_is_help=True, help="The store of real rainy photographs: build, query, verify.")
    for command in (build, add, remove, info, query, verify, rebuild):
        verb.command()(command)
    app.add_typer(verb, name="store")


def build(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of photographs of real rain, single files, or datasets by 'rainrag ingest'; every dataset of "
            "the workspace that has unlabelled photographs if none is named."
        ),
    ] = None,
    store: Where = None,
    captioner: Annotated[
        str,
        typer.Option(help="embedded, blip[=FOLDER], endpoint:MODEL@http://host:port/v1.", rich_help_panel=ENCODERS),
    ] = "embedded",
    encoder: Annotated[
        str, typer.Option(help="embedded, clip[:MODEL/TAG or :MODEL/FILE].", rich_help_panel=ENCODERS)
    ] = "embedded",
    refine: Annotated[
        str, typer.Option(help="qwen[=FOLDER], keybert[=FOLDER], or both with a comma.", rich_help_panel=ENCODERS)
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of an encoder (docs: Encoders).", rich_help_panel=ENCODERS),
    ] = None,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard an existing store.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the photographs, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure photographs and make a store of them, with its index.

    Near-duplicates and graphics are left out, photographs without visible rain are flagged. Run again after an
    interruption: it goes on where it stopped.
    """
    from rainrag.cli.distill import options_of
    from rainrag.retrieval.triplet import Triplets

    names = tuple(n.strip() for n in refine.split(",") if n.strip())
    triplets = Triplets(captioner, encoder, names, options_of(setting or []))
    _fill(_data(data), _where(store), triplets, workers, as_json, overwrite=overwrite, dry_run=dry_run)


def add(
    data: Annotated[list[Path], typer.Argument(help="Folders, files or datasets to add.")],
    store: Where = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Add photographs, measured by the encoders that made the store. What is in it already is passed over."""
    from rainrag.retrieval.store import Store

    where = _where(store)
    _fill(data, where, Store.open(where).triplets(), workers, as_json, add=True)


def remove(
    keys: Annotated[list[str], typer.Argument(help="Keys of references, as 'store info --keys' lists them.")],
    store: Where = None,
    as_json: Json = False,
) -> None:
    """Take references out."""
    from rainrag.retrieval.store import Store

    opened = Store.open(_where(store))
    opened.remove(keys)
    _show(opened, as_json)


def info(
    store: Where = None,
    keys: Annotated[bool, typer.Option("--keys", help="List the references.")] = False,
    as_json: Json = False,
) -> None:
    """What a store holds, what was left out of it and why, and what made it."""
    from rainrag.retrieval.store import Store

    opened = Store.open(_where(store))
    if keys and not as_json:
        _list(opened)
    else:
        _show(opened, as_json, keys)


def query(
    image: Annotated[Path, typer.Argument(help="A photograph.")],
    store: Where = None,
    k1: Annotated[int, typer.Option(help="Nearest captions.")] = 100,
    k2: Annotated[int, typer.Option(help="Nearest features among them.")] = 20,
    k3: Annotated[int, typer.Option(help="Nearest structures among them.")] = 3,
    top: Annotated[int, typer.Option(min=1, help="Hits of each stage that the table shows.")] = 5,
    html: Annotated[Path | None, typer.Option(help="Write a page with the photographs, one file.")] = None,
    as_json: Json = False,
) -> None:
    """Retrieve references for a photograph and show the hits of each stage with their scores."""
    from rainrag.retrieval.search import Asked, Sizes, trace
    from rainrag.retrieval.store import Store

    sizes = Sizes(k1, k2, k3)
    opened = Store.open(_where(store))
    asked = Asked.read(image, opened.triplets())
    found = trace(asked.query, opened.references(), sizes)
    caption = asked.triplet.caption
    if html:
        from rainrag.reports import retrieval

        retrieval.write(html, opened, image.name, asked.rgb, caption, found)
        console.say(f"page: {html}")
    if as_json:
        console.emit({"image": str(image), "caption": caption, "stratum": asked.triplet.stratum, **_plain(found)})
    else:
        _hits(opened, caption, found, top)


def verify(store: Where = None, as_json: Json = False) -> None:
    """Check rows, prototypes and the index against each other; exit code 5 if anything is wrong."""
    from rainrag.retrieval.store import Store

    opened = Store.open(_where(store))
    problems = opened.verify()
    if as_json:
        console.emit({"references": len(opened.keys), "problems": problems, "sound": not problems})
    else:
        for p in problems:
            typer.echo(p)
        console.say(
            f"{len(problems)} problems; the index is made again by: rainrag store rebuild"
            if problems
            else f"{len(opened.keys)} references, all sound"
        )
    if problems:
        raise typer.Exit(5)


def rebuild(store: Where = None, as_json: Json = False) -> None:
    """Make the index again from the parquet."""
    from rainrag.retrieval.store import Store

    opened = Store.open(_where(store))
    with console.progress("index", len(opened.keys)) as advance:
        opened.rebuild(advance)
    _show(opened, as_json)


# ---------------------------------------------------------------- behind the commands
def _where(store: str | None) -> str:
    from rainrag.core import workspace

    return store or str(workspace.place("store"))


def _data(data: list[Path] | None) -> list[Path]:
    """What was named, else the workspace's datasets of photographs.

    Raises:
        MissingError: when there is nothing.
    """
    from rainrag.core import workspace
    from rainrag.core.errors import MissingError
    from rainrag.retrieval import build as stock

    found = data or stock.datasets(workspace.place("datasets"))
    if not found:
        raise MissingError(
            "no photographs: no dataset of the workspace has unlabelled rows of real rain",
            where=workspace.place("datasets"),
            hint="name a folder of photographs, or: rainrag ingest real-147 --root FOLDER",
        )
    return found


def _fill(
    data: list[Path], where: str, triplets: Any, workers: int | None, as_json: bool, *, dry_run: bool = False,
    **how: bool,
) -> None:  # fmt: skip
    from rainrag.core.jobs import create
    from rainrag.retrieval import build as stock

    if dry_run:
        triplets.identity()  # what is missing is said now
        count = sum(s.size for s in stock.photographs(data, say=_not_taken))
        console.emit({"photographs": count, "store": where}) if as_json else typer.echo(f"{count} photographs")
        return
    with console.progress("measure") as advance:
        made = stock.build(
            data, where, triplets, create("local", workers=workers), progress=advance, planned=lambda n: advance(-n),
            say=_not_taken, **how,
        )  # fmt: skip
    _show(made, as_json)


def _not_taken(files: list[dict[str, str]]) -> None:
    """Name the files of a folder that are no photographs, grouped by reason."""
    for line in grouped((x["key"], x["detail"] or x["reason"]) for x in files):
        console.say(f"not read: {line}", markup=False)


def _show(store: Store, as_json: bool, keys: bool = False) -> None:
    summary = asdict(store.report())
    if as_json:
        lists = {"keys": store.keys, "flagged": store.manifest["flags"]} if keys else {}
        console.emit({**summary, "left_out_photographs": store.manifest["left_out"], **lists})
        return
    from rainrag.retrieval.store import FLAGS, REASONS

    rows: list[list[Any]] = [["references", summary["references"], str(store.path)]]
    rows += [[f"  {s}", n, ""] for s, n in summary["strata"].items()]
    rows += [[f"flagged: {f}", n, FLAGS[f]] for f, n in summary["flags"].items()]
    rows += [[f"left out: {r}", n, REASONS[r]] for r, n in summary["left_out"].items()]
    console.table("Reference store", ["what", "how many", "meaning"], rows, right=("how many",))
    made = summary["encoders"]
    parts = [made["captioner"]["name"], *(r["name"] for r in made["refine"]), made["encoder"]["name"]]
    console.say(f"made by {', '.join(parts)}; searched by {_searched(summary['search'] or {})}")
    for x in store.manifest["left_out"]:
        console.detail(f"left out {x['key']}: {x['reason']} ({x['detail']})")


def _searched(search: dict[str, Any]) -> str:
    how = "the index" if search.get("use") == "index" else "exact products"
    if "recall" not in search:
        return how
    return f"{how}; the index finds {search['recall']:.2%} of the exact {search['k']} ({search['queries']} queries)"


def _list(store: Store) -> None:
    flags = store.manifest["flags"]
    rows = [[r["key"], r["stratum"], r["caption"], flags.get(r["key"], "")] for r in store.rows(["stratum", "caption"])]
    console.table(f"{len(rows)} references", ["key", "stratum", "caption", "flags"], rows)


def _plain(found: Trace) -> dict[str, Any]:
    return {
        "meaning": [{"key": k, "distance": round(d, 6)} for k, d in found.meaning],
        "look": [{"key": k, "cosine": round(c, 6)} for k, c in found.look],
        "structure": [
            {
                "key": m.key,
                "distance": round(m.semantic, 6),
                "cosine": round(m.visual, 6),
                "ssim": round(m.structural, 6),
            }
            for m in found.structure
            if m.structural is not None
        ],
    }


def _hits(store: Store, caption: str, found: Trace, top: int) -> None:
    console.say(f"caption: {caption}")
    shown = {k for k, _ in (*found.meaning[:top], *found.look[:top])} | {m.key for m in found.structure}
    captions = {k: r["caption"] for k, r in store.some(shown, ["caption"]).items()}
    rows: list[list[Any]] = []
    for stage, hits, score in (
        ("1 meaning", found.meaning[:top], "distance"),
        ("2 look", found.look[:top], "cosine"),
        ("3 structure", [(m.key, m.structural) for m in found.structure], "SSIM"),
    ):
        rows += [[stage, n + 1, k, score, f"{v:.4f}", captions[k]] for n, (k, v) in enumerate(hits)]
    sizes = f"{len(found.meaning)} by caption, {len(found.look)} by feature, {len(found.structure)} by structure"
    console.table(sizes, ["stage", "rank", "reference", "score", "value", "caption"], rows, right=("rank", "value"))


__all__ = ["register"]
