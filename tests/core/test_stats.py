"""Intervals and tests on cases that can be computed by hand, and their invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core import stats

SCENES = [f"s{i}" for i in range(8)]


def test_sign_flip_test_by_hand() -> None:
    # Three scenes, all differences of one sign: only 2 of 8 sign patterns reach the observed sum.
    assert stats.paired_p([1, 2, 3], [0, 0, 0], ["a", "b", "c"]) == pytest.approx(2 / 8)
    # +1 and -1: every pattern's |sum| is 0 or 2, and 0 >= 0 always.
    assert stats.paired_p([1, 0], [0, 1], ["a", "b"]) == 1.0
    assert stats.paired_p([1, 1], [1, 1], ["a", "b"]) == 1.0


def test_images_of_one_scene_count_as_one() -> None:
    a = [1.0] * 8
    assert stats.paired_p(a, [0] * 8, SCENES) == pytest.approx(2 / 2**8)
    assert stats.paired_p(a, [0] * 8, ["one"] * 4 + ["two"] * 4) == pytest.approx(2 / 4)


def test_monte_carlo_agrees_with_the_exact_test() -> None:
    rng = np.random.default_rng(0)
    diff = rng.normal(0.4, 1, 14)
    names = [str(i) for i in range(14)]
    exact = stats.paired_p(diff, np.zeros(14), names)
    sampled = stats.paired_p([*diff, 1e-12], np.zeros(15), [*names, "x"])
    assert sampled == pytest.approx(exact, abs=0.02)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_interval_holds_the_mean_and_needs_scenes() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(30, 2, 200).tolist()
    low, high = stats.interval(values, [str(i) for i in range(200)]) or (0, 0)
    half = 1.96 * 2 / np.sqrt(200)
    assert low == pytest.approx(np.mean(values) - half, abs=0.06)
    assert high == pytest.approx(np.mean(values) + half, abs=0.06)
    assert stats.interval([1, 2], ["a", "a"]) is None
    assert stats.interval([1, float("inf")], ["a", "b"]) is None
    assert stats.interval([], []) is None


def test_interval_widens_when_images_share_scenes() -> None:
    rng = np.random.default_rng(2)
    scene = np.repeat(rng.normal(0, 1, 10), 20)
    alone = stats.interval(scene.tolist(), [str(i) for i in range(200)]) or (0, 0)
    shared = stats.interval(scene.tolist(), [str(i // 20) for i in range(200)]) or (0, 0)
    assert shared[1] - shared[0] > 2 * (alone[1] - alone[0])


def test_ranks_are_intervals() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(30, 1, 40)
    scores = {
        "best": (base + 2).tolist(),
        "twin-a": base.tolist(),
        "twin-b": (base + rng.normal(0, 0.5, 40)).tolist(),
        "worst": (base - 2).tolist(),
    }
    got = stats.ranks(scores, [str(i) for i in range(40)])
    assert got["best"] == (1, 1)
    assert got["twin-a"] == got["twin-b"] == (2, 3)
    assert got["worst"] == (4, 4)
    lower = stats.ranks(scores, [str(i) for i in range(40)], larger_is_better=False)
    assert lower["best"] == (4, 4)


def test_comparison_by_hand() -> None:
    # Eight scenes, every difference 2 or 4: mean 3, the standard deviation of the scenes 2 * sqrt(2/7).
    gap = [2.0, 4.0] * 4
    found = stats.compare({"a": gap, "b": [0.0] * 8}, SCENES)
    assert [(c.a, c.b) for c in found] == [("a", "b")]
    one = found[0]
    assert one.difference == pytest.approx(3)
    assert one.p == pytest.approx(2 / 2**8)
    assert one.interval is not None
    assert 2 <= one.interval[0] < 3 < one.interval[1] <= 4
    want = ((1.96 + 0.8416) * 2 * np.sqrt(2 / 7) / 3) ** 2
    assert one.scenes_needed == np.ceil(want)


def test_three_comparisons_are_corrected_together() -> None:
    scores = {"a": [1.0] * 8, "b": [0.0] * 8, "c": [0.0] * 8}
    p = {(c.a, c.b): c.p for c in stats.compare(scores, SCENES)}
    assert p["a", "b"] == pytest.approx(3 * 2 / 2**8)
    assert p["a", "c"] == pytest.approx(3 * 2 / 2**8)  # Holm: never below the one before it
    assert p["b", "c"] == 1


def _comparisons(names: list[str], same: set[tuple[str, str]]) -> list[stats.Comparison]:
    return [
        stats.Comparison(a, b, 1.0, None, 0.5 if (a, b) in same else 0.01, None)
        for a, b in itertools.combinations(names, 2)
    ]


def test_groups_share_exactly_those_that_do_not_differ() -> None:
    scores = {m: [float(v)] for m, v in zip("abcd", (4, 3, 2, 1), strict=True)}
    chain = _comparisons(list("abcd"), {("a", "b"), ("b", "c")})
    assert stats.groups(scores, ["s"], compared=chain) == [("a", "b"), ("b", "c"), ("d",)]
    assert stats.groups(scores, ["s"], larger_is_better=False, compared=chain) == [("d",), ("c", "b"), ("b", "a")]
    assert stats.ranks(scores, ["s"], compared=chain) == {"a": (1, 2), "b": (1, 3), "c": (2, 3), "d": (4, 4)}


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(list(itertools.combinations("abcdef", 2)))))
def test_groups_are_maximal_and_cover_all(same: set[tuple[str, str]]) -> None:
    names = list("abcdef")
    scores = {m: [float(-i)] for i, m in enumerate(names)}
    found = [set(g) for g in stats.groups(scores, ["s"], compared=_comparisons(names, same))]
    together = {(a, b) for a, b in itertools.combinations(names, 2) if any({a, b} <= g for g in found)}
    assert together == same
    assert set().union(*found) == set(names)
    assert not any(g < h for g in found for h in found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8))
def test_holm_never_helps_and_keeps_the_order(p: list[float]) -> None:
    adjusted = stats.holm(p)
    assert all(a >= q - 1e-12 for a, q in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert all(adjusted[i] <= adjusted[j] + 1e-12 for i, j in itertools.pairwise(order))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_test_is_symmetric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, 8), rng.normal(0.3, 1, 8)
    assert stats.paired_p(a, b, SCENES) == stats.paired_p(b, a, SCENES)
    there, back = stats.compare({"a": a, "b": b}, SCENES)[0], stats.compare({"b": b, "a": a}, SCENES)[0]
    assert there.difference == pytest.approx(-back.difference)
