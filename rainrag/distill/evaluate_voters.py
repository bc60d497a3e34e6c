"""Calibration: gate and voters on pairs whose truth is known, because their rain was rendered and their faults planted.

For each clean scene one sound pair is rendered, and every fault that fits its type is planted in that same pair. So a
judge that keeps the sound one and rejects its damaged twin has seen the fault and nothing else. Sound means the full
renderer without a fault, not a photograph: what the voters make of real photographs is their own calibration's matter.

    cases    scene after scene, the sound pair and its damaged twins
    look     the gate's measures and the query triplet of each, once
    judge    retrieval and ballots: a ``Judged`` a case
    tally    keep rate, recall of each fault and AUC of each judge, with 95 % intervals over scenes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images, stats
from rainrag.core.errors import InputError, UsageError, did_you_mean
from rainrag.core.files import sha256_bytes
from rainrag.core.images import U8
from rainrag.core.types import Ballot, Question, Shown, Subset, Voter
from rainrag.data import pair_checks, rain_layer
from rainrag.data.synthetic import backgrounds as scenery
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic import faults as planting
from rainrag.data.synthetic.backgrounds import Background
from rainrag.data.synthetic.generate import visible
from rainrag.data.synthetic.scene import Rendered
from rainrag.distill.decide import panel_of
from rainrag.retrieval import search
from rainrag.retrieval.search import Query, Retrieved, Sizes
from rainrag.retrieval.store import Store
from rainrag.retrieval.triplet import Triplet, Triplets
from rainrag.voters import voting
from rainrag.voters.calibrated import ALPHA, Panel, Promise, calibrated

SIZE = (480, 320)
GATE, VOTE, BOTH = "gate", "vote", "gate + vote"  # judges beside the single voters
MAJORITY = "majority"  # of the same voters, beside a calibrated panel
#: All that can be wrong with a case, in the tables' order.
FAULTS = (*planting.FAULTS, *false_rain.KINDS, false_rain.DRY)


def kind_of(fault: str) -> str:
    """``pair``, ``rain`` or ``dry``: who can see it."""
    return "dry" if fault == false_rain.DRY else planting.FAULT_KIND.get(fault, "rain")


# ---------------------------------------------------------------- cases
@dataclass(frozen=True)
class Case:
    """A pair of known truth.

    Args:
        scene: all cases of one clean picture share it.
        subset: the label it goes by (a false one where the fault is the label).
        fault: planted fault; None where the pair is sound.
        night, drop: of the label.
    """

    key: str
    scene: str
    subset: str
    fault: str | None
    lq: U8
    gt: U8
    night: bool
    drop: bool


def deal(
    folder: Path | None, scenes: int, seed: int, types: tuple[Subset, ...] = tuple(Subset)
) -> list[tuple[Background, Subset]]:
    """Clean scenes and the type of rain each gets.

    Args:
        folder: of clean photographs; None takes bundled ones and made-up streets.

    Raises:
        UsageError: for fewer than two scenes: nothing can be said of one.
        InputError: when the folder has no usable photograph.
    """
    if scenes < 2:
        raise UsageError("at least two scenes", where=scenes, hint="--scenes 40")
    if folder is None:
        return scenery.bundled(types, scenes, seed)
    dealt, _ = scenery.from_folder(folder, types, scenes, seed)
    if len(dealt) < 2:
        raise InputError("fewer than two usable photographs", where=folder, hint="clean photographs, 64 pixels a side")
    return dealt


def cases(
    dealt: Sequence[tuple[Background, Subset]], seed: int, size: tuple[int, int] = SIZE, faults: Sequence[str] = ()
) -> Iterator[list[Case]]:
    """Scene after scene: the sound pair, then the same pair with one fault after another.

    Args:
        faults: names to plant where they fit the type; none named means all.
    """
    for i, (background, subset) in enumerate(dealt):
        rng = np.random.default_rng([seed, 5, i])
        clean = scenery.crop(background.load(), size, rng)
        sound = visible(clean, subset, rng, relight=not background.night)
        peers = [b for b, t in dealt if t is subset and b.scene != background.scene] or [
            b for b, _ in dealt if b.scene != background.scene
        ]
        donor = scenery.crop(peers[i % len(peers)].load(), size, rng) if peers else None
        made = planted(background.scene, sound, [seed, 6, i], [donor] if donor is not None else [], faults)
        yield made + falsified(background.scene, sound, [seed, 7, i], faults)


def planted(
    scene: str, sound: Rendered, seed: Sequence[int], donors: Sequence[U8], faults: Sequence[str] = ()
) -> list[Case]:
    """A sound pair and its damaged twins; each fault has a chance of its own, so leaving one out changes no other."""
    out = [_case(scene, None, sound)]
    for number, fault in enumerate(planting.FAULTS):
        if fault not in planting.possible(sound.subset) or (faults and fault not in faults):
            continue
        out.append(_case(scene, fault, planting.plant(sound, fault, np.random.default_rng([*seed, number]), donors)))
    return out


def falsified(scene: str, sound: Rendered, seed: Sequence[int], faults: Sequence[str] = ()) -> list[Case]:
    """The clean side with false rain of each kind that fits the type, and the dry control: the clean side itself."""
    out = []
    for number, kind in enumerate((*false_rain.KINDS, false_rain.DRY)):
        fits = kind == false_rain.DRY or (kind in false_rain.DROPS) == sound.drop
        if fits and (not faults or kind in faults):
            lq = false_rain.draw(sound.gt, kind, np.random.default_rng([*seed, number]))
            out.append(_case(scene, kind, replace(sound, lq=lq)))
    return out


def _case(scene: str, fault: str | None, pair: Rendered) -> Case:
    key = f"{scene}/{fault or 'sound'}"
    return Case(key, scene, pair.subset.value, fault, pair.lq, pair.gt, pair.night, pair.drop)


# ---------------------------------------------------------------- what is measured
@dataclass(frozen=True)
class Looked:
    """What is measured on a case, without its pixels.

    Args:
        reason: of the gate; None where it lets the pair pass.
        measures: of the gate; None where it needed none.
        data: the rainy side encoded, for voters that look at pixels; else empty.
        layer: the rain layer's values; empty without a clean side.
    """

    key: str
    scene: str
    subset: str
    fault: str | None
    night: bool
    drop: bool
    reason: str | None
    measures: pair_checks.Measures | None
    sha256: str
    phash: str
    triplet: Triplet
    data: bytes = b""
    layer: tuple[float, ...] = ()

    @property
    def stratum(self) -> str:
        """As distill sets it: labels know more of a pair than its pixels do."""
        return f"{'night' if self.night else 'day'}-{'drops' if self.drop else 'streaks'}"


def look(scene: Sequence[Case], triplets: Triplets, pixels: bool = False) -> list[Looked]:
    """Measure the cases of one scene; a rainy side that several share is encoded once."""
    seen: dict[str, tuple[Triplet, str]] = {}
    out = []
    for case in scene:
        sha = sha256_bytes(case.lq.tobytes())
        if sha not in seen:
            seen[sha] = triplets([case.lq])[0], images.phash(case.lq)
        triplet, phash = seen[sha]
        finding = pair_checks.check(case.lq, case.gt, case.night, case.drop)
        data = images.encode_png(case.lq) if pixels else b""
        out.append(
            Looked(
                case.key, case.scene, case.subset, case.fault, case.night, case.drop, finding.reason, finding.measures,
                sha, phash, triplet, data, tuple(rain_layer.describe(case.lq, case.gt).tolist()),
            )
        )  # fmt: skip
    return out


# ---------------------------------------------------------------- judging
@dataclass(frozen=True)
class Judged:
    """What came of a case.

    Args:
        reason: of the gate, or None.
        ballots: one a voter, cast on every case, gated or not.
        retrieval: mean visual plus structural score of S(q); None without references.
    """

    scene: str
    subset: str
    fault: str | None
    reason: str | None
    ballots: tuple[Ballot, ...]
    retrieval: float | None = None
    stratum: str = ""


def judge(
    looked: Sequence[Looked],
    store: Store,
    voters: Sequence[Voter],
    sizes: Sizes | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Judged]:
    """Retrieve and vote; every voter is asked on every case."""
    sizes = sizes or Sizes()
    found = search.retrieve([query(x) for x in looked], store.references(), sizes)
    shown = _references(store, {m.key for f in found for m in f.matches}, pixels=any(x.data for x in looked))
    questions = [_question(x, f, shown) for x, f in zip(looked, found, strict=True)]
    columns = []
    for voter in voters:
        voter.setup()
        cast: list[Ballot] = []
        for at in range(0, len(questions), 8):
            cast += voter.vote(questions[at : at + 8])
            if progress:
                progress(len(questions[at : at + 8]))
        columns.append(cast)
    return [
        Judged(x.scene, x.subset, x.fault, x.reason, tuple(c[i] for c in columns), _score(found[i]), x.stratum)
        for i, x in enumerate(looked)
    ]


def query(x: Looked) -> Query:
    """A case as the cascade sees it."""
    t = x.triplet
    return Query(x.key, x.sha256, x.phash, t.text, t.feature, t.structure, x.scene)


def _question(x: Looked, found: Retrieved, shown: Mapping[str, Shown]) -> Question:
    signals = {**{k: v.tolist() for k, v in x.triplet.signals.items()}, "layer": list(x.layer)}
    asked = Shown(x.key, x.sha256, x.data, x.triplet.caption, signals)
    return Question(asked, tuple(shown[m.key] for m in found.matches), found.neighbours, x.stratum)


def _references(store: Store, keys: set[str], pixels: bool) -> dict[str, Shown]:
    rows = store.some(keys, ["sha256", "caption", *(["image"] if pixels else [])])
    return {k: Shown(k, r["sha256"], r["image"]["bytes"] if pixels else b"", r["caption"]) for k, r in rows.items()}


def _score(found: Retrieved) -> float | None:
    if not found.matches:
        return None
    return float(np.mean([m.visual + (m.structural or 0.0) for m in found.matches]))


# ---------------------------------------------------------------- figures
@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval over scenes; ``share`` is None without cases."""

    n: int
    share: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, hits: Sequence[bool], scenes: Sequence[str]) -> Rate:
        """Share of hits. Where all or none hit, the bootstrap has no width and the rule of three gives the bound."""
        if not hits:
            return cls(0, None)
        share = float(np.mean(hits))
        span = stats.interval([float(h) for h in hits], scenes)
        if span is None:
            return cls(len(hits), share)
        edge = 1 - 0.05 ** (1 / len(set(scenes)))
        low, high = (1 - edge, 1.0) if share == 1 else (0.0, edge) if share == 0 else span
        return cls(len(hits), share, low, high)


