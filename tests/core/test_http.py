"""The HTTP client against a stand-in server on this machine."""

from __future__ import annotations

import base64
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from rainrag.core import http
from rainrag.core.errors import InputError, MissingError, RainRAGError, UsageError
from rainrag.core.http import Client, ClientSettings, OddAnswerError, choice_of, image_part, model_at, text_of
from tests.core.openai_server import Script as Server
from tests.core.openai_server import said as answer
from tests.core.openai_server import serving

KEY = "sk-secret-123"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.delenv(http.KEY_ENV, raising=False)
    with serving(Server(usual=lambda body: (200, {}, answer("ok")))) as s:
        yield s


def client(server: Server, **settings: Any) -> Client:
    return Client(server.url, ClientSettings(**settings))


def ask_all(to: Client, payloads: list[dict[str, Any]]) -> list[Any]:
    """Outcomes in the payloads' order."""
    found = dict(to.chat_each(payloads))
    return [found[i] for i in range(len(payloads))]


def failing(times: int, status: int, headers: dict[str, str] | None = None) -> Callable[..., Any]:
    """The first ``times`` requests fail."""
    return lambda payload, n: (status, headers or {}, {"error": "busy"}) if n < times else (200, {}, answer("ok"))


def test_posts_the_payload_and_returns_the_answer(server: Server) -> None:
    got = Client(server.url + "/").chat({"model": "m", "messages": []})
    assert text_of(got) == "ok"
    path, headers, body = server.seen[0]
    assert (path, body) == ("/v1/chat/completions", {"model": "m", "messages": []})
    assert "Authorization" not in headers


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_that_pass_are_tried_again(server: Server, status: int) -> None:
    server.reply = failing(2, status)
    assert text_of(Client(server.url).chat({})) == "ok"
    assert len(server.seen) == 3


def test_gives_up_after_the_retries(server: Server) -> None:
    server.reply = failing(99, 503)
    with pytest.raises(MissingError, match=r"failed 3 times: status 503"):
        client(server, retries=2).chat({})
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "error"), [(400, InputError), (413, InputError), (401, MissingError), (404, MissingError)]
)
def test_refusals_are_not_repeated(server: Server, status: int, error: type[RainRAGError]) -> None:
    server.reply = failing(99, status)
    with pytest.raises(error, match="busy"):
        Client(server.url).chat({})
    assert len(server.seen) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_waits_as_long_as_the_server_asks(server: Server, form: str) -> None:
    # a date has whole seconds: 2 s ahead is at least 1 s
    value = "0.4" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    server.reply = failing(1, 429, {"Retry-After": value})
    Client(server.url).chat({})
    assert server.times[1] - server.times[0] >= (0.4 if form == "seconds" else 0.9)


def test_all_threads_hold_when_the_server_asks_one(server: Server) -> None:
    server.reply = failing(1, 429, {"Retry-After": "0.5"})
    ask_all(client(server, concurrency=1), [{}] * 2)
    patient = client(server, concurrency=2)
    patient._pace.hold(0.3)
    start = time.monotonic()
    ask_all(patient, [{}] * 2)
    assert min(server.times[-2:]) - start >= 0.29


def test_a_daily_quota_is_not_waited_for(server: Server) -> None:
    server.reply = failing(99, 429, {"Retry-After": "86400"})
    with pytest.raises(RainRAGError, match="come back in 86400 s"):
        Client(server.url).chat({})
    assert len(server.seen) == 1


def test_a_slow_answer_times_out(server: Server) -> None:
    def slow(payload: Any, n: int) -> Any:
        time.sleep(0.4)
        return 200, {}, answer("late")

    server.reply = slow
    with pytest.raises(RainRAGError, match=r"no answer within 0\.1 s"):
        client(server, timeout=0.1, retries=0).chat({})


def test_many_keep_their_order_and_their_errors(server: Server) -> None:
    def reply(payload: Any, n: int) -> Any:
        time.sleep(0.02 * (4 - payload["i"]))  # the first takes longest
        return (400, {}, b"bad image") if payload["i"] == 2 else (200, {}, answer(str(payload["i"])))

    server.reply = reply
    got = ask_all(client(server, concurrency=2), [{"i": i} for i in range(5)])
    assert isinstance(got[2], InputError)
    assert "bad image" in str(got[2])
    assert [text_of(g) for g in got if isinstance(g, dict)] == ["0", "1", "3", "4"]
    assert server.most == 2


def test_a_dead_server_is_asked_once_not_for_every_payload(server: Server) -> None:
    server.reply = failing(99, 401)
    with pytest.raises(MissingError, match="refused the key"):
        ask_all(client(server, concurrency=1), [{}] * 5)
    assert len(server.seen) == 1


def test_an_answer_is_taken_before_the_next_request_is_sent(server: Server) -> None:
    """So that it may be on disk by then."""
    for taken, (i, _) in enumerate(client(server, concurrency=1).chat_each([{"i": i} for i in range(4)])):
        assert (i, len(server.seen)) == (taken, taken + 1)


def test_what_arrived_before_a_server_died_is_not_lost(server: Server) -> None:
    server.reply = lambda payload, n: (200, {}, answer("ok")) if payload["i"] < 3 else (500, {}, b"gone")
    got: list[int] = []
    asked = client(server, concurrency=2, retries=0).chat_each([{"i": i} for i in range(40)])
    with pytest.raises(MissingError, match="failed 1 times"):
        got.extend(i for i, _ in asked)
    assert sorted(got) == [0, 1, 2]
    assert len(server.seen) <= 5


