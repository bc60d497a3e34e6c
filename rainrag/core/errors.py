"""What goes wrong. Each error names what happened, where, and a hint; the CLI prints the three and exits.

Exit codes (documented in docs/cli.md): 0 done, 1 a fault of ours, 2 wrong usage, 3 unusable input, 4 something is
missing (data, weights, a package extra, a network), 5 a check failed, 130 interrupted.
"""

from __future__ import annotations

from typing import Any


class RainRAGError(Exception):
    """Base of all errors that are not a fault of ours.

    Args:
        what: what went wrong, one sentence.
        where: file, key or setting concerned.
        hint: what to do: a command, a flag, a page.
    """

    exit_code = 3

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what if self.where is None else f"{self.what} [{self.where}]"]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class UsageError(RainRAGError):
    """Arguments that contradict each other or name nothing known."""

    exit_code = 2


class InputError(RainRAGError):
    """A file or folder that cannot be used as it is."""


class DecodeError(InputError):
    """Bytes that are not a usable image. ``reason`` is one word of the closed list in rainrag.core.images.REASONS."""

    def __init__(self, reason: str, what: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:  # from a worker process; Exception's own would call without the reason
        return type(self), (self.reason, self.what), self.__dict__


class LayoutError(InputError):
    """A folder layout that is not known: says what was found and what was expected."""


class MissingError(RainRAGError):
    """Data, weights, a package extra or a network that is not there."""

    exit_code = 4


class IntegrityError(RainRAGError):
    """A checksum, revision, fingerprint or equality check that failed."""

    exit_code = 5


def did_you_mean(name: str, known: list[str]) -> str:
    """A sentence with the nearest known names, or all of them (at most 30) where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(near)}?"
    shown = ", ".join(sorted(known)[:30])
    return f"known: {shown}{' …' if len(known) > 30 else ''}"


def first_line(e: BaseException) -> str:
    """An error's first line, or its kind where it says nothing."""
    return next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
