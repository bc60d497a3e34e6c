"""From a model's next token to an answer: one token decides, by its probability and not by what it looks like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rainrag.errors import InputError

if TYPE_CHECKING:
    import torch

#: What tokenizers put before a token that begins a word: SentencePiece's and byte-level BPE's sign, or a blank.
WORD_START = "\u2581\u0120 "

YES, NO = frozenset({"true", "yes"}), frozenset({"false", "no"})


@dataclass(frozen=True)
class Reply:
    """What a model answered to one prompt.

    Args:
        p_yes: yes among yes and no, in [0, 1]; None where no probabilities are to be had.
        mass: probability that the next token is an answer word at all; None as above.
        said: text, where only that is to be had.
        problem: why there is no answer.
    """

    p_yes: float | None = None
    mass: float | None = None
    said: str = ""
    problem: str = ""


def matches(token: str, word: str) -> bool:
    """Whether a token is the word, with or without the mark of a word's start, in any case."""
    return token.lstrip(WORD_START).rstrip().casefold() == word.casefold()


def variants(vocabulary: Mapping[str, int], word: str) -> list[int]:
    """Ids of all single tokens that are the word: True, true, TRUE, with and without a blank before.

    Raises:
        InputError: when the tokenizer has none.
    """
    ids = sorted(i for token, i in vocabulary.items() if matches(token, word))
    if not ids:
        raise InputError(
            f"the tokenizer has no single token for '{word}'", hint="choose other answer words: true-false or yes-no"
        )
    return ids


def from_logits(answers: torch.Tensor, n_yes: int, everything: torch.Tensor) -> list[Reply]:
    """Replies from next-token logits.

    Args:
        answers: (B, Y + N) float32 logits of the words for yes, then of those for no.
        n_yes: Y.
        everything: (B, V) logits of the whole vocabulary, for the share that the answer words hold.
    """
    yes = answers[:, :n_yes].logsumexp(1)
    no = answers[:, n_yes:].logsumexp(1)
    p_yes = (yes - no).sigmoid()
    mass = (answers.logsumexp(1) - everything.float().logsumexp(1)).exp().clamp(max=1.0)
    return [Reply(float(p), float(m)) for p, m in zip(p_yes.tolist(), mass.tolist(), strict=True)]


def read_out(hidden: torch.Tensor, head: Any, yes: Sequence[int], no: Sequence[int]) -> list[Reply]:
    """Replies from the last position's hidden state.

    bfloat16 logits near 20 lie 0.125 apart, three per cent in p: so the few answer logits are computed in float32.

    Args:
        hidden: (B, D) after the final normalisation.
        head: the output embedding, (D) -> (V).
        yes, no: token ids of the two words.
    """
    ids = [*yes, *no]
    everything = head(hidden)
    weight = head.weight
    # Kept on disk or in main memory by accelerate, which moves it in for the call alone; or packed into 4 bit.
    if weight.is_meta or not weight.is_floating_point():
        return from_logits(everything[:, ids].float(), len(yes), everything)
    answers = hidden.to(weight.device).float() @ weight[ids].float().T
    if getattr(head, "bias", None) is not None:
        answers = answers + head.bias[ids].float()
    return from_logits(answers, len(yes), everything.to(answers.device))


def from_logprobs(top: Iterable[tuple[str, float]], yes: str, no: str) -> Reply:
    """The reply from a server's list of likely tokens with natural-log probabilities; a word not listed counts as 0."""
    sums = {yes: 0.0, no: 0.0}
    for token, logprob in top:
        for word in sums:
            if matches(token, word):
                sums[word] += math.exp(logprob)
    mass = sums[yes] + sums[no]
    return Reply(sums[yes] / mass, min(mass, 1.0)) if mass > 0 else Reply(0.5, 0.0)


def from_text(text: str) -> Reply:
    """The reply from words alone: the first of yes, no, true, false counts."""
    return Reply(said=" ".join(text.split())[:80])


def first_word(text: str) -> str:
    """``yes``, ``no``, or ``abstain`` where none of the four words is said."""
    for word in re.findall(r"[a-z]+", text.casefold()):
        if word in YES:
            return "yes"
        if word in NO:
            return "no"
    return "abstain"


def mean(replies: Sequence[Reply]) -> Reply:
    """One reply out of several to the same question put in different orders."""
    if len(replies) == 1:
        return replies[0]
    for reply in replies:
        if reply.problem:
            return reply
    ps = [r.p_yes for r in replies if r.p_yes is not None]
    masses = [r.mass for r in replies if r.mass is not None]
    if len(ps) == len(replies) and len(masses) == len(replies):
        return Reply(sum(ps) / len(ps), min(masses))
    words = {first_word(r.said) for r in replies}
    return replies[0] if len(words) == 1 else Reply(problem="the answer depends on the order of the references")


def decide(reply: Reply, band: float, least_mass: float) -> tuple[str, float | None, str]:
    """(answer, p_yes to six decimals, raw) of a ballot.

    Args:
        band: half-width of the band around 0.5 in which the voter abstains.
        least_mass: abstains where the answer words hold less of the probability than this.
    """
    if reply.problem:
        return "abstain", None, reply.problem
    if reply.p_yes is None or reply.mass is None:
        return first_word(reply.said), None, f"said: {reply.said}"
    p = round(reply.p_yes, 6)
    if reply.mass < least_mass:
        return "abstain", p, f"answer words hold {reply.mass:.4f} of the probability"
    if abs(p - 0.5) < band:
        return "abstain", p, f"undecided, within {band:g} of 0.5"
    return ("yes" if p > 0.5 else "no"), p, f"answer words hold {reply.mass:.4f}"
