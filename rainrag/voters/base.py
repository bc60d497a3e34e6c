"""How a voter is made: what the table of voters points at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.types import Voter


@dataclass(frozen=True)
class Kind:
    """One entry of the table.

    Args:
        settings: frozen dataclass with a default for every field; its field names are the settings' names.
        build: called with (name, source, settings): the name in the table, what the user gave behind it (a folder, a
            repository, a server) or None, and the settings. Loads nothing.
    """

    settings: type[Any]
    build: Callable[[str, str | None, Any], Voter]

    @property
    def known(self) -> tuple[str, ...]:
        """Names of its settings."""
        return tuple(f.name for f in fields(self.settings))

    def make(self, name: str, source: str | None, given: dict[str, Any]) -> Voter:
        """A voter with the settings given and defaults for the rest.

        Raises:
            UsageError: for a setting that it does not know, or a value that makes no sense.
        """
        for setting in given:
            if setting not in self.known:
                raise UsageError(
                    f"'{name}' has no setting '{setting}'",
                    hint=did_you_mean(setting, list(self.known)) + " (see docs/voters.md)",
                )
        return self.build(name, source, self.settings(**given))


def label(name: str, source: str | None) -> str:
    """A voter's name in ballots: the same on every machine, so a folder counts by its last part only."""
    return name if source is None else f"{name}={PurePath(source).name}"
