"""Options that are checked before anything heavy is imported: a wrong word is answered at once."""

from __future__ import annotations

import re

from rainrag.core.errors import UsageError, did_you_mean

PRECISIONS = ("fp32", "bf16", "fp16")
_TILE = re.compile(r"(?:tile)?\s*\d+\s*(?:[,-]\s*\d+\s*)?", re.IGNORECASE)
_DEVICE = re.compile(r"(?:auto|cpu|mps|(?:cuda|xpu)(?::\d+)?)")


def check(tile: str = "auto", device: str = "auto", precision: str = "fp32") -> None:
    """Check how a network is to be run.

    Raises:
        UsageError: for words that no network or machine could take; what this one cannot take is found out later.
    """
    if tile.strip().lower() not in ("auto", "full") and not _TILE.fullmatch(tile.strip()):
        raise UsageError(f"no tiling '{tile}'", hint="auto, full, 256, or 256,32 for tiles that overlap by 32 pixels")
    if not _DEVICE.fullmatch(device.strip().lower()):
        raise UsageError(f"no device '{device}'", hint="auto, cpu, cuda, or cuda:1 for the second GPU")
    if precision not in PRECISIONS:
        raise UsageError(f"no precision '{precision}'", hint=did_you_mean(precision, list(PRECISIONS)))
