"""What commands print with: results on stdout, everything else on stderr; progress that behaves in pipes."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rainrag.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console

#: Set by the global options --quiet and --verbose.
QUIET = False
VERBOSE = False
EVERY = 10  # seconds between lines of progress where there is no terminal


def out() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def err() -> Console:
    """Where messages go. rich obeys NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str, markup: bool = True) -> None:
    """A message for people, unless --quiet; without ``markup``, brackets in it are text."""
    if not QUIET:
        err().print(text, markup=markup)


def detail(text: str) -> None:
    """A message for the curious, with --verbose."""
    if VERBOSE:
        err().print(text, style="dim")


def emit(value: Any) -> None:
    """Print a result for programs: one JSON document on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"
    sys.stdout.write(text.encode(errors="backslashreplace").decode())  # names that are no text: JSON's own escapes


def table(title: str | None, columns: list[str], rows: list[list[Any]], right: tuple[str, ...] = ()) -> None:
    """Print a table on stdout; plain tab-separated lines when stdout is no terminal, so that pipes can cut it."""
    if not sys.stdout.isatty():
        for r in [columns, *rows]:
            sys.stdout.write("\t".join("" if c is None else printable(str(c)) for c in r) + "\n")
        return
    from rich.table import Table

    drawn = Table(title=title, header_style="bold", show_lines=False)
    for c in columns:
        drawn.add_column(c, justify="right" if c in right else "left", overflow="fold")
    for r in rows:
        drawn.add_row(*["" if c is None else str(c) for c in r])
    out().print(drawn)


def about(seconds: float) -> str:
    """A time to come, no more exact than it is known: ``about 3 minutes``."""
    if seconds < 1:
        return "about a second"
    for most, length, word in ((100, 1, "second"), (100 * 60, 60, "minute")):
        if seconds < most:
            n = max(1, round(seconds / length))
            return f"about {n} {word}{'s' * (n != 1)}"
    return f"about {seconds / 3600:.1f} hours"


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar with ETA on a terminal; in a pipe or a log, a line now and then.

    Yields:
        ``advance(n)``; ``advance(-n)`` sets the total to n, for totals that are known later.
    """
    if QUIET:
        yield lambda n: None
        return
    if not sys.stderr.isatty():
        yield from _plain(what, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("ETA"), TimeRemainingColumn(), console=err(), transient=False,
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=total)

        def advance(n: int) -> None:
            if n < 0:
                bar.update(task, total=-n)
            else:
                bar.advance(task, n)

        yield advance


def _plain(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    done, started = 0, time.monotonic()
    said = started

    def advance(n: int) -> None:
        nonlocal done, total, said
        if n < 0:
            total = -n
            return
        done += n
        now = time.monotonic()
        if now - said >= EVERY:
            said, took = now, now - started
            left = f", about {took / done * (total - done):.0f} s to go" if done and total and total > done else ""
            say(f"{what}: {done} of {total or '?'} ({took:.0f} s{left})")

    yield advance
    say(f"{what}: {done} done in {time.monotonic() - started:.1f} s")
