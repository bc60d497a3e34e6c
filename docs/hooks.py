"""Tables that the pages take from the code, so that they cannot go stale: ``<!-- sources -->``, ``<!-- verbs -->``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sources() -> str:
    """Every card in one table."""
    from rainrag import sources as cards

    lines = ["| name | set | subsets | pairs | kind | licence | hosts |", "|---|---|---|---|---|---|---|"]
    for card in map(cards.get, cards.names()):
        pairs = (
            ", ".join(f"{n if n is not None else 'unknown'} {split}" for split, n in card.counts.items()) or "unknown"
        )
        hosts = ", ".join(dict.fromkeys(a.host for a in card.archives)) or "-"
        title = f"[{card.title}]({card.homepage})" if card.homepage else card.title
        kind = "real" if card.real else "synthetic"
        subsets = "+".join(card.subsets) or "-"
        lines.append(f"| `{card.name}` | {title} | {subsets} | {pairs} | {kind} | {card.licence} | {hosts} |")
    return "\n".join(lines)


def contains() -> str:
    """Which set was merged from which."""
    from rainrag import sources as cards

    lines = ["| set | contains | superseded by |", "|---|---|---|"]
    for card in map(cards.get, cards.names()):
        if card.contains or card.superseded_by:
            lines.append(f"| `{card.name}` | {', '.join(card.contains) or '-'} | {card.superseded_by or '-'} |")
    return "\n".join(lines)


def verbs() -> str:
    """The table of verbs."""
    from rainrag.cli.verbs import sections

    lines = ["| | verb | does |", "|---|---|---|"]
    for section, rows in sections():
        lines += [f"| {section if i == 0 else ''} | `{n.strip()}` | {line} |" for i, (n, line) in enumerate(rows)]
    return "\n".join(lines)


def reasons() -> str:
    """Why ingest leaves a pair out: the closed list."""
    from rainrag.ingest import REASONS

    return "\n".join(["| reason | means |", "|---|---|", *(f"| `{r}` | {text} |" for r, text in REASONS.items())])


TABLES: dict[str, Callable[[], str]] = {"sources": sources, "contains": contains, "verbs": verbs, "reasons": reasons}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where their marks are."""
    for name, make in TABLES.items():
        mark = f"<!-- table: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown
