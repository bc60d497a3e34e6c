"""Two learned voters: is the rain of this pair, or of this image, like real rain or like what only looks like it?

    layer    the rain layer of the pair (lq against gt, ``rainrag.data.rain_layer``); abstains where there is no clean side
    learned  the same values of one image, its median standing for the clean side

Both are small classifiers (``Forest``) that were fitted on real photographs, real pairs and rendered pairs against many
kinds of false rain; ``weights/evidence/README.md`` says on which, and what they do on kinds that they never saw. What a
voter gives is a conformal p-value: ``layer`` counts sound pairs of its training, scored by fits that had not seen their
scene; ``learned`` counts the store's photographs, those of its training by such scores too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rainrag.core import images
from rainrag.core.errors import IntegrityError, UsageError
from rainrag.core.files import fingerprint, sha256_file
from rainrag.core.types import Ballot, Question
from rainrag.data import rain_layer
from rainrag.retrieval.store import Store
from rainrag.voters.base import Kind
from rainrag.voters.forest import Forest

VERSION = 1
WEIGHTS = Path(__file__).parent / "weights" / "evidence" / "model.safetensors"
FEW = 60  # photographs a stratum needs for counts of its own; smaller ones pool with all
F64 = npt.NDArray[np.float64]


@lru_cache(maxsize=2)
def arrays(path: Path = WEIGHTS) -> dict[str, Any]:
    """The file's arrays."""
    from safetensors.numpy import load_file

    return dict(load_file(path))


@lru_cache(maxsize=2)
def _weights(path: Path = WEIGHTS) -> str:
    """Hash of the file: it is asked for at every ballot."""
    return sha256_file(path)


def rank(known: F64, score: Any) -> F64:
    """Conformal p-values: the share of known scores that are at most as high, the new one counted in.

    Args:
        known: sorted.
    """
    return np.asarray((1 + np.searchsorted(known, score, "right")) / (len(known) + 1))


