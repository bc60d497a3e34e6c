"""Any OpenAI-compatible server as a voter: vLLM, SGLang, a provider. One token is asked for, with its probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rainrag.core.errors import RainRAGError, UsageError, did_you_mean
from rainrag.core.http import Client, ClientSettings, OddAnswerError, RefusedError, choice_of, image_part, text_of
from rainrag.core.images import encode_png
from rainrag.core.types import Voter
from rainrag.voters.answers import Reply, from_logprobs, from_text
from rainrag.voters.base import Kind
from rainrag.voters.prompt import WORDS, Parts
from rainrag.voters.vlm import Judging, VlmVoter

TEXT_TOKENS = 16  # without probabilities: room for a short sentence
#: What servers say that take one image per prompt, or fewer than were sent.
FEW_IMAGES = re.compile(
    r"at most \d+ image|(?:multiple|multi|more than one) images?|only (?:one|1|a single) image", re.I
)
#: What a refusal names -> the setting that changes it.
REMEDIES = {
    "max_completion_tokens": "--set max_completion_tokens=N",
    "max_tokens": "--set max_completion_tokens=N, or --set max_tokens=N",
    "logprobs": "--set top_logprobs=N, or --set logprobs=false",
    "chat_template_kwargs": "leave chat_template_kwargs out",
}


@dataclass(frozen=True)
class Server(Judging):
    """Settings of endpoint voters.

    Args:
        served_revision: what the server has loaded, as you know it (a commit). A server does not tell; without this,
            ballots are kept by its address and are requested again when it moves.
        key_env, timeout, retries, rpm, concurrency: see ``rainrag.core.http.ClientSettings``.
        logprobs: False for a server that gives none: then the answer is read from the text.
        top_logprobs: how many likely tokens to ask for; 20 is the most that OpenAI's interface and vLLM's default allow.
        max_tokens: tokens of an answer; None for 1 with log-probabilities and a short sentence without. A model that
            thinks first needs hundreds.
        max_completion_tokens: the same under the name that newer servers want; sent in place of ``max_tokens``.
        chat_template_kwargs: object passed to the server's chat template, such as ``{"enable_thinking": false}``.
    """

    served_revision: str | None = None
    key_env: str = ClientSettings.key_env
    timeout: float = ClientSettings.timeout
    retries: int = ClientSettings.retries
    rpm: float | None = None
    concurrency: int = ClientSettings.concurrency
    logprobs: bool = True
    top_logprobs: int = 20
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    NEUTRAL: ClassVar[frozenset[str]] = frozenset(
        {"served_revision", "key_env", "timeout", "retries", "rpm", "concurrency"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.client
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise UsageError("max_tokens and max_completion_tokens are two names of one setting", hint="give one")
        if any(n is not None and n < 1 for n in (self.max_tokens, self.max_completion_tokens, self.top_logprobs)):
            raise UsageError("max_tokens and top_logprobs must be at least 1")
        if self.chat_template_kwargs is not None and not isinstance(self.chat_template_kwargs, dict):
            raise UsageError(
                "chat_template_kwargs must be a JSON object",
                hint="--set 'chat_template_kwargs={\"enable_thinking\": false}'",
            )

    @property
    def client(self) -> ClientSettings:
        """Those of the settings that are the HTTP client's."""
        return ClientSettings(self.key_env, self.timeout, self.retries, self.rpm, self.concurrency)


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
        self._client = Client(self.base, self.settings.client)
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
        """One reply per prompt, in order (see ``stream``)."""
        found = dict(self.stream(prompts))
        return [found[i] for i in range(len(prompts))]

    def stream(self, prompts: Sequence[Parts]) -> Iterator[tuple[int, Reply]]:
        """One request per prompt, several at a time; yields (position, reply) as they arrive.

        An odd answer is an abstention of its question. A refused request (status 4xx) is one too once the server has
        answered another: the fault is then that question's. Before, it is an error: the fault is more likely in the
        settings.

        Raises:
            RefusedError: when the server has refused everything so far.
            MissingError: when it fails for good; what had arrived has been yielded.
        """
        if self._client is None:
            raise UsageError("the voter is not set up: call setup() first", where=self.model)
        refused: list[tuple[int, RefusedError]] = []
        for i, outcome in self._client.chat_each([self._body(p) for p in prompts]):
            if isinstance(outcome, RefusedError) and not self._answered:
                refused.append((i, outcome))
                continue
            self._answered = True
            yield i, self._reply(outcome)
            yield from ((k, self._reply(e)) for k, e in refused)
            refused = []
        if refused:
            raise explained(refused[0][1])

    def _reply(self, outcome: dict[str, Any] | RainRAGError) -> Reply:
        if isinstance(outcome, RefusedError):
            return Reply(problem=f"refused: {outcome.what}")
        if isinstance(outcome, RainRAGError):
            return Reply(problem=f"odd answer: {outcome.what}")
        try:
            return self._read(outcome)
        except OddAnswerError as e:
            return Reply(problem=f"odd answer: {e.what}")

    def _body(self, parts: Parts) -> dict[str, Any]:
        s = self.settings
        content = [{"type": "text", "text": p} if isinstance(p, str) else image_part(encode_png(p)) for p in parts]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
        }
        if s.max_completion_tokens is not None:
            body["max_completion_tokens"] = s.max_completion_tokens
        else:
            body["max_tokens"] = s.max_tokens or (1 if s.logprobs else TEXT_TOKENS)
        if s.logprobs:
            body |= {"logprobs": True, "top_logprobs": s.top_logprobs}
        if s.chat_template_kwargs is not None:
            body["chat_template_kwargs"] = s.chat_template_kwargs
        return body

    def _read(self, answer: dict[str, Any]) -> Reply:
        """A reply from a chat completion: from its first token's probabilities, or from its text where there are none.

        Raises:
            OddAnswerError: when it has neither.
        """
        top = likely(choice_of(answer))
        return from_logprobs(top, *WORDS[self.settings.words]) if top else from_text(text_of(answer))


