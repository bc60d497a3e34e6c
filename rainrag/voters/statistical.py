"""Three voters without a language model: independent judges of the rain by different means.

    descriptor    the rain descriptor (streaks, profile, drops): distance to the nearest of the retrieved references
    features      means and deviations of middle layers of an ImageNet backbone: distance to their centre
    naturalness   natural-scene statistics of the image and of its residual: distance to their centre

Each is calibrated on the store by leave-one-scene-out conformal p-values (Vovk et al. 2005): p is the share of real
photographs that lie at least as far from *their* retrieved references as the query lies from its own. A voter says no
when p <= alpha, so alpha is its false-rejection rate for photographs like the store's; for pairs of other origin the
rate is measured (``rainrag calibrate``), not promised. The neighbourhood is C2(q), the cascade's second stage: three
references of S(q) say too little of a spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core.errors import IntegrityError, UsageError
from rainrag.core.files import atomic, fingerprint
from rainrag.core.images import F32
from rainrag.core.types import Ballot, Question
from rainrag.retrieval.search import Query, Sizes, retrieve
from rainrag.retrieval.store import Store
from rainrag.voters.base import Kind

VERSION = 1
FEW = 60  # references a stratum needs for a calibration of its own; smaller ones pool with all
CLIP = 12.0  # robust deviations beyond which a value counts no further
SAMPLE = 2000  # references that are used for calibration at most
CONTEXTS = ("retrieved", "random", "store")

#: voter -> (signal, values used, neighbours compared with, largest deviations averaged: 0 for all of them)
MEANS: dict[str, tuple[str, int | None, str, int]] = {
    "descriptor": ("rain", 23, "nearest", 8),
    "features": ("texture", None, "centre", 0),
    "naturalness": ("nature", None, "centre", 0),
}


class Statistical:
    """One statistical voter. Pickles before ``setup``.

    Args:
        name: a name of ``MEANS``.
        store: folder or address of the reference store.
        alpha: false-rejection rate for photographs like the store's.
        sizes: (k1, k2, k3) of the cascade whose neighbourhoods it is calibrated on.
        context: ``retrieved`` neighbours; ``random`` ones (ablation without retrieval); ``store``: the whole store's
            distribution (ablation of the voter alone).
        seed: of the random neighbours.
    """

    cheap = True  # ballots are not worth a cache

    def __init__(
        self,
        name: str,
        store: str | Path,
        alpha: float = 0.05,
        sizes: tuple[int, int, int] = (100, 20, 3),
        context: str = "retrieved",
        seed: int = 0,
    ) -> None:
        if not 0 < alpha < 1:
            raise UsageError(f"alpha is a rate between 0 and 1, not {alpha}")
        if context not in CONTEXTS:
            raise UsageError(f"no context '{context}'", hint=f"one of {', '.join(CONTEXTS)}")
        self.name = name
        self.store = str(store)
        self.alpha = alpha
        self.sizes = Sizes(*sizes)
        self.context = context
        self.seed = seed
        self._opened: Store | None = None
        self._z: F32 | None = None
        self._rows: dict[str, int] = {}
        self._scores: dict[str, Any] = {}
        self._scale: tuple[F32, F32] | None = None
        self._null: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Calibration stays behind when the voter travels to a worker."""
        return {**self.__dict__, "_opened": None, "_z": None, "_rows": {}, "_scores": {}, "_scale": None, "_null": {}}

    # ------------------------------------------------ identity
    @property
    def revision(self) -> str:
        """Fingerprint of the calibration: store, cascade, context."""
        return fingerprint(
            [VERSION, self._store().fingerprint, str(self.sizes), self.context, self.seed, MEANS[self.name]]
        )

    @property
    def prompt(self) -> str:
        """Hash of the threshold."""
        return fingerprint(["alpha", self.alpha])

    def _store(self) -> Store:
        if self._opened is None:
            self._opened = Store.open(self.store)
        return self._opened

    # ------------------------------------------------ calibration
    def setup(self) -> None:
        """Read the store's signals and calibrate, or read the calibration made before."""
        if self._z is not None:
            return
        store = self._store()
        signals = store.signals()
        signal, used, _, _ = MEANS[self.name]
        if signal not in signals:
            raise IntegrityError(f"the store has no signal '{signal}'", where=store.path, hint="build it again")
        values = signals[signal][:, :used]
        middle = np.median(values, axis=0)
        spread = np.median(np.abs(values - middle), axis=0) * 1.4826 + 0.05 * values.std(axis=0) + 1e-6
        self._scale = middle, spread
        self._z = np.clip((values - middle) / spread, -CLIP, CLIP)
        self._rows = {k: i for i, k in enumerate(store.keys)}
        self._scores = self._calibrate(store)

    def _calibrate(self, store: Store) -> dict[str, Any]:
        """Sorted scores of references against their own neighbourhoods, by stratum and pooled."""
        cache = store.path / f".calibration-{self.name}-{self.revision}.npz"
        strata = [r["stratum"] for r in store.rows(["stratum"])]
        if cache.exists():
            with np.load(cache) as saved:
                chosen, scores = saved["chosen"], saved["scores"]
        else:
            chosen = np.arange(len(self._rows))
            if len(chosen) > SAMPLE:
                chosen = np.sort(np.random.default_rng(self.seed).choice(len(chosen), SAMPLE, replace=False))
            neighbours = self._neighbourhoods(store, chosen)
            scores = np.array([self._score(self._z[i], n) for i, n in zip(chosen, neighbours, strict=True)])  # type: ignore[index]
            with atomic(cache) as tmp, open(tmp, "wb") as f:
                np.savez(f, chosen=chosen, scores=scores)
        groups: dict[str, list[float]] = {}
        for i, s in zip(chosen, scores, strict=True):
            groups.setdefault(strata[int(i)], []).append(float(s))
        calibrated = {k: np.sort(v) for k, v in groups.items() if len(v) >= FEW} | {"": np.sort(scores)}
        self._null = self._own(chosen, scores, strata, calibrated)
        return calibrated

    def _neighbourhoods(self, store: Store, chosen: Any) -> list[list[int]]:
        """Row numbers of each chosen reference's neighbours, without its own scene."""
        if self.context == "store":
            return [[] for _ in chosen]
        refs = store.references()
        scenes = refs.scenes if refs.scenes is not None else np.array(refs.keys)
        if self.context == "random":
            return [self._random(refs.keys[int(i)], hidden=str(scenes[i]), scenes=scenes) for i in chosen]
        queries = [
            Query(
                refs.keys[i],
                str(refs.sha256[i]),
                "",
                refs.texts[i],
                refs.features[i],
                np.asarray(refs.structures[i]),
                str(scenes[i]),
            )
            for i in map(int, chosen)
        ]
        found = retrieve(queries, refs, self.sizes, structural=False)
        return [[self._rows[k] for k in f.neighbours] for f in found]

    def _random(self, key: str, hidden: str | None = None, scenes: Any = None) -> list[int]:
        """As many random references as the second stage keeps, the same for the same key."""
        rng = np.random.default_rng(int(fingerprint([self.seed, key]), 16) % 2**63)
        order = rng.permutation(len(self._rows))
        if hidden is not None:
            order = np.array([i for i in order if scenes[i] != hidden], int)
        return [int(i) for i in order[: self.sizes.k2]]

    def null(self) -> dict[str, float]:
        """p-value of each photograph that it is calibrated on, among the others of its stratum."""
        self.setup()
        return self._null

    def _own(self, chosen: Any, scores: Any, strata: Sequence[str], calibrated: dict[str, Any]) -> dict[str, float]:
        """The same as ``_vote`` says of a new picture, each photograph's own score left out."""
        keys = list(self._rows)
        found = {}
        for i, s in zip(chosen, scores, strict=True):
            known = calibrated.get(strata[int(i)], calibrated[""])
            found[keys[int(i)]] = (len(known) - int(np.searchsorted(known, float(s), "left"))) / len(known)
        return found

    # ------------------------------------------------ voting
    def _score(self, z: F32, neighbours: Sequence[int]) -> float:
        """Nonconformity: how far a picture lies from its neighbours, in robust deviations."""
        _, _, how, top = MEANS[self.name]
        assert self._z is not None
        if not len(neighbours):
            away = np.abs(z)
        elif how == "nearest":
            away = np.abs(z - self._z[list(neighbours)]).min(axis=0)
        else:
            away = np.abs(z - self._z[list(neighbours)].mean(axis=0))
        if top:
            return float(np.sort(away)[-top:].mean())
        return float(np.sqrt(np.mean(away**2)))

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """Conformal ballots: p_yes is the p-value."""
        self.setup()
        return [self._vote(q) for q in questions]

    def _vote(self, q: Question) -> Ballot:
        signal, used, _, _ = MEANS[self.name]
        values = q.query.signals.get(signal)
        references = tuple(r.key for r in q.references)
        if values is None:
            return self._ballot(q, references, "abstain", None, f"no signal '{signal}'")
        if self.context == "retrieved" and not q.neighbours:
            return self._ballot(q, references, "abstain", None, "no references were retrieved")
        assert self._scale is not None
        z = np.clip((np.asarray(values, np.float32)[:used] - self._scale[0]) / self._scale[1], -CLIP, CLIP)
        near = [self._rows[k] for k in q.neighbours if k in self._rows] if self.context == "retrieved" else []
        if self.context == "random":
            near = self._random(q.query.key)
        score = self._score(z, near)
        known = self._scores.get(q.stratum, self._scores[""])
        n = len(known)
        p = (1 + n - int(np.searchsorted(known, score, "left"))) / (n + 1)
        raw = f"distance {score:.4f}, rank {round(p * (n + 1))} of {n + 1}"
        if 1 / (n + 1) > self.alpha:
            return self._ballot(q, references, "abstain", round(p, 6), f"{raw}: too few references for this rate")
        return self._ballot(q, references, "yes" if p > self.alpha else "no", round(p, 6), raw)

    def _ballot(self, q: Question, references: tuple[str, ...], answer: str, p: float | None, raw: str) -> Ballot:
        return Ballot(q.query.key, self.name, self.revision, self.prompt, references, answer, p, raw)


@dataclass(frozen=True)
class Settings:
    """Settings of the statistical voters, as ``Statistical`` takes them."""

    store: str = ""
    alpha: float = 0.05
    sizes: tuple[int, int, int] = (100, 20, 3)
    context: str = "retrieved"
    seed: int = 0


def _build(name: str, source: str | None, s: Settings) -> Statistical:
    """A voter of this kind.

    Raises:
        UsageError: without a store.
    """
    store = source or s.store
    if not store:
        raise UsageError(f"'{name}' needs the reference store it is calibrated on", hint="--store DIR")
    return Statistical(name, store, s.alpha, s.sizes, s.context, s.seed)


DESCRIPTOR = FEATURES = NATURALNESS = Kind(Settings, _build)
