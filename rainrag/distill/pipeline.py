"""Distillation from end to end: from a request to splits on disk, what it would cost, and whether it still holds."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rainrag.core import workspace
from rainrag.core.errors import InputError, IntegrityError, MissingError, UsageError
from rainrag.core.files import canonical, fingerprint, lock, read_json, write_json
from rainrag.core.jobs import create as engine_of
from rainrag.core.jobs.stage import Engine
from rainrag.core.types import Voter
from rainrag.data import dataset, pair_checks
from rainrag.data.contamination import Ledger
from rainrag.distill import lockfile, splits, stages
from rainrag.distill.decide import rule_of
from rainrag.distill.splits import Choice
from rainrag.distill.stages import DistillSettings, Outcome, Plan
from rainrag.retrieval.search import Sizes
from rainrag.retrieval.store import Store
from rainrag.voters import VOTERS, panel, voting
from rainrag.voters.calibrated import VERSION as VERSION_OF_PANEL

WORK = ".rainrag/work"  # the stages' shards, below --out
CLAIM = ".rainrag/distill.json"  # what the splits below --out depend on
_CALIBRATED = ("rainrag.voters.statistical", "rainrag.voters.learned")
Progress = Callable[[str, int], None]


@dataclass
class Request:
    """What is asked of a distillation.

    Args:
        data: dataset folders; empty for all in the workspace.
        store: folder or address; None for the workspace's.
        voters: comma-separated specs.
        options: settings of the voters (device, load_4bit …).
        alpha: false-rejection rate of the statistical voters.
        allow_abstentions: go on when a voter abstains on more than a fifth of its first hundred questions.
    """

    data: list[Path] = field(default_factory=list)
    store: str | None = None
    voters: str = "statistical"
    settings: DistillSettings = field(default_factory=DistillSettings)
    options: dict[str, Any] = field(default_factory=dict)
    alpha: float = 0.05
    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    allow_abstentions: bool = False


def resolve(request: Request) -> tuple[list[Path], Store, list[Voter]]:
    """Data, store and voters of a request.

    Raises:
        MissingError: listing all that is missing and how to get it.
        UsageError: for settings that contradict each other.
    """
    if request.settings.ablate not in (None, *stages.ABLATIONS):
        raise UsageError(f"no ablation '{request.settings.ablate}'", hint=f"one of {', '.join(stages.ABLATIONS)}")
    data = request.data or _datasets()
    where = request.store or str(workspace.place("store"))
    missing = []
    if not data:
        missing.append(
            f"data: no dataset in {workspace.place('datasets')}  <- rainrag ingest NAME --root FOLDER, or without any "
            "download: rainrag ingest rendered --scenes 40"
        )
    missing += [f"data: no dataset at {d}  <- rainrag ingest … --out {d}" for d in data if not dataset.is_dataset(d)]
    try:
        store = Store.open(where)
    except MissingError:
        missing.append(f"the reference store at {where}  <- rainrag store build PHOTOGRAPHS --store {where}")
    if missing:
        raise MissingError(
            "distillation needs:\n  " + "\n  ".join(missing), hint="make what is missing, then run again"
        )
    voters = _panel(request, str(store.path))
    voting.quorum_of(len(voters), request.settings.quorum)
    rule_of(voters, request.settings.decide, request.settings.quorum)
    return data, store, voters


def _datasets() -> list[Path]:
    root = workspace.place("datasets")
    return sorted(p for p in root.iterdir() if dataset.is_dataset(p)) if root.is_dir() else []


def _panel(request: Request, store: str) -> list[Voter]:
    """The voters; the statistical ones get the store, the cascade's sizes and the ablation's context."""
    from rainrag.voters import members

    options = dict(request.options)
    if any(VOTERS.get(m, "").startswith(_CALIBRATED) for m in members(request.voters)):
        sizes = request.settings.sizes
        context = {"vlm-only": "store", "no-retrieval": "random"}.get(request.settings.ablate or "", "retrieved")
        options.update(
            store=store,
            alpha=request.alpha,
            sizes=(sizes.k1, sizes.k2, sizes.k3),
            context=context,
            seed=request.settings.seed,
        )
    return panel(request.voters, **options)


@dataclass(frozen=True)
class DistillSummary:
    """What a distillation came to, in numbers.

    Attributes:
        asked: voter -> pairs it judged.
        answers: voter -> how often it said yes, no, and abstained.
        saved: share of ballots that stopping early made needless, None where no pair came to the vote.
        unused: kept pairs in neither part, by reason; ``skipped``: rows that were no candidates.
    """

    out: str
    candidates: int
    kept: int
    splits: dict[str, dict[str, int]]
    rejected: dict[str, int]
    unused: dict[str, int]
    skipped: dict[str, int]
    asked: dict[str, int]
    answers: dict[str, dict[str, int]]
    agreement: dict[str, Any]
    saved: float | None
    seconds: float = 0.0


def make(request: Request, out: Path, overwrite: bool = False, progress: Progress | None = None) -> DistillSummary:
    """Distil datasets into the RainRAG splits at ``out``.

    A killed run goes on where it stopped; settings other than those that made ``out`` are refused.

    Raises:
        MissingError, UsageError, InputError, IntegrityError: as the stages say.
    """
    started = time.perf_counter()
    data, store, voters = resolve(request)
    check_free(out)
    with lock(out / ".rainrag" / ".lock"):
        if overwrite:
            clear(out)
        planned = stages.plan(data, Ledger.load(workspace.place("ledger.jsonl")))
        _claim(out, _identity(request, planned, store, voters))
        outcome, choice, made = judge(request, planned, store, voters, out / WORK, progress)
        engine = engine_of(request.engine, workers=request.workers, address=request.address)
        write = (lambda n: progress("write", n)) if progress else None
        splits.write(out, planned, outcome, choice, made, store, engine, write)
        _forget(out / WORK / stages.EXAMINED, outcome.examined)
        summary = summarise(out, planned, outcome, choice, request.settings)
        write_json(out / "summary.json", {k: v for k, v in summary.__dict__.items() if k not in ("seconds", "out")})
    return replace(summary, seconds=time.perf_counter() - started)


def _identity(request: Request, planned: Plan, store: Store, voters: Sequence[Voter]) -> dict[str, Any]:
    """All that the splits depend on."""
    rows = [[k, r["lq_sha256"], r["gt_sha256"]] for k, r in (*planned.rows.items(), *planned.real.items())]
    return {
        "data": fingerprint([rows, sorted(planned.barred.items())]),
        "store": store.fingerprint,
        "voters": [[v.name, v.revision, v.prompt] for v in voters],
        "settings": asdict(request.settings),
        "panel": [VERSION_OF_PANEL, request.alpha],
        "gate": pair_checks.identity(),
    }


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Say whose folder this is, before any work is done.

    Raises:
        IntegrityError: when other splits are being made there, naming what differs.
    """
    marker = out / CLAIM
    if marker.exists():
        before = read_json(marker)
        differs = [k for k, v in json.loads(canonical(identity)).items() if before.get(k) != v]
        if differs:
            raise IntegrityError(
                f"this folder was made with other {', '.join(differs)}",
                where=out,
                hint="choose another --out, or repeat with --overwrite to discard existing results",
            )
        return
    write_json(marker, identity)


