"""A stand-in for an OpenAI-compatible server: scripted answers, and a record of what was asked."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rainrag.core.images import decode

#: Status, headers and body (text or object) of one answer; a body of None answers as ``brightness`` does.
Answer = tuple[int, dict[str, str], Any]


@dataclass
class Script:
    """What the server does and saw.

    Args:
        models: listed under /models; None answers 404 there.
        key: wanted in the Authorization header, or None.
        first: answers to the first questions, in turn; after them ``usual``.
        usual: makes the answer to a question's body.
        reply: (body, number) -> answer; used in place of ``first`` and ``usual`` where given.
        delay: seconds before an answer, by its number.

    Attributes:
        bodies, seen, times: of the questions so far; ``seen`` has (path, headers, body).
        most: how many were open at once.
    """

    models: list[str] | None = field(default_factory=lambda: ["judge"])
    key: str | None = None
    first: list[Answer] = field(default_factory=list)
    usual: Callable[[dict[str, Any]], Answer] = lambda body: (200, {}, brightness(body))
    reply: Callable[[dict[str, Any], int], Answer] | None = None
    delay: Callable[[int], float] = lambda n: 0.0
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most: int = 0
    url: str = ""
    close: Callable[[], None] = lambda: None
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> int:
        """Count a question in; returns its number."""
        with self._lock:
            self.seen.append((path, headers, body))
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self._now += 1
            self.most = max(self.most, self._now)
            return len(self.bodies) - 1

    def answer(self, body: dict[str, Any], number: int) -> Answer:
        """What the script says to a question."""
        if self.reply is not None:
            return self.reply(body, number)
        return self.first[number] if number < len(self.first) else self.usual(body)

    def leave(self) -> None:
        """Count it out."""
        with self._lock:
            self._now -= 1


def pictures(body: dict[str, Any]) -> list[Any]:
    """The images of a question, decoded."""
    urls = [c["image_url"]["url"] for c in body["messages"][0]["content"] if c["type"] == "image_url"]
    assert all(u.startswith("data:image/png;base64,") for u in urls)
    return [decode(base64.b64decode(u.partition(",")[2])).rgb for u in urls]


def said(text: str | None) -> dict[str, Any]:
    """A chat completion of words alone."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def completion(top: list[tuple[str, float]] | None, text: str = "") -> dict[str, Any]:
    """A chat completion with the probabilities of likely tokens, or without."""
    listed = None
    if top is not None:
        entries = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in top]
        listed = {"content": [{**entries[0], "top_logprobs": entries}]}
    message = {"role": "assistant", "content": text or (top[0][0] if top else "")}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": listed, "finish_reason": "length"}],
    }


def brightness(body: dict[str, Any]) -> dict[str, Any]:
    """Says True with the probability of the candidate's mean brightness."""
    p = min(max(float(pictures(body)[-1].mean()) / 255, 0.01), 0.99)
    return completion([("True", p * 0.9), (" False", (1 - p) * 0.9), ("The", 0.1)])


@contextmanager
def serving(script: Script) -> Iterator[Script]:
    """Run the server on a free port in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def send(self, answer: Answer) -> None:
            status, headers, body = answer
            data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client gave up waiting: that is what some tests want
                self.close_connection = True

        def refused(self) -> bool:
            given = self.headers.get("Authorization")
            if script.key is None or given == f"Bearer {script.key}":
                return False
            self.send((401, {}, {"error": {"message": f"Incorrect API key provided: {(given or '')[7:]}"}}))
            return True

        def do_GET(self) -> None:
            if self.refused():
                return
            listed = {"data": [{"id": m} for m in script.models]} if script.models is not None else {}
            self.send((200 if script.models is not None else 404, {}, listed))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.refused():
                return
            number = script.enter(self.path, dict(self.headers), body)
            try:
                time.sleep(script.delay(number))
                self.send(script.answer(body, number))
            finally:
                script.leave()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    script.close = close
    try:
        yield script
    finally:
        close()
