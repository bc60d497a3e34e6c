"""Ballots to verdicts: the majority of the paper's equation (5), any quorum, abstentions, and an early end.

Knows the ``Voter`` protocol, no particular voter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rainrag.core.errors import InputError, UsageError
from rainrag.core.files import fingerprint
from rainrag.core.types import Ballot, Question, Tier, Verdict, Voter

#: Why a pair is kept or not: the closed list of verdicts. Gate reasons follow a colon, ``gate:misaligned``.
REASONS = {
    "majority": "enough voters said yes",
    "minority": "too few voters said yes",
    "abstained": "too few voters answered: with the abstentions as yes the pair would have been kept",
    "plausible": "the calibrated panel finds the rain like real rain",
    "implausible": "the calibrated panel finds the rain unlike real rain",
    "top-of-panel": "among the share of its type that was to be kept",
    "below-panel": "not among the share of its type that was to be kept",
    "gate": "the pair is unsound (the reason follows)",
    "undecodable": "a side cannot be decoded",
    "top-of-retrieval": "kept by retrieval scores alone (ablation without generation)",
    "below-retrieval": "retrieval scores too low (ablation without generation)",
}


@runtime_checkable
class StreamingVoter(Protocol):
    """A voter that gives its ballots one by one."""

    def stream(self, questions: Sequence[Question]) -> Iterator[tuple[int, Ballot]]:
        """(position, ballot) in the order of arrival."""
        ...


def quorum_of(voters: int, quorum: int | None = None) -> int:
    """Yes votes that are needed: a strict majority unless said otherwise (eq. 5: two of three).

    Raises:
        UsageError: for a quorum that can never or always be met.
    """
    need = voters // 2 + 1 if quorum is None else quorum
    if not 1 <= need <= voters:
        raise UsageError(f"a quorum of {need} among {voters} voters", hint=f"choose 1 to {voters}")
    return need


def decided(ballots: Iterable[Ballot], voters: int, need: int) -> bool:
    """Whether no remaining ballot can change the decision: enough yes, or too few left to reach it."""
    cast = [b for b in ballots if b.answer != "skipped"]
    yes = sum(b.answer == "yes" for b in cast)
    return yes >= need or yes + (voters - len(cast)) < need


def verdict(key: str, ballots: Sequence[Ballot], need: int) -> Verdict:
    """Count: an abstention is not a yes; skipped ballots do not count at all.

    A pair that is rejected only because voters abstained has a reason of its own, apart from "no".
    """
    count = Counter(b.answer for b in ballots)
    yes, no, abstain = count["yes"], count["no"], count["abstain"]
    keep = yes >= need
    tier = Tier.DISTILLED if keep else Tier.REJECTED
    undecided = abstain > 0 and yes + abstain + count["skipped"] >= need
    reason = "majority" if keep else "abstained" if undecided else "minority"
    return Verdict(key, keep, (yes, no, abstain), yes - no, reason, tier)


def weighed(key: str, ballots: Sequence[Ballot], p: float | None, alpha: float) -> Verdict:
    """The calibrated panel's verdict: kept where its p-value is above alpha; a pair on which nobody voted is not kept."""
    plain = verdict(key, ballots, len(ballots) + 1)
    keep = p is not None and p > alpha
    tier = Tier.DISTILLED if keep else Tier.REJECTED
    return replace(plain, keep=keep, reason="plausible" if keep else "implausible", tier=tier, p=p)


