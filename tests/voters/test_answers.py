"""From logits, logprobs or words to an answer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core.errors import InputError
from rainrag.voters.answers import Reply, decide, final_answer, from_logprobs, from_text, mean, read_out, variants

VOCABULARY = {
    "True": 0,
    "▁True": 1,
    "Ġtrue": 2,
    " TRUE": 3,
    "Truely": 4,
    "untrue": 5,
    "False": 6,
    "▁false": 7,
    "Tr": 8,
    "x": 9,
}


def test_all_single_token_spellings_of_a_word_are_found() -> None:
    assert variants(VOCABULARY, "True") == [0, 1, 2, 3]
    assert variants(VOCABULARY, "False") == [6, 7]
    with pytest.raises(InputError, match="no single token for 'Yes'"):
        variants(VOCABULARY, "Yes")


def test_p_is_the_share_of_the_yes_variants_in_the_softmax() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 10, bias=True)
    hidden = torch.randn(5, 8)
    probability = head(hidden).softmax(1)
    yes, no = probability[:, :4].sum(1), probability[:, 6:8].sum(1)
    with torch.no_grad():
        replies = read_out(hidden, head, [0, 1, 2, 3], [6, 7])
    for reply, y, n in zip(replies, yes.tolist(), no.tolist(), strict=True):
        assert reply.p_yes == pytest.approx(y / (y + n), abs=1e-6)
        assert reply.mass == pytest.approx(y + n, abs=1e-6)


def test_half_precision_heads_are_read_in_float32() -> None:
    """With bfloat16 logits near 64, steps of 0.5 would tell 0.50 and 0.56 apart at best."""
    head = torch.nn.Linear(4, 2, bias=False).bfloat16()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[32.0, 32.0, 0, 0.0625], [32.0, 32.0, 0, 0]]))
        hidden = torch.tensor([[1.0, 1.0, 0, 2.0]]).bfloat16()
        assert torch.equal(head(hidden)[0, 0], head(hidden)[0, 1])  # what bfloat16 makes of it
        reply = read_out(hidden, head, [0], [1])[0]
    assert reply.p_yes == pytest.approx(1 / (1 + math.exp(-0.125)), abs=1e-6)


class PackedHead(torch.nn.Module):
    """Weights in a form that cannot be indexed by token: 4 bit, or not here at all."""

    def __init__(self, inner: torch.nn.Linear, weight: torch.Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.weight = weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden)


@pytest.mark.parametrize("weight", [torch.zeros(40, 1, dtype=torch.uint8), torch.zeros(10, 8, device="meta")])
def test_heads_that_are_packed_or_elsewhere_are_read_through_their_own_call(weight: torch.Tensor) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(8, 10, bias=False)
    hidden = torch.randn(3, 8)
    with torch.no_grad():
        expected = read_out(hidden, plain, [0, 1], [6])
        found = read_out(hidden, PackedHead(plain, weight), [0, 1], [6])
    assert [r.p_yes for r in found] == pytest.approx([r.p_yes for r in expected], abs=1e-6)


def test_logprobs_of_a_server_add_up_over_spellings() -> None:
    top = [("True", math.log(0.5)), (" true", math.log(0.1)), ("False", math.log(0.2)), ("The", math.log(0.1))]
    reply = from_logprobs(top, "True", "False")
    assert reply.p_yes == pytest.approx(0.75)
    assert reply.mass == pytest.approx(0.8)
    assert decide(from_logprobs([("The", -0.1)], "True", "False"), 0.05, 0.01)[0] == "abstain"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("True.", "yes"),
        ("  **false** - since", "no"),
        ("Yes", "yes"),
        ("NO, it is not true", "no"),
        ("Not sure", "abstain"),
        ("", "abstain"),
        ("untrue", "abstain"),
        ("It is not true that", "abstain"),
        ("I cannot say whether it is true", "abstain"),
        ("<think> is it true", "abstain"),
        ("<think>The answer is true.", "abstain"),
        ("<think>is it true?</think>False", "no"),
        ("it seems false</think>\n\nTrue", "yes"),
        ("True or False? False", "no"),
        ("True or false", "abstain"),
        ("True?", "abstain"),
        ("True, but the drops do not refract", "abstain"),
        ("Yes, it is not true", "abstain"),
        ("No, it is true", "abstain"),
        ("Yes, no", "abstain"),
        ("True. No, wait. False", "abstain"),
        ("The answer is true. The answer is false.", "abstain"),
        ("The answer is not true", "abstain"),
        ("I don't think the answer is True", "abstain"),
        ("It is known that", "abstain"),
        ("There is no", "abstain"),
        ("It depends. True", "abstain"),
        ("Vrai", "abstain"),
        ("The answer is: False", "no"),
        ("The statement is false", "no"),
        ("Streaks bend the light. So the final answer is True.", "yes"),
        ('{"answer": true}', "yes"),
        ("\\boxed{False}", "no"),
        ("\uff34\uff52\uff55\uff45", "yes"),
        ("True<|im_end|>", "yes"),
    ],
)
def test_of_a_text_only_a_clear_final_answer_counts(text: str, answer: str) -> None:
    assert final_answer(from_text(text).said) == answer


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("true false yes no not?.,<>/think\n\u2581*"), max_size=60))
def test_any_text_has_one_of_three_answers(text: str) -> None:
    reply = from_text(text)
    assert decide(reply, 0.05, 0.01)[0] in ("yes", "no", "abstain")
    if final_answer(reply.said) != "abstain":
        assert any(word in text.casefold() for word in ("true", "false", "yes", "no"))


@pytest.mark.parametrize(
    ("p", "answer"), [(0.9, "yes"), (0.1, "no"), (0.52, "abstain"), (0.48, "abstain"), (0.55, "yes"), (0.45, "no")]
)
def test_within_the_band_the_voter_abstains(p: float, answer: str) -> None:
    assert decide(Reply(p, 0.9), 0.0499, 0.01)[0] == answer


def test_p_is_rounded_to_six_decimals() -> None:
    assert decide(Reply(0.123456789, 0.9), 0.05, 0.01)[1] == 0.123457


def test_without_a_band_one_half_is_no() -> None:
    """A tie keeps nothing: eq. 5 counts ones."""
    assert decide(Reply(0.5, 0.9), 0.0, 0.01)[0] == "no"


def test_an_answer_in_other_words_is_an_abstention_with_the_reason() -> None:
    answer, p, raw = decide(Reply(0.99, 0.001), 0.05, 0.01)
    assert (answer, p) == ("abstain", 0.99)
    assert "0.0010" in raw


def test_two_orders_are_averaged_and_a_contradiction_in_words_abstains() -> None:
    both = mean([Reply(0.8, 0.9), Reply(0.5, 0.7)])
    assert both.p_yes == pytest.approx(0.65)
    assert both.mass == 0.7
    assert decide(mean([Reply(said="True"), Reply(said="true!")]), 0.05, 0.01)[0] == "yes"
    answer, _, raw = decide(mean([Reply(said="True"), Reply(said="False")]), 0.05, 0.01)
    assert answer == "abstain"
    assert "order" in raw
    assert mean([Reply(0.8, 0.9), Reply(problem="broken")]).problem == "broken"
