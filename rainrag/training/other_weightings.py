"""Other ways to weigh the rain types' losses, behind the reweighter's interface (``reweight.Weighting``).

uniform and static weights; homoscedastic uncertainty (Kendall et al., CVPR 2018); dynamic weight average (Liu et al.,
CVPR 2019); continual learning with a penalty on moving the weights that matter (PIGWM, Zhou et al., CVPR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from rainrag.core.errors import UsageError
from rainrag.training.reweight import EPS, same_settings, softmax, weighted


class Static:
    """Weights that never change.

    Args:
        n_types: K.
        values: one a type, not negative; scaled to sum 1.
    """

    def __init__(self, n_types: int = 4, values: Sequence[float] = ()) -> None:
        total = math.fsum(values)
        if len(values) != n_types or min(values) < 0 or not 0 < total < math.inf:
            raise UsageError(f"weights {list(values)} for {n_types} types", hint="one for each type, none negative")
        self.n_types = n_types
        self.weights = [float(v) / total for v in values]

    def update(self, losses: Sequence[float]) -> list[float]:
        """The same weights again."""
        _counted(losses, self.n_types)
        return list(self.weights)

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """K times the weighted sum over the types in the batch."""
        return weighted(losses, self.weights, float(self.n_types))

    def after_backward(self) -> None:
        """Nothing."""

    def module(self) -> None:
        """None: nothing here is trained."""
        return

    def state_dict(self) -> dict[str, Any]:
        """The weights."""
        return {"weights": list(self.weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check that they are the same; InputError where they are not."""
        same_settings({"weights": self.weights}, state)


class Uniform(Static):
    """Equal weights: the plain sum of the types' losses.

    Args:
        n_types: K.
    """

    def __init__(self, n_types: int = 4) -> None:
        super().__init__(n_types, [1.0] * n_types)