def audited(key: str, share: float, seed: int = 0) -> bool:
    """Whether a pair belongs to the random audit sample, in which every voter votes. Depends on key and seed alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


# ---------------------------------------------------------------- ballots are never paid for twice
def identity(question: Question, voter: Voter) -> str:
    """What a ballot depends on: query, references in order, voter, its revision and prompt."""
    parts = [question.query.sha256, [r.sha256 for r in question.references], voter.name, voter.revision, voter.prompt]
    return fingerprint(parts) + fingerprint(parts[::-1])


DIGITS = 4  # of an identity that name its file


class Cache:
    """Ballots on disk by identity, in append-only files; a torn last line of a killed process is passed over.

    The files are 65,536 by the identity's first digits, so that a shard of some hundred questions reads little even where
    millions of ballots are kept.

    Args:
        root: folder; None keeps nothing.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._seen: dict[str, dict[str, Ballot]] = {}

    def _load(self, prefix: str) -> dict[str, Ballot]:
        if prefix not in self._seen:
            found: dict[str, Ballot] = {}
            path = self._path(self.root, prefix) if self.root else None
            if path and path.exists():
                for line in path.read_bytes().split(b"\n"):
                    try:
                        entry = json.loads(line)
                        ballot = Ballot(**{**entry["ballot"], "references": tuple(entry["ballot"]["references"])})
                    except (ValueError, KeyError, TypeError):  # torn line: that ballot is asked for again
                        continue
                    found[entry["id"]] = ballot
            self._seen[prefix] = found
        return self._seen[prefix]

    def get(self, name: str) -> Ballot | None:
        """A ballot by identity."""
        return self._load(name[:DIGITS]).get(name)

    @staticmethod
    def _path(root: Path, prefix: str) -> Path:
        return root / prefix[:2] / f"{prefix[2:]}.jsonl"

    def put(self, named: Mapping[str, Ballot]) -> None:
        """Keep ballots; they are on disk when this returns."""
        if self.root is None:
            return
        by_prefix: dict[str, list[bytes]] = {}
        for name, ballot in named.items():
            line = json.dumps({"id": name, "ballot": asdict(ballot)}, sort_keys=True).encode()
            by_prefix.setdefault(name[:DIGITS], []).append(line)
            self._load(name[:DIGITS])[name] = ballot
        with contextlib.ExitStack() as stack:
            files = []
            for prefix, lines in by_prefix.items():
                # One write with O_APPEND, begun with a line end: a torn line before it cannot swallow the first.
                path = self._path(self.root, prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                stack.callback(os.close, fd)
                os.write(fd, b"\n" + b"\n".join(lines) + b"\n")
                files.append(fd)
            for fd in files:  # after all writes: what is written survives a kill, flushed or not
                os.fsync(fd)


def ask(
    voter: Voter, questions: Sequence[Question], cache: Cache, batch: int = 8, watch: Abstentions | None = None
) -> Iterator[Ballot]:
    """Ballots of one voter, in order; those in the cache are not requested again.

    Args:
        batch: questions per call; finished batches survive a kill. Of a voter that streams, each ballot does.
        watch: stops a voter that abstains too often.
    """
    names = [identity(q, voter) for q in questions]
    kept = {i: b for i, name in enumerate(names) if (b := cache.get(name)) is not None}
    if watch:
        watch.count(kept.values())
    todo = [i for i in range(len(names)) if i not in kept]
    for at in range(0, len(todo), batch):
        part = todo[at : at + batch]
        for cast in _cast(voter, [questions[i] for i in part]):
            kept |= {part[position]: ballot for position, ballot in cast.items()}
            cache.put({names[part[position]]: ballot for position, ballot in cast.items() if lasting(ballot)})
            if watch:
                watch.count(cast.values())
    for i, q in enumerate(questions):
        # The same picture under another key has the same ballot, under its own key.
        yield kept[i] if kept[i].key == q.query.key else replace(kept[i], key=q.query.key)


def _cast(voter: Voter, questions: Sequence[Question]) -> Iterator[dict[int, Ballot]]:
    """Ballots by position, as they are to be written: one by one where the voter can, so that each is on disk before the
    next is requested; else all at once, so that a kill between two writes loses none that was given."""
    if isinstance(voter, StreamingVoter):
        return ({position: ballot} for position, ballot in voter.stream(questions))
    return iter([dict(enumerate(voter.vote(questions)))])


def lasting(ballot: Ballot) -> bool:
    """Whether a ballot is kept for other runs: an abstention for a fault of the server or an image is asked again."""
    return ballot.answer != "abstain" or ballot.p_yes is not None or ballot.raw.startswith("said:")


# ---------------------------------------------------------------- voters that abstain too often
class AbstentionError(InputError):
    """A voter hardly ever answers."""


FIRST = 100  # questions of a voter that are watched
MOST_ABSTENTIONS = 0.2  # of them
FEWEST = 5  # abstentions: with fewer, a share says nothing, unless there was nothing else


@dataclass
class Abstentions:
    """Watches the first answers of a voter: one that hardly ever answers would reject a whole corpus in silence.

    Args:
        voter: its name.
    """

    voter: str
    asked: int = 0
    abstained: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, ballots: Iterable[Ballot]) -> None:
        """Count answers.

        Raises:
            AbstentionError: when more than a fifth of the first hundred were abstentions.
        """
        for b in ballots:
            if self.asked == FIRST:
                return
            self.asked += 1
            if b.answer == "abstain":
                self.abstained += 1
                self.reasons[b.raw] += 1
            if self.abstained > MOST_ABSTENTIONS * FIRST:
                raise self.error()

    def close(self) -> None:
        """All questions were put.

        Raises:
            AbstentionError: when there were fewer than a hundred, and more than a fifth (five at least) or all were
                abstentions.
        """
        many = self.abstained > MOST_ABSTENTIONS * self.asked and self.abstained >= FEWEST
        if self.asked < FIRST and (many or self.abstained == self.asked > 2):
            raise self.error()

    def error(self) -> AbstentionError:
        """Says how often, and the commonest reason."""
        (reason, n), *_ = self.reasons.most_common(1)
        return AbstentionError(
            f"the voter '{self.voter}' abstained on {self.abstained} of its first {self.asked} questions; "
            f"{n} of them: {reason[:200]}",
            where=self.voter,
            hint="check the model, its server and settings (docs/voters.md), or go on with --allow-abstentions",
        )


