"""What a distillation would cost: every stage measured on a sample of the data, on this machine, for about a minute."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rainrag.core import workspace
from rainrag.core.errors import RainRAGError
from rainrag.core.jobs.local import one_thread
from rainrag.core.jobs.stage import Shard
from rainrag.core.parquet import read_table
from rainrag.core.types import Ballot, Voter
from rainrag.data.contamination import Ledger
from rainrag.distill import stages
from rainrag.distill.examine import Examine
from rainrag.distill.stages import Plan
from rainrag.distill.vote_stage import Poll
from rainrag.retrieval.store import Store
from rainrag.voters import voting

if TYPE_CHECKING:
    from rainrag.distill.pipeline import Request

MOST = 256  # pairs of the sample
CALLS = 16  # questions that a voter with a model is asked: they may cost money


@dataclass(frozen=True)
class Cost:
    """One stage's cost.

    Args:
        pairs: pairs that it does; ``calls``: model calls among them.
        seconds_a_pair: of one worker; None where it could not be measured (``note`` says why).
        hours: of the whole, with the request's workers.
    """

    stage: str
    pairs: int
    calls: int
    seconds_a_pair: float | None
    hours: float | None
    note: str = ""


def estimate(
    request: Request, data: Sequence[Path], store: Store, voters: Sequence[Voter], seconds: float
) -> dict[str, Any]:
    """Probe the stages.

    Ballots of the probe go into the cache, so the run does not pay for them again.

    Args:
        seconds: for examining; as long again for all voters together.

    Returns:
        ``pairs``, ``images``, ``bytes`` (of the datasets), ``bytes_written``, ``references``, ``workers``, ``sample``
        (pairs measured), ``probed_seconds``, ``hours`` (None where a stage could not be measured), and ``stages``:
        ``Cost`` as dictionaries.
    """
    started = time.perf_counter()
    planned = stages.plan(data, Ledger.load(workspace.place("ledger.jsonl")))
    workers = request.workers or os.cpu_count() or 1
    one_thread()  # as the workers do
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        settings = request.settings
        stage = Examine(
            str(store.path), store.triplets(), settings.sizes, settings.ablate, settings.seed, settings.correct_exposure
        )
        shards, took = _examine(stage, planned, work, seconds)
        pairs = len(planned.rows)
        sample = sum(s.size for s in shards)
        costs = [Cost("examine", pairs, 0, took, pairs * took / workers / 3600)]
        costs += _votes(request, store, voters, shards, work, pairs, workers, seconds)
    size = sum(p.stat().st_size for d in data for p in Path(d).rglob("*.parquet"))
    hours = [c.hours for c in costs]
    return {
        "pairs": pairs,
        "images": 2 * pairs + len(planned.real),
        "bytes": size,
        "bytes_written": size,  # rejected rows are output too
        "references": len(store.keys),
        "workers": workers,
        "sample": sample,
        "probed_seconds": round(time.perf_counter() - started, 1),
        "hours": None if None in hours else sum(h for h in hours if h is not None),
        "stages": [asdict(c) for c in costs],
    }


def _sample(planned: Plan, seed: int) -> list[Shard]:
    """Eight pairs of each of some row groups, in random order."""
    rng = np.random.default_rng(seed)
    shards = planned.shards()
    found: list[Shard] = []
    for i in rng.permutation(len(shards)):
        address, *rows = shards[int(i)].rows
        few = [rows[int(j)] for j in sorted(rng.permutation(len(rows))[:8])]
        found.append(Shard(shards[int(i)].name, (address, *few), len(few)))
    return found


def _examine(stage: Examine, planned: Plan, work: Path, seconds: float) -> tuple[list[Shard], float]:
    """The shards that were examined in the time, and the seconds a pair took, loading left out."""
    stage.setup()
    begin = time.perf_counter()
    done: list[Shard] = []
    warm = 0.0
    for shard in _sample(planned, stage.seed):
        at = time.perf_counter()
        stage.run(shard, work)
        if not done:
            warm = time.perf_counter() - at  # the first pays for warming up
        done.append(shard)
        if time.perf_counter() - begin > seconds or sum(s.size for s in done) >= MOST:
            break
    spent = time.perf_counter() - begin
    if len(done) > 1:
        return done, (spent - warm) / sum(s.size for s in done[1:])
    return done, spent / sum(s.size for s in done)


def _votes(
    request: Request,
    store: Store,
    voters: Sequence[Voter],
    shards: Sequence[Shard],
    work: Path,
    pairs: int,
    workers: int,
    seconds: float,
) -> list[Cost]:
    """Costs of the voters, in turn; a voter that cannot be loaded here says why and counts as undecided."""
    need = voting.quorum_of(len(voters), request.settings.quorum)
    examined = {s.name: read_table(work / f"{s.name}.parquet", ["key", "gate"]) for s in shards}
    cast: dict[str, list[Ballot]] = {r["key"]: [] for rows in examined.values() for r in rows if r["gate"] is None}
    measured = sum(len(rows) for rows in examined.values())
    costs = []
    for position, voter in enumerate(voters):
        going = {k for k, b in cast.items() if stages.still_open(k, b, len(voters), need, request.settings)}
        expected = round(pairs * len(going) / measured)
        cheap = getattr(voter, "cheap", False)
        poll = Poll(voter, str(store.path), str(work), str(workspace.place("cache", "ballots")), position)
        try:
            ballots, took = _ask(poll, shards, going, seconds / len(voters), None if cheap else CALLS)
            note = "" if took is not None else "all ballots of the sample are in the cache already"
        except RainRAGError as e:
            ballots, took, note = [], None, f"cannot vote here: {e.what}"
        for b in ballots:
            cast[b.key].append(b)
        at_once = workers if cheap or request.engine != "local" else 1
        costs.append(
            Cost(
                f"vote: {voter.name}", expected, 0 if cheap else expected, took,
                None if took is None else expected * took / at_once / 3600, note,
            )
        )  # fmt: skip
    return costs


def _ask(
    poll: Poll, shards: Sequence[Shard], keys: set[str], seconds: float, most: int | None
) -> tuple[list[Ballot], float | None]:
    """Ballots of the sample, and the seconds a fresh one took; None where none was fresh."""
    poll.setup()
    ballots: list[Ballot] = []
    spent, fresh = 0.0, 0
    begin = time.perf_counter()
    for shard in shards:
        address, *rows = shard.rows
        wanted = [r[0] for r in rows if r[0] in keys][: None if most is None else most - len(ballots)]
        if not wanted:
            continue
        at = time.perf_counter()
        made, new = poll.ballots(Shard(shard.name, (f"{shard.name}.parquet", address, wanted)))
        if new:
            spent, fresh = spent + time.perf_counter() - at, fresh + new
        ballots += made
        if time.perf_counter() - begin > seconds or (most is not None and len(ballots) >= most):
            break
    return ballots, spent / fresh if fresh else None