@dataclass(frozen=True)
class Figures:
    """What a judge does.

    Args:
        keep: share of sound cases kept.
        faults: fault -> share rejected.
        pair, rain, all: share of faulty cases rejected, by kind of fault.
        auc, auc_rain: chance that a sound case scores above a faulty one; None for a judge without a score.
    """

    keep: Rate
    faults: dict[str, Rate]
    pair: Rate
    rain: Rate
    all: Rate
    auc: Rate | None = None
    auc_rain: Rate | None = None


@dataclass(frozen=True)
class Opinion:
    """One judge on one case: whether it keeps it, and a score that is higher the sounder the case (None: none)."""

    keep: bool
    score: float | None = None


Judge = Callable[[Judged], Opinion]


def judges(
    names: Sequence[str], quorum: int | None = None, panel: Panel | None = None, alpha: float = ALPHA
) -> dict[str, Judge]:
    """The gate, each voter alone, the panel without each of them, the panel, and gate and panel together.

    An abstention is not a yes, as in the vote; a voter that abstains on everything keeps nothing.

    Args:
        panel: decides in place of the majority, which is shown beside it.
    """
    need = voting.quorum_of(len(names), quorum)
    everyone = range(len(names))
    out: dict[str, Judge] = {GATE: lambda c: Opinion(c.reason is None)}
    for i, name in enumerate(names):
        out[name] = _panel([i], 1)
    if len(names) > 2:
        for i, name in enumerate(names):
            rest = [j for j in everyone if j != i]
            out[f"without {name}"] = (
                weighing(panel, alpha, rest) if panel else _panel(rest, voting.quorum_of(len(rest)))
            )
    whole = _panel(list(everyone), need)
    if panel is not None:
        out[MAJORITY], whole = whole, weighing(panel, alpha, list(everyone))
    out[VOTE] = whole
    out[BOTH] = lambda c: whole(c) if c.reason is None else Opinion(False, -1.0)
    return out


