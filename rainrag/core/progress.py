"""Progress of long calls by one protocol: ``progress(stage, done, total)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """What callers of the public API may pass as ``progress``."""

    def __call__(self, stage: str, done: int, total: int | None, /) -> None:
        """``done`` of ``total`` items of a stage are finished; ``total`` is None while it is unknown."""
        ...


class Steps:
    """Turns the increments that the stages report into calls of a ``Progress``.

    Args:
        progress: None to report nothing.
    """

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self._at: dict[str, tuple[int, int | None]] = {}

    def __call__(self, stage: str, n: int) -> None:
        """``n`` more items of a stage are done; with ``-n`` the stage has n items in all."""
        done, total = self._at.get(stage, (0, None))
        done, total = (done, -n) if n < 0 else (done + n, total)
        self._at[stage] = done, total
        if self.progress is not None:
            self.progress(stage, done, total)

    def of(self, stage: str) -> Callable[[int], None]:
        """The same for one stage."""
        return lambda n: self(stage, n)
