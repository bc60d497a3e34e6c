"""Client of an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a provider): one call, ``chat/completions``.

Retries with back-off and jitter, Retry-After, a request rate, a bound on open requests. The key comes from the
environment alone: it is read when a request is sent, and is in no attribute, pickle, message or log.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rainrag.errors import InputError, MissingError, RainRAGError, UsageError

if TYPE_CHECKING:
    import httpx

KEY_ENV = "RAINRAG_API_KEY"
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})  # the same request may do later
FIRST_WAIT = 0.5  # seconds; doubles with every failure
LONGEST_WAIT = 60.0  # seconds, of our own back-off
TOO_LONG = 600.0  # seconds; a server that asks for more (a daily quota) is not waited for


def image_part(data: bytes) -> dict[str, Any]:
    """An image as a part of a message's content.

    Args:
        data: PNG, JPEG or WebP bytes, sent as they are.
    """
    kind = "png" if data[:4] == b"\x89PNG" else "webp" if data[8:12] == b"WEBP" else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def text_of(answer: dict[str, Any]) -> str:
    """The text of the first choice of an answer of ``Client.chat``, stripped.

    Raises:
        InputError: when there is none (the server gave tool calls, a refusal or another shape).
    """
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise InputError("the answer has no text", hint="the server must return choices[0].message.content")
    return text.strip()


def model_at(source: str) -> tuple[str, str]:
    """Model and address of ``MODEL@http://host:port/v1``; a model's name may hold an @ of its own.

    Raises:
        UsageError: when one of the two is not there.
    """
    model, at, rest = source.partition("@http")
    if not model or not at:
        raise UsageError("no model and server are named", hint="give them as MODEL@http://localhost:8000/v1")
    return model, f"http{rest}"


class _Again(Exception):  # noqa: N818 - not an error of the caller's: it never leaves this module
    """An attempt that failed and may succeed later.

    Args:
        error: what to raise when there is no further attempt.
        wait: seconds that the server asked for.
    """

    def __init__(self, error: RainRAGError, wait: float = 0.0) -> None:
        super().__init__(error.what)
        self.error = error
        self.wait = wait


class Pace:
    """Evenly spaced starts, shared by threads.

    Args:
        per_minute: most requests a minute; None for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until this thread may send."""
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self.gap
        time.sleep(max(0.0, start - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Let no thread start for so long: the server asked for it."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Client:
    """One server. Pickles (connections are made anew) and may be shared by threads.

    Args:
        base_url: address up to and with the version, ``http://localhost:8000/v1``.
        key_env: environment variable that holds the key; where it is unset none is sent, as local servers want it.
        timeout: seconds that one answer may take.
        retries: further attempts after the first.
        per_minute: most requests a minute from this process, retries included; None for no limit.
        concurrency: most requests open at once.

    Raises:
        UsageError: for an address that is none, or that holds a password.
    """

    def __init__(
        self,
        base_url: str,
        key_env: str = KEY_ENV,
        timeout: float = 60.0,
        retries: int = 5,
        per_minute: float | None = None,
        concurrency: int = 4,
    ) -> None:
        if "@" in base_url or "?" in base_url:
            raise UsageError(
                "an address may hold no password or key: it is written into records",
                hint=f"put the key into the environment variable {key_env}",
            )
        if not _is_address(base_url):
            raise UsageError("not the address of a server", where=base_url, hint="give it as http://localhost:8000/v1")
        if concurrency < 1 or retries < 0 or timeout <= 0 or (per_minute is not None and per_minute <= 0):
            raise UsageError("timeout, concurrency and rate must be positive, retries not negative")
        self.base_url = base_url.rstrip("/").removesuffix("/chat/completions")
        self.key_env = key_env
        self.timeout = timeout
        self.retries = retries
        self.per_minute = per_minute
        self.concurrency = concurrency
        self._pace = Pace(per_minute)
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Client], tuple[Any, ...]]:
        given = (self.base_url, self.key_env, self.timeout, self.retries, self.per_minute, self.concurrency)
        return type(self), given

    def chat(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask once.

        Args:
            payload: body of ``chat/completions`` (model, messages, temperature, …).

        Returns:
            The server's answer, which has ``choices``.

        Raises:
            MissingError: the server cannot be reached, refuses the key, or has no such model: no other request would
                fare better.
            InputError: the server refuses this request, or its answer is none.
            RainRAGError: this request failed every time (overload, timeouts).
        """
        attempt = 0
        while True:
            self._pace.wait()
            try:
                return self._post(payload)
            except _Again as again:
                if attempt == self.retries:
                    raise again.error from None
                time.sleep(max(again.wait, _jitter(attempt)))
                attempt += 1

    def chat_many(self, payloads: Sequence[dict[str, Any]]) -> list[dict[str, Any] | RainRAGError]:
        """Ask many at once.

        Returns:
            One answer, or the error it ended with, for each payload, in order. After a ``MissingError`` what was not
            yet sent gets the same error, so that a dead server does not cost every request its retries.
        """
        gone: list[MissingError] = []

        def one(payload: dict[str, Any]) -> dict[str, Any] | RainRAGError:
            if gone:
                return gone[0]
            try:
                return self.chat(payload)
            except MissingError as e:
                gone.append(e)
                return e
            except RainRAGError as e:
                return e

        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(one, payloads))

    def close(self) -> None:
        """Close the connections; they open again at need."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    # ------------------------------------------------------------ one attempt
    def _post(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One attempt; raises ``_Again`` where another may succeed, the error itself where none would."""
        import httpx

        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            reply = self._client().post(f"{self.base_url}/chat/completions", json=payload, headers=headers)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as e:
            hint = "raise the timeout, or lower the concurrency"
            raise _Again(self._failed(f"no answer within {self.timeout:g} s", hint)) from e
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as e:
            what = f"the server cannot be reached: {str(e) or type(e).__name__}"
            hint = "start it, or check the address and the proxy settings"
            raise _Again(MissingError(what, where=self.base_url, hint=hint)) from e
        except httpx.RequestError as e:
            what = f"the connection broke: {str(e) or type(e).__name__}"
            raise _Again(self._failed(what, "look at the server's log, or run again later")) from e
        if reply.status_code == 200:
            return self._read(reply, key)
        error = self._refused(reply, key)
        wait = _retry_after(reply.headers.get("retry-after"))
        if reply.status_code not in RETRIED or wait > TOO_LONG:
            raise error
        if wait:
            self._pace.hold(wait)
        raise _Again(error, wait)

    def _read(self, reply: httpx.Response, key: str) -> dict[str, Any]:
        try:
            answer = reply.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("choices"):
            return answer
        hint = "the address must be that of an OpenAI-compatible server, up to and with /v1"
        raise InputError(f"the answer is no completion: {_scrub(reply.text, key)}", where=self.base_url, hint=hint)

    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                self._http = httpx.Client(
                    timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, 10.0), pool=None),
                    limits=httpx.Limits(max_connections=self.concurrency),
                )
            return self._http

    def _key(self) -> str:
        key = os.environ.get(self.key_env, "").strip()
        if not all("!" <= c <= "~" for c in key):  # httpx would put the header, and so the key, into its message
            raise UsageError(f"the variable {self.key_env} holds characters that no key has", hint="set it anew")
        return key

    # ------------------------------------------------------------ what went wrong
    def _failed(self, what: str, hint: str) -> RainRAGError:
        return RainRAGError(what, where=self.base_url, hint=hint)

    def _refused(self, reply: httpx.Response, key: str) -> RainRAGError:
        status, said = reply.status_code, _scrub(reply.text, key)
        if status in (401, 403):
            what = f"the server refuses the key ({status}): {said}"
            return MissingError(what, where=self.base_url, hint=f"set the environment variable {self.key_env}")
        if status == 404:
            hint = "check the model's name, and that the address ends as the server wants it (mostly /v1)"
            return MissingError(f"the server knows no such model or path: {said}", where=self.base_url, hint=hint)
        if status == 429:
            hint = "give a rate (requests a minute) that the server allows, or run again later"
            return self._failed(f"the server's rate limit was met: {said}", hint)
        if status in RETRIED:
            return self._failed(f"the server answered {status}: {said}", "look at the server's log, or run again later")
        return InputError(f"the server refuses the request ({status}): {said}", where=self.base_url)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        return False


def _scrub(text: str, key: str) -> str:
    """What the server said, short, in one line; some servers repeat the key."""
    plain = " ".join(text.split())
    return (plain.replace(key, "<key>") if key else plain)[:300]


def _jitter(attempt: int) -> float:
    """Full-jitter exponential back-off in seconds: many clients that failed together do not return together."""
    return random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt))


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms; 0 where there is none."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
