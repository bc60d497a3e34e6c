"""The contamination ledger: perceptual hashes of test scenes, and which set was merged from which. No pixels.

The ledger in the package covers the test sets that were available locally; a user's own is kept in the workspace and read
besides. Ingest, distill and train leave every ledger scene out of training data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.errors import InputError
from rainrag.core.files import write_text

PACKAGED = Path(__file__).parent / "ledger.jsonl"


@dataclass(frozen=True)
class Hit:
    """A scene of the ledger that an image shows.

    Args:
        key: the test pair, ``source/split/stem``.
        distance: bits that differ, 0 to ``images.NEAR_BITS``.
    """

    key: str
    distance: int


class Ledger:
    """Test scenes by hash.

    Args:
        entries: ``{"key", "phash"}`` rows.
    """

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.entries = [e for e in entries if e["phash"]]
        self._bits = images.hash_bits([e["phash"] for e in self.entries])

    @classmethod
    def load(cls, *paths: Path) -> Ledger:
        """The packaged ledger and further files that exist."""
        entries = []
        for path in (PACKAGED, *paths):
            if path.exists():
                entries += read(path)
        return cls(entries)

    @property
    def identity(self) -> str:
        """Fingerprint of the content."""
        from rainrag.core.files import fingerprint

        return fingerprint(sorted(e["phash"] for e in self.entries))

    def find(self, phash: str | None, within: int = images.NEAR_BITS) -> Hit | None:
        """The nearest test scene within so many bits, else None."""
        if not phash or not self.entries:
            return None
        distance = images.hamming(images.hash_bits([phash]), self._bits)[0]
        i = int(np.argmin(distance))
        return Hit(self.entries[i]["key"], int(distance[i])) if distance[i] <= within else None


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a ledger file.

    Raises:
        InputError: when a line is not a row of the ledger.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            rows.append({"key": str(entry["key"]), "phash": str(entry["phash"])})
        except (json.JSONDecodeError, KeyError, TypeError) as e:
            raise InputError(f"line {number} is no ledger row: {e}", where=path) from e
    return rows


def extend(path: Path, rows: list[dict[str, Any]]) -> int:
    """Add rows whose key is new, keep the file sorted by key; returns how many were added."""
    known = {e["key"]: e for e in (read(path) if path.exists() else [])}
    before = len(known)
    for r in rows:
        if r["phash"]:
            known.setdefault(r["key"], {"key": r["key"], "phash": r["phash"]})
    write_text(path, "".join(json.dumps(known[k], sort_keys=True) + "\n" for k in sorted(known)))
    return len(known) - before
