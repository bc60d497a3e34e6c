"""Ballots a second: the counting and its cache, and the statistical voters on a store of yours.

    python -m rainrag.benchmarks.speed.vote [--pairs 2000] [--store DIR]

The first part needs no model: three stand-in voters that answer at once, so that what is measured is what RainRAG adds
to a voter's own time: identities, the cache on disk, the count. The second run finds every ballot in the cache. The
second part, with a store, times the statistical voters on the store's own photographs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rainrag.core.types import Ballot, Question, Shown
from rainrag.voters import voting as vote


class Ready:
    """A voter that answers at once, by the key."""

    revision, prompt = "1", "p"

    def __init__(self, name: str, no_every: int) -> None:
        self.name, self.no_every = name, no_every

    def setup(self) -> None:
        """Nothing to load."""

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """No to every n-th, yes to the others."""
        return [self._one(q) for q in questions]

    def _one(self, q: Question) -> Ballot:
        answer = "no" if int(q.query.key) % self.no_every == 0 else "yes"
        references = tuple(r.key for r in q.references)
        return Ballot(q.query.key, self.name, self.revision, self.prompt, references, answer, 0.5, "")


def counting(pairs: int) -> dict[str, Any]:
    """Ballots a second with stand-in voters: fresh, and from the cache; and what stopping early leaves out."""
    shown = tuple(Shown(f"r{i}", f"{i:064x}", b"", "", {}) for i in range(3))
    questions = [Question(Shown(str(i), f"{i:064d}", b"", "", {}), shown, (), "day-streaks") for i in range(pairs)]
    voters = [Ready("a", 5), Ready("b", 7), Ready("c", 3)]
    rates: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("fresh", "from the cache"):
            started = time.perf_counter()
            cast: dict[str, list[Ballot]] = {q.query.key: [] for q in questions}
            asked = 0
            for voter in voters:
                still = [q for q in questions if not vote.decided(cast[q.query.key], 3, 2)]
                for ballot in vote.ask(voter, still, vote.Cache(Path(folder)), batch=64):
                    cast[ballot.key].append(ballot)
                asked += len(still)
            rates[name] = round(asked / (time.perf_counter() - started))
            rates["saved"] = round(1 - asked / (3 * pairs), 3)
    return rates


def statistical(store: Path, most: int) -> dict[str, Any]:
    """Ballots a second of each statistical voter on the store's photographs, and seconds to calibrate it."""
    from rainrag.retrieval.store import Store
    from rainrag.voters import panel

    opened = Store.open(store)
    signals, keys = opened.signals(), opened.keys[:most]
    strata = [r["stratum"] for r in opened.rows(["stratum"])]
    near = tuple(opened.keys[-20:])
    questions = [
        Question(Shown(k, "", b"", "", {n: v[i] for n, v in signals.items()}), (), near, strata[i])
        for i, k in enumerate(keys)
    ]
    found = {}
    for voter in panel("statistical", store=str(store)):
        started = time.perf_counter()
        voter.setup()
        ready = time.perf_counter()
        voter.vote(questions)
        rate = len(questions) / (time.perf_counter() - ready)
        found[voter.name] = {"ballots_a_second": round(rate), "setup_s": round(ready - started, 2)}
    return {"references": len(opened.keys), **found}


def main() -> None:
    """Run and print one JSON line a part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--store", type=Path)
    args = parser.parse_args()
    print(json.dumps({"pairs": args.pairs, "ballots_a_second": counting(args.pairs)}))
    if args.store:
        print(json.dumps(statistical(args.store, args.pairs)))


if __name__ == "__main__":
    main()
