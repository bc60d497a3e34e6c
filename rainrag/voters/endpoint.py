"""Any OpenAI-compatible server as a voter: vLLM, SGLang, a provider. One token is asked for, with its probabilities."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rainrag.errors import MissingError, UsageError, did_you_mean
from rainrag.images import U8, encode_png
from rainrag.records import Voter
from rainrag.voters.answers import Reply, from_logprobs, from_text
from rainrag.voters.client import Client, Manners, RefusedError
from rainrag.voters.kind import Kind
from rainrag.voters.prompt import WORDS, Parts
from rainrag.voters.vlm import Judging, VlmVoter

TOP = 20  # the most that OpenAI's interface and vLLM's default allow
TEXT_TOKENS = 8  # without probabilities: room for a word that is several tokens


@dataclass(frozen=True)
class Server(Judging):
    """Settings of endpoint voters.

    Args:
        served_revision: what the server has loaded, as you know it (a commit). A server does not tell; without this,
            ballots are kept by its address and are asked for anew when it moves.
        key_env: environment variable with the API key.
        timeout: seconds for one request.
        retries: further tries on 429, 5xx, timeouts and broken answers.
        rpm: requests a minute at most.
        concurrency: requests at a time.
        logprobs: False for a server that gives none: then the answer is read from the text.
    """

    served_revision: str | None = None
    key_env: str = "RAINRAG_API_KEY"
    timeout: float = 120.0
    retries: int = 5
    rpm: float | None = None
    concurrency: int = 8
    logprobs: bool = True

    NEUTRAL: ClassVar[frozenset[str]] = frozenset(
        {"served_revision", "key_env", "timeout", "retries", "rpm", "concurrency"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0 or (self.rpm is not None and self.rpm <= 0):
            raise UsageError("concurrency, timeout and rpm must be positive, retries not negative")


class Endpoint:
    """A ``rainrag.voters.vlm.Model`` behind HTTP.

    Args:
        model: as the server calls it.
        base: address up to and with ``/v1``.
        settings: manners, and whether probabilities are to be had.
    """

    layout = "images"
    remote = True

    def __init__(self, model: str, base: str, settings: Server) -> None:
        self.model = model
        self.base = base.rstrip("/")
        self.settings = settings
        self.chunk = 4 * settings.concurrency
        self._client: Client | None = None
        self._answered = False

    @property
    def paced(self) -> bool:
        """Whether there is a limit of requests a minute."""
        return self.settings.rpm is not None

    @property
    def revision(self) -> str:
        """Model and the revision that the user declared, or else the server's address."""
        return f"{self.model}@{self.settings.served_revision or self.base}"

    def load(self) -> None:
        """Connect, and check that the server has the model, where it lists its models.

        Raises:
            MissingError: when the server cannot be reached or does not know the key.
            UsageError: when it does not have the model.
        """
        s = self.settings
        self._client = Client(self.base, Manners(s.key_env, s.timeout, s.retries, s.rpm))
        try:
            listed = self._client.get("/models").get("data")
        except RefusedError:  # some servers list nothing: the first question will tell
            return
        served = [str(m["id"]) for m in listed if isinstance(m, dict) and "id" in m] if isinstance(listed, list) else []
        if served and self.model not in served:
            raise UsageError(
                f"the server has no model '{self.model}'", where=self.base, hint=did_you_mean(self.model, served)
            )

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One request a prompt, several at a time, replies in order.

        A refused request (status 4xx) is an abstention once the server has answered another: the fault is then that
        question's. Before, it is an error: the fault is more likely in the settings, and a thousand abstentions would
        hide it.

        Raises:
            RefusedError: when the server has refused everything so far.
            MissingError: when it fails for good; nothing of this call is kept.
        """
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            futures = [pool.submit(self._one, parts) for parts in prompts]
            try:
                outcomes = [f.result() for f in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        refusals = [o for o in outcomes if isinstance(o, RefusedError)]
        self._answered = self._answered or len(refusals) < len(outcomes)
        if refusals and not self._answered:
            raise refusals[0]
        return [Reply(problem=f"refused: {o.what}") if isinstance(o, RefusedError) else o for o in outcomes]

    def _one(self, parts: Parts) -> Reply | RefusedError:
        if self._client is None:
            raise UsageError("the voter is not set up: call setup() first", where=self.model)
        try:
            return self._read(self._client.post("/chat/completions", self._body(parts)))
        except RefusedError as e:
            return e

    def _body(self, parts: Parts) -> dict[str, Any]:
        content: list[dict[str, Any]] = [
            {"type": "text", "text": p}
            if isinstance(p, str)
            else {"type": "image_url", "image_url": {"url": data_url(p)}}
            for p in parts
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 1 if self.settings.logprobs else TEXT_TOKENS,
        }
        if self.settings.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP}
        return body

    def _read(self, answer: dict[str, Any]) -> Reply:
        """A reply from a chat completion.

        Raises:
            MissingError: when it is none.
        """
        try:
            choice = answer["choices"][0]
            text = str(choice["message"].get("content") or "")
            listed = (choice.get("logprobs") or {}).get("content") or []
            top = [(str(t["token"]), float(t["logprob"])) for t in listed[0]["top_logprobs"]] if listed else []
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as e:
            raise MissingError(
                f"the server's answer is no chat completion: {type(e).__name__}: {e}",
                where=self.base,
                hint="check the address: it ends in /v1 on most servers",
            ) from e
        if top:
            return from_logprobs(top, *WORDS[self.settings.words])
        return from_text(text)


def data_url(rgb: U8) -> str:
    """A PNG as a data URL: the same bytes for the same pixels, so that the server's cache knows it again."""
    return "data:image/png;base64," + base64.b64encode(encode_png(rgb)).decode()


def build(name: str, source: str | None, settings: Server) -> Voter:
    """The voter of ``MODEL@http://host:port/v1``; connects to nothing yet.

    Raises:
        UsageError: for another form, or an address with a password or a query in it (they would end up in ballots).
    """
    model, _, rest = (source or "").rpartition("@http")
    base = f"http{rest}"
    try:
        parts = urlsplit(base)
    except ValueError:
        parts = urlsplit("")
    if not model or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(  # says nothing of what was given: there may be a key in it
            f"'{name}:…' names no model and server",
            hint="endpoint:MODEL@http://host:port/v1, separated by commas",
        )
    if parts.username or parts.password or parts.query:
        raise UsageError(
            "the server's address must hold no password and no query",
            hint=f"put the key into the environment variable {settings.key_env}",
        )
    return VlmVoter(f"{name}:{model}", Endpoint(model, base, settings), settings)


ENDPOINT = Kind(Server, build)
