"""The learned voters: p-values, abstentions, and that they tell a rendered pair from what only looks like rain."""

from __future__ import annotations

import numpy as np
import pytest

from rainrag.core.errors import UsageError
from rainrag.core.types import Question, Shown, Subset
from rainrag.data import rain_layer
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic.generate import visible
from rainrag.data.synthetic.street import street
from rainrag.voters import create
from rainrag.voters.learned import Layer, _unseen, arrays, rank


def _question(lq, gt, stratum="day-streaks"):
    signals = {} if gt is None else {"layer": rain_layer.describe(lq, gt).tolist()}
    return Question(Shown("q", "sha", b"", "", signals), (), (), stratum)


@pytest.fixture(scope="module")
def scenes():
    return [street(np.random.default_rng([5, i]), (320, 240), False) for i in range(6)]


def test_rank_counts_the_new_one_and_ties_against_it():
    known = np.array([1.0, 2.0, 2.0, 3.0])
    assert rank(known, 0.0) == pytest.approx(1 / 5)
    assert rank(known, 2.0) == pytest.approx(4 / 5)
    assert rank(known, 9.0) == pytest.approx(1.0)


def test_a_pair_without_a_clean_side_is_an_abstention():
    (ballot,) = Layer().vote([_question(None, None)])
    assert (ballot.answer, ballot.p_yes) == ("abstain", None)


def test_dry_scenes_and_false_rain_get_lower_values_than_rendered_rain(scenes):
    layer = Layer()
    p: dict[str, list[float]] = {}
    for i, clean in enumerate(scenes):
        rng = np.random.default_rng([6, i])
        pair = visible(clean, Subset.DRS, rng, relight=False)
        cases = {"rendered": (pair.lq, pair.gt), "dry": (clean, clean)}
        cases |= {k: (false_rain.draw(clean, k, rng), clean) for k in ("thin-lines", "grid-dots", "gaussian-noise")}
        for name, (lq, gt) in cases.items():
            p.setdefault(name, []).append(layer.vote([_question(lq, gt)])[0].p_yes)
    assert np.median(p["rendered"]) > 0.1
    assert all(max(p[name]) < 0.05 for name in ("dry", "thin-lines", "grid-dots", "gaussian-noise"))


def test_the_answer_follows_alpha(scenes):
    q = _question(false_rain.draw(scenes[0], "veil", np.random.default_rng(1)), scenes[0])
    p = Layer().vote([q])[0].p_yes
    assert Layer(alpha=min(0.99, p + 0.004)).vote([q])[0].answer == "no"
    assert Layer(alpha=p / 2).vote([q])[0].answer == "yes"
    assert Layer(0.05).prompt != Layer(0.1).prompt


def test_photographs_of_the_training_count_by_the_fit_that_had_not_seen_them():
    found = arrays()
    known = bytes(found["alone.phash"][3].tobytes()).hex()
    scores = _unseen(np.array([99.0, 7.0, 5.0]), [known, "0f" * 32, ""], found)
    assert scores[0] == pytest.approx(float(found["alone.known"][3]))
    assert scores[1:].tolist() == [7.0, 5.0]


def test_learned_needs_a_store_and_a_rate_is_a_rate():
    with pytest.raises(UsageError, match="needs the reference store"):
        create("learned")
    with pytest.raises(UsageError, match="between 0 and 1"):
        create("layer", alpha=1.5)


def test_the_file_is_small_and_its_arrays_are_finite():
    found = arrays()
    assert sum(a.nbytes for a in found.values()) < 3 << 20
    assert all(np.isfinite(a).all() for a in found.values())