def clear(out: Path) -> None:
    """Remove what an earlier distillation wrote to a folder, and nothing else.

    Examined pairs stay: they are found again by what they depend on, and never otherwise.
    """
    for name in (
        "data",
        "ballots",
        "verdicts",
        "references",
        "README.md",
        "splits.lock",
        "summary.json",
        "report.html",
    ):
        _remove(out / name)
    for path in [*(out / ".rainrag").glob("*"), *(out / WORK).glob("*"), *(out / WORK / ".rainrag").glob("*")]:
        if path.name not in (".lock", Path(WORK).name, ".rainrag", stages.EXAMINED):
            _remove(path)


def _forget(folder: Path, but: Path) -> None:
    """Remove what was examined under settings that are no longer those of the splits."""
    for path in folder.glob("*"):
        if path != but:
            _remove(path)


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def judge(
    request: Request,
    planned: Plan,
    store: Store,
    voters: Sequence[Voter],
    work: Path,
    progress: Progress | None = None,
) -> tuple[Outcome, Choice, dict[str, Any]]:
    """Examine, vote, decide and choose; writes nothing but the stages' shards."""
    engine = engine_of(request.engine, workers=request.workers, address=request.address)

    def engine_for(voter: Voter) -> Engine:
        # A model is loaded once on this machine; a cluster gives each actor its own. A rate is kept by one process.
        alone = request.engine == "local" or getattr(voter, "paced", False)
        return engine_of("local", workers=1) if alone and not getattr(voter, "cheap", False) else engine

    outcome = stages.run(
        planned,
        store,
        voters,
        request.settings,
        work,
        engine,
        alpha=request.alpha,
        engine_for=engine_for,
        cache=workspace.place("cache", "ballots"),
        progress=progress,
        allow_abstentions=request.allow_abstentions,
    )
    choice = splits.choose(planned, outcome, request.settings)
    inputs = lockfile.Inputs(store, list(voters), request.settings, request.voters, request.alpha, request.options)
    return outcome, choice, lockfile.lock_of(inputs, planned, outcome, choice)


