"""A vision-language model as a voter: what all share. A ``Model`` answers prompts; ``VlmVoter`` casts ballots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

from rainrag.core.errors import DecodeError, UsageError, did_you_mean
from rainrag.core.files import fingerprint
from rainrag.core.images import U8, decode
from rainrag.core.types import Ballot, Question, Shown
from rainrag.voters.answers import Reply, decide, mean
from rainrag.voters.montage import capped, montage
from rainrag.voters.prompt import LAYOUTS, Parts, Prompt

VERSION = 2  # of everything here that changes an answer and is no setting


@dataclass(frozen=True)
class Judging:
    """Settings of every vision-language voter.

    Args:
        words: pair of answer words, ``true-false`` (the paper's) or ``yes-no``.
        layout: ``images`` (several in one prompt), ``montage`` (one), or ``auto``: what the model was trained on.
        band: abstain where p(yes) is nearer to 0.5 than this.
        least_mass: abstain where the answer words together are less probable than this.
        orders: 2 asks a second time with the references reversed and takes the mean; 1 asks once.
        max_pixels: of each image, or of the montage.
    """

    words: str = "true-false"
    layout: str = "auto"
    band: float = 0.05
    least_mass: float = 0.01
    orders: int = 1
    max_pixels: int = 768 * 768

    #: Settings that change how the work is done and not what comes out: left out of a ballot's identity.
    NEUTRAL: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        Prompt(self.words)
        _choice("layout", self.layout, LAYOUTS)
        _choice("orders", self.orders, (1, 2))
        _between("band", self.band, 0, 0.5)
        _between("least_mass", self.least_mass, 0, 1)
        _between("max_pixels", self.max_pixels, 64 * 64, 16_000_000)

    def identity(self) -> dict[str, Any]:
        """The settings that change an answer."""
        return {k: v for k, v in asdict(self).items() if k not in self.NEUTRAL}


def _choice(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise UsageError(f"{name} cannot be '{value}'", hint=did_you_mean(str(value), [str(k) for k in known]))


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} must lie in [{low:g}, {high:g}], not {value:g}")


class Model(Protocol):
    """Answers prompts. ``layout`` is what it was trained on; it may be known only after ``load``."""

    chunk: int

    @property
    def revision(self) -> str:
        """Which weights exactly."""
        ...

    @property
    def layout(self) -> str:
        """``images`` or ``montage``."""
        ...

    def load(self) -> None:
        """Load weights, or check that the server is there."""
        ...

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One reply a prompt, in order."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A model that gives its replies one by one, so that each can be kept before the next is requested."""

    def stream(self, prompts: Sequence[Parts]) -> Iterator[tuple[int, Reply]]:
        """(position, reply) in the order of arrival."""
        ...


class VlmVoter:
    """A ``rainrag.core.types.Voter`` over a ``Model``. Until ``setup`` it holds names and settings only, and pickles.

    Args:
        name: in ballots.
        model: answers prompts.
        settings: how to ask and when to abstain.
    """

    def __init__(self, name: str, model: Model, settings: Judging) -> None:
        self.name = name
        self.model = model
        self.settings = settings
        self._prompt = Prompt(settings.words)

    @property
    def revision(self) -> str:
        """Revision of the model's weights, or what the server is known by."""
        return self.model.revision

    @cached_property
    def prompt(self) -> str:
        """Hash of the wording and of every setting that changes an answer."""
        return fingerprint([VERSION, self._prompt.hash, self.settings.identity()])

    @property
    def batch(self) -> int:
        """Questions to put to ``vote`` at once: as many as the model works on side by side, eight at least."""
        return max(8, self.model.chunk)

    @property
    def remote(self) -> bool:
        """Whether the model is elsewhere: then the voter takes no GPU of this machine."""
        return bool(getattr(self.model, "remote", False))

    @property
    def paced(self) -> bool:
        """Whether a rate has to be kept, which is one process's to keep."""
        return bool(getattr(self.model, "paced", False))

    def setup(self) -> None:
        """Load the model."""
        self.model.load()

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """One ballot per question, in order; a question that cannot be judged is an abstention with the reason."""
        found = dict(self.stream(questions))
        return [found[i] for i in range(len(questions))]

    def stream(self, questions: Sequence[Question]) -> Iterator[tuple[int, Ballot]]:
        """As ``vote``, but yields (position, ballot) as soon as each is there, in the order of arrival."""
        for start in range(0, len(questions), self.model.chunk):
            part = questions[start : start + self.model.chunk]
            yield from ((start + i, ballot) for i, ballot in self._stream(part))

    def _stream(self, questions: Sequence[Question]) -> Iterator[tuple[int, Ballot]]:
        prompts: list[Parts] = []
        owner: list[int] = []  # of each prompt, the position of its question
        replies: dict[int, dict[int, Reply | None]] = {}  # position -> its prompts' replies so far
        for i, question in enumerate(questions):
            try:
                mine = self._prompts(question)
            except DecodeError as e:
                yield i, self._ballot(question, Reply(problem=f"{e.where}: {e.reason}"))
                continue
            replies[i] = {len(prompts) + k: None for k in range(len(mine))}
            owner += [i] * len(mine)
            prompts += mine
        for at, reply in self._ask(prompts):
            here = replies[owner[at]]
            here[at] = reply
            whole = [r for r in here.values() if r is not None]
            if len(whole) == len(here):
                yield owner[at], self._ballot(questions[owner[at]], mean(whole))

    def _ask(self, prompts: list[Parts]) -> Iterator[tuple[int, Reply]]:
        """Replies as they come: one by one from a server, all at once from a model in this process."""
        if not prompts:
            return iter(())
        if isinstance(self.model, Streaming):
            return self.model.stream(prompts)
        return enumerate(self.model.ask(prompts))

    def _prompts(self, question: Question) -> list[Parts]:
        """The prompts that one question takes: one an order of the references."""
        query = _pixels(question.query, "query")
        references = [_pixels(r, "reference") for r in question.references]
        orders = [references]
        if self.settings.orders == 2 and len(references) > 1:
            orders.append(references[::-1])
        return [self._compose(query, order) for order in orders]

    def _compose(self, query: U8, references: list[U8]) -> Parts:
        most = self.settings.max_pixels
        layout = self.model.layout if self.settings.layout == "auto" else self.settings.layout
        if layout == "images" and references:
            return self._prompt.interleave([capped(r, most) for r in references], capped(query, most))
        image = montage(query, references, most) if references else capped(query, most)
        return self._prompt.single(image, len(references))

    def _ballot(self, question: Question, reply: Reply) -> Ballot:
        answer, p_yes, raw = decide(reply, self.settings.band, self.settings.least_mass)
        keys = tuple(r.key for r in question.references)
        return Ballot(question.query.key, self.name, self.revision, self.prompt, keys, answer, p_yes, raw)


def _pixels(shown: Shown, part: str) -> U8:
    return decode(shown.data, f"{part} {shown.key}").rgb
