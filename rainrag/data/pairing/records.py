"""What pairing gives back: pairs, and every other name with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """One pair: names as given, a key that is unique among the pairs, and the scene that versions of one image share."""

    key: str
    lq: str
    gt: str
    scene: str


@dataclass(frozen=True)
class Left:
    """A name that is in no pair. ``reason``: missing-gt, missing-lq, ambiguous-gt, duplicate-key, case-clash or
    unknown-file; ``others`` are the names that it competes with; ``clean`` tells that it stood on the clean side."""

    name: str
    reason: str
    others: tuple[str, ...] = ()
    clean: bool = False


@dataclass(frozen=True)
class Pairing:
    """What became of the names.

    Args:
        layout: one line for people: which sides were joined, and how.
        left: every name that is in no pair.
        pattern: a ``--pattern`` that would settle what is left, where one can be made from the names.
        refused: why nothing was paired though names could pair; None where they could not, or where pairs were made.
    """

    layout: str
    pairs: tuple[Pair, ...] = ()
    left: tuple[Left, ...] = ()
    pattern: str | None = None
    refused: str | None = None

    def describe(self) -> str:
        """``layout: 12 pairs (12 rainy images of 4 clean ones)``."""
        clean = len({p.gt for p in self.pairs})
        count = f"{len(self.pairs)} pair{'s' * (len(self.pairs) != 1)}"
        if self.pairs and clean < len(self.pairs):
            count += f" ({len(self.pairs)} rainy images of {clean} clean ones)"
        return f"{self.layout}: {count}"
