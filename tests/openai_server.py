"""A stand-in for an OpenAI-compatible server, on this machine."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rainrag import openai_client


class Server:
    """Answers ``chat/completions`` by ``reply(payload, n)`` -> (status, headers, body); n counts from 0."""

    def __init__(self) -> None:
        self.reply: Callable[[Any, int], tuple[int, dict[str, str], Any]] = lambda payload, n: (200, {}, answer("ok"))
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.times: list[float] = []
        self.open = self.most_open = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    n = len(server.seen)
                    server.seen.append((self.path, dict(self.headers), body))
                    server.times.append(time.monotonic())
                    server.open += 1
                    server.most_open = max(server.most_open, server.open)
                try:
                    status, headers, value = server.reply(body, n)
                finally:
                    with lock:
                        server.open -= 1
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                with contextlib.suppress(ConnectionError):  # the client may have given up
                    self.send_response(status)
                    for k, v in headers.items():
                        self.send_header(k, v)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


def answer(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that runs while the block does; no key in the environment, and retries that hardly wait."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(openai_client, "FIRST_WAIT", 0.001)
    monkeypatch.delenv(openai_client.KEY_ENV, raising=False)
    server = Server()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
