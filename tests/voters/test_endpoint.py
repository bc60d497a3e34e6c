"""The endpoint voter against a stand-in server: what is sent, what is read, and what goes wrong on the way."""

from __future__ import annotations

import email.utils
import logging
import pickle
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rainrag.core import http
from rainrag.core.errors import MissingError, UsageError
from rainrag.core.http import RefusedError
from rainrag.core.images import decode
from rainrag.voters import create
from tests.core.openai_server import Script, brightness, completion, pictures, serving
from tests.voters import tiny

KEY = "sk-sesame-0123456789"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds, no key from outside."""
    monkeypatch.delenv("RAINRAG_API_KEY", raising=False)
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script()) as s:
        yield s


def judge(script: Script, model: str = "judge", **settings: Any) -> Any:
    voter = create(f"endpoint:{model}@{script.url}", **{"timeout": 5.0, "retries": 3, **settings})
    voter.setup()
    return voter


def test_one_token_is_asked_for_with_its_probabilities_and_images_as_data_urls(script: Script) -> None:
    question = tiny.questions((3,))[0]
    ballot = judge(script).vote([question])[0]
    body = script.bodies[0]
    wanted = {"model": "judge", "max_tokens": 1, "logprobs": True, "top_logprobs": 20, "temperature": 0}
    assert wanted.items() <= body.items()
    sent = pictures(body)
    for image, shown in zip(sent, (*question.references, question.query), strict=True):
        np.testing.assert_array_equal(image, decode(shown.data).rgb)  # lossless, references first, the candidate last
    assert ballot.p_yes == pytest.approx(sent[-1].mean() / 255, abs=1e-6)
    assert ballot.revision == f"judge@{script.url}"


def test_questions_with_the_same_references_share_their_prefix_byte_by_byte(script: Script) -> None:
    one, other = tiny.questions((2, 2))
    judge(script, concurrency=1).vote([one, type(other)(other.query, one.references)])
    first, second = ([str(c) for c in b["messages"][0]["content"]] for b in script.bodies)
    differing = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert differing == [len(first) - 2]


def test_concurrent_answers_keep_the_questions_order(script: Script) -> None:
    script.delay = lambda n: 0.12 if n % 4 == 0 else 0.02
    questions = tiny.questions((0,) * 12)
    ballots = judge(script, concurrency=4).vote(questions)
    assert [b.key for b in ballots] == [q.query.key for q in questions]
    assert [b.p_yes for b in ballots] == pytest.approx(
        [decode(q.query.data).rgb.mean() / 255 for q in questions], abs=1e-6
    )
    assert 2 <= script.most <= 4


def test_busy_and_failing_servers_are_asked_again(script: Script) -> None:
    script.first = [(429, {"Retry-After": "0.05"}, {}), (500, {}, "oops"), (503, {}, "")]
    ballot = judge(script, concurrency=1).vote(tiny.questions((0,)))[0]
    assert ballot.p_yes is not None
    assert len(script.bodies) == 4
    assert script.times[1] - script.times[0] >= 0.05


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_in_both_forms(script: Script, form: str) -> None:
    at = time.time() + 1.9
    header = "0.4" if form == "seconds" else email.utils.formatdate(at, usegmt=True)
    script.first = [(429, {"Retry-After": header}, {})]
    judge(script, concurrency=1).vote(tiny.questions((0,)))
    waited = script.times[1] - script.times[0]
    assert waited >= (0.4 if form == "seconds" else 0.5)  # a date has whole seconds


def test_a_server_that_asks_for_hours_is_not_waited_for(script: Script) -> None:
    script.first = [(429, {"Retry-After": "7200"}, {})]
    began = time.monotonic()
    with pytest.raises(MissingError, match="come back in 7200 s"):
        judge(script).vote(tiny.questions((0,)))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "answer",
    [(500, {}, "oops"), (200, {}, "{not json"), (200, {}, "[1, 2]"), (429, {"Retry-After": "soon"}, {})],
)
def test_a_server_that_never_recovers_is_an_error_and_no_ballot(script: Script, answer: Any) -> None:
    script.usual = lambda body: answer
    with pytest.raises(MissingError, match="the server failed 3 times"):
        judge(script, retries=2, concurrency=1).vote(tiny.questions((0,)))
    assert len(script.bodies) == 3


def test_back_off_grows_and_is_jittered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 1.0)
    waits = [[http.backoff(n) for _ in range(50)] for n in range(8)]
    for n, some in enumerate(waits):
        nominal = min(60.0, 2.0**n)
        assert all(0.5 * nominal <= w <= 1.5 * nominal for w in some)
        assert max(some) > min(some)


def test_a_slow_answer_times_out_and_is_asked_for_again(script: Script) -> None:
    script.delay = lambda n: 0.6 if n == 0 else 0.0
    ballot = judge(script, timeout=0.2, concurrency=1).vote(tiny.questions((0,)))[0]
    assert ballot.p_yes is not None
    assert len(script.bodies) == 2


def test_no_server_is_an_error_that_says_so() -> None:
    voter = create("endpoint:judge@http://127.0.0.1:9/v1", retries=1, timeout=0.5)
    with pytest.raises(MissingError, match=r"failed 2 times: ConnectError"):
        voter.setup()


@pytest.mark.parametrize(
    ("text", "answer"), [("True", "yes"), (" false.", "no"), ("Yes", "yes"), ("Rain", "abstain"), ("", "abstain")]
)
def test_without_probabilities_the_first_word_counts(script: Script, text: str, answer: str) -> None:
    script.usual = lambda body: (200, {}, completion(None, text))
    ballot = judge(script).vote(tiny.questions((0,)))[0]
    assert (ballot.answer, ballot.p_yes) == (answer, None)
    assert ballot.raw == f"said: {text.strip()}"


def test_a_server_known_to_give_none_is_not_asked_for_them(script: Script) -> None:
    script.usual = lambda body: (200, {}, completion(None, "False, since"))
    ballot = judge(script, logprobs=False).vote(tiny.questions((0,)))[0]
    assert ballot.answer == "no"
    assert "logprobs" not in script.bodies[0]
    assert script.bodies[0]["max_tokens"] > 1


def test_likely_tokens_that_are_no_answer_are_an_abstention(script: Script) -> None:
    script.usual = lambda body: (200, {}, completion([("The", 0.9), ("Well", 0.1)]))
    ballot = judge(script).vote(tiny.questions((0,)))[0]
    assert ballot.answer == "abstain"
    assert "0.0000" in ballot.raw


def listed(value: str) -> bytes:
    """A completion whose second token has a log-probability that is given as JSON text."""
    top = '{"token":"True","logprob":-0.01},{"token":"False","logprob":' + value + "}"
    logprobs = '{"content":[{"token":"True","top_logprobs":[' + top + "]}]}"
    return ('{"choices":[{"message":{"content":"True"},"logprobs":' + logprobs + "}]}").encode()


ODD: dict[str, tuple[Any, str]] = {
    "no choices": ({"choices": []}, "no choices"),
    "choices null": ({"choices": None}, "no choices"),
    "error in a 200": ({"error": {"message": "overloaded"}}, "overloaded"),
    "error text": ({"error": "overloaded"}, "overloaded"),
    "other interface": ({"choices": [{"text": "True"}]}, "no text"),
    "no content": ({"choices": [{"message": {"content": None, "refusal": "no"}}]}, "no text"),
    "choice is text": ({"choices": ["True"]}, "no choices"),
    "null": (listed("null"), "null"),
    "huge": (listed("1e6"), "positive"),
    "larger than a float": (listed("1e999"), "not finite"),
    "infinite": (listed("Infinity"), "not finite"),
    "minus infinite": (listed("-Infinity"), "not finite"),
    "nan": (listed("NaN"), "not finite"),
    "positive": (listed("0.7"), "positive"),
    "text": (listed('"-0.5"'), "no number"),
    "boolean": (listed("true"), "no number"),
    "two certainties": (listed("-0.001"), "add up"),
    "deep": (b'{"choices":' + b"[" * 100_000, "deeply"),
    "surrogate": (b'{"choices":[{"message":{"content":"\\ud800 yes"}}]}', "said: \ufffd yes"),
    "token null": ({"choices": [{"message": {"content": "Rain"}, "logprobs": {"content": [None]}}]}, "said: Rain"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_an_abstention_of_its_question_with_the_reason(script: Script, name: str) -> None:
    body, why = ODD[name]
    script.reply = lambda asked, n: (200, {}, body) if n == 1 else (200, {}, brightness(asked))
    ballots = judge(script, concurrency=1).vote(tiny.questions((0, 0, 0)))
    assert [b.answer == "abstain" and b.p_yes is None for b in ballots] == [False, True, False]
    assert why in ballots[1].raw
    ballots[1].raw.encode()


def test_a_mark_for_probability_zero_is_one(script: Script) -> None:
    script.usual = lambda body: (200, {}, listed("-9999.0"))
    ballot = judge(script).vote(tiny.questions((0,)))[0]
    assert (ballot.answer, ballot.p_yes) == ("yes", 1.0)


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("At most 1 image(s) may be provided in one request.", "layout=montage"),
        ("This model does not support multiple images.", "layout=montage"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_completion_tokens=N"),
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", "top_logprobs=N"),
    ],
)
def test_a_refusal_names_the_setting_that_changes_it(script: Script, message: str, hint: str) -> None:
    script.usual = lambda body: (400, {}, {"error": {"message": message}})
    with pytest.raises(RefusedError) as caught:
        judge(script).vote(tiny.questions((2,)))
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_what_servers_want_otherwise_can_be_set(script: Script) -> None:
    plain = {"enable_thinking": False}
    voter = judge(script, max_completion_tokens=300, top_logprobs=5, chat_template_kwargs=plain)
    voter.vote(tiny.questions((0,)))
    body = script.bodies[0]
    assert (body["max_completion_tokens"], body["top_logprobs"], body["chat_template_kwargs"]) == (300, 5, plain)
    assert "max_tokens" not in body
    assert voter.prompt != judge(script).prompt  # another question, so other ballots
    with pytest.raises(UsageError, match="two names"):
        judge(script, max_completion_tokens=300, max_tokens=300)
    for wrong in ({"max_tokens": 0}, {"top_logprobs": 0}, {"chat_template_kwargs": "off"}):
        with pytest.raises(UsageError):
            judge(script, **wrong)


def test_a_refusal_before_the_first_answer_is_only_its_questions(script: Script) -> None:
    script.first = [(400, {}, {"error": {"message": "content policy"}})]
    ballots = judge(script, concurrency=1).vote(tiny.questions((0, 0)))
    assert "content policy" in ballots[0].raw
    assert ballots[1].p_yes is not None


def test_ballots_are_there_as_soon_as_their_answers_are(script: Script) -> None:
    """A server that dies within a batch costs no answer twice."""
    script.reply = lambda body, n: (200, {}, brightness(body)) if n < 3 else (500, {}, "dead")
    got: list[tuple[int, str, int]] = []
    cast = judge(script, concurrency=1, retries=0).stream(tiny.questions((0,) * 9))
    with pytest.raises(MissingError):
        got.extend((i, ballot.key, len(script.bodies)) for i, ballot in cast)
    assert [(i, asked) for i, _, asked in got] == [(0, 1), (1, 2), (2, 3)]


def test_refused_from_the_start_is_an_error_refused_later_an_abstention(script: Script) -> None:
    refusal = (400, {}, {"error": {"message": "context of 2048 tokens exceeded"}})
    script.usual = lambda body: refusal
    voter = judge(script, concurrency=1)
    with pytest.raises(RefusedError, match="context of 2048 tokens exceeded"):
        voter.vote(tiny.questions((0, 0)))
    assert len(script.bodies) == 2  # refusals are not repeated
    script.first, script.usual = [refusal] * 3, Script().usual
    ballots = voter.vote(tiny.questions((0, 0)))
    assert [b.p_yes is None for b in ballots] == [True, False]
    assert ballots[0].answer == "abstain"
    assert "context of 2048 tokens exceeded" in ballots[0].raw
    script.usual = lambda body: refusal
    assert [b.answer for b in voter.vote(tiny.questions((0,)))] == ["abstain"]


def test_the_rate_limit_spaces_requests_of_all_threads(script: Script) -> None:
    begun = time.monotonic()
    judge(script, rpm=1200, concurrency=4).vote(tiny.questions((0,) * 5))
    # starts are 60 s / 1200 apart; a busy machine makes arrivals later, never earlier
    assert (np.array(sorted(script.times)) - begun >= 0.05 * np.arange(5) - 0.005).all()


def test_a_model_that_is_not_served_is_named_with_its_likeliest_meaning(script: Script) -> None:
    script.models = ["InternVL2_5-8B", "Qwen3-VL"]
    with pytest.raises(UsageError, match="did you mean InternVL2_5-8B"):
        judge(script, "InternVL2_5-8b")
    script.models = None
    assert judge(script, "anything").vote(tiny.questions((0,)))[0].p_yes is not None


def test_a_declared_revision_replaces_the_address(script: Script) -> None:
    voter = judge(script, served_revision="abc123")
    assert voter.vote(tiny.questions((0,)))[0].revision == "judge@abc123"


def test_a_montage_can_be_sent_to_a_model_of_one_image(script: Script) -> None:
    judge(script, layout="montage", max_pixels=10_000).vote(tiny.questions((3,)))
    sent = pictures(script.bodies[0])
    assert [p.shape for p in sent] == [(100, 100, 3)]


def test_several_models_are_several_voters(script: Script) -> None:
    from rainrag.voters import panel

    script.models = ["a", "b"]
    voters = panel(f"endpoint:a@{script.url},endpoint:b@{script.url}")
    for voter in voters:
        voter.setup()
        voter.vote(tiny.questions((0,)))
    assert [b["model"] for b in script.bodies] == ["a", "b"]
    assert [v.name for v in voters] == ["endpoint:a", "endpoint:b"]


def test_the_key_comes_from_the_environment_and_shows_nowhere(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script.key = KEY
    monkeypatch.setenv("MY_KEY", KEY)
    voter = create(f"endpoint:judge@{script.url}", key_env="MY_KEY")
    assert KEY.encode() not in pickle.dumps(voter)
    voter.setup()
    ballot = voter.vote(tiny.questions((0,)))[0]
    assert ballot.p_yes is not None
    shown = [
        ballot,
        vars(voter),
        vars(voter.model),
        vars(voter.model._client),
        voter.prompt,
        voter.revision,
        caplog.text,
    ]  # type: ignore[attr-defined]
    assert all(KEY not in repr(s) for s in shown)


@pytest.mark.parametrize("stage", ["setup", "vote"])
def test_a_wrong_key_is_an_error_that_names_the_variable_and_not_the_key(
    script: Script, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setenv("RAINRAG_API_KEY", KEY)
    voter = create(f"endpoint:judge@{script.url}")
    if stage == "vote":
        voter.setup()
    script.key = "another"
    with pytest.raises(MissingError) as caught:
        voter.setup() if stage == "setup" else voter.vote(tiny.questions((0,)))
    assert "RAINRAG_API_KEY" in str(caught.value)
    assert "provided: ***" in str(caught.value)  # this server repeats the key in its answer
    assert KEY not in repr(caught.value) + str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_unseen(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINRAG_API_KEY", "sesam\nopen")
    with pytest.raises(UsageError) as caught:
        judge(script)
    assert "sesam" not in str(caught.value)


def test_the_key_does_not_follow_a_redirect(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINRAG_API_KEY", KEY)
    voter = judge(script)
    with serving(Script()) as elsewhere:
        script.usual = lambda body: (307, {"Location": f"{elsewhere.url}/chat/completions"}, {})
        with pytest.raises(RefusedError, match="status 307"):
            voter.vote(tiny.questions((0,)))
        assert elsewhere.bodies == []


def test_voting_before_setup_says_so() -> None:
    with pytest.raises(UsageError, match=r"setup\(\)"):
        create("endpoint:judge@http://127.0.0.1:9/v1").vote(tiny.questions((0,)))


def test_it_takes_no_gpu_and_says_when_a_rate_has_to_be_kept() -> None:
    """A rate is of one process: distill does not spread such a voter over a cluster's actors."""
    from rainrag.distill.stages import Poll

    free, slow = (create("endpoint:judge@http://nowhere/v1", rpm=rpm) for rpm in (None, 60))
    assert (free.paced, slow.paced) == (False, True)  # type: ignore[attr-defined]
    assert Poll(free, "store", "examined", None, 0).gpus == 0