def weighing(panel: Panel, alpha: float, members: Sequence[int]) -> Judge:
    """The calibrated panel of some voters; its score is its p-value."""

    def opinion(case: Judged) -> Opinion:
        p = panel.p([case.ballots[i] for i in members], case.stratum)
        return Opinion(p is not None and p > alpha, p)

    return opinion


def _panel(members: Sequence[int], need: int) -> Judge:
    """Some voters with a quorum; its score is the need-th largest p(yes): what decides at every threshold."""

    def opinion(case: Judged) -> Opinion:
        cast = [case.ballots[i] for i in members]
        p = sorted((b.p_yes for b in cast if b.p_yes is not None), reverse=True)
        return Opinion(sum(b.answer == "yes" for b in cast) >= need, p[need - 1] if len(p) >= need else None)

    return opinion


def tally(judged: Sequence[Judged], judge_of: Judge) -> Figures:
    """Figures of one judge."""
    told = [judge_of(c) for c in judged]

    def rejected(chosen: Callable[[Judged], bool]) -> Rate:
        picked = [(not o.keep, c.scene) for c, o in zip(judged, told, strict=True) if chosen(c)]
        return Rate.of([h for h, _ in picked], [s for _, s in picked])

    sound = [(o.keep, c.scene) for c, o in zip(judged, told, strict=True) if c.fault is None]
    return Figures(
        keep=Rate.of([h for h, _ in sound], [s for _, s in sound]),
        faults={f: rejected(lambda c, f=f: c.fault == f) for f in FAULTS if f in {c.fault for c in judged}},  # type: ignore[misc]
        pair=rejected(lambda c: c.fault is not None and kind_of(c.fault) == "pair"),
        rain=rejected(lambda c: c.fault is not None and kind_of(c.fault) == "rain"),
        all=rejected(lambda c: c.fault is not None),
        auc=_auc(judged, told, lambda f: True),
        auc_rain=_auc(judged, told, lambda f: kind_of(f) == "rain"),
    )