class DynamicAverage:
    """Dynamic weight average: softmax of L(t-1) / L(t-2) over a temperature; the slower a loss falls, the larger.

    Args:
        n_types: K.
        temperature: T; the larger, the more equal. The authors' 2.
    """

    def __init__(self, n_types: int = 4, temperature: float = 2.0) -> None:
        if not temperature > 0:
            raise UsageError(f"temperature {temperature}", hint="above 0; the authors' is 2")
        self.n_types, self.temperature = n_types, temperature
        self.weights = [1 / n_types] * n_types
        self._last: list[float] = []

    def update(self, losses: Sequence[float]) -> list[float]:
        """Weights from this round's losses over the last round's; the last ones where a loss is not finite."""
        given = _counted(losses, self.n_types)
        if not all(map(math.isfinite, given)):
            return list(self.weights)
        if self._last:
            ratios = [v / max(before, EPS) for v, before in zip(given, self._last, strict=True)]
            self.weights = softmax([r / self.temperature for r in ratios])
        self._last = given
        return list(self.weights)

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """K times the weighted sum over the types in the batch."""
        return weighted(losses, self.weights, float(self.n_types))

    def after_backward(self) -> None:
        """Nothing."""

    def module(self) -> None:
        """None: nothing here is trained."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Weights and the last losses."""
        return {"settings": self._settings(), "weights": list(self.weights), "last": list(self._last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave; InputError for other settings."""
        same_settings(self._settings(), state["settings"])
        self.weights, self._last = list(state["weights"]), list(state["last"])

    def _settings(self) -> dict[str, Any]:
        return {"n_types": self.n_types, "temperature": self.temperature}


class Uncertainty:
    """Weights from learned uncertainty: sum of L exp(-s) + s over the types, the likelihood of a Laplace error.

    s, the logarithm of a type's error scale, is a parameter: give ``module()`` to the optimiser beside the network's
    (without weight decay). At the optimum exp(s) is the type's loss, so that an easy type weighs more.

    Args:
        n_types: K.
    """

    def __init__(self, n_types: int = 4) -> None:
        self.n_types = n_types
        self._module: Any = None

    def module(self) -> Any:
        """ParameterDict with ``log_scale`` (K,), zeros at first; made at the first call."""
        if self._module is None:
            import torch

            self._module = torch.nn.ParameterDict({"log_scale": torch.nn.Parameter(torch.zeros(self.n_types))})
        return self._module

    @property
    def weights(self) -> list[float]:
        """exp(-s) scaled to sum 1; equal before training."""
        return softmax([-s for s in self._scales()])

    def _scales(self) -> list[float]:
        scales: list[float] = self.module()["log_scale"].tolist()
        return scales

    def update(self, losses: Sequence[float]) -> list[float]:
        """The weights as training has made them: the probe's losses play no part."""
        _counted(losses, self.n_types)
        return self.weights

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """Sum of L exp(-s) + s over the types in the batch; of tensors."""
        scales = self.module()["log_scale"]
        terms = [one * (-s).exp() + s for s, one in zip(scales, losses, strict=True) if one is not None]
        return weighted(terms, [1.0] * len(terms), 1.0)

    def after_backward(self) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The parameter as numbers (float32 values, exact)."""
        return {"n_types": self.n_types, "log_scale": self._scales()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave; InputError for another number of types."""
        same_settings({"n_types": self.n_types}, state)
        parameter = self.module()["log_scale"]
        parameter.data.copy_(parameter.data.new_tensor(state["log_scale"]))


class Penalty(Protocol):
    """What keeps a network from forgetting: ``rainrag.baselines.pigwm.ImportancePenalty(network)``."""

    def penalty(self) -> Any:
        """Scalar to add to the loss."""

    def add(self) -> None:
        """Take this step's gradients into account."""

    def finish(self) -> None:
        """End a data set."""

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""


class Continual:
    """One type after the other, as PIGWM learns data sets: the current type's loss and a penalty on forgetting.

    The gradients of a type's last round make the importance of the weights, which then guards them. All rounds after
    the last type's are its own.

    Args:
        n_types: K.
        penalty: of the network that is trained; works for any network.
        rounds: of each type.
    """

    def __init__(self, n_types: int = 4, *, penalty: Penalty, rounds: int = 10) -> None:
        if rounds < 1:
            raise UsageError(f"{rounds} rounds of each type", hint="at least 1")
        self.n_types, self.rounds, self.penalty = n_types, rounds, penalty
        self._done = 0

    @property
    def current(self) -> int:
        """Index of the type that is learned now."""
        return min(self._done // self.rounds, self.n_types - 1)

    @property
    def weights(self) -> list[float]:
        """1 for the current type, 0 for the others."""
        return [float(i == self.current) for i in range(self.n_types)]

    def update(self, losses: Sequence[float]) -> list[float]:
        """End a round; after a type's last one its importance is taken and the next type follows."""
        _counted(losses, self.n_types)
        if self._measuring():
            self.penalty.finish()
        self._done += 1
        return self.weights

    def _measuring(self) -> bool:
        """Whether this is the last round of a type that another one follows."""
        return self.current < self.n_types - 1 and (self._done + 1) % self.rounds == 0

    def loss(self, losses: Sequence[Any], counts: Sequence[int] | None = None) -> Any:
        """The current type's loss and the penalty; the penalty alone where the type is not in the batch."""
        one = losses[self.current]
        guard = self.penalty.penalty()
        return guard if one is None else one + guard

    def after_backward(self) -> None:
        """In a type's last round, add the step's gradients to the importance."""
        if self._measuring():
            self.penalty.add()

    def module(self) -> None:
        """None: nothing here is trained."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Round, importance and anchors."""
        return {"settings": self._settings(), "done": self._done, "penalty": self.penalty.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave; InputError for other settings or another network."""
        same_settings(self._settings(), state["settings"])
        self.penalty.load_state_dict(state["penalty"])
        self._done = int(state["done"])

    def _settings(self) -> dict[str, Any]:
        return {"n_types": self.n_types, "rounds": self.rounds}


def _counted(losses: Sequence[float], n_types: int) -> list[float]:
    if len(losses) != n_types:
        raise UsageError(f"{len(losses)} losses for {n_types} types", hint="one loss for each type in a fixed order")
    return [float(v) for v in losses]
