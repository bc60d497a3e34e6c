"""Multi-objective reweighting (paper, section 3.2): one loss weight for each rain type, from how fast each converges.

Equations (6)-(10), after CoBa (Gong et al. 2024). A round is a fixed number of training iterations; once a round the
trainer measures each type's mean loss on a held-out probe set and calls ``update``. No torch is needed.

The adaptivity factor (9) as printed, and the two public codes, each break a property that the text states: see
docs/reweighting.md. The default ``positive`` keeps them all; the others are here to compare with.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rainrag.core.errors import InputError, UsageError, did_you_mean
from rainrag.core.registry import Registry

EPS = 1e-12
#: A loss of this many times its first value is no measurement.
LIMIT = 1e12


class Weighting(Protocol):
    """What the trainer sees: the reweighter and its rivals alike."""

    @property
    def weights(self) -> list[float]:
        """Of the last round, sum 1."""

    def update(self, losses: Sequence[float]) -> list[float]:
        """Once a round: the types' probe losses to new weights."""

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """Once a step: the types' mean losses on the batch (None for an absent one) to the loss to descend."""

    def after_backward(self) -> None:
        """Once a step, after the backward pass and before gradients are clipped or zeroed."""

    def module(self) -> Any:
        """Torch module whose parameters are trained along with the network; None where there are none."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""


@dataclass(frozen=True)
class Scores:
    """What a round's weights were made of, for logs.

    Args:
        slopes: of each type's normalised loss, per round.
        tbs: type balance score (7), sum 1.
        tss: type stability score (8), sum 1.
        af: adaptivity factor (9) in (0, 1]: the share of TBS.
    """

    slopes: list[float]
    tbs: list[float]
    tss: list[float]
    af: float


# ---------------------------------------------------------------- equations
def slope(y: Sequence[float]) -> float:
    """Least-squares slope of equally spaced values, equation (6); 0 for fewer than two."""
    n = len(y)
    if n < 2:
        return 0.0
    middle, mean = (n - 1) / 2, math.fsum(y) / n
    return math.fsum((k - middle) * (v - mean) for k, v in enumerate(y)) / (n * (n * n - 1) / 12)


def softmax(z: Sequence[float]) -> list[float]:
    """Softmax by subtraction of the maximum; equal in any order of the values (fsum)."""
    top = max(z)
    e = [math.exp(v - top) for v in z]
    total = math.fsum(e)
    return [v / total for v in e]


def balance(slopes: Sequence[float], eps: float = EPS) -> list[float]:
    """Type balance score, equation (7): the slower a type converges, the larger."""
    total = math.fsum(abs(a) for a in slopes) + eps
    return softmax([len(slopes) * a / total for a in slopes])


def stability(history: Sequence[Sequence[float]], eps: float = EPS) -> list[float]:
    """Type stability score, equation (8): the more a type diverges from its own recent course, the smaller.

    Args:
        history: slopes of the last rounds, one row a round, the latest last.
    """
    n = len(history)
    spans = [math.fsum(abs(a) for a in course) + eps for course in zip(*history, strict=True)]
    return softmax([-n * a / span for a, span in zip(history[-1], spans, strict=True)])


def _share(z: Sequence[float]) -> float:
    """n * softmax(z) of the last of n rounds, at most 1. Exactly 1 where no z is larger than the last: n / n."""
    top = max(z)
    last = math.exp(z[-1] - top)
    total = math.fsum(math.exp(v - top) for v in z)
    return max(min(len(z) * last / total, 1.0), sys.float_info.min)


def af_positive(m: Sequence[float], tau: float) -> float:
    """Ours: only rising counts, against the usual size of a slope. 1 while every type converges."""
    scale = math.fsum(abs(v) for v in m) / len(m) + EPS
    return _share([-tau * max(v, 0.0) / scale for v in m])


def af_paper(m: Sequence[float], tau: float) -> float:
    """Equation (9) with the absolute values of CoBa's code in the denominator."""
    total = math.fsum(abs(v) for v in m) + EPS
    return _share([-tau * len(m) * v / total for v in m])


def af_literal(m: Sequence[float], tau: float) -> float:
    """Equation (9) to the letter. While losses fall the sum is negative and every sign turns round."""
    total = math.fsum(m)
    total = math.copysign(max(abs(total), EPS), total)
    return _share([-tau * len(m) * v / total for v in m])


#: How AF is read; m are the largest slopes of each round since warm-up, the latest last.
_AF = {"positive": af_positive, "paper": af_paper, "literal": af_literal}
MODES = (*_AF, "fixed", "authors")


def weighted(
    losses: Sequence[Any], weights: Sequence[float], scale: float, shares: Sequence[float] | None = None
) -> Any:
    """``scale`` times the sum of weight * loss (* share) over the types that are there; of floats or of tensors.

    Raises:
        UsageError: when no type is there.
    """
    terms = [
        scale * w * (1.0 if shares is None else shares[i]) * one
        for i, (w, one) in enumerate(zip(weights, losses, strict=True))
        if one is not None
    ]
    if not terms:
        raise UsageError("no type has a loss in this batch", hint="pass the mean loss of each type that is in it")
    return sum(terms[1:], terms[0])


