import numpy as np
import pytest

from rainrag.core.types import Ballot
from rainrag.voters.calibrated import WEIGHTS, Panel, calibrated


class _Voter:
    def __init__(self, name, null):
        self.name, self._null = name, null

    def null(self):
        return self._null


def _ballot(voter, p):
    return Ballot("q", voter, "r", "p", (), "abstain" if p is None else "yes", p, "")


def _panel(*nulls, strata=None):
    keys = list(next(n for n in nulls if n is not None))
    voters = [_Voter(f"v{i}", n) for i, n in enumerate(nulls)]
    return Panel.of(voters, keys, strata or ["day"] * len(keys), keys)


def test_two_voters_by_hand():
    panel = _panel({"a": 0.5, "b": 0.2, "c": 1.0}, {"a": 0.5, "b": 1.0, "c": 0.1})
    # statistics of the photographs: -log of 0.25, 0.2, 0.1
    assert panel.p([_ballot("v0", 0.4), _ballot("v1", 0.5)], "day") == pytest.approx(3 / 4)  # 0.2: b and c lie beyond
    assert panel.p([_ballot("v0", 0.05), _ballot("v1", 0.5)], "day") == pytest.approx(1 / 4)  # 0.025: none does
    assert panel.p([_ballot("v0", 0.5), _ballot("v1", None)], "day") == pytest.approx(3 / 4)  # v0 alone: a and b do


def test_nobody_voted():
    assert _panel({"a": 0.5}).p([_ballot("v0", None)], "day") is None


def test_a_voter_of_pairs_enters_as_a_uniform_value_beside_the_photographs():
    rng = np.random.default_rng(0)
    null = {f"k{i:03d}": float(p) for i, p in enumerate(rng.random(400))}
    panel = _panel(null, None)
    found = panel.p([_ballot("v0", 0.2), _ballot("v1", 0.1)], "day")
    drawn = np.array(list(null.values()))[:, None] * rng.random((400, 2000))
    assert found == pytest.approx(float((drawn <= 0.02).mean()), abs=0.01)


def test_a_weight_counts_on_both_sides():
    rng = np.random.default_rng(0)
    null = {f"k{i:03d}": float(p) for i, p in enumerate(rng.random(400))}
    keys = list(null)
    panel = Panel.of([_Voter("v0", null), _Voter("layer", None)], keys, ["day"] * 400, keys)
    found = panel.p([_ballot("v0", 0.2), _ballot("layer", 0.1)], "day")
    drawn = np.array(list(null.values()))[:, None] * rng.random((400, 2000)) ** WEIGHTS["layer"]
    assert found == pytest.approx(float((drawn <= 0.2 * 0.1 ** WEIGHTS["layer"]).mean()), abs=0.01)


def test_voters_that_repeat_each_other_are_not_counted_twice():
    values = np.linspace(0.001, 1, 999)
    twice = {f"k{i:03d}": float(p) for i, p in enumerate(values)}
    panel = _panel(twice, twice)
    # Fisher's table would say 0.0175 for two independent values of 0.05
    assert panel.p([_ballot("v0", 0.05), _ballot("v1", 0.05)], "day") == pytest.approx(0.051, abs=0.002)


def test_the_panel_rejects_alpha_of_new_photographs():
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((3000, 1))
    z = 0.7 * shared + 0.7 * rng.standard_normal((3000, 3))  # dependent voters
    p = (1 + np.argsort(np.argsort(z, axis=0), axis=0)) / 3001
    store = [{f"k{i}": float(v) for i, v in enumerate(column[:1000])} for column in p.T]
    panel = _panel(*store)
    new = [panel.p([_ballot(f"v{j}", float(row[j])) for j in range(3)], "day") for row in p[1000:]]
    assert np.mean([v <= 0.05 for v in new]) == pytest.approx(0.05, abs=0.015)


def test_a_small_stratum_pools_and_says_so():
    null = {f"k{i:03d}": (i + 1) / 200 for i in range(200)}
    panel = _panel(null, strata=["day"] * 190 + ["night"] * 10)
    promises = {p.stratum: p for p in panel.promises(0.1)}
    assert promises["night"].pooled
    assert not promises["day"].pooled
    assert promises[""].n == 200
    assert promises[""].rejected == pytest.approx(0.1, abs=0.02)
    assert panel.p([_ballot("v0", 0.5)], "night") == panel.p([_ballot("v0", 0.5)], "")


def test_where_a_stratum_pools_the_voter_of_pairs_decides_alone():
    null = {f"k{i:03d}": (i + 1) / 200 for i in range(200)}
    keys = list(null)
    strata = ["day"] * 190 + ["night"] * 10
    panel = Panel.of([_Voter("v0", null), _Voter("layer", None)], keys, strata, keys)
    far = _ballot("v0", 0.001)
    assert panel.p([far, _ballot("layer", 0.4)], "night") == pytest.approx(0.4, abs=0.01)
    assert panel.p([far, _ballot("layer", 0.4)], "day") < 0.1
    assert panel.p([far, _ballot("layer", None)], "night") < 0.01, "without a clean side the pooled photographs say it"


def test_photographs_that_a_voter_did_not_sample_are_left_out():
    panel = _panel({"a": 0.5, "b": 0.2}, {"a": 0.5})
    assert panel.null.shape == (1, 2)


def test_a_panel_with_a_voter_without_p_values_is_not_calibrated():
    assert calibrated([_Voter("v0", {})])
    assert not calibrated([_Voter("v0", {}), object()])
    assert not calibrated([])
