"""Checksums and revisions as they were at first use, compared at every later one."""

from __future__ import annotations

from pathlib import Path

from rainrag.core.errors import IntegrityError
from rainrag.core.files import read_json, write_json


class Recorded:
    """Checksums and revisions as they were at first use.

    Args:
        path: JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = read_json(path) if path.exists() else {}

    def check(self, name: str, value: str, published: str | None = None) -> None:
        """Compare with what was published or seen before; remember it the first time.

        Raises:
            IntegrityError: when it differs.
        """
        want = published or self.known.get(name)
        if want is not None and want != value:
            raise IntegrityError(
                f"'{name}' is {value}, {'published' if published else 'at first use it was'} {want}",
                where=self.path,
                hint="the host changed it; remove the line from the file if you accept the new one",
            )
        if self.known.get(name) != value:
            self.known[name] = value
            write_json(self.path, self.known)

    def get(self, name: str) -> str | None:
        """What was recorded, if anything."""
        return self.known.get(name)
