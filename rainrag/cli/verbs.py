"""The table of verbs, and a command group that loads a verb's file only when that verb runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Args:
        file: module of ``rainrag.cli`` whose ``register(app)`` adds it.
        section: heading of ``rainrag --help``.
        line: what it does, in the words of ``rainrag --help``.
    """

    file: str
    section: str
    line: str


USE, DATA, MODELS, RESULTS = "Use", "Data", "Models", "Results"

#: In the order that --help shows them: the flow from left to right, below what most people come for.
VERBS: dict[str, Verb] = {
    "derain": Verb("derain", USE, "Take the rain out of photographs."),
    "score": Verb("score", USE, "Score a folder of results against its targets."),
    "explain": Verb("score", USE, "Say which protocol a published number is consistent with."),
    "demo": Verb("demo", USE, "The whole flow on a small scale, on sample data or your own."),
    "sources": Verb("sources", DATA, "List the public sets, with licence and address."),
    "download": Verb("sources", DATA, "Fetch a set, or print the steps for a person."),
    "ingest": Verb("ingest", DATA, "Turn a set, your own folder or rendered rain into a dataset."),
    "audit": Verb("audit", DATA, "Find damage, unsound pairs, duplicates and leaks."),
    "store": Verb("store", DATA, "The store of real rainy photographs: build, query, verify."),
    "distill": Verb("distill", DATA, "Retrieve, vote, and keep the pairs that look real."),
    "verify": Verb("distill", DATA, "Rebuild splits from the data and compare with their lock."),
    "report": Verb("distill", DATA, "Splits in one HTML file: what was kept, and why."),
    "push": Verb("distill", DATA, "Publish splits on the Hub, pixels where licences permit."),
    "calibrate": Verb("calibrate", DATA, "Measure gate and voters on planted faults."),
    "train": Verb("train", MODELS, "Train UniRain or any published network."),
    "bench": Verb("bench", MODELS, "Run models on test sets and score them."),
    "models": Verb("models", MODELS, "List the networks: cost, licence, weights, claims."),
    "weights": Verb("weights", MODELS, "Fetch, list and check published weights."),
    "leaderboard": Verb("leaderboard", RESULTS, "All results as a static site; a guard over committed ones."),
}


class Verbs(TyperGroup):
    """The top of the command line. One verb's trouble never stops another, and help loads none of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load the file of a verb."""
        return load(cmd_name) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb that the first argument names; typer then suggests among all of the table."""
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # typer reads the keys for its suggestions
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table under its headings."""
        for section, rows in sections():
            with formatter.section(typer.style(section, bold=True)):
                formatter.write_dl(rows, col_spacing=3)


def sections() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(heading, [(verb, line)]) in the order of the table."""
    for section in dict.fromkeys(v.section for v in VERBS.values()):
        yield section, [(n.ljust(max(map(len, VERBS))), v.line) for n, v in VERBS.items() if v.section == section]


def load(name: str) -> Any:
    """The command of a verb, as typer makes it from its file."""
    app = typer.Typer(rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(lambda: None)  # a group even where the file registers one verb
    import_module(f"rainrag.cli.{VERBS[name].file}").register(app)
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
