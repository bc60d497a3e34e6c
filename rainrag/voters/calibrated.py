"""The calibrated panel: p-values of several voters as one, with a promise for the panel as a whole.

Each voter's p-value is uniform on photographs like the store's, but they are not independent, so Fisher's table does not
hold for the sum of their logarithms. The sum is therefore counted, not looked up: every photograph of the store has
p-values by which it was judged without its own scene, their weighted sum is its statistic, and a pair's p-value is the share
of photographs whose statistic is at least as large (Fisher 1932; conformal, Vovk et al. 2005). A voter of pairs, which
photographs cannot be asked about, enters as a uniform p-value of its own beside theirs; that integral is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rainrag.core import stats
from rainrag.core.types import Ballot

VERSION = 1
ALPHA = 0.05
FEW = 60  # photographs that a stratum needs for a distribution of its own; smaller ones pool with all
#: weight of a voter's logarithm; 1 where nothing is said
WEIGHTS = {"layer": 3.0}  # it alone sees both sides; the others share what they say of one
F64 = npt.NDArray[np.float64]


class Calibrated(Protocol):
    """A voter whose p_yes is a p-value, and which says what the store's own photographs got."""

    name: str

    def null(self) -> Mapping[str, float] | None:
        """Key -> p-value without the photograph's own scene; None for a voter that judges pairs only."""
        ...


def calibrated(voters: Sequence[Any]) -> bool:
    """Whether every voter gives p-values, so that the panel can be calibrated."""
    return bool(voters) and all(hasattr(v, "null") for v in voters)


@dataclass(frozen=True)
class Promise:
    """What the panel rejects of the store's own photographs, each judged without its scene.

    Args:
        stratum: "" for all.
        n: photographs.
        pooled: whether the stratum is too small for a distribution of its own.
        rejected: share rejected, with its 95 % interval over scenes.
    """

    stratum: str
    n: int
    pooled: bool
    rejected: float
    interval: tuple[float, float] | None


@dataclass
class Panel:
    """Combines ballots.

    Args:
        voters: names, in the panel's order.
        null: (N, V) p-values of the store's photographs, NaN columns for voters of pairs.
        strata, scenes: of the photographs.
    """

    voters: tuple[str, ...]
    null: F64
    strata: tuple[str, ...]
    scenes: tuple[str, ...]
    _sums: dict[tuple[Any, ...], F64] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, voters: Sequence[Calibrated], keys: Sequence[str], strata: Sequence[str], scenes: Sequence[str]
    ) -> Panel:
        """From the voters and the store's photographs; those that a voter did not sample are left out."""
        columns = [v.null() for v in voters]
        known = [i for i, k in enumerate(keys) if all(c is None or k in c for c in columns)]
        null = np.array([[np.nan if c is None else c[keys[i]] for c in columns] for i in known], np.float64).reshape(
            len(known), len(columns)
        )
        return cls(
            tuple(v.name for v in voters), null, tuple(strata[i] for i in known), tuple(scenes[i] for i in known)
        )

    def group(self, stratum: str) -> str:
        """The stratum whose photographs are counted: its own where it has enough, else "" for all."""
        return stratum if stratum in self.strata and self.strata.count(stratum) >= FEW else ""

    def _outside(self, member: int) -> bool:
        """Whether a voter judges pairs only."""
        return not len(self.null) or bool(np.isnan(self.null[0, member]))

    def _known(self, stratum: str, members: tuple[int, ...]) -> F64:
        """Statistics of the photographs of a stratum over some voters."""
        group = self.group(stratum)
        if (group, members) not in self._sums:
            own = np.array([not group or s == group for s in self.strata], bool)
            weights = np.array([WEIGHTS.get(self.voters[m], 1.0) for m in members])
            self._sums[group, members] = -(np.log(self.null[own][:, list(members)]) * weights).sum(axis=1)
        return self._sums[group, members]

    def p(self, ballots: Sequence[Ballot], stratum: str) -> float | None:
        """The panel's p-value on one pair; abstentions count as not asked. None where nobody voted.

        In a stratum without a distribution of its own the voters of pairs decide alone, where they voted: night drops are
        not judged by how far day streaks lie from each other.
        """
        cast = [(self.voters.index(b.voter), b.p_yes) for b in ballots if b.p_yes is not None and b.answer != "abstain"]
        if not cast:
            return None
        if not self.group(stratum) and any(self._outside(m) for m, _ in cast):
            cast = [(m, p) for m, p in cast if self._outside(m)]
        total = sum(-WEIGHTS.get(self.voters[m], 1.0) * np.log(max(p, 1e-9)) for m, p in cast)
        outside = [m for m, _ in cast if self._outside(m)]
        known = self._known(stratum, tuple(m for m, _ in cast if m not in outside))
        scale = sum(WEIGHTS.get(self.voters[m], 1.0) for m in outside)
        if len(outside) == len(cast) == 1:
            return float(np.exp(-total / scale))  # its own p-value
        within = (known >= total - 1e-12).astype(np.float64)
        beyond = np.exp(np.minimum(0, -(total - known) / scale)) if scale else within
        return float((1 + beyond.sum()) / (len(known) + 1)) if len(known) else None

    def promises(self, alpha: float = ALPHA) -> list[Promise]:
        """Share of the store's own photographs that the panel rejects, all together and by stratum."""
        members = tuple(m for m in range(len(self.voters)) if len(self.null) and not np.isnan(self.null[0, m]))
        rejected = np.zeros(len(self.strata))
        for i, stratum in enumerate(self.strata):
            known = self._known(stratum, members)
            own = -(np.log(self.null[i, list(members)]) * [WEIGHTS.get(self.voters[m], 1.0) for m in members]).sum()
            rejected[i] = (known >= own - 1e-12).sum() / len(known) <= alpha  # its own is among the known
        out = []
        for stratum in ("", *sorted(set(self.strata))):
            at = [i for i, s in enumerate(self.strata) if not stratum or s == stratum]
            span = stats.interval(rejected[at].tolist(), [self.scenes[i] for i in at])
            pooled = bool(stratum) and not self.group(stratum)
            out.append(Promise(stratum, len(at), pooled, float(rejected[at].mean()) if at else 0.0, span))
        return out
