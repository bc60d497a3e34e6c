"""The statistical voters on references made by hand: ranks, rates, strata, contexts."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rainrag.core.errors import IntegrityError, UsageError
from rainrag.core.types import Question, Shown
from rainrag.retrieval.references import References
from rainrag.retrieval.search import Query, Sizes, retrieve
from rainrag.voters import statistical
from rainrag.voters.statistical import MEANS, Statistical

WIDTH = {"rain": 35, "texture": 12, "nature": 14}
SIZES = (30, 10, 3)


class FakeStore:
    """What a voter asks of a store: keys, signals, strata, the cascade's matrices."""

    def __init__(self, path: Path, signals: dict[str, Any], strata: Sequence[str], scenes: Sequence[str]) -> None:
        self.path = path
        self.keys = [f"r{i:04d}" for i in range(len(strata))]
        self.fingerprint = f"fake-{len(strata)}-{float(next(iter(signals.values())).sum()):.6f}"
        self._signals = {k: np.asarray(v, np.float32) for k, v in signals.items()}
        self._strata = list(strata)
        rng = np.random.default_rng(0)
        texts = rng.normal(size=(len(strata), 8)).astype(np.float32)
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
        self._refs = References(
            self.keys, self.keys, [""] * len(strata), texts, self._signals["rain"][:, :6] + 1.0,
            np.zeros((len(strata), 256, 256), np.uint8), scenes,
        )  # fmt: skip

    def signals(self) -> dict[str, Any]:
        return self._signals

    def rows(self, columns: list[str]) -> list[dict[str, Any]]:
        return [{"key": k, "stratum": s} for k, s in zip(self.keys, self._strata, strict=True)]

    def references(self) -> References:
        return self._refs


def draw(n: int, seed: int) -> dict[str, Any]:
    """Signals of n photographs, all from one law."""
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=(n, w)) for k, w in WIDTH.items()}


def voter(store: FakeStore, name: str = "descriptor", **kw: Any) -> Statistical:
    made = Statistical(name, store.path, sizes=SIZES, **kw)
    made._opened = store  # type: ignore[assignment]
    made.setup()
    return made


