"""HTTP: one client of OpenAI-compatible servers (vLLM, SGLang, llama.cpp, a provider), and one resumable download.

The client retries with back-off, jitter and Retry-After, keeps a request rate, and bounds what one answer may take in
time and bytes. The key comes from the environment alone: it is read when a request is sent, is in no attribute, pickle,
message or log, and is masked in whatever a server says.
"""

from __future__ import annotations

import base64
import email.utils
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from rainrag.core.errors import InputError, IntegrityError, MissingError, RainRAGError, UsageError
from rainrag.core.files import sha256_file

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("rainrag.core.http")

KEY_ENV = "RAINRAG_API_KEY"
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})  # the same request may do later
FIRST_WAIT = 0.5  # seconds before the first retry, about; doubles with every failure
LONGEST_BACKOFF = 60.0  # seconds
LONGEST_WAIT = 600.0  # seconds that a server may ask for; a longer wait (a daily quota) is better spent elsewhere
MOST_BYTES = 16 << 20  # of one answer: a completion of one token with its probabilities has some kilobytes
MASK = "***"
SURROGATE = re.compile("[\ud800-\udfff]")  # a lone one cannot be written as UTF-8


class RefusedError(InputError):
    """The server understood and will not answer this request (status 3xx or 4xx): asking again would not help."""

    def __init__(self, what: str, *, where: object = None, hint: str | None = None, status: int = 400) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status


class OddAnswerError(InputError):
    """The server answered, and the answer is not a completion: the fault of this one answer."""


@dataclass(frozen=True)
class ClientSettings:
    """How to treat a server.

    Args:
        key_env: environment variable with the API key; where it is unset none is sent, as local servers want it.
        timeout: seconds for one answer.
        retries: further attempts after the first.
        rpm: maximum number of requests per minute of this process, retries included; None for no limit.
        concurrency: maximum number of open requests.

    Raises:
        UsageError: for values out of range.
    """

    key_env: str = KEY_ENV
    timeout: float = 120.0
    retries: int = 5
    rpm: float | None = None
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0 or (self.rpm is not None and self.rpm <= 0):
            raise UsageError("concurrency, timeout and rpm must be positive, retries not negative")