def likely(choice: dict[str, Any]) -> list[tuple[str, Any]]:
    """(token, log-probability as given) of the first token's alternatives; empty where the server gave none."""
    try:
        return [(str(t["token"]), t["logprob"]) for t in choice["logprobs"]["content"][0]["top_logprobs"]]
    except (KeyError, IndexError, TypeError):
        return []


def explained(error: RefusedError) -> RefusedError:
    """A refusal with the setting that may change it."""
    said = error.what.casefold()
    if FEW_IMAGES.search(said):
        hint = "--set layout=montage shows the references and the candidate in one image"
    else:
        hint = next((remedy for name, remedy in REMEDIES.items() if name in said), error.hint or "")
    return RefusedError(error.what, where=error.where, hint=hint or None, status=error.status)


def build(name: str, source: str | None, settings: Server) -> Voter:
    """The voter of ``MODEL@http://host:port/v1``; connects to nothing yet.

    Raises:
        UsageError: for another form, or an address with a password or a query in it (they would end up in ballots).
    """
    model, _, rest = (source or "").rpartition("@http")
    base = f"http{rest}"
    if not model or not _host(base):
        raise UsageError(  # says nothing of what was given: there may be a key in it
            f"'{name}:…' names no model and server",
            hint="endpoint:MODEL@http://host:port/v1, separated by commas",
        )
    if "@" in base or "?" in base:
        raise UsageError(
            "the server's address must hold no password and no query",
            hint=f"put the key into the environment variable {settings.key_env}",
        )
    return VlmVoter(f"{name}:{model}", Endpoint(model, base, settings), settings)


def _host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname) and url.startswith(("http://", "https://"))
    except ValueError:
        return False


ENDPOINT = Kind(Server, build)