# ---------------------------------------------------------------- agreement
def fleiss_kappa(answers: Sequence[Sequence[str]]) -> float | None:
    """Agreement of voters beyond chance (Fleiss 1971), over items that every voter judged.

    Args:
        answers: per item, one answer a voter.

    Returns:
        1 for full agreement, 0 for chance; None without items or when all answers are one.
    """
    if not answers:
        return None
    n = len(answers[0])
    kinds = sorted({a for row in answers for a in row})
    table = np.array([[sum(a == k for a in row) for k in kinds] for row in answers], float)
    if n < 2 or len(kinds) < 2:
        return None
    per_item = ((table**2).sum(1) - n) / (n * (n - 1))
    chance = float(((table.sum(0) / table.sum()) ** 2).sum())
    return float((per_item.mean() - chance) / (1 - chance))


def agreement(ballots: Mapping[str, Sequence[Ballot]], share: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """How voters agree on the audit sample, in which all of them judged: kappa, share of unanimous items, yes rates.

    Items outside it are left out even where all judged them: those are the ones on which the first voters differed.

    Args:
        share: of the audit sample; 1 where every voter judged every item.
    """
    full = {k: b for k, b in ballots.items() if b and audited(k, share, seed) and all(x.answer != "skipped" for x in b)}
    rows = [[x.answer for x in b] for b in full.values()]
    voters = [x.voter for x in next(iter(full.values()))] if full else []
    unanimous = sum(len(set(r)) == 1 for r in rows) / len(rows) if rows else None
    rates = {v: sum(r[i] == "yes" for r in rows) / len(rows) for i, v in enumerate(voters)} if rows else {}
    return {"items": len(rows), "kappa": fleiss_kappa(rows), "unanimous": unanimous, "yes_rate": rates}
