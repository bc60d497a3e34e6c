"""The voter over any model: one ballot a question, abstentions with reasons, bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rainrag.core.types import Shown
from rainrag.voters.answers import Reply
from rainrag.voters.prompt import Parts, images_of
from rainrag.voters.vlm import Judging, VlmVoter
from tests.voters.tiny import questions, shown


class Scripted:
    """A model that says yes to bright candidates, and remembers what it was asked."""

    revision = "r1"

    def __init__(self, layout: str = "images", chunk: int = 2) -> None:
        self.layout = layout
        self.chunk = chunk
        self.calls: list[int] = []
        self.seen: list[Parts] = []

    def load(self) -> None:
        self.calls.clear()

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        self.calls.append(len(prompts))
        self.seen += prompts
        return [Reply(min(1.0, float(images_of(p)[-1].mean()) / 255), 0.9) for p in prompts]


def voter(model: Scripted, **settings: object) -> VlmVoter:
    return VlmVoter("scripted", model, Judging(**settings))  # type: ignore[arg-type]


def test_ballots_come_in_order_and_carry_their_identity() -> None:
    asked = questions()
    judge = voter(Scripted(), band=0.0)
    ballots = judge.vote(asked)
    assert [b.key for b in ballots] == [q.query.key for q in asked]
    assert [b.references for b in ballots] == [tuple(r.key for r in q.references) for q in asked]
    assert {(b.voter, b.revision, b.prompt) for b in ballots} == {("scripted", "r1", judge.prompt)}
    assert all(b.answer == ("yes" if (b.p_yes or 0) > 0.5 else "no") for b in ballots)
    assert len({b.p_yes for b in ballots}) == len(ballots)


def test_a_model_never_sees_more_than_its_chunk_at_a_time() -> None:
    model = Scripted(chunk=2)
    voter(model).vote(questions((1, 1, 1, 1, 1)))
    assert model.calls == [2, 2, 1]


@pytest.mark.parametrize("data", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x89PNG\r\n" + b"x" * 60])
def test_an_undecodable_image_is_an_abstention_that_says_so(data: bytes) -> None:
    good, bad_query, bad_reference = questions((2, 2, 2))
    bad_query = replace(bad_query, query=Shown("q/broken", "0" * 64, data))
    bad_reference = replace(bad_reference, references=(shown(1), Shown("r/broken", "0" * 64, data)))
    model = Scripted(chunk=8)
    ballots = voter(model).vote([bad_query, good, bad_reference])
    assert [b.answer == "abstain" and b.p_yes is None for b in ballots] == [True, False, True]
    assert ballots[0].raw.startswith("query q/broken: ")
    assert ballots[2].raw.startswith("reference r/broken: ")
    assert model.calls == [1]


def test_nothing_to_ask_asks_nothing() -> None:
    model = Scripted()
    broken = replace(questions((0,))[0], query=Shown("q", "0" * 64, b""))
    assert voter(model).vote([broken])[0].answer == "abstain"
    assert voter(model).vote([]) == []
    assert model.calls == []


def test_a_model_of_one_image_gets_a_montage_and_images_are_capped() -> None:
    asked = questions((3, 0))
    model = Scripted(layout="montage", chunk=8)
    voter(model, max_pixels=64 * 64).vote(asked)
    assert [len(images_of(p)) for p in model.seen] == [1, 1]
    assert images_of(model.seen[0])[0].shape == (64, 64, 3)
    several = Scripted(layout="montage", chunk=8)
    voter(several, layout="images", max_pixels=64 * 64).vote(questions((3,)))
    assert len(images_of(several.seen[0])) == 4
    big = replace(asked[1], query=shown(3, 400, 300))
    voter(model, max_pixels=64 * 64).vote([big])
    assert images_of(model.seen[-1])[0].size <= 3 * 64 * 64


def test_asked_in_two_orders_the_references_are_reversed_and_the_mean_counts() -> None:
    model = Scripted(chunk=8)
    ballots = voter(model, orders=2).vote(questions((3, 1)))
    assert model.calls == [3]  # two orders of three references, one of one
    first, second = (images_of(p) for p in model.seen[:2])
    assert all((a == b).all() for a, b in zip(first[:3], second[2::-1], strict=True))
    assert (first[3] == second[3]).all()
    assert len(ballots) == 2
