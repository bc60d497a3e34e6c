"""Intervals and tests on cases that can be computed by hand, and their invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag import stats

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
