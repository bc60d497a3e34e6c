from __future__ import annotations

import pytest

from rainrag.core.errors import UsageError
from rainrag.core.types import Ballot, Tier, Verdict
from rainrag.distill.decide import rule_of, verdicts, within
from rainrag.voters.calibrated import Panel


class _Calibrated:
    name = "v0"

    def null(self):
        return {f"k{i:02d}": (i + 1) / 20 for i in range(20)}


class _Plain:
    name = "vlm"


def _ballot(key, p, voter="v0", answer="yes"):
    return Ballot(key, voter, "r", "p", (), answer, p, "")


def _verdict(key, p, margin=0):
    return Verdict(key, True, (1, 0, 0), margin, "plausible", Tier.DISTILLED, p)


@pytest.mark.parametrize(
    ("voters", "decide", "quorum", "rule"),
    [
        ([_Calibrated()], None, None, "calibrated"),
        ([_Calibrated()], None, 1, "majority"),
        ([_Calibrated(), _Plain()], None, None, "majority"),
        ([_Calibrated()], "majority", None, "majority"),
    ],
)
def test_the_rule_follows_from_the_voters_unless_one_is_named(voters, decide, quorum, rule):
    assert rule_of(voters, decide, quorum) == rule


@pytest.mark.parametrize(
    ("voters", "decide", "quorum", "says"),
    [
        ([_Plain()], "calibrated", None, "no p-values from vlm"),
        ([_Calibrated()], "calibrated", 1, "has no quorum"),
        ([_Calibrated()], "mean", None, "no rule 'mean'"),
    ],
)
def test_rules_that_cannot_be(voters, decide, quorum, says):
    with pytest.raises(UsageError, match=says):
        rule_of(voters, decide, quorum)


def test_the_panel_keeps_what_lies_above_alpha_and_says_the_value():
    keys = [f"k{i:02d}" for i in range(20)]
    panel = Panel.of([_Calibrated()], keys, ["day"] * 20, keys)
    ballots = {"a": [_ballot("a", 0.5)], "b": [_ballot("b", 0.001)], "c": [_ballot("c", None, answer="abstain")]}
    found = verdicts(ballots, dict.fromkeys(ballots, "day"), "calibrated", 1, panel, 0.05)
    assert {k: (v.keep, v.reason) for k, v in found.items()} == {
        "a": (True, "plausible"), "b": (False, "implausible"), "c": (False, "implausible"),
    }  # fmt: skip
    assert found["a"].p == pytest.approx(11 / 21)  # ten photographs at or below 0.5, and itself
    assert found["c"].p is None


def test_a_share_is_kept_within_each_subset_by_rank():
    ballots = {k: [_ballot(k, 0.5)] for k in ("a", "b", "c", "d", "n")}
    found = {k: _verdict(k, p) for k, p in (("a", 0.2), ("b", 0.9), ("c", 0.4), ("d", 0.4), ("n", 0.01))}
    found["gated"] = Verdict("gated", False, (0, 0, 0), 0, "gate:exposure", Tier.REJECTED)
    subsets = {**dict.fromkeys("abcd", "DRS"), "gated": "DRS", "n": "NRS"}
    out = within(0.4, found, ballots, subsets)
    assert [k for k, v in out.items() if v.keep] == ["b", "c"]  # 0.4 of five; c before d by key; none of one
    assert out["a"].reason == "below-panel"
    assert out["b"].reason == "top-of-panel"
    assert out["gated"] is found["gated"]
    assert [k for k, v in within(1.0, found, ballots, subsets).items() if v.keep] == ["a", "b", "c", "d", "n"]


def test_without_p_values_the_majority_then_the_mean_ranks():
    ballots = {"a": [_ballot("a", 0.9)], "b": [_ballot("b", 0.2)], "c": [_ballot("c", 0.4)]}
    found = {"a": _verdict("a", None, -1), "b": _verdict("b", None, 1), "c": _verdict("c", None, 1)}
    out = within(0.34, found, ballots, dict.fromkeys("abc", "DRS"))
    assert [k for k, v in out.items() if v.keep] == ["c"]


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_shares_out_of_range(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        within(share, {}, {}, {})