# ---------------------------------------------------------------- the reweighter
class Reweighter:
    """Loss weights of the rain types, equation (10): AF * TBS + (1 - AF) * TSS.

    Args:
        n_types: K.
        window: N, rounds in a slope.
        tau: sensitivity of AF.
        warmup: rounds W with equal weights; AF looks back to their end.
        floor: least weight, in [0, 1/K): weights w become w (1 - K floor) + floor.
        af: ``positive``; ``paper``, ``literal``: readings of (9); ``fixed``: ``af_value``; ``authors``: the authors'
            train.py, whose warm-up is 20 epochs: raw losses, no factor t, two further softmaxes.
        af_value: AF of ``fixed``.
        use_tbs: False: TSS alone (ablation); with ``use_tss`` False too, equal weights.
        use_tss: False: TBS alone (ablation).

    Attributes:
        weights: of the last round, sum 1.
        scores: what they were made of; None in warm-up.
        skipped: rounds that were no measurement: ``{"round": number, "types": [indices]}``.
    """

    def __init__(
        self,
        n_types: int = 4,
        window: int = 10,
        tau: float = 5.0,
        warmup: int = 10,
        floor: float = 0.1,
        af: str = "positive",
        af_value: float = 0.5,
        use_tbs: bool = True,
        use_tss: bool = True,
    ) -> None:
        _require(n_types >= 1, f"{n_types} types", "at least one")
        _require(window >= 2, f"a window of {window} rounds has no slope", "at least 2")
        _require(warmup >= 0 and tau > 0, f"warmup {warmup}, tau {tau}", "warmup from 0, tau above 0")
        _require(
            0 <= floor < 1 / n_types, f"floor {floor:g} with {n_types} types", f"below {1 / n_types:g}, 0 for none"
        )
        _require(af in MODES, f"no adaptivity factor '{af}'", did_you_mean(af, list(MODES)))
        _require(0 < af_value <= 1, f"af_value {af_value}", "above 0, at most 1")
        self.settings: dict[str, Any] = {
            "n_types": n_types, "window": window, "tau": tau, "warmup": warmup, "floor": floor,
            "af": af, "af_value": af_value, "use_tbs": use_tbs, "use_tss": use_tss,
        }  # fmt: skip
        self.n_types, self.window, self.tau, self.warmup, self.floor = n_types, window, tau, warmup, floor
        self.af, self.af_value, self.use_tbs, self.use_tss = af, af_value, use_tbs, use_tss
        self.weights = [1 / n_types] * n_types
        self.scores: Scores | None = None
        self.skipped: list[dict[str, Any]] = []
        self._calls = 0
        self._rounds = 0  # that were measurements
        self._first: list[float] = []
        self._losses: list[list[float]] = []  # the last N rounds, normalised but for the authors
        self._slopes: list[list[float]] = []  # the last N rounds; of the authors since warm-up
        self._maxima: list[float] = []  # since warm-up

    def update(self, losses: Sequence[float]) -> list[float]:
        """End a round.

        Args:
            losses: each type's mean loss on its probe set, not negative; the first ones set the scale of each type.

        Returns:
            The weights, sum 1: the last ones where a loss is no finite number, which ``skipped`` records.

        Raises:
            UsageError: for a wrong number of losses, or a negative one.
        """
        given = [float(v) for v in losses]
        if len(given) != self.n_types or min(given) < 0:
            raise UsageError(
                f"losses {given} for {self.n_types} types",
                hint="one loss for each type in a fixed order, none negative",
            )
        first = self._first or given
        y = given if self.af == "authors" else [v / max(f, EPS) for v, f in zip(given, first, strict=True)]
        bad = [i for i, v in enumerate(y) if not (math.isfinite(given[i]) and v < LIMIT)]
        if bad:
            self.skipped.append({"round": self._calls, "types": bad})
            self._calls += 1
            return list(self.weights)
        self._calls += 1
        self._first = first
        self._losses = [*self._losses[1 - self.window :], y]
        slopes = [slope(course) for course in zip(*self._losses, strict=True)]
        warm = self._rounds < self.warmup
        self._rounds += 1
        if self.af == "authors":
            self._authors(slopes, warm)
        else:
            self._own(slopes, warm)
        return list(self.weights)

    def _own(self, slopes: list[float], warm: bool) -> None:
        self._slopes = [*self._slopes[1 - self.window :], slopes]
        if warm or len(self._losses) < 2:
            return
        self._maxima.append(max(slopes))
        factor = self.af_value if self.af == "fixed" else _AF[self.af](self._maxima, self.tau)
        self._weigh(slopes, balance(slopes), stability(self._slopes), factor)

    def _authors(self, slopes: list[float], warm: bool) -> None:
        """Their train.py: the slope of the largest loss instead of the largest slope, all histories since warm-up."""
        if warm:
            return
        slopes = [max(-1e3, min(1e3, a)) for a in slopes]
        self._slopes = [*self._slopes[1 - self.window :], slopes]
        worst = slope([max(row) for row in self._losses])
        self._maxima = [*self._maxima[1 - self.window :], worst]
        m = self._maxima
        total = math.fsum(abs(v) for v in m) + 1e-8
        factor = softmax([-self.tau * len(m) * v / total for v in m])[-1]
        self._weigh(slopes, balance(slopes, 1e-8), stability(self._slopes, 1e-8), factor)

    def _weigh(self, slopes: list[float], b: list[float], s: list[float], factor: float) -> None:
        """Equation (10), the ablations and the floor."""
        k = self.n_types
        self.scores = Scores(slopes, b, s, factor)
        share = {(True, True): factor, (True, False): 1.0, (False, True): 0.0}.get((self.use_tbs, self.use_tss))
        w = [1 / k] * k if share is None else [share * x + (1 - share) * z for x, z in zip(b, s, strict=True)]
        if self.af == "authors":
            w = softmax([k * v for v in softmax([k * v for v in w])])
        self.weights = [v * (1 - k * self.floor) + self.floor for v in w]

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """The loss of a batch: K times the weighted sum, so that equal weights give the sum of plain losses.

        Args:
            losses: each type's mean loss over the whole batch (floats or tensors); None for a type that is not in it.
            counts: images of each type; of use to ``authors`` only, whose sum is over images without the factor K.
        """
        if self.af != "authors":
            return weighted(losses, self.weights, float(self.n_types))
        n = counts or [0 if one is None else 1 for one in losses]
        return weighted(losses, self.weights, 1.0, [c / sum(n) for c in n])

    def after_backward(self) -> None:
        """Nothing."""

    def module(self) -> None:
        """None: nothing here is trained."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Numbers in lists and dictionaries, fit for JSON and for checkpoints."""
        return {
            "settings": dict(self.settings),
            "calls": self._calls,
            "rounds": self._rounds,
            "first": list(self._first),
            "losses": [list(r) for r in self._losses],
            "slopes": [list(r) for r in self._slopes],
            "maxima": list(self._maxima),
            "weights": list(self.weights),
            "skipped": [dict(s) for s in self.skipped],
            "scores": None if self.scores is None else dict(vars(self.scores)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            InputError: when it was made with other settings.
        """
        same_settings(self.settings, state["settings"])
        self._calls, self._rounds = int(state["calls"]), int(state["rounds"])
        self._first, self._maxima, self.weights = list(state["first"]), list(state["maxima"]), list(state["weights"])
        self._losses, self._slopes = [list(r) for r in state["losses"]], [list(r) for r in state["slopes"]]
        self.skipped = [dict(s) for s in state["skipped"]]
        self.scores = None if state["scores"] is None else Scores(**state["scores"])


def same_settings(own: dict[str, Any], stored: dict[str, Any]) -> None:
    """Refuse a state of other settings: a run that goes on must go on as it was.

    Raises:
        InputError: with every setting that differs.
    """
    differ = [f"{k} {stored.get(k)!r} there, {v!r} here" for k, v in own.items() if stored.get(k) != v]
    if differ:
        raise InputError(f"the weighting's state has other settings: {'; '.join(differ)}", hint="resume with the same")


def _require(fine: bool, what: str, hint: str) -> None:
    if not fine:
        raise UsageError(what, hint=hint)


# ---------------------------------------------------------------- by name
#: name -> "module:class"; the first five are the Reweighter's modes.
TABLE: dict[str, str] = {
    "positive": "rainrag.training.reweight:Reweighter",
    "paper": "rainrag.training.reweight:Reweighter",
    "literal": "rainrag.training.reweight:Reweighter",
    "fixed": "rainrag.training.reweight:Reweighter",
    "authors": "rainrag.training.reweight:Reweighter",
    "uniform": "rainrag.training.other_weightings:Uniform",
    "static": "rainrag.training.other_weightings:Static",
    "uncertainty": "rainrag.training.other_weightings:Uncertainty",
    "dwa": "rainrag.training.other_weightings:DynamicAverage",
    "continual": "rainrag.training.other_weightings:Continual",
}
WEIGHTINGS: Registry[Callable[..., Weighting]] = Registry("weighting", TABLE, group="rainrag.weightings")


def create(name: str, n_types: int = 4, **options: Any) -> Weighting:
    """A weighting by name.

    Args:
        name: see ``TABLE``; an installed package's, or ``package.module:CLASS``.
        n_types: K.
        options: of its class.

    Raises:
        UsageError: for an unknown name or option.
    """
    kind = WEIGHTINGS.resolve(name)
    if name in MODES:
        options["af"] = name
    try:
        return kind(n_types=n_types, **options)
    except TypeError as e:
        raise UsageError(f"options of the weighting '{name}': {e}", hint="docs/reweighting.md lists them") from e
