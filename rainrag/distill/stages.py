"""Distillation: gate, retrieval and vote over labelled pairs (paper, section 3.1), stage by stage, resumable.

    plan      which rows of which shards; scenes joined across sets by the hash of the clean side
    examine   both sides decoded once: the gate's reason, the query triplet, its references
    vote      one voter after another over what is still undecided; one model in memory
    decide    ballots to verdicts

``rainrag.distill.splits`` turns verdicts into the dataset. Every stage is a ``Job`` below ``work``: shards that are finished
are never done again, and other settings never reuse them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core.files import fingerprint, natural
from rainrag.core.jobs.stage import Engine, Job, Shard
from rainrag.core.parquet import read_table
from rainrag.core.types import Ballot, Tier, Verdict, Voter
from rainrag.data import dataset
from rainrag.distill import decide
from rainrag.distill.decide import panel_of, rule_of
from rainrag.distill.examine import Examine
from rainrag.distill.plan import Plan, plan
from rainrag.distill.vote_stage import Poll, ballot_of
from rainrag.retrieval.search import Sizes
from rainrag.retrieval.store import Store
from rainrag.voters import voting
from rainrag.voters.calibrated import ALPHA

ABLATIONS = ("vlm-only", "no-retrieval", "no-generation")
EXAMINED = "examined"  # below the work folder; what stays when a distillation starts again
Progress = Callable[[str, int], None]

__all__ = [
    "ABLATIONS",
    "DistillSettings",
    "Examine",
    "Outcome",
    "Plan",
    "Poll",
    "ballot_of",
    "examined_rows",
    "plan",
    "run",
    "still_open",
]


@dataclass(frozen=True)
class DistillSettings:
    """What a distillation depends on besides data, store and voters.

    Args:
        sizes: K1, K2, K3.
        quorum: yes votes needed; None for a strict majority.
        all_voters: every voter votes on every pair.
        audit_share: share of pairs on which all vote, for the statistics of agreement.
        ablate: one of ``ABLATIONS`` or None.
        seed: of the audit sample, random references and the choice of test scenes.
        per_scene: maximum number of kept pairs per scene in training.
        quota: maximum number of training pairs per subset.
        decide: ``majority`` (eq. 5) or ``calibrated``; None for the latter where every voter gives p-values.
        keep_share: keep this share of each subset's pairs, the best by the panel, instead of all that pass.
        correct_exposure: give a clean side of another exposure the rainy side's, where one curve explains it, instead of
            rejecting the pair.
    """

    sizes: Sizes = field(default_factory=Sizes)
    quorum: int | None = None
    all_voters: bool = False
    audit_share: float = 0.05
    ablate: str | None = None
    seed: int = 0
    per_scene: int | None = None
    quota: int | None = None
    decide: str | None = None
    keep_share: float | None = None
    correct_exposure: bool = False


@dataclass
class Outcome:
    """What a distillation came to.

    Attributes:
        verdicts: by key, every candidate.
        ballots: by key, in the order of the voters; skipped ones included.
        examined: folder of the examined files.
        details: by key, the gate's detail where it stopped a pair.
        retrieval: by key, mean visual plus structural score of S(q).
        asked: voter -> pairs it was asked on.
        exposure: by key, (scale, gamma) where the clean side's exposure was corrected.
    """

    verdicts: dict[str, Verdict]
    ballots: dict[str, list[Ballot]]
    examined: Path
    details: dict[str, str]
    retrieval: dict[str, float]
    asked: dict[str, int]
    exposure: dict[str, tuple[float, float]] = field(default_factory=dict)


def run(
    planned: Plan,
    store: Store,
    voters: Sequence[Voter],
    settings: DistillSettings,
    work: Path,
    engine: Engine,
    *,
    engine_for: Callable[[Voter], Engine] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    allow_abstentions: bool = True,
    alpha: float = ALPHA,
) -> Outcome:
    """Examine, vote and decide.

    Args:
        work: folder for the stages' shards.
        engine_for: where a voter runs; None for ``engine``.
        cache: folder of ballots by identity, shared between runs.
        alpha: share of photographs like the store's that a calibrated panel rejects.
        progress: called with (stage, pairs done), and with (stage, -n) where a stage of n pairs begins.
        allow_abstentions: go on when a voter abstains on more than a fifth of its first hundred questions.

    Raises:
        UsageError: for an impossible quorum.
        IntegrityError: when ``work`` belongs to other settings.
        InputError: when a voter abstains too often.
    """
    need = voting.quorum_of(len(voters), settings.quorum)
    rule = rule_of(voters, settings.decide, settings.quorum)
    if rule == "calibrated" or settings.keep_share is not None:
        settings = replace(settings, all_voters=True)  # every ballot counts
    stage = Examine(
        str(store.path), store.triplets(), settings.sizes, settings.ablate, settings.seed, settings.correct_exposure
    )
    shards = planned.shards()
    names = [s.name for s in shards]
    # A folder by what it depends on: other voters, quorums or quotas find it again.
    seen = work / EXAMINED / fingerprint([stage.version, stage.settings(), names])
    Job(stage, seen, names).run(shards, engine, _named(progress, "examine", len(planned.rows)))
    rows = {s.name: _light(seen / f"{s.name}.parquet") for s in shards}
    gated = {r["key"]: r for part in rows.values() for r in part if r["gate"] is not None}
    ballots: dict[str, list[Ballot]] = {k: [] for k in planned.rows if k not in gated}
    asked: dict[str, int] = {}
    for position, voter in enumerate(voters):
        poll = Poll(voter, str(store.path), str(seen), str(cache) if cache else None, position, not allow_abstentions)
        parts = []
        for shard in shards:
            left = [
                r["key"]
                for r in rows[shard.name]
                if r["key"] in ballots and still_open(r["key"], ballots[r["key"]], len(voters), need, settings)
            ]
            if left:
                parts.append(Shard(shard.name, (f"{shard.name}.parquet", shard.rows[0], left), len(left)))
        asked[voter.name] = sum(len(p.rows[2]) for p in parts)
        here = engine_for(voter) if engine_for else engine
        cast = _polled(poll, parts, work, here, _named(progress, f"vote: {voter.name}", asked[voter.name]))
        for key, so_far in ballots.items():
            so_far.append(
                cast.get(key) or Ballot(key, voter.name, voter.revision, voter.prompt, (), "skipped", None, "")
            )
    strata = {r["key"]: r["stratum"] for part in rows.values() for r in part}
    panel = panel_of(voters, store) if rule == "calibrated" else None
    verdicts = decide.verdicts(ballots, strata, rule, need, panel, alpha)
    for key, row in gated.items():
        reason = "undecodable" if row["gate"] == "undecodable" else f"gate:{row['gate']}"
        verdicts[key] = Verdict(key, False, (0, 0, 0), 0, reason, Tier.REJECTED)
    retrieval = {
        r["key"]: float(np.mean(r["visual"]) + np.mean(r["structural"]))
        for part in rows.values()
        for r in part
        if r["visual"]
    }
    if settings.ablate == "no-generation":
        verdicts = _by_retrieval(planned, verdicts, retrieval)
    elif settings.keep_share is not None:
        subsets = {k: r["subset"] for k, r in planned.rows.items()}
        verdicts = decide.within(settings.keep_share, verdicts, ballots, subsets)
    ordered = {k: verdicts[k] for k in planned.rows}
    exposure = {r["key"]: (r["exposure"][0], r["exposure"][1]) for part in rows.values() for r in part if r["exposure"]}
    return Outcome(ordered, ballots, seen, {k: r["detail"] for k, r in gated.items()}, retrieval, asked, exposure)


def _polled(
    poll: Poll, parts: Sequence[Shard], work: Path, engine: Engine, progress: Callable[[str, int], None] | None
) -> dict[str, Ballot]:
    """One voter's ballots by key.

    A voter that abstains too often stops the run. Its files are removed then, so that the abstentions are asked for
    again when the cause is mended; its answers are in the cache.
    """
    try:
        Job(poll, work, [[p.name, p.rows[2]] for p in parts]).run(parts, engine, progress)
        paths = [work / f"ballots/{poll.name}/{p.name}.parquet" for p in parts]
        cast = {row["key"]: ballot_of(row) for path in paths for row in read_table(path)}
        if poll.watched:
            watch = voting.Abstentions(poll.voter.name)
            watch.count(cast.values())
            watch.close()
    except voting.AbstentionError:
        shutil.rmtree(work / "ballots" / poll.name, ignore_errors=True)
        shutil.rmtree(work / ".rainrag" / poll.name, ignore_errors=True)
        raise
    return cast


def still_open(key: str, so_far: list[Ballot], voters: int, need: int, settings: DistillSettings) -> bool:
    """Whether a pair still goes to the next voter."""
    if settings.all_voters or voting.audited(key, settings.audit_share, settings.seed):
        return True
    return not voting.decided(so_far, voters, need)


def _light(path: Path) -> list[dict[str, Any]]:
    """What the steps after examining need of a row: no signals."""
    return read_table(path, ["key", "gate", "detail", "stratum", "visual", "structural", "exposure"])


def _by_retrieval(planned: Plan, verdicts: dict[str, Verdict], retrieval: dict[str, float]) -> dict[str, Verdict]:
    """Ablation without generation: of each subset the top of the retrieval scores, as many as the vote keeps."""
    out = dict(verdicts)
    for subset in dataset.SUBSETS:
        keys = [k for k, r in planned.rows.items() if r["subset"] == subset and k in retrieval]
        keep = sum(verdicts[k].keep for k in keys)
        best = set(sorted(keys, key=lambda k: (-retrieval[k], natural(k)))[:keep])
        for k in keys:
            kept = k in best
            reason = "top-of-retrieval" if kept else "below-retrieval"
            out[k] = replace(verdicts[k], keep=kept, reason=reason, tier=Tier.DISTILLED if kept else Tier.REJECTED)
    return out


def _named(progress: Progress | None, stage: str, total: int) -> Callable[[str, int], None] | None:
    """Progress of one stage, its total announced."""
    if progress is None:
        return None
    progress(stage, -total)
    return lambda _, n: progress(stage, n)


def examined_rows(folder: Path, keys: set[str], columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Examined rows of some keys, file by file."""
    for path in sorted(folder.glob("*.parquet")):
        for row in read_table(path, columns):
            if row["key"] in keys:
                yield row