def _auc(judged: Sequence[Judged], told: Sequence[Opinion], wanted: Callable[[str], bool]) -> Rate | None:
    kept = [
        (o.score, c.fault is None, c.scene)
        for c, o in zip(judged, told, strict=True)
        if o.score is not None and (c.fault is None or wanted(c.fault))
    ]
    if not kept:
        return None
    scores, sound, scenes = zip(*kept, strict=True)
    return auc(scores, sound, scenes)


def auc(
    scores: Sequence[float], positive: Sequence[bool], scenes: Sequence[str], rounds: int = 1000, seed: int = 0
) -> Rate | None:
    """Area under the ROC curve, ties counting half, with a 95 % interval by resampling scenes.

    Returns:
        None without cases of both kinds.
    """
    x, good = np.asarray(scores, float), np.asarray(positive, bool)
    if not good.any() or good.all():
        return None
    names, at = np.unique(np.asarray(scenes), return_inverse=True)
    values, level = np.unique(x, return_inverse=True)
    up = np.zeros((len(names), len(values)))
    down = np.zeros_like(up)
    np.add.at(up, (at[good], level[good]), 1)
    np.add.at(down, (at[~good], level[~good]), 1)

    def area(weights: Any) -> Any:
        u, d = weights @ up, weights @ down
        below = np.cumsum(d, axis=1) - 0.5 * d
        pairs = u.sum(1) * d.sum(1)
        return np.where(pairs > 0, (u * below).sum(1) / np.maximum(pairs, 1), np.nan)

    share = float(area(np.ones((1, len(names))))[0])
    if len(names) < 2:
        return Rate(len(x), share)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=rounds)
    low, high = np.nanquantile(area(draws.astype(float)), [0.025, 0.975])  # a draw of one kind alone has no area
    return Rate(len(x), share, float(low), float(high))