def test_unreachable_names_the_address(server: Server) -> None:
    server.close()
    with pytest.raises(MissingError, match="failed 2 times: ConnectError") as e:
        client(server, retries=1).chat({})
    assert server.url in str(e.value)
    assert "Hint" in str(e.value)


def test_the_rate_is_kept(server: Server) -> None:
    start = time.monotonic()
    ask_all(client(server, rpm=600, concurrency=4), [{}] * 4)
    arrived = [t - start for t in server.times]
    assert all(t >= 0.1 * i for i, t in enumerate(sorted(arrived))), arrived


def test_the_key_is_sent_and_shown_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(http.KEY_ENV, KEY + "\n")
    caplog.set_level(logging.DEBUG)
    mine = Client(server.url)
    mine.chat({})
    assert server.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    server.reply = lambda payload, n: (401, {}, f"bad key {KEY}".encode())
    with pytest.raises(MissingError) as e:
        mine.chat({})
    assert "bad key ***" in str(e.value)
    for shown in (str(e.value), repr(vars(mine)), pickle.dumps(mine).decode("latin1"), caplog.text):
        assert KEY not in shown


def test_a_key_that_cannot_be_one_is_refused_without_showing_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(http.KEY_ENV, "two words")
    with pytest.raises(UsageError, match="RAINRAG_API_KEY") as e:
        Client(server.url).chat({})
    assert "two words" not in str(e.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http://[::1/v1"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        Client(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="no password") as e:
        Client("https://user:hunter2@host/v1")
    assert "hunter2" not in str(e.value)


@pytest.mark.parametrize("body", [b"<html>hello</html>", [1], b"\xff\xfe", b"1" * 5000])
def test_an_answer_that_is_no_json_object_is_asked_for_again(server: Server, body: Any) -> None:
    server.reply = lambda payload, n: (200, {}, body)
    with pytest.raises(MissingError, match="no JSON object"):
        client(server, retries=1).chat({})
    assert len(server.seen) == 2


@pytest.mark.parametrize("body", [{"error": {"message": "overloaded"}}, {"choices": []}, {"choices": None}, {}])
def test_an_object_that_is_no_completion(server: Server, body: Any) -> None:
    server.reply = lambda payload, n: (200, {}, body)
    with pytest.raises(OddAnswerError, match="no completion") as e:
        choice_of(Client(server.url).chat({}))
    assert ("overloaded" in str(e.value)) == ("error" in body)


def test_deep_and_endless_answers_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply = lambda payload, n: (200, {}, b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    with pytest.raises(OddAnswerError, match="too deeply"):
        Client(server.url).chat({})
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)
    server.reply = lambda payload, n: (200, {}, b" " * (3 << 20))
    with pytest.raises(OddAnswerError, match="larger than 1 MB"):
        Client(server.url).chat({})


def test_lone_surrogates_can_be_written_to_files(server: Server) -> None:
    server.reply = lambda payload, n: (200, {}, b'{"choices":[{"message":{"content":"\\ud800 rain"}}]}')
    assert text_of(Client(server.url).chat({})) == "\ufffd rain"


def test_it_pickles_and_works_after(server: Server) -> None:
    mine = client(server, retries=1, rpm=6000, concurrency=3)
    mine.chat({})
    other = pickle.loads(pickle.dumps(mine))
    assert other.settings == ClientSettings(retries=1, rpm=6000, concurrency=3)
    assert text_of(other.chat({})) == "ok"
    mine.close()
    assert text_of(mine.chat({})) == "ok"


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
@pytest.mark.parametrize("form", [base64.b64encode, base64.urlsafe_b64encode])
def test_the_key_is_masked_in_base64_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, before: str, form: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv(http.KEY_ENV, KEY)
    shown = form(f"{before}{KEY} and more".encode()).decode()
    server.reply = lambda payload, n: (200, {}, answer(f"you sent {shown}"))
    said = text_of(Client(server.url).chat({}))
    assert http.MASK in said
    inner = form(f"{before}{KEY}".encode()).decode()[6:-6]
    assert inner not in said


def test_a_key_over_plain_http_to_another_machine_warns_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(http.KEY_ENV, KEY)
    client(server).chat({})
    assert caplog.records == []  # this machine
    far = Client("http://example.com/v1")
    for _ in range(2):
        far._headers()
    assert [r.getMessage() for r in caplog.records] == [
        "the API key is sent unencrypted to example.com: use https:// where the server has it"
    ]
    Client("https://example.org/v1")._headers()
    monkeypatch.delenv(http.KEY_ENV)
    Client("http://example.net/v1")._headers()
    assert len(caplog.records) == 1


def test_text_of_wants_text() -> None:
    assert text_of(answer(" yes\n")) == "yes"
    assert text_of({"choices": [{"message": {"content": [{"type": "text", "text": "yes"}]}}]}) == "yes"
    for shape in ({"choices": [{}]}, {"choices": [{"message": {"content": None}}]}):
        with pytest.raises(InputError, match="no text"):
            text_of(shape)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF\0\0\0\0WEBP", "webp")]
)
def test_images_travel_as_they_are(data: bytes, kind: str) -> None:
    url = image_part(data)["image_url"]["url"]
    head, body = url.split(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(body) == data


def test_a_source_names_model_and_address() -> None:
    assert model_at("org/model@v2@https://host/v1") == ("org/model@v2", "https://host/v1")
    for source in ("model", "model@host/v1", "@http://host/v1"):
        with pytest.raises(UsageError, match="no model and server"):
            model_at(source)
