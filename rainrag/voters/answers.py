"""From a model's next token to an answer: one token decides, by its probability and not by what it looks like.

Where a server gives no probabilities, only a clear final answer in its text counts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import InputError
from rainrag.core.http import without_thinking

if TYPE_CHECKING:
    import torch

#: What tokenizers put before a token that begins a word: SentencePiece's and byte-level BPE's sign, or a blank.
WORD_START = "\u2581\u0120 "

YES = frozenset({"true", "yes"})

ROUNDING = 1e-4  # a log-probability may lie so far above 0 by a server's rounding
LOWEST = -1e5  # servers write -9999 and the like for a probability of 0; below this it is no such mark
EXCESS = 0.02  # of the summed probability above 1, likewise
MOST_TEXT = 4000  # characters of a text that are looked at: its end


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


def from_logprobs(top: Iterable[tuple[str, Any]], yes: str, no: str) -> Reply:
    """The reply from a server's list of likely tokens with natural-log probabilities; a word not listed counts as 0.

    Args:
        top: (token, value as the server gave it) of the first token's alternatives.

    Returns:
        A reply with a problem where a value is not a log-probability: no number, not finite, or above 0.
    """
    sums = {yes: 0.0, no: 0.0}
    for token, value in top:
        wrong = _no_logprob(value)
        if wrong:
            return Reply(problem=f"the server's log-probability of '{token[:20]}' is {wrong}")
        for word in sums:
            if matches(token, word):
                sums[word] += math.exp(min(value, 0.0))
    mass = sums[yes] + sums[no]
    if mass > 1 + EXCESS:
        return Reply(problem=f"the server's probabilities of the answer words add up to {mass:.4g}")
    return Reply(sums[yes] / mass, min(mass, 1.0)) if mass > 0 else Reply(0.5, 0.0)


def _no_logprob(value: object) -> str:
    """Why a value is not the logarithm of a probability, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "no number" if value is not None else "null"
    if not math.isfinite(value):
        return "not finite"
    if value > ROUNDING:
        return f"positive ({value:.4g})"
    return f"below {LOWEST:g}" if value < LOWEST else ""


def from_text(text: str) -> Reply:
    """The reply from words alone: thinking is dropped, and only a clear final answer counts (``final_answer``)."""
    kept = without_thinking(text)
    said = kept or ("(thinking without an answer)" if text.strip() else "")
    return Reply(said=said[-MOST_TEXT:])


# ---------------------------------------------------------------- words
_WORD = r"(true|false|yes|no)"
_BARE = re.compile(_WORD)
_STATED = re.compile(
    r"(?:(?:so|therefore|thus|hence|in conclusion|conclusion|finally|overall)\s*[,:]?\s*)?"
    r"(?:(?:my|the|our)\s+)?(?:(?:final|short|correct|right|one-word)\s+)?"
    r"(?:answer|verdict|response|conclusion|judge?ment|statement|claim)"
    r"(?:\s+(?:to (?:the|this) question|here))?\s*(?:is\s*:?|:|=)\s*" + _WORD
)
_LEADING = re.compile(_WORD + r"\s*(?:[.,;:!\n]|\s-|\s?\u2013|\s?\u2014)\s*(.+)", re.DOTALL)
_HEDGE = re.compile(
    r"\b(?:but|however|although|though|unless|wait|hmm|maybe|perhaps|possibly|might|could|or|unsure|uncertain|unclear|"
    r"cannot|can't|cant|unable|actually|depends?|if|not sure|not certain|not clear)\b"
)
_NOT = re.compile(r"\b(?:not|isn't|never|neither|nor|hardly)\s+(?:\w+\s+){0,2}?(?:true|yes)\b|\buntrue\b")
_NOT_NO = re.compile(r"\b(?:not|isn't|never|neither|nor|hardly)\s+(?:\w+\s+){0,2}?(?:false|no)\b")


def final_answer(text: str) -> str:
    """``yes`` or ``no`` where a text clearly ends in that, else ``abstain``.

    Clear is the word alone, a sentence that states it ("The answer is: False"), the one at the end of longer text, or
    a text that begins with it and does not take it back ("No, it is not true"). A question, a negation without its end
    ("It is not true that"), a hedge, or two answers are not.
    """
    plain = _plain(text)
    sentences = [s.strip(" ,;:-") for s in re.findall(r"[^.!?\n]+[.!?\n]*", plain)]
    asked = [s for s in sentences if s and not s.endswith("?")]
    stated = [(_BARE.fullmatch(s.rstrip(".! ")) or _STATED.fullmatch(s.rstrip(".! "))) for s in asked]
    found = {_side(m.group(1)) for m in stated if m}
    if len(found) == 1 and stated[-1] and not any(_HEDGE.search(s) for s in asked[:-1]):
        answer = found.pop()
        lead = _LEADING.fullmatch(plain)
        return answer if lead is None or asked[0] != sentences[0] or _side(lead.group(1)) == answer else "abstain"
    lead = _LEADING.fullmatch(plain)
    if lead is None or "?" in plain or _HEDGE.search(lead.group(2)):
        return "abstain"
    answer = _side(lead.group(1))
    return answer if _sides(lead.group(2)) <= {answer} else "abstain"


def _plain(text: str) -> str:
    """Lower case, compatibility forms, without markup: ``**False**``, ``\\boxed{True}`` and ``{"answer": true}`` read so."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("\u3002", ".")
    text = re.sub(r"\\(?:boxed|text|mathrm|textbf)\b|</?[a-z][a-z_-]{0,20}>", " ", text)
    text = re.sub(
        r"(^|(?<=\s))'|'(?=\s|$|[.,])",
        " ",
        re.sub(r"[*_`\"\u201c\u201d\u00ab\u00bb()\[\]{}#>$\u200b\ufeff]", " ", text),
    )
    return re.sub(r"[^\S\n]+", " ", re.sub(r" +([.,;:!?])", r"\1", text)).strip(" -\n")


def _side(word: str) -> str:
    return "yes" if word in YES else "no"


def _sides(text: str) -> set[str]:
    """Which answers a text speaks of, negations counted as the opposite."""
    found = set()
    for pattern, side in ((_NOT, "no"), (_NOT_NO, "yes")):
        if pattern.search(text):
            found.add(side)
            text = pattern.sub(" ", text)
    return found | {_side(w) for w in re.findall(r"\b(?:true|false|yes|no(?=\s*(?:[.,;:!]|$)))\b", text)}


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
    words = {final_answer(r.said) for r in replies}
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
        return final_answer(reply.said), None, f"said: {reply.said[:80]}"
    p = round(reply.p_yes, 6)
    if reply.mass < least_mass:
        return "abstain", p, f"answer words hold {reply.mass:.4f} of the probability"
    if abs(p - 0.5) < band:
        return "abstain", p, f"undecided, within {band:g} of 0.5"
    return ("yes" if p > 0.5 else "no"), p, f"answer words hold {reply.mass:.4f}"
