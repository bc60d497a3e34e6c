"""Verdicts by hand-counted cases, the early end against the full count, and ballots that are not paid for twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core.errors import MissingError, UsageError
from rainrag.core.types import Ballot, Question, Shown, Tier
from rainrag.voters import voting as vote


def ballot(answer: str, voter: str = "v", key: str = "k") -> Ballot:
    return Ballot(key, voter, "r1", "p1", (), answer, None, "")


def test_two_of_three_by_equation_5() -> None:
    need = vote.quorum_of(3)
    assert need == 2
    for answers in itertools.product(["yes", "no", "abstain"], repeat=3):
        got = vote.verdict("k", [ballot(a) for a in answers], need)
        assert got.keep == (answers.count("yes") >= 2)
        assert got.tally == (answers.count("yes"), answers.count("no"), answers.count("abstain"))
        assert got.tier == (Tier.DISTILLED if got.keep else Tier.REJECTED)


def test_a_rejection_by_abstentions_has_a_reason_of_its_own() -> None:
    reasons = {
        ("no", "no", "yes"): "minority",
        ("no", "no", "skipped"): "minority",
        ("no", "no", "abstain"): "minority",
        ("yes", "no", "abstain"): "abstained",
        ("abstain", "abstain", "abstain"): "abstained",
        ("abstain", "abstain", "skipped"): "abstained",
        ("yes", "yes", "abstain"): "majority",
    }
    for answers, reason in reasons.items():
        assert vote.verdict("k", [ballot(a) for a in answers], 2).reason == reason
    assert set(reasons.values()) <= vote.REASONS.keys()


def test_quorum_must_be_possible() -> None:
    assert vote.quorum_of(4) == 3
    assert vote.quorum_of(3, 1) == 1
    for bad in (0, 4):
        with pytest.raises(UsageError):
            vote.quorum_of(3, bad)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["yes", "no", "abstain"]), min_size=1, max_size=5), st.integers(1, 5))
def test_stopping_early_never_changes_the_verdict(answers: list[str], quorum: int) -> None:
    need = min(quorum, len(answers))
    full = vote.verdict("k", [ballot(a) for a in answers], need)
    cast: list[Ballot] = []
    for a in answers:
        if vote.decided(cast, len(answers), need):
            cast.append(ballot("skipped"))
        else:
            cast.append(ballot(a))
    assert vote.verdict("k", cast, need).keep == full.keep
    # and it stops as soon as it may: with three voters, two equal answers are enough
    if len(answers) == 3 and need == 2 and answers[0] == answers[1] != "abstain":
        assert cast[2].answer == "skipped"


class Counting:
    """A voter that says yes to even keys and counts what it is asked."""

    name = "counting"
    prompt = "p"

    def __init__(self, revision: str = "1") -> None:
        self.revision = revision
        self.asked: list[str] = []

    def setup(self) -> None:
        pass

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        self.asked += [q.query.key for q in questions]
        return [
            Ballot(q.query.key, self.name, self.revision, self.prompt, tuple(r.key for r in q.references),
                   "no" if int(q.query.key) % 2 else "yes", 0.5, "")
            for q in questions
        ]  # fmt: skip


def questions(n: int, refs: str = "a") -> list[Question]:
    shown = tuple(Shown(r, f"sha-{r}", b"") for r in refs)
    return [Question(Shown(str(i), f"q{i}", b""), shown) for i in range(n)]


def test_ballots_are_not_paid_for_twice(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    a = list(vote.ask(first, questions(10), vote.Cache(tmp_path), batch=3))
    assert [b.answer for b in a] == ["yes", "no"] * 5
    b = list(vote.ask(second, questions(12), vote.Cache(tmp_path), batch=3))
    assert second.asked == ["10", "11"]
    assert b[:10] == a
    for other, refs in ((Counting("2"), "a"), (Counting(), "b"), (Counting(), "ab"), (Counting(), "ba")):
        list(vote.ask(other, questions(10, refs), vote.Cache(tmp_path)))
        assert len(other.asked) == 10, "another revision, other references or another order are another question"


def test_a_torn_line_costs_one_ballot(tmp_path: Path) -> None:
    list(vote.ask(Counting(), questions(40), vote.Cache(tmp_path)))
    torn = max(tmp_path.glob("*/*.jsonl"), key=lambda p: p.stat().st_size)
    data = torn.read_bytes()
    torn.write_bytes(data[: len(data) - 10])
    again = Counting()
    got = list(vote.ask(again, questions(40), vote.Cache(tmp_path)))
    assert len(again.asked) == 1
    assert [b.answer for b in got] == ["yes", "no"] * 20
    third = Counting()
    list(vote.ask(third, questions(40), vote.Cache(tmp_path)))
    assert third.asked == []


class Streaming(Counting):
    """Gives its ballots one by one, in its own order, and dies on the way."""

    def __init__(self, dies_at: int) -> None:
        super().__init__()
        self.dies_at = dies_at

    def stream(self, questions: Sequence[Question]) -> Iterator[tuple[int, Ballot]]:
        for i in sorted(range(len(questions)), key=lambda i: (i % 2, i)):
            if len(self.asked) == self.dies_at:
                raise MissingError("the server is gone")
            yield i, self.vote([questions[i]])[0]


def test_each_ballot_is_on_disk_before_the_next_is_asked_for(tmp_path: Path) -> None:
    dying = Streaming(5)
    with pytest.raises(MissingError):
        list(vote.ask(dying, questions(32), vote.Cache(tmp_path), batch=32))
    again = Streaming(99)
    got = list(vote.ask(again, questions(32), vote.Cache(tmp_path), batch=32))
    assert dying.asked == ["0", "2", "4", "6", "8"]
    assert len(again.asked) == 27
    assert not set(again.asked) & set(dying.asked)
    assert [b.answer for b in got] == ["yes", "no"] * 16


class Abstaining(Counting):
    """Abstains on some keys."""

    def __init__(self, on: set[str], raw: str) -> None:
        super().__init__()
        self.on, self.raw = on, raw

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        made = super().vote(questions)
        return [replace(b, answer="abstain", p_yes=None, raw=self.raw) if b.key in self.on else b for b in made]


@pytest.mark.parametrize(("raw", "again"), [("odd answer: no choices", ["3"]), ("said: I cannot tell", [])])
def test_an_abstention_for_a_fault_is_asked_for_again_in_another_run(
    tmp_path: Path, raw: str, again: list[str]
) -> None:
    first, second = Abstaining({"3"}, raw), Counting()
    assert [b.answer for b in vote.ask(first, questions(5), vote.Cache(tmp_path))][3] == "abstain"
    list(vote.ask(second, questions(5), vote.Cache(tmp_path)))
    assert second.asked == again


def abstentions(pattern: str) -> vote.Abstentions:
    """Of a voter whose answers are given as letters, a for abstain."""
    watch = vote.Abstentions("v")
    watch.count(replace(ballot({"a": "abstain", "y": "yes", "n": "no"}[c]), raw="why") for c in pattern)
    return watch


@pytest.mark.parametrize("pattern", ["a" * 20 + "y" * 80 + "a" * 900, "y" * 100 + "a" * 100, "aaay", "aa", "", "y"])
def test_few_abstentions_are_fine(pattern: str) -> None:
    abstentions(pattern).close()


@pytest.mark.parametrize("pattern", ["a" * 21, "y" * 79 + "a" * 21, "yyyyaaaaa", "aaa"])
def test_a_voter_that_hardly_answers_stops_with_the_commonest_reason(pattern: str) -> None:
    with pytest.raises(vote.AbstentionError, match=r"'v' abstained on .* questions; .* why") as e:
        abstentions(pattern).close()
    assert "--allow-abstentions" in str(e.value)


def test_the_same_picture_under_another_key_has_the_same_ballot(tmp_path: Path) -> None:
    cache = vote.Cache(tmp_path)
    list(vote.ask(Counting(), questions(1), cache))
    twin = Question(Shown("99", "q0", b""), questions(1)[0].references)
    got = next(vote.ask(Counting(), [twin], cache))
    assert (got.key, got.answer) == ("99", "yes")


def test_fleiss_kappa_of_the_textbook() -> None:
    """Fleiss 1971's worked example as a table of 10 items, 14 raters, 5 categories: kappa 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    rows = [[str(c) for c, n in enumerate(row) for _ in range(n)] for row in table]
    assert vote.fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)
    assert vote.fleiss_kappa([["yes", "yes"], ["no", "no"]]) == 1.0
    assert vote.fleiss_kappa([["yes", "yes"]]) is None
    assert vote.fleiss_kappa([]) is None


def test_agreement_counts_only_full_items() -> None:
    ballots = {
        "a": [ballot("yes", "x"), ballot("yes", "y")],
        "b": [ballot("no", "x"), ballot("yes", "y")],
        "c": [ballot("no", "x"), ballot("skipped", "y")],
    }
    got = vote.agreement(ballots)
    assert got["items"] == 2
    assert got["unanimous"] == 0.5
    assert got["yes_rate"] == {"x": 0.5, "y": 1.0}


def test_the_audit_sample_is_random_and_fixed() -> None:
    keys = [f"s/train/{i}" for i in range(4000)]
    share = sum(vote.audited(k, 0.05) for k in keys) / len(keys)
    assert share == pytest.approx(0.05, abs=0.015)
    assert [vote.audited(k, 0.05, 1) for k in keys] != [vote.audited(k, 0.05, 2) for k in keys]
    assert all(vote.audited(k, 1.0) for k in keys)
    assert not any(vote.audited(k, 0.0) for k in keys)
