"""Where things are kept when no folder is named: ``$RAINRAG_HOME``, else ``./rainrag-data``."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The workspace folder (not created here)."""
    return Path(os.environ.get("RAINRAG_HOME") or "rainrag-data")


def place(kind: str, *names: str) -> Path:
    """A place in the workspace: ``raw``, ``datasets``, ``store``, ``splits``, ``runs``, ``results``, ``weights``,
    ``cache`` or ``ledger.jsonl``."""
    return home().joinpath(kind, *names)
