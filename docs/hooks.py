"""The site's hooks: tables and pages made from the code, so that they cannot go stale, and a menu of what pages there are.

A page says where a table goes: ``<!-- table: sources -->``. The names are in ``TABLES``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import reference


def sources() -> str:
    """Every card in one table."""
    from rainrag.data import sources as cards

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
    from rainrag.data import sources as cards

    lines = ["| set | contains | superseded by |", "|---|---|---|"]
    for card in map(cards.get, cards.names()):
        if card.contains or card.superseded_by:
            lines.append(f"| `{card.name}` | {', '.join(card.contains) or '-'} | {card.superseded_by or '-'} |")
    return "\n".join(lines)


def verbs() -> str:
    """The table of verbs."""
    from rainrag.cli.verbs import sections

    lines = ["| | verb | does | explained in |", "|---|---|---|---|"]
    for section, rows in sections():
        for i, (padded, line) in enumerate(rows):
            name = padded.strip()
            page = f"[{reference.guide(name).split('.')[0]}]({reference.guide(name)})"
            lines.append(f"| {section if i == 0 else ''} | [`{name}`](verbs/{name}.md) | {line} | {page} |")
    return "\n".join(lines)


def reasons() -> str:
    """Why ingest leaves a pair out: the closed list."""
    from rainrag.data.ingest import REASONS

    return "\n".join(["| reason | means |", "|---|---|", *(f"| `{r}` | {text} |" for r, text in REASONS.items())])


TABLES: dict[str, Callable[[], str]] = {"sources": sources, "contains": contains, "verbs": verbs, "reasons": reasons}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where their marks are."""
    for name, make in TABLES.items():
        mark = f"<!-- table: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made from the code."""
    from mkdocs.structure.files import File

    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_config(config: Any) -> Any:
    """The menu: entries without a page go, pages without an entry come last, under "More"."""
    there = {p.relative_to(config["docs_dir"]).as_posix() for p in Path(config["docs_dir"]).rglob("*.md")}
    there |= set(reference.pages())
    menu = [entry for entry in (kept(e, there) for e in config["nav"]) if entry]
    menu.append({"Verbs": [page for page in reference.pages() if page.startswith("verbs/")]})
    unnamed = sorted(there - set(named(menu)))
    config["nav"] = menu + ([{"More": unnamed}] if unnamed else [])
    return config


def kept(entry: Any, there: set[str]) -> Any:
    """An entry of the menu with the pages that are there; None if there are none."""
    if isinstance(entry, str):
        return entry if entry in there else None
    title, below = next(iter(entry.items()))
    if isinstance(below, str):
        return entry if below in there else None
    pages = [page for page in (kept(e, there) for e in below) if page]
    return {title: pages} if pages else None


def named(menu: list[Any]) -> Iterator[str]:
    """The pages of a menu."""
    for entry in menu:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from [below] if isinstance(below, str) else named(below)
