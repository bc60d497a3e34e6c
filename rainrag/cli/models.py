"""``rainrag models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rainrag.cli import complete, console
from rainrag.core.errors import UsageError

if TYPE_CHECKING:
    from rainrag.baselines.card import Card, Weights
    from rainrag.baselines.complexity import Complexity


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("models")(models)


def models(
    name: Annotated[str | None, typer.Argument(help="One network, in full.", autocompletion=complete.networks)] = None,
    complexity: Annotated[
        bool, typer.Option("--complexity", help="Parameters and multiply-accumulates at 256x256, counted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the published networks: what they cost, their licence, their weights, what they claim."""
    from rainrag import baselines

    if complexity:
        _complexity(name, as_json)
        return
    if name == "unirain":
        raise UsageError(
            "UniRain is no published network but this project's own",
            hint="rainrag models unirain --complexity counts it, 'rainrag derain' runs it, docs/unirain.md explains it",
        )
    if name:
        card = baselines.card_of(name)
        if as_json:
            console.emit(_document(name))
        else:
            _show(card)
        return
    if as_json:
        console.emit([_document(n) for n in baselines.names()])
        return
    columns = ["name", "venue", "params", "GMACs", "conv only", "licence", "weights", "proof"]
    rows = [_row(baselines.card_of(n)) for n in baselines.names()]
    console.table("Networks", columns, rows, right=("params", "GMACs", "conv only"))
    console.say("GMACs: at 256x256, with and without linear layers and attention, as counted on the authors' networks.")
    console.say("proof: equal to the authors' network in float64, tested. One in full: rainrag models NAME")


def _document(name: str) -> dict[str, Any]:
    """A card for programs."""
    from rainrag import baselines

    entry = baselines.get(name)
    return {
        **entry.card.to_dict(),
        "buildable": entry.build is not None,
        "trainable": entry.trainable,
        "proof": entry.card.fixture is not None,
    }


def _row(card: Card) -> list[Any]:
    scale = (256 / card.macs_at) ** 2
    macs = [None if g is None else f"{g * scale:.2f}" for g in (card.gmacs, card.gmacs_conv)]
    params = None if card.params is None else f"{card.params:,}"
    proof = "yes" if card.fixture else "-"
    return [card.name, card.venue, params, *macs, card.licence, _hosts(card), proof]


def _hosts(card: Card) -> str:
    """How many sets of weights may be loaded, and where they live."""
    hosts = [w.archive.host for w in card.weights if w.refused is None]
    return ", ".join(f"{hosts.count(h)} {h}" for h in dict.fromkeys(hosts)) or "-"


def _show(card: Card) -> None:
    low, high = card.value_range
    size = [f"multiples of {card.multiple}"] if card.multiple > 1 else []
    size += [f"at least {card.min_side}"] if card.min_side > 1 else []
    size += [f"{card.fixed}x{card.fixed} only"] if card.fixed else []
    size += ["square"] if card.square else []
    lines = [
        ("title", card.title), ("paper", f"{card.paper} ({card.venue})"),
        ("code", f"{card.repo} at {card.commit}" if card.repo else ""), ("licence", card.licence),
        ("values", f"{low:g} to {high:g}"), ("sides", ", ".join(size) or "any"),
        ("reach", "the whole image" if card.receptive is None else f"{card.receptive} pixels to each side"),
        ("padding", card.padding), ("tiles", f"{card.tile[0]}, overlap {card.tile[1]}" if card.tile else ""),
        ("8 bit", card.quantise or "not by their scorer"),
        ("parameters", "" if card.params is None else f"{card.params:,}"),
        ("cost", _cost(card)), ("proof", f"equal to the authors' network, fixture {card.fixture}" if card.fixture else ""),
    ]  # fmt: skip
    for key, value in lines:
        if value:
            typer.echo(f"{key:11} {value}")
    for option, text in card.options.items():
        typer.echo(f"{'option':11} {option}: {text}")
    for w in card.weights:
        typer.echo(f"{'weights':11} {_weights(w)}")
    for note in card.notes:
        typer.echo(f"{'note':11} {note}")
    if card.claims:
        rows = [
            [c.testset, f"{c.psnr:.2f}", None if c.ssim is None else f"{c.ssim:g}", c.protocol, c.weights,
             c.source + ("" if c.verified else " (from memory: verify before quoting)")]
            for c in card.claims
        ]  # fmt: skip
        columns = ["test set", "PSNR", "SSIM", "protocol", "weights", "source"]
        console.table("Published figures", columns, rows, right=("PSNR", "SSIM"))
    if any(w.refused is None for w in card.weights):
        console.say(f"get the weights: rainrag weights fetch {card.name}")


def _cost(card: Card) -> str:
    if card.gmacs is None:
        return ""
    return f"{card.gmacs:.2f} GMACs at {card.macs_at}x{card.macs_at}, convolutions alone {card.gmacs_conv:.2f}"


def _weights(w: Weights) -> str:
    if w.refused:
        return f"{w.tag}: REFUSED, {w.refused}"
    a = w.archive
    code = f" (code {a.password})" if a.password else ""
    sha256 = f", sha256 {a.sha256}" if a.sha256 else ""
    trained = f", trained on {', '.join(w.trained_on)}" if w.trained_on else ""
    note = f" ({w.note})" if w.note else ""
    return f"{w.tag}{trained}{note}, licence {w.licence}; {a.host}: {a.ref}{code}{sha256}"


# ---------------------------------------------------------------- complexity
def _complexity(name: str | None, as_json: bool) -> None:
    """Count on shapes alone; a few seconds for all."""
    from rainrag import baselines
    from rainrag.baselines import complexity as counting
    from rainrag.evaluation import complexity as own

    if name and name.startswith("unirain"):
        chosen = own.names() if name == "unirain" else [name]
    else:
        chosen = [baselines.card_of(name).name] if name else [*counting.names(), *own.names()]
    with console.progress("count", len(chosen)) as advance:
        found = []
        for n in chosen:
            found.append(own.of(n) if n.startswith("unirain") else counting.of(n))
            advance(1)
    if as_json:
        documents = [c.to_dict() for c in found]
        console.emit(documents[0] if name and len(documents) == 1 else documents)
        return
    columns = ["name", "params", "GMACs", "conv only", "ours", "ours, conv only"]
    rows = [
        [c.name, f"{c.params:,}", *map(_giga, (c.authors_macs, c.authors_macs_conv, c.macs, c.macs_conv))]
        for c in found
    ]
    console.table("At 256x256", columns, rows, right=tuple(columns[1:]))
    console.say("GMACs: counted on the authors' networks, convolutions, linear layers and products of attention.")
    for c in found:
        _explain(c)


def _giga(macs: float | None) -> str | None:
    return None if macs is None else f"{macs / 1e9:.2f}"


def _explain(c: Complexity) -> None:
    if c.reason:
        console.say(f"{c.name}: {c.reason}")
    if c.trainable != c.params:
        console.say(f"{c.name}: {c.trainable:,} of the parameters are trained")