def summarise(out: Path, planned: Plan, outcome: Outcome, choice: Choice, settings: DistillSettings) -> DistillSummary:
    """Numbers of a distillation."""
    from collections import Counter

    share = 1.0 if settings.all_voters else settings.audit_share
    return DistillSummary(
        out=str(out),
        candidates=len(planned.rows),
        kept=sum(v.keep for v in outcome.verdicts.values()),
        splits={s: {"train": len(choice.train[s]), "test": len(choice.test[s])} for s in dataset.SUBSETS},
        rejected=dict(sorted(Counter(v.reason for v in outcome.verdicts.values() if not v.keep).items())),
        unused=dict(sorted(Counter(choice.unused.values()).items())),
        skipped=planned.skipped,
        asked=outcome.asked,
        answers=answers_of(outcome),
        agreement=voting.agreement(outcome.ballots, share, settings.seed),
        saved=_saved(outcome),
    )


def answers_of(outcome: Outcome) -> dict[str, dict[str, int]]:
    """For each voter, how often it said yes, no, and abstained."""
    found: dict[str, dict[str, int]] = {name: {"yes": 0, "no": 0, "abstain": 0} for name in outcome.asked}
    for ballots in outcome.ballots.values():
        for b in ballots:
            if b.answer != "skipped":
                found[b.voter][b.answer] += 1
    return found


def _saved(outcome: Outcome) -> float | None:
    full = len(outcome.ballots) * len(outcome.asked)
    return 1 - sum(outcome.asked.values()) / full if full else None


def verify(folder: Path, request: Request, progress: Progress | None = None) -> list[str]:
    """Rebuild the splits from what is available locally and report what differs from their lock. Empty when nothing does.

    The lock's settings and voters are used; data and store are the request's.

    Raises:
        MissingError: when there is no lock, or data or store are missing.
    """
    path = folder / "splits.lock"
    if not path.exists():
        raise MissingError("no splits.lock here", where=folder, hint="name the folder that rainrag distill wrote")
    before = read_json(path)
    plain = dict(before["settings"])
    plain["sizes"] = Sizes(**plain["sizes"])
    again = Request(
        request.data, request.store, before["specs"], DistillSettings(**plain), before["options"], before["alpha"],
        request.engine, request.workers, request.address, allow_abstentions=True,
    )  # fmt: skip
    data, store, voters = resolve(again)
    work = folder / ".rainrag" / "verify"
    shutil.rmtree(work, ignore_errors=True)
    try:
        planned = stages.plan(data, Ledger.load(workspace.place("ledger.jsonl")))
        *_, now = judge(again, planned, store, voters, work, progress)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return lockfile.differences(before, now) + _damaged(folder)


def _damaged(folder: Path) -> list[str]:
    """Shards of the splits whose bytes are not those that were written."""
    from rainrag.core.files import sha256_file

    out = []
    for record in sorted((folder / ".rainrag" / "collect").glob("shard-*.json")):
        for name, sha in read_json(record)["files"].items():
            if not (folder / name).exists():
                out.append(f"{name}: missing")
            elif sha256_file(folder / name) != sha:
                out.append(f"{name}: not the bytes that were written")
    return out


def probe(request: Request, seconds: float = 60.0) -> dict[str, Any]:
    """What a distillation would cost, measured on this machine on a sample of the data.

    Returns:
        Images, bytes, model calls and hours a stage; a voter that cannot be loaded here says why.
    """
    from rainrag.distill import cost

    data, store, voters = resolve(request)
    return cost.estimate(request, data, store, voters, seconds)


def check_free(out: Path) -> None:
    """Refuse to write into a folder that is something else.

    Raises:
        InputError: when the folder holds files and no earlier distillation.
    """
    ours = (out / WORK).is_dir() or (out / "splits.lock").exists()
    if out.exists() and any(p.name != ".rainrag" for p in out.iterdir()) and not ours:
        raise InputError("the folder holds something else", where=out, hint="choose another --out")