def questions(store: FakeStore, signals: dict[str, Any], stratum: str = "day-streaks") -> list[Question]:
    """New pictures with these signals, retrieved as distill retrieves."""
    n = len(signals["rain"])
    rng = np.random.default_rng(99)
    texts = rng.normal(size=(n, 8)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    features = np.asarray(signals["rain"][:, :6] + 1.0, np.float32)
    queries = [Query(f"q{i}", f"q{i}", "", texts[i], features[i], np.zeros((256, 256), np.uint8)) for i in range(n)]
    found = retrieve(queries, store.references(), Sizes(*SIZES), structural=False)
    return [
        Question(Shown(f"q{i}", f"q{i}", b"", "", {k: v[i] for k, v in signals.items()}), (), f.neighbours, stratum)
        for i, f in enumerate(found)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FakeStore:
    n = 300
    return FakeStore(tmp_path_factory.mktemp("store"), draw(n, 1), ["day-streaks"] * n, [f"s{i}" for i in range(n)])


# ---------------------------------------------------------------- the promise
@pytest.mark.parametrize("context", statistical.CONTEXTS)
@pytest.mark.parametrize("name", list(MEANS))
def test_false_rejections_keep_to_alpha(store: FakeStore, name: str, context: str) -> None:
    """New pictures of the references' own law are rejected at a rate of alpha, not more.

    One store is one calibration: its rate varies about alpha like a Beta of (n + 1) alpha successes, the count on top
    like a binomial. Four deviations of both together are allowed.
    """
    alpha, fresh = 0.1, 600
    ballots = voter(store, name, alpha=alpha, context=context).vote(questions(store, draw(fresh, 7)))
    rejected = np.mean([b.answer == "no" for b in ballots])
    deviation = np.sqrt(alpha * (1 - alpha) * (1 / fresh + 1 / (len(store.keys) + 2)))
    assert abs(rejected - alpha) < 4 * deviation
    p = np.sort([b.p_yes for b in ballots if b.p_yes is not None])
    assert len(p) == fresh
    assert np.abs(p - np.arange(1, fresh + 1) / fresh).max() < 0.15, "p-values are even"


@pytest.mark.parametrize("name", list(MEANS))
def test_what_is_unlike_the_references_is_rejected(store: FakeStore, name: str) -> None:
    far = {k: v + 6.0 for k, v in draw(20, 3).items()}
    ballots = voter(store, name).vote(questions(store, far))
    assert {b.answer for b in ballots} == {"no"}
    assert {b.p_yes for b in ballots} == {round(1 / 301, 6)}


def test_p_is_the_share_of_references_at_least_as_far(store: FakeStore) -> None:
    v = voter(store, "naturalness", context="store")
    asked = questions(store, draw(5, 4))
    values = store.signals()["nature"]
    middle = np.median(values, axis=0)
    spread = np.median(np.abs(values - middle), axis=0) * 1.4826 + 0.05 * values.std(axis=0) + 1e-6

    def distance(x: Any) -> float:
        return float(np.sqrt(np.mean(np.clip((x - middle) / spread, -12, 12) ** 2)))

    known = [distance(x) for x in values]
    for q, ballot in zip(asked, v.vote(asked), strict=True):
        mine = distance(np.asarray(q.query.signals["nature"], np.float32))
        by_hand = (1 + sum(k >= mine - 1e-6 for k in known)) / (len(known) + 1)
        assert ballot.p_yes == pytest.approx(by_hand, abs=0.004)


# ---------------------------------------------------------------- leave one scene out
def test_a_reference_never_sees_its_own_scene(tmp_path: Path) -> None:
    """Each scene is a pair of twins: one that sees its twin looks perfectly at home."""
    half = draw(60, 5)
    twins = {k: np.repeat(v * 4, 2, axis=0) for k, v in half.items()}
    scenes = [f"s{i // 2}" for i in range(120)]
    apart = FakeStore(tmp_path / "a", twins, ["x"] * 120, scenes)
    alone = FakeStore(tmp_path / "b", twins, ["x"] * 120, [f"s{i}" for i in range(120)])
    for s in (apart, alone):
        s.path.mkdir()
    together, twinned = voter(apart)._scores[""], voter(alone)._scores[""]
    assert together.min() > 0.1
    assert np.mean(twinned == 0) > 0.1
    v = voter(apart)
    for i, near in enumerate(v._neighbourhoods(apart, np.arange(120))):  # type: ignore[arg-type]
        assert len(near) == SIZES[1]
        assert {n // 2 for n in near}.isdisjoint({i // 2})


# ---------------------------------------------------------------- strata
def test_small_strata_pool_and_large_ones_do_not(tmp_path: Path) -> None:
    signals = draw(200, 6)
    signals["rain"][:80] *= 5  # the large stratum spreads wider
    strata = ["night-streaks"] * 80 + ["day-streaks"] * 100 + ["day-drops"] * 20
    s = FakeStore(tmp_path, signals, strata, [f"s{i}" for i in range(200)])
    v = voter(s)
    assert set(v._scores) == {"", "night-streaks", "day-streaks"}
    assert len(v._scores[""]) == 200
    wide = {k: x * (2.5 if k == "rain" else 1) for k, x in draw(40, 8).items()}
    by = {t: v.vote(questions(s, wide, t)) for t in ("night-streaks", "day-streaks", "day-drops", "never seen")}
    rate = {t: np.mean([b.answer == "no" for b in ballots]) for t, ballots in by.items()}
    assert rate["day-streaks"] > 0.5 > rate["night-streaks"]
    assert [b.p_yes for b in by["day-drops"]] == [b.p_yes for b in by["never seen"]]


# ---------------------------------------------------------------- abstentions
def test_too_few_references_for_the_rate_abstain(tmp_path: Path) -> None:
    s = FakeStore(tmp_path, draw(15, 9), ["x"] * 15, [f"s{i}" for i in range(15)])
    asked = questions(s, draw(4, 10))
    strict = voter(s, alpha=0.05).vote(asked)
    assert {b.answer for b in strict} == {"abstain"}
    assert all("too few references" in b.raw for b in strict)
    assert {b.answer for b in voter(s, alpha=0.1).vote(asked)} <= {"yes", "no"}


def test_no_signal_and_no_neighbours_abstain(store: FakeStore) -> None:
    q = questions(store, draw(1, 11))[0]
    v = voter(store)
    blind = v.vote([Question(Shown("q", "q", b""), (), q.neighbours, "x")])[0]
    assert (blind.answer, blind.p_yes, blind.raw) == ("abstain", None, "no signal 'rain'")
    lonely = v.vote([Question(q.query, (), (), "x")])[0]
    assert (lonely.answer, lonely.raw) == ("abstain", "no references were retrieved")
    assert voter(store, context="store").vote([Question(q.query, (), (), "x")])[0].answer != "abstain"


# ---------------------------------------------------------------- identity
def test_the_calibration_is_kept_and_gives_the_same_ballots(store: FakeStore) -> None:
    asked = questions(store, draw(10, 12))
    first = voter(store)
    ballots = first.vote(asked)
    assert list(store.path.glob(f".calibration-descriptor-{first.revision}.npz"))
    again: Statistical = pickle.loads(pickle.dumps(first))
    assert again._z is None
    again._opened = store  # type: ignore[assignment]
    assert again.vote(asked) == ballots


def test_identity_follows_what_changes_an_answer(store: FakeStore) -> None:
    plain = voter(store)
    assert voter(store).revision == plain.revision
    assert voter(store, context="random").revision != plain.revision
    assert voter(store, "features").revision != plain.revision
    assert voter(store, alpha=0.1).prompt != plain.prompt
    assert voter(store, alpha=0.1).revision == plain.revision, "the threshold is no part of the calibration"


def test_random_neighbours_follow_the_key(store: FakeStore) -> None:
    v = voter(store, context="random")
    assert v._random("a") == v._random("a") != v._random("b")
    assert v._random("a") != voter(store, context="random", seed=1)._random("a")


def test_misuse_is_refused(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Statistical("descriptor", "x", alpha=1.0)
    with pytest.raises(UsageError, match="no context"):
        Statistical("descriptor", "x", context="near")
    poor = FakeStore(tmp_path, {"rain": draw(20, 1)["rain"]}, ["x"] * 20, [str(i) for i in range(20)])
    with pytest.raises(IntegrityError, match="no signal 'texture'"):
        voter(poor, "features")
