"""The endpoint captioner against a stand-in server."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rainrag.core import http, images
from rainrag.core.errors import InputError, MissingError, RainRAGError, UsageError
from rainrag.retrieval.encoders.endpoint import PROMPT, Endpoint
from tests.conftest import picture
from tests.core.openai_server import Script as Server
from tests.core.openai_server import said as answer
from tests.core.openai_server import serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.delenv(http.KEY_ENV, raising=False)
    with serving(Server()) as s:
        s.reply = lambda payload, n: (200, {}, answer(f"  {shown(payload).shape[1]} pixels\nwide "))
        yield s


def shown(payload: dict[str, Any]) -> images.U8:
    """The picture of a request."""
    url = payload["messages"][0]["content"][1]["image_url"]["url"]
    return images.decode(base64.b64decode(url.split(",")[1])).rgb


def test_captions_come_in_order_in_one_line(server: Server) -> None:
    pictures = [picture(i, width=40 + i) for i in range(5)]
    made = Endpoint(f"org/model@{server.url}", concurrency=3).caption(pictures)
    assert made == [f"{40 + i} pixels wide" for i in range(5)]


def test_what_is_sent(server: Server) -> None:
    big = picture(0, width=200, height=100)
    captioner = Endpoint(f"org/model@{server.url}", caption_tokens=17, side=50)
    captioner.caption([big])
    captioner.caption([big])
    first, second = (body for _, _, body in server.seen)
    assert first == second
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("org/model", 17, 0)
    assert first["messages"][0]["content"][0] == {"type": "text", "text": PROMPT}
    assert shown(first).shape == (25, 50, 3)
    small = picture(1)
    captioner.caption([small])
    assert np.abs(shown(server.seen[2][2]).astype(int) - small).mean() < 6


def test_the_identity_is_the_model_and_how_it_is_asked_not_where() -> None:
    base = Endpoint("m@http://one/v1")
    assert Endpoint("m@http://two:8000/v1", timeout=5, concurrency=1).identity() == base.identity()
    for other in (Endpoint("n@http://one/v1"), Endpoint("m@http://one/v1", side=99), Endpoint("m@http://one/v1", 9)):
        assert other.identity() != base.identity()


def test_a_picture_without_a_caption_is_an_error(server: Server) -> None:
    pictures = [picture(0), picture(1)]
    server.reply = lambda payload, n: (200, {}, answer(" "))
    with pytest.raises(RainRAGError, match="empty caption"):
        Endpoint(f"m@{server.url}").caption(pictures)
    server.reply = lambda payload, n: (200, {}, {"choices": [{"message": {"content": None}}]})
    with pytest.raises(InputError, match="no text"):
        Endpoint(f"m@{server.url}").caption(pictures)
    server.reply = lambda payload, n: (404, {}, b"no model m")
    with pytest.raises(MissingError, match="no model m"):
        Endpoint(f"m@{server.url}").caption(pictures)


def test_failures_that_pass_do_not_show(server: Server) -> None:
    server.reply = lambda payload, n: (503, {}, b"busy") if n == 0 else (200, {}, answer("rain"))
    assert Endpoint(f"m@{server.url}").caption([picture(0)]) == ["rain"]
    server.reply = lambda payload, n: (503, {}, b"busy")
    with pytest.raises(RainRAGError, match="503"):
        Endpoint(f"m@{server.url}", retries=0).caption([picture(0)])


def test_it_pickles(server: Server) -> None:
    server.reply = lambda payload, n: (200, {}, answer("rain"))
    captioner = Endpoint(f"m@{server.url}")
    captioner.setup()
    captioner.caption([picture(0)])
    assert pickle.loads(pickle.dumps(captioner)).caption([picture(0)]) == ["rain"]


def test_malformed_sources() -> None:
    for source in ("model", "model@localhost:8000", "@http://host/v1"):
        with pytest.raises(UsageError, match="MODEL@"):
            Endpoint(source)
    with pytest.raises(UsageError, match="at least 1"):
        Endpoint("m@http://host/v1", side=0)


THOUGHT = "<think>\nThe user wants one sentence. I see a road.\n</think>\n\nA rainy street at night."


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (THOUGHT, "A rainy street at night."),
        ("The road is wet.</think> A rainy street.", "A rainy street."),
        ("Here is a description of the photograph: A rainy street.", "A rainy street."),
        ('"A rainy street at night."', "A rainy street at night."),
        ("Unlit windows, and I cannot see any people.", "Unlit windows, and I cannot see any people."),
    ],
)
def test_thinking_and_openings_are_no_caption(server: Server, text: str, caption: str) -> None:
    server.reply = lambda payload, n: (200, {}, answer(text))
    assert Endpoint(f"m@{server.url}").caption([picture(0)]) == [caption]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<think> I see a street with rain", "empty caption"),
        ("I'm sorry, but I can't assist with that.", "refused"),
        ("I\u2019m unable to view images.", "refused"),
        ("As an AI language model, I cannot see pictures.", "refused"),
        ("Please provide the image.", "refused"),
    ],
)
def test_a_refusal_or_thinking_alone_is_an_error(server: Server, text: str, why: str) -> None:
    server.reply = lambda payload, n: (200, {}, answer(text))
    with pytest.raises(InputError, match=why):
        Endpoint(f"m@{server.url}").caption([picture(0)])