class Layer:
    """The voter ``layer``. Pickles before ``setup``.

    Args:
        alpha: share of sound pairs like those of its training that it says no to.
    """

    name = "layer"
    cheap = True
    signal = "layer"

    def __init__(self, alpha: float = 0.05) -> None:
        self.alpha = _rate(alpha)
        self._forest: Forest | None = None
        self._known: dict[bool, F64] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Weights stay behind when the voter travels to a worker."""
        return {**self.__dict__, "_forest": None, "_known": {}}

    @property
    def revision(self) -> str:
        """Fingerprint of values and weights."""
        return fingerprint([VERSION, rain_layer.VERSION, _weights()])

    @property
    def prompt(self) -> str:
        """Hash of the threshold."""
        return fingerprint(["alpha", self.alpha])

    def setup(self) -> None:
        """Read the weights."""
        if self._forest is None:
            found = arrays()
            self._forest = Forest.of(found, "layer")
            drop = found["layer.drop"].astype(bool)
            self._known = {d: np.sort(found["layer.known"][drop == d].astype(np.float64)) for d in (False, True)}

    def null(self) -> dict[str, float] | None:
        """None: photographs of the store have no clean side, so its p-value counts as uniform beside theirs."""
        return None

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """Conformal ballots: p_yes is the p-value."""
        self.setup()
        assert self._forest is not None
        at = [i for i, q in enumerate(questions) if q.query.signals.get(self.signal)]
        found: dict[int, float] = {}
        if at:
            scores = self._forest.score([questions[i].query.signals[self.signal] for i in at])
            found = dict(zip(at, scores.tolist(), strict=True))
        out = []
        for i, q in enumerate(questions):
            if i not in found:
                out.append(_ballot(self, q, "abstain", None, "no clean side to compare with"))
                continue
            p = float(rank(self._known[q.stratum.endswith("drops")], found[i]))
            out.append(_ballot(self, q, "yes" if p > self.alpha else "no", p, f"score {found[i]:.3f}"))
        return out


class Learned:
    """The voter ``learned``. Pickles before ``setup``.

    Args:
        store: folder or address of the reference store, on whose photographs it is calibrated.
        alpha: share of photographs like the store's that it says no to.
    """

    name = "learned"
    cheap = True
    signal = "alone"

    def __init__(self, store: str | Path, alpha: float = 0.05) -> None:
        self.store = str(store)
        self.alpha = _rate(alpha)
        self._forest: Forest | None = None
        self._null: dict[str, float] = {}
        self._known: dict[str, F64] = {}
        self._opened: Store | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Weights and calibration stay behind when the voter travels to a worker."""
        return {**self.__dict__, "_forest": None, "_null": {}, "_known": {}, "_opened": None}

    @property
    def revision(self) -> str:
        """Fingerprint of values, weights and store."""
        return fingerprint([VERSION, rain_layer.VERSION, _weights(), self._store().fingerprint])

    @property
    def prompt(self) -> str:
        """Hash of the threshold."""
        return fingerprint(["alpha", self.alpha])

    def _store(self) -> Store:
        if self._opened is None:
            self._opened = Store.open(self.store)
        return self._opened

    def setup(self) -> None:
        """Read the weights and score the store's photographs."""
        if self._forest is not None:
            return
        store = self._store()
        signals = store.signals()
        if self.signal not in signals:
            raise IntegrityError(f"the store has no signal '{self.signal}'", where=store.path, hint="build it anew")
        found = arrays()
        self._forest = Forest.of(found, "alone")
        rows = store.rows(["phash", "stratum"])
        scores = _unseen(self._forest.score(signals[self.signal]), [r["phash"] for r in rows], found)
        strata = np.array([r["stratum"] for r in rows])
        self._known = {s: np.sort(scores[strata == s]) for s in set(strata.tolist()) if (strata == s).sum() >= FEW}
        self._known[""] = np.sort(scores)
        self._null = {
            k: float(rank(_without(self._group(s), x), x)) for k, s, x in zip(store.keys, strata, scores, strict=True)
        }

    def _group(self, stratum: str) -> F64:
        return self._known.get(stratum, self._known[""])

    def null(self) -> dict[str, float]:
        """p-value of each photograph of the store among the others of its stratum."""
        self.setup()
        return self._null

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        """Conformal ballots: p_yes is the p-value."""
        self.setup()
        assert self._forest is not None
        out = []
        for q in questions:
            values = q.query.signals.get(self.signal)
            if not values:
                out.append(_ballot(self, q, "abstain", None, f"no signal '{self.signal}'"))
                continue
            score = float(self._forest.score([values])[0])
            known = self._group(q.stratum)
            p = float(rank(known, score))
            answer = "abstain" if 1 / (len(known) + 1) > self.alpha else "yes" if p > self.alpha else "no"
            out.append(_ballot(self, q, answer, p, f"score {score:.3f}"))
        return out


def _rate(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is a rate between 0 and 1, not {alpha}")
    return alpha


def _without(known: F64, one: float) -> F64:
    """Sorted scores without one of them."""
    return np.delete(known, int(np.searchsorted(known, one)))


def _unseen(scores: F64, phashes: Sequence[str], found: dict[str, Any]) -> F64:
    """Scores of photographs; one of the training gets that of the fit which had not seen it."""
    marks = images.hash_bits(list(phashes))
    away = images.hamming(marks, np.asarray(found["alone.phash"], np.uint8))
    near = away.argmin(axis=1)
    known = np.array([bool(h) for h in phashes]) & (away.min(axis=1) <= images.NEAR_BITS)
    return np.where(known, found["alone.known"][near].astype(np.float64), scores)


def _ballot(voter: Layer | Learned, q: Question, answer: str, p: float | None, raw: str) -> Ballot:
    references = tuple(r.key for r in q.references)
    p = None if p is None else round(p, 6)
    return Ballot(q.query.key, voter.name, voter.revision, voter.prompt, references, answer, p, raw)


@dataclass(frozen=True)
class LayerSettings:
    """Settings of ``layer``."""

    alpha: float = 0.05


@dataclass(frozen=True)
class Settings:
    """Settings of ``learned``."""

    store: str = ""
    alpha: float = 0.05


def _layer(name: str, source: str | None, s: LayerSettings) -> Layer:
    return Layer(s.alpha)


def _learned(name: str, source: str | None, s: Settings) -> Learned:
    store = source or s.store
    if not store:
        raise UsageError(f"'{name}' needs the reference store it is calibrated on", hint="--store DIR")
    return Learned(store, s.alpha)


LAYER = Kind(LayerSettings, _layer)
LEARNED = Kind(Settings, _learned)
