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

from rainrag import openai_client
from rainrag.errors import InputError, MissingError, RainRAGError, UsageError
from rainrag.openai_client import Client, image_part, model_at, text_of
from tests.openai_server import Server, answer, serving

KEY = "sk-secret-123"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as s:
        yield s


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
    with pytest.raises(RainRAGError, match="503") as e:
        Client(server.url, retries=2).chat({})
    assert len(server.seen) == 3
    assert not isinstance(e.value, MissingError | InputError)


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
    Client(server.url, concurrency=1).chat_many([{}] * 2)
    client = Client(server.url, concurrency=2)
    client._pace.hold(0.3)
    start = time.monotonic()
    client.chat_many([{}] * 2)
    assert min(server.times[-2:]) - start >= 0.29


def test_a_daily_quota_is_not_waited_for(server: Server) -> None:
    server.reply = failing(99, 429, {"Retry-After": "86400"})
    with pytest.raises(RainRAGError, match="rate limit"):
        Client(server.url).chat({})
    assert len(server.seen) == 1


def test_a_slow_answer_times_out(server: Server) -> None:
    def slow(payload: Any, n: int) -> Any:
        time.sleep(0.4)
        return 200, {}, answer("late")

    server.reply = slow
    with pytest.raises(RainRAGError, match=r"no answer within 0\.1 s"):
        Client(server.url, timeout=0.1, retries=0).chat({})


def test_many_keep_their_order_and_their_errors(server: Server) -> None:
    def reply(payload: Any, n: int) -> Any:
        time.sleep(0.02 * (4 - payload["i"]))  # the first takes longest
        return (400, {}, b"bad image") if payload["i"] == 2 else (200, {}, answer(str(payload["i"])))

    server.reply = reply
    got = Client(server.url, concurrency=2).chat_many([{"i": i} for i in range(5)])
    assert isinstance(got[2], InputError)
    assert "bad image" in str(got[2])
    assert [text_of(g) for g in got if isinstance(g, dict)] == ["0", "1", "3", "4"]
    assert server.most_open == 2


def test_a_dead_server_is_asked_once_not_for_every_payload(server: Server) -> None:
    server.reply = failing(99, 401)
    got = Client(server.url, concurrency=1).chat_many([{}] * 5)
    assert all(isinstance(g, MissingError) for g in got)
    assert len(server.seen) == 1


def test_unreachable_names_the_address(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(MissingError, match="cannot be reached") as e:
        Client(server.url, retries=1).chat({})
    assert server.url in str(e.value)
    assert "Way out" in str(e.value)


def test_the_rate_is_kept(server: Server) -> None:
    start = time.monotonic()
    Client(server.url, per_minute=600, concurrency=4).chat_many([{}] * 4)
    arrived = [t - start for t in server.times]
    assert all(t >= 0.1 * i for i, t in enumerate(sorted(arrived))), arrived


def test_the_key_is_sent_and_shown_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(openai_client.KEY_ENV, KEY + "\n")
    caplog.set_level(logging.DEBUG)
    client = Client(server.url)
    client.chat({})
    assert server.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    server.reply = lambda payload, n: (401, {}, f"bad key {KEY}".encode())
    with pytest.raises(MissingError) as e:
        client.chat({})
    assert "bad key <key>" in str(e.value)
    for shown in (str(e.value), repr(vars(client)), pickle.dumps(client).decode("latin1"), caplog.text):
        assert KEY not in shown


def test_a_key_that_cannot_be_one_is_refused_without_showing_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(openai_client.KEY_ENV, "two words")
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


@pytest.mark.parametrize("body", [b"<html>hello</html>", {"error": "x"}, {"choices": []}, [1]])
def test_an_answer_that_is_none(server: Server, body: Any) -> None:
    server.reply = lambda payload, n: (200, {}, body)
    with pytest.raises(InputError, match="no completion"):
        Client(server.url).chat({})


def test_it_pickles_and_works_after(server: Server) -> None:
    client = Client(server.url, retries=1, per_minute=6000, concurrency=3)
    client.chat({})
    other = pickle.loads(pickle.dumps(client))
    assert (other.retries, other.per_minute, other.concurrency) == (1, 6000, 3)
    assert text_of(other.chat({})) == "ok"
    client.close()
    assert text_of(client.chat({})) == "ok"


def test_text_of_wants_text() -> None:
    assert text_of(answer(" yes\n")) == "yes"
    for shape in ({}, {"choices": [{}]}, {"choices": [{"message": {"content": None}}]}):
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