# ---------------------------------------------------------------- the whole
@dataclass(frozen=True)
class VoterReport:
    """What ``rainrag calibrate`` prints.

    Args:
        figures: judge -> figures.
        abstained: voter -> share of cases on which it abstained.
        promises: what a calibrated panel rejects of the store's own photographs, by stratum; empty for a majority.
    """

    scenes: int
    cases: int
    voters: tuple[str, ...]
    figures: dict[str, Figures]
    abstained: dict[str, float] = field(default_factory=dict)
    promises: tuple[Promise, ...] = ()


def report(
    judged: Sequence[Judged],
    names: Sequence[str],
    quorum: int | None = None,
    panel: Panel | None = None,
    alpha: float = ALPHA,
) -> VoterReport:
    """Figures of all judges."""
    abstained = {
        name: float(np.mean([c.ballots[i].answer == "abstain" for c in judged])) for i, name in enumerate(names)
    }
    figures = {name: tally(judged, j) for name, j in judges(names, quorum, panel, alpha).items()}
    promises = tuple(panel.promises(alpha)) if panel else ()
    return VoterReport(len({c.scene for c in judged}), len(judged), tuple(names), figures, abstained, promises)


def run(
    store: Store,
    voters: Sequence[Voter],
    *,
    folder: Path | None = None,
    scenes: int = 40,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    faults: Sequence[str] = (),
    sizes: Sizes | None = None,
    quorum: int | None = None,
    alpha: float = ALPHA,
    progress: Callable[[int], None] | None = None,
) -> VoterReport:
    """Render, look, judge and tally.

    Args:
        progress: called with cases done: once when they are measured, once for each voter's ballots.

    Raises:
        UsageError: for an unknown fault, an impossible quorum, or too few scenes.
    """
    _known(faults)
    voting.quorum_of(len(voters), quorum)
    triplets = store.triplets()
    pixels = not all(getattr(v, "cheap", False) for v in voters)
    looked: list[Looked] = []
    for scene in cases(deal(folder, scenes, seed), seed, size, faults):
        made = look(scene, triplets, pixels)
        looked += made
        if progress:
            progress(len(made))
    told = judge(looked, store, voters, sizes, progress)
    panel = panel_of(voters, store) if calibrated(voters) and quorum is None else None
    return report(told, [v.name for v in voters], quorum, panel, alpha)


def planned_cases(folder: Path | None, scenes: int, seed: int, faults: Sequence[str] = ()) -> int:
    """How many cases ``run`` would ask every voter on."""
    _known(faults)
    fits = [[f for f in possible(t) if not faults or f in faults] for _, t in deal(folder, scenes, seed)]
    return sum(1 + len(f) for f in fits)


def possible(subset: Subset) -> tuple[str, ...]:
    """Faults, kinds of false rain and the control that fit a type."""
    drop = subset in (Subset.DRD, Subset.NRD)
    kinds = [k for k in false_rain.KINDS if (k in false_rain.DROPS) == drop]
    return (*planting.possible(subset), *kinds, false_rain.DRY)


def _known(faults: Sequence[str]) -> None:
    for fault in faults:
        if fault not in FAULTS:
            raise UsageError(f"no fault '{fault}'", hint=did_you_mean(fault, list(FAULTS)))


def again(looked: Sequence[Looked], limits: pair_checks.Limits = pair_checks.DEFAULT) -> list[Looked]:
    """The gate's decisions again from its measures, after a change of limits."""
    return [
        x if x.measures is None else replace(x, reason=pair_checks.decide(x.measures, x.night, x.drop, limits).reason)
        for x in looked
    ]
