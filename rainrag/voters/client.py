"""One HTTP client for OpenAI-compatible servers: retries with back-off, a rate limit, a key that is never shown."""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from rainrag.errors import InputError, MissingError, UsageError

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
FIRST_WAIT = 0.5  # seconds before the first retry, about; doubled each time
LONGEST_WAIT = 600.0  # seconds that a server may ask us to wait; a longer wait is better spent elsewhere


class RefusedError(InputError):
    """The server understood and will not answer this request (status 4xx): asking again would not help."""


@dataclass(frozen=True)
class Manners:
    """How to treat a server.

    Args:
        key_env: name of the environment variable that holds the API key.
        timeout: seconds to wait for an answer.
        retries: further tries after the first.
        rpm: requests a minute at most, over all threads of this process; None for no limit.
    """

    key_env: str
    timeout: float
    retries: int
    rpm: float | None


class Client:
    """Sends JSON, gets JSON.

    Args:
        base: address that ``/chat/completions`` is appended to.
        manners: timeouts, retries, rate.
    """

    def __init__(self, base: str, manners: Manners) -> None:
        import httpx

        self.base = base
        self.manners = manners
        # No redirects: the key must not travel to another host.
        self._http = httpx.Client(timeout=manners.timeout, follow_redirects=False)
        self._turn = threading.Lock()
        self._next = 0.0
        self._jitter = random.Random()  # timing only; no result depends on it

    def get(self, path: str) -> dict[str, Any]:
        """GET, as ``post``."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST a JSON object.

        Returns:
            The JSON object of the answer.

        Raises:
            RefusedError: for a status 4xx that is the request's own.
            MissingError: when the server cannot be reached, does not know the key, or still fails after all retries.
        """
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        trouble = ""
        for attempt in range(self.manners.retries + 1):
            answer, trouble, wait = self._once(method, path, body)
            if answer is not None:
                return answer
            if attempt < self.manners.retries:
                time.sleep(self._wait(attempt) if wait is None else wait)
        raise MissingError(
            f"the server failed {self.manners.retries + 1} times: {trouble}",
            where=self.base + path,
            hint="run again when it is well: ballots already written are not asked for twice",
        )

    def _once(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, str, float | None]:
        """(answer or None, what went wrong, seconds that the server asks for)."""
        import httpx

        self._pace()
        try:
            r = self._http.request(method, self.base + path, json=body, headers=self._headers())
        except httpx.HTTPError as e:
            return None, self._clean(f"{type(e).__name__}: {e}"), None
        if r.status_code in RETRIED:
            return None, f"status {r.status_code}", self._asked(r.headers.get("retry-after"))
        if r.status_code in (401, 403):
            raise MissingError(
                f"the server refused the key (status {r.status_code}): {self._clean(r.text)}",
                where=self.base,
                hint=f"put the right key into the environment variable {self.manners.key_env}",
            )
        if r.status_code >= 300:
            raise RefusedError(f"status {r.status_code}: {self._clean(r.text)}", where=self.base + path)
        try:
            found = r.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return None, self._clean(f"no JSON object: {r.text}"), None
        return found, "", None

    def _headers(self) -> dict[str, str]:
        """The key is read when it is needed and kept nowhere."""
        key = self._key()
        if not key:
            return {}
        if not key.isascii() or not key.isprintable():
            raise UsageError(f"the key in {self.manners.key_env} has characters that no HTTP header may carry")
        return {"Authorization": f"Bearer {key}"}

    def _key(self) -> str:
        return os.environ.get(self.manners.key_env, "").strip()

    def _clean(self, text: str) -> str:
        """Text from outside, short, on one line, without the key."""
        key = self._key()
        if key:
            text = text.replace(key, "***")
        return " ".join(text.split())[:200]

    def _pace(self) -> None:
        """Wait for this request's turn under the rate limit."""
        if self.manners.rpm is None:
            return
        with self._turn:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + 60.0 / self.manners.rpm
        time.sleep(at - now)

    def _wait(self, attempt: int) -> float:
        """Exponential back-off with jitter, so that many workers do not come back at once; at most a minute."""
        return float(min(60.0, FIRST_WAIT * 2**attempt) * self._jitter.uniform(0.5, 1.5))

    def _asked(self, header: str | None) -> float | None:
        """Seconds of a Retry-After header (a number or a date); None where there is none that makes sense.

        Raises:
            MissingError: when the server asks for more patience than we have.
        """
        if not header:
            return None
        try:
            seconds = float(header)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
            except (TypeError, ValueError):
                return None
        if not seconds <= LONGEST_WAIT:  # also for nan
            raise MissingError(
                f"the server asks to come back in {seconds:.0f} s", where=self.base, hint="run again then"
            )
        return max(0.0, seconds)
