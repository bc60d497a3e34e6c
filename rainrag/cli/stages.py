"""Progress over several stages: one bar after another, each with its own total."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rainrag.cli import console


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int], None]]:
    """Yields ``progress(stage, n)``: n items of a stage are done; with -n the stage begins and has n items."""
    with contextlib.ExitStack() as stack:
        at: dict[str, Callable[[int], None]] = {}

        def progress(stage: str, n: int) -> None:
            if stage not in at:
                stack.close()  # the bar of the stage before
                at.clear()
                at[stage] = stack.enter_context(console.progress(stage, -n if n < 0 else None))
            if n > 0:
                at[stage](n)

        yield progress