# ---------------------------------------------------------------- messages of the interface
def image_part(data: bytes) -> dict[str, Any]:
    """An image as a part of a message's content.

    Args:
        data: PNG, JPEG or WebP bytes, sent as they are.
    """
    kind = "png" if data[:4] == b"\x89PNG" else "webp" if data[8:12] == b"WEBP" else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def choice_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The first choice of a completion.

    Raises:
        OddAnswerError: when there is none; says what the server reports instead.
    """
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    reported = answer.get("error")
    if isinstance(reported, dict):
        reported = reported.get("message") or reported
    said = f": {_short(str(reported))}" if reported else ""
    raise OddAnswerError(f"the answer is no completion{said or ': it has no choices'}")


def text_of(answer: dict[str, Any]) -> str:
    """The text of the first choice, stripped; of content in parts, the texts joined.

    Raises:
        OddAnswerError: when there is none (the server gave tool calls, a refusal or another shape).
    """
    message = choice_of(answer).get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if isinstance(text, list):
        parts = [p["text"] for p in text if isinstance(p, dict) and isinstance(p.get("text"), str)]
        text = "".join(parts) if parts else None
    if not isinstance(text, str):
        raise OddAnswerError("the answer has no text", hint="the server must return choices[0].message.content")
    return text.strip()


#: Marks between which models put their thinking, as regular expressions.
THINKING = (
    (r"<(think|thinking|thought|reasoning|analysis|reflection|scratchpad)\b[^>]*>",
     r"</(think|thinking|thought|reasoning|analysis|reflection|scratchpad)\s*>"),
    (r"\u25c1think\u25b7", r"\u25c1/think\u25b7"),
    (r"\[think(?:ing)?\]", r"\[/think(?:ing)?\]"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|channel\|>\s*analysis", r"<\|channel\|>\s*final(?:\s*<\|message\|>)?"),
)  # fmt: skip


def without_thinking(text: str) -> str:
    """What a model says after its thinking; nothing where the thinking is not closed.

    An end without a beginning counts too: some chat templates put the beginning into the prompt.
    """
    for begin, end in THINKING:
        closed = list(re.finditer(end, text, re.IGNORECASE))
        if closed:
            text = text[closed[-1].end() :]
        if re.search(begin, text, re.IGNORECASE):
            return ""
    return " ".join(re.sub(r"<\|[^|<>]{1,40}\|>|</s>|<s>|<end_of_turn>|<eos>", " ", text).split())


def model_at(source: str) -> tuple[str, str]:
    """Model and address of ``MODEL@http://host:port/v1``; a model's name may hold an @ of its own.

    Raises:
        UsageError: when one of the two is not there.
    """
    model, at, rest = source.partition("@http")
    if not model or not at:
        raise UsageError("no model and server are named", hint="give them as MODEL@http://localhost:8000/v1")
    return model, f"http{rest}"


# ---------------------------------------------------------------- pace and patience
class Pace:
    """Evenly spaced starts, shared by threads.

    Args:
        rpm: maximum number of starts per minute; None for no limit.
    """

    def __init__(self, rpm: float | None) -> None:
        self.gap = 60.0 / rpm if rpm else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until this thread may send."""
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self.gap
        time.sleep(max(0.0, start - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Let no thread start for the time that the server asked for."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class _Again(Exception):  # noqa: N818 - never leaves this module
    """An attempt that failed and may succeed later.

    Args:
        trouble: what went wrong.
        seconds: that the server asked to wait; None where it did not.
        hint: how to go on when there is no further attempt.
    """

    def __init__(self, trouble: str, seconds: float | None = None, hint: str = "") -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.seconds = seconds
        self.hint = hint


def backoff(attempt: int) -> float:
    """Exponential back-off in seconds with jitter: many clients that failed together do not return together.

    Args:
        attempt: failures so far, minus one.
    """
    return min(LONGEST_BACKOFF, FIRST_WAIT * 2.0**attempt) * random.uniform(0.5, 1.5)


def _patience(state: Any) -> float:
    """tenacity's wait: what the server asked for, else the back-off."""
    again = state.outcome.exception()
    asked = again.seconds if isinstance(again, _Again) else None
    return backoff(state.attempt_number - 1) if asked is None else asked


# ---------------------------------------------------------------- the client
class Client:
    """One server. Pickles (connections are made again) and may be shared by threads.

    Args:
        base_url: address up to and with the version, ``http://localhost:8000/v1``.
        settings: key, timeouts, retries, rate.

    Raises:
        UsageError: for something that is not an address, or that holds a password or a query.
    """

    def __init__(self, base_url: str, settings: ClientSettings | None = None) -> None:
        self.settings = settings or ClientSettings()
        self.base_url = address(base_url, self.settings.key_env)
        self._pace = Pace(self.settings.rpm)
        self._http: httpx.Client | None = None
        self._warned = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Client], tuple[Any, ...]]:
        return type(self), (self.base_url, self.settings)

    def get(self, path: str) -> dict[str, Any]:
        """GET a JSON object.

        Raises:
            as ``chat``; RefusedError for 404 too.
        """
        return self._call("GET", path, None)

    def chat(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask once.

        Args:
            payload: body of ``chat/completions`` (model, messages, temperature, …).

        Returns:
            The server's JSON object; ``choice_of`` and ``text_of`` read it. Lone surrogates are replaced in all texts.

        Raises:
            MissingError: the server cannot be reached, refuses the key, knows no such model, or failed every time.
            RefusedError: the server refuses this request.
        """
        try:
            return self._call("POST", "/chat/completions", payload)
        except RefusedError as e:
            if e.status != 404:
                raise
            hint = "check the model's name, and that the address ends as the server wants it (mostly /v1)"
            what = f"the server knows no such model or path: {e.what}"
            raise MissingError(what, where=self.base_url, hint=hint) from e

    def chat_each(self, payloads: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any] | RainRAGError]]:
        """Ask several at once; yields (position, answer or what this request failed with) as answers arrive.

        A further request is sent only when the consumer has taken an answer, so that it may be on disk by then.

        Raises:
            MissingError: when no other request would fare better; after what was under way has been yielded.
        """
        todo = iter(enumerate(payloads))
        running: dict[Future[dict[str, Any]], int] = {}
        gone: MissingError | None = None
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                while True:
                    while gone is None and len(running) < self.settings.concurrency and (entry := next(todo, None)):
                        running[pool.submit(self.chat, entry[1])] = entry[0]
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    future = min(done, key=lambda f: running[f])
                    i = running.pop(future)
                    try:
                        outcome: dict[str, Any] | RainRAGError = future.result()
                    except MissingError as e:
                        gone = gone or e
                        continue
                    except RainRAGError as e:
                        outcome = e
                    yield i, outcome
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if gone is not None:
            raise gone

    def close(self) -> None:
        """Close the connections; they open again when needed."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    # ------------------------------------------------------------ attempts
    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        attempts = Retrying(
            stop=stop_after_attempt(self.settings.retries + 1),
            wait=_patience,
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        try:
            return attempts(self._once, method, path, body)
        except _Again as e:
            raise MissingError(
                f"the server failed {self.settings.retries + 1} times: {e.trouble}",
                where=self.base_url + path,
                hint=e.hint or "retry once the server has recovered: answers that were written are not requested twice",
            ) from None

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One attempt; raises ``_Again`` where another may succeed, the error itself where none would."""
        import httpx

        self._pace.wait()
        deadline = time.monotonic() + self.settings.timeout
        try:
            with self._client().stream(method, self.base_url + path, json=body, headers=self._headers()) as reply:
                status, retry_after = reply.status_code, reply.headers.get("retry-after")
                data = self._body(reply, deadline)
        except httpx.TimeoutException as e:
            hint = "raise the timeout, or lower the concurrency"
            raise _Again(
                self._clean(f"no answer within {self.settings.timeout:g} s: {type(e).__name__}"), hint=hint
            ) from e
        except httpx.RequestError as e:
            hint = "start the server, or check the address and the proxy settings"
            raise _Again(self._clean(f"{type(e).__name__}: {e}"), hint=hint) from e
        if status == 200:
            return self._read(data)
        self._refuse(status, self._clean(data.decode("utf-8", "replace")), retry_after, path)
        raise AssertionError("unreachable")

    def _body(self, reply: httpx.Response, deadline: float) -> bytes:
        """What the server sends, up to ``MOST_BYTES`` and until the deadline: one that drips does not hold us."""
        parts: list[bytes] = []
        size = 0
        for part in reply.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise OddAnswerError(f"the answer is larger than {MOST_BYTES >> 20} MB", where=self.base_url)
            if time.monotonic() > deadline:
                raise _Again(f"no answer within {self.settings.timeout:g} s", hint="raise the timeout")
        return b"".join(parts)

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
            if isinstance(found, dict):
                return {str(k): self._plain(v) for k, v in found.items()}
        except RecursionError:
            raise OddAnswerError("the answer is nested too deeply", where=self.base_url) from None
        except ValueError:
            pass
        hint = "the address must be that of an OpenAI-compatible server, up to and with /v1"
        raise _Again(f"the answer is no JSON object: {self._clean(data[:2000].decode('utf-8', 'replace'))}", hint=hint)

    def _plain(self, value: Any) -> Any:
        """A JSON value whose texts can be written anywhere and do not hold the key."""
        if isinstance(value, str):
            return self._masked(SURROGATE.sub("\ufffd", value))
        if isinstance(value, list):
            return [self._plain(v) for v in value]
        if isinstance(value, dict):
            return {self._plain(k): self._plain(v) for k, v in value.items()}
        return value

    def _refuse(self, status: int, said: str, retry_after: str | None, path: str) -> None:
        """Raise what a status other than 200 means."""
        if status in RETRIED:
            asked = seconds_asked(retry_after)
            if asked is not None:
                if not asked <= LONGEST_WAIT:  # also for nan
                    what = f"the server asks to come back in {asked:.0f} s (status {status}): {said}"
                    raise MissingError(what, where=self.base_url, hint="run again then")
                self._pace.hold(asked)
            limit = "; give a rate (rpm) that the server allows" if status == 429 else ""
            raise _Again(f"status {status}: {said}", asked, f"look at the server's log, or run again later{limit}")
        if status in (401, 403):
            what = f"the server refused the key (status {status}): {said}"
            hint = f"put the right key into the environment variable {self.settings.key_env}"
            raise MissingError(what, where=self.base_url, hint=hint)
        raise RefusedError(f"status {status}: {said}", where=self.base_url + path, status=status)

    # ------------------------------------------------------------ connection and key
    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                s = self.settings
                self._http = httpx.Client(
                    timeout=httpx.Timeout(s.timeout, connect=min(s.timeout, 10.0), pool=None),
                    limits=httpx.Limits(max_connections=s.concurrency),
                    follow_redirects=False,  # the key must not travel to another host
                )
            return self._http

    def _headers(self) -> dict[str, str]:
        """The key is read when it is needed and kept nowhere.

        Raises:
            UsageError: for a key that no header can carry: httpx would put it into its message.
        """
        key = self._key()
        if not key:
            return {}
        if not all("!" <= c <= "~" for c in key):
            what = f"the key in {self.settings.key_env} has characters that no HTTP header may carry"
            raise UsageError(what, hint="set the variable to the key alone")
        self._warn()
        return {"Authorization": f"Bearer {key}"}

    def _warn(self) -> None:
        """Say once that the key travels unencrypted to another machine."""
        host = urlsplit(self.base_url).hostname or ""
        local = host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"
        if not self._warned and self.base_url.startswith("http://") and not local:
            self._warned = True
            log.warning("the API key is sent unencrypted to %s: use https:// where the server has it", host)

    def _key(self) -> str:
        return os.environ.get(self.settings.key_env, "").strip()

    def _masked(self, text: str) -> str:
        """Text without the key in any of the forms that servers repeat."""
        key = self._key()
        if key:
            for form in forms(key):
                text = text.replace(form, MASK)
        return text

    def _clean(self, text: str) -> str:
        """Text from outside, short, on one line, without the key."""
        return _short(self._masked(text))


def forms(key: str) -> list[str]:
    """The key as servers repeat it: plain, percent-encoded, and in base64 at each of its three alignments.

    In base64 a text looks different by its place within the encoded message; its inner letters do not.
    """
    found = {key, quote(key, safe="")}
    data = key.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        first = -(-before * 8 // 6)  # letters that the bytes before it share in
        last = len(encoded) - (1 if (before + len(data)) % 3 else 0)  # the last one may share bits with what follows
        inner = encoded[first:last]
        if len(inner) >= 8:  # shorter ones would mask ordinary words
            found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return sorted(found, key=len, reverse=True)


def address(url: str, key_env: str = KEY_ENV) -> str:
    """A server's address without what follows the version.

    Raises:
        UsageError: for something that is not an address, or that holds a password or a query.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        parts, fine = urlsplit(""), False
    if "@" in url or "?" in url:
        raise UsageError(  # says nothing of what was given: there may be a key in it
            "an address may hold no password or query: it is written into records",
            hint=f"put the key into the environment variable {key_env}",
        )
    if not fine:
        raise UsageError("not the address of a server", where=url, hint="give it as http://localhost:8000/v1")
    return url.rstrip("/").removesuffix("/chat/completions")


def seconds_asked(header: str | None) -> float | None:
    """Seconds of a Retry-After header (a number or a date); None where there is none that makes sense."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


# ---------------------------------------------------------------- files
def download(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """Fetch a URL into a file; a broken transfer goes on where it stopped.

    Args:
        sha256: checked at the end when given.
        progress: called with (bytes so far, total or None).

    Returns:
        sha256 of what was fetched.

    Raises:
        MissingError: when the server cannot be reached or refuses.
        IntegrityError: when the checksum differs; the file is removed.
    """
    import httpx

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    ask = {"Accept-Encoding": "identity", **(headers or {})}
    if have:
        ask["Range"] = f"bytes={have}-"
    try:
        with httpx.stream("GET", url, headers=ask, follow_redirects=True, timeout=60) as r:
            if r.status_code == 416:  # nothing left: the part is whole
                pass
            elif r.status_code not in (200, 206):
                raise MissingError(
                    f"the server answered {r.status_code}", where=url, hint="try again later, or fetch it by hand"
                )
            else:
                resumed = r.status_code == 206
                total = (
                    int(r.headers["content-length"]) + (have if resumed else 0)
                    if "content-length" in r.headers
                    else None
                )
                done = have if resumed else 0
                with open(part, "ab" if resumed else "wb") as f:
                    for block in r.iter_raw():
                        f.write(block)
                        done += len(block)
                        if progress:
                            progress(done, total)
                if total is not None and done != total:
                    raise MissingError(
                        f"the transfer broke off at {done} of {total} bytes", where=url, hint="run again"
                    )
    except httpx.HTTPError as e:
        raise MissingError(
            f"cannot be reached: {e}", where=url, hint="run again to go on where it stopped; or fetch it by hand"
        ) from e
    got = sha256_file(part)
    if sha256 and got != sha256:
        part.unlink()
        raise IntegrityError(
            f"sha256 is {got}, expected {sha256}", where=url, hint="the host replaced the file, or it is damaged"
        )
    os.replace(part, path)
    return got
