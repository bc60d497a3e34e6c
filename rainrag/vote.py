"""Ballots to verdicts: the majority of the paper's equation (5), any quorum, abstentions, and an early end.

Knows the ``Voter`` protocol, no particular voter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.errors import UsageError
from rainrag.files import fingerprint
from rainrag.records import Ballot, Question, Tier, Verdict, Voter

#: Why a pair is kept or not: the closed list of verdicts. Gate reasons follow a colon, ``gate:misaligned``.
REASONS = {
    "majority": "enough voters said yes",
    "minority": "too few voters said yes",
    "gate": "the pair is unsound (the reason follows)",
    "undecodable": "a side cannot be decoded",
    "top-of-retrieval": "kept by retrieval scores alone (ablation without generation)",
    "below-retrieval": "retrieval scores too low (ablation without generation)",
}


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
    """Count: an abstention is not a yes; skipped ballots do not count at all."""
    yes = sum(b.answer == "yes" for b in ballots)
    no = sum(b.answer == "no" for b in ballots)
    abstain = sum(b.answer == "abstain" for b in ballots)
    keep = yes >= need
    tier = Tier.DISTILLED if keep else Tier.REJECTED
    return Verdict(key, keep, (yes, no, abstain), yes - no, "majority" if keep else "minority", tier)


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


def ask(voter: Voter, questions: Sequence[Question], cache: Cache, batch: int = 8) -> Iterator[Ballot]:
    """Ballots of one voter, in order; those in the cache are not asked for again.

    Args:
        batch: questions a call; finished batches survive a kill.
    """
    names = [identity(q, voter) for q in questions]
    todo = [i for i, name in enumerate(names) if cache.get(name) is None]
    fresh: dict[int, Ballot] = {}
    for at in range(0, len(todo), batch):
        part = todo[at : at + batch]
        made = voter.vote([questions[i] for i in part])
        fresh.update(zip(part, made, strict=True))
        cache.put({names[i]: b for i, b in zip(part, made, strict=True)})
    for i, q in enumerate(questions):
        ballot = fresh.get(i) or cache.get(names[i])
        assert ballot is not None
        # The same picture under another key has the same ballot, under its own key.
        yield ballot if ballot.key == q.query.key else Ballot(**{**asdict(ballot), "key": q.query.key})


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
