"""Decide: ballots to verdicts, by majority (eq. 5), by the calibrated panel, or by rank within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rainrag.core.errors import UsageError
from rainrag.core.files import natural
from rainrag.core.types import Ballot, Tier, Verdict, Voter
from rainrag.data import dataset
from rainrag.retrieval.store import Store
from rainrag.voters import voting
from rainrag.voters.calibrated import Panel, calibrated

RULES = ("majority", "calibrated")


def rule_of(voters: Sequence[Voter], decide: str | None, quorum: int | None = None) -> str:
    """The rule that decides: the one named, or ``calibrated`` where every voter gives p-values and no quorum is named.

    Raises:
        UsageError: for an unknown rule, or a calibrated panel with voters that give no p-values.
    """
    able = calibrated(voters)
    if decide is None:
        return "calibrated" if able and quorum is None else "majority"
    if decide not in RULES:
        raise UsageError(f"no rule '{decide}'", hint=f"--decide {' or '.join(RULES)}")
    if decide == "calibrated" and not able:
        without = ", ".join(v.name for v in voters if not hasattr(v, "null"))
        raise UsageError(f"the panel cannot be calibrated: no p-values from {without}", hint="--decide majority")
    if decide == "calibrated" and quorum is not None:
        raise UsageError("a calibrated panel has no quorum", hint="--alpha, or --decide majority with --quorum")
    return decide


def panel_of(voters: Sequence[Any], store: Store) -> Panel:
    """The panel calibrated on the store's photographs."""
    strata = [r["stratum"] for r in store.rows(["stratum"])]
    scenes = [store.manifest["scenes"].get(k, k) for k in store.keys]
    return Panel.of(voters, store.keys, strata, scenes)


def verdicts(
    ballots: Mapping[str, Sequence[Ballot]],
    strata: Mapping[str, str],
    rule: str,
    need: int,
    panel: Panel | None,
    alpha: float,
) -> dict[str, Verdict]:
    """A verdict for each pair that came to the vote.

    Args:
        panel: of the rule ``calibrated``.
    """
    if rule == "majority":
        return {k: voting.verdict(k, b, need) for k, b in ballots.items()}
    assert panel is not None
    return {k: voting.weighed(k, b, panel.p(b, strata[k]), alpha) for k, b in ballots.items()}


def within(
    share: float, found: Mapping[str, Verdict], ballots: Mapping[str, Sequence[Ballot]], subsets: Mapping[str, str]
) -> dict[str, Verdict]:
    """Keep a share of each subset's pairs: those that the panel finds most like real rain, ties by key.

    Args:
        share: of all candidates of a subset, those that the checks stopped included.
        found: verdicts of all candidates.
        ballots: of the pairs that came to the vote.
        subsets: key -> subset, of all candidates.
    """
    if not 0 < share <= 1:
        raise UsageError(f"a share to keep lies between 0 and 1, not {share}", hint="--keep-share 0.026")
    out = dict(found)
    for subset in dataset.SUBSETS:
        keys = [k for k, s in subsets.items() if s == subset]
        asked = sorted((k for k in keys if k in ballots), key=lambda k: (-_score(found[k], ballots[k]), natural(k)))
        kept = set(asked[: round(share * len(keys))])
        for k in asked:
            reason, tier = ("top-of-panel", Tier.DISTILLED) if k in kept else ("below-panel", Tier.REJECTED)
            out[k] = replace(found[k], keep=k in kept, reason=reason, tier=tier)
    return out


def _score(verdict: Verdict, ballots: Sequence[Ballot]) -> float:
    """What pairs are ranked by: the panel's p-value, or yes minus no and then the mean probability of yes."""
    if verdict.p is not None:
        return verdict.p
    said = [b.p_yes for b in ballots if b.p_yes is not None]
    return verdict.margin + (float(np.mean(said)) if said else 0.0) / 2
