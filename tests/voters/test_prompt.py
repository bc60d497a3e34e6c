"""What is asked, in which order, and the hash that stands for it."""

from __future__ import annotations

import numpy as np
import pytest

from rainrag.core.errors import UsageError
from rainrag.voters import prompt as wording
from rainrag.voters.prompt import Prompt, images_of
from tests.conftest import picture

REFERENCES = [picture(i) for i in range(1, 4)]
QUERY = picture(0)


def joined(parts: wording.Parts) -> str:
    return "".join(p if isinstance(p, str) else "<image>" for p in parts)


def test_references_come_first_and_the_candidate_last_under_their_names() -> None:
    parts = Prompt().interleave(REFERENCES, QUERY)
    shown = images_of(parts)
    assert len(shown) == 4
    np.testing.assert_array_equal(shown[-1], QUERY)
    np.testing.assert_array_equal(shown[0], REFERENCES[0])
    text = joined(parts)
    assert text.index("Real 1: <image>") < text.index("Real 3: <image>") < text.index("Candidate: <image>")
    assert text.startswith("You see 4 images. The first 3 were photographed in real rain")
    assert text.endswith("Answer with one word, True or False.")


def test_questions_with_the_same_references_share_all_that_precedes_the_candidate() -> None:
    one, other = (Prompt().interleave(REFERENCES, picture(i)) for i in (5, 6))
    differing = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if not np.array_equal(a, b)]
    assert differing == [len(one) - 2]  # the candidate's pixels; the question behind them is the same


def test_without_references_nothing_speaks_of_them() -> None:
    for parts in (Prompt().interleave([], QUERY), Prompt().single(QUERY, 0)):
        text = joined(parts)
        assert "real photographs" not in text
        assert "montage" not in text
        assert "REAL 1" not in text
        assert len(images_of(parts)) == 1


def test_a_montage_is_explained_and_stands_before_the_text() -> None:
    parts = Prompt("yes-no").single(QUERY, 3)
    assert not isinstance(parts[0], str)
    text = joined(parts)
    assert "montage of 4 labelled panels" in text
    assert "REAL 1 to REAL 3" in text
    assert text.endswith("Answer with one word, Yes or No.")


@pytest.mark.parametrize("word", ["align", "target", "pair", "clean", "ground truth"])
def test_the_rain_alone_is_judged_not_the_pair(word: str) -> None:
    text = joined(Prompt().interleave(REFERENCES, QUERY)) + joined(Prompt().single(QUERY, 3))
    assert word not in text.casefold()
    assert "streaks and drops" in text


def test_the_hash_follows_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Prompt().hash
    assert Prompt().hash == before
    assert Prompt("yes-no").hash != before
    for name in ("CRITERIA", "CANDIDATE", "IMAGES", "MONTAGE", "ALONE", "CLAIM", "AS_REFERENCES"):
        with monkeypatch.context() as m:
            m.setattr(wording, name, getattr(wording, name) + " indeed")
            assert Prompt().hash != before, name


def test_unknown_answer_words_are_refused() -> None:
    with pytest.raises(UsageError, match="true-false"):
        Prompt("true-flase")
