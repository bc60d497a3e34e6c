"""PIGWM (Zhou et al., CVPR 2021): PReNet learning one data set after the other without forgetting the earlier ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card
from rainrag.baselines.prenet import build, refuse_foreign
from rainrag.core.errors import InputError, UsageError


class ImportancePenalty:
    """Parameter-importance guided weights modification: keeps the weights that mattered for earlier data sets.

    After each data set every weight has an importance I, the mean of |dLoss/dw| over the last epoch's steps, averaged
    over the data sets so far, and an anchor w*, its value then. For the next data sets each parameter tensor adds

        beta / 2 * s + beta / 2 * s^2   with   s = sum(I * |w - w*|)

    to the loss (the authors train with -SSIM). Use: add ``penalty()`` to the loss; in the last epoch call ``add()``
    after each backward and before gradients are clipped or zeroed; call ``finish()`` when the data set is done.

    Args:
        network: whose trainable parameters are guarded.
        beta: weight of both terms.
    """

    def __init__(self, network: nn.Module, beta: float = 0.95) -> None:
        self.beta = beta
        self.tasks = 0
        self.steps = 0
        self._parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._sums: dict[str, Tensor] = {}
        self._importance: dict[str, Tensor] = {}
        self._anchors: dict[str, Tensor] = {}

    def penalty(self) -> Tensor:
        """Scalar to add to the loss; zero during the first data set."""
        first = next(iter(self._parameters.values()))
        total = first.new_zeros(())
        for name, importance in self._importance.items():
            w = self._parameters[name]
            s = (importance.to(w.device) * (w - self._anchors[name].to(w.device)).abs()).sum()
            total = total + self.beta / 2 * (s + s.square()).to(total.device)
        return total

    @torch.no_grad()
    def add(self) -> None:
        """Add this step's |dLoss/dw|; a parameter without gradient counts as zero."""
        self.steps += 1
        for name, w in self._parameters.items():
            if w.grad is not None:
                magnitude = w.grad.abs()
                held = self._sums.get(name)
                self._sums[name] = magnitude if held is None else held.to(w.device).add_(magnitude)

    @torch.no_grad()
    def finish(self) -> None:
        """End a data set: average its importance into the running one and anchor the weights.

        Raises:
            UsageError: when no step was added.
        """
        if self.steps == 0:
            raise UsageError("no gradient was added for this data set", hint="call add() after each backward")
        for name, w in self._parameters.items():
            new = self._sums.get(name, torch.zeros_like(w)).to(w.device) / self.steps
            old = self._importance.get(name, torch.zeros_like(w)).to(w.device)
            self._importance[name] = (old * self.tasks + new) / (self.tasks + 1)
            self._anchors[name] = w.detach().clone()
        self.tasks += 1
        self.steps = 0
        self._sums = {}

    def state_dict(self) -> dict[str, Any]:
        """Counters and tensors by parameter name, for checkpoints (also in the middle of an epoch)."""
        return {
            "tasks": self.tasks,
            "steps": self.steps,
            "sums": dict(self._sums),
            "importance": dict(self._importance),
            "anchors": dict(self._anchors),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            InputError: when it belongs to another network.
        """
        tables = {k: dict(state[k]) for k in ("sums", "importance", "anchors")}
        for table in tables.values():
            for name, tensor in table.items():
                own = self._parameters.get(name)
                if own is None or own.shape != tensor.shape:
                    raise InputError(f"the importance of '{name}' {tuple(tensor.shape)} fits no parameter here")
        if state["tasks"] and set(tables["importance"]) != set(self._parameters):
            missing = sorted(set(self._parameters) - set(tables["importance"]))
            raise InputError(f"no importance is stored for {len(missing)} parameters, e.g. {', '.join(missing[:3])}")
        # Cloned: later steps add to the sums in place.
        own_tables = {k: {n: t.clone() for n, t in table.items()} for k, table in tables.items()}
        self.tasks, self.steps = int(state["tasks"]), int(state["steps"])
        self._sums, self._importance, self._anchors = (own_tables[k] for k in ("sums", "importance", "anchors"))


PIGWM = Baseline(
    Card(
        name="pigwm",
        title="PIGWM",
        paper="Image De-raining via Continual Learning",
        venue="CVPR 2021",
        repo="https://github.com/manman1995/Image-De-raining-via-Continual-Learning",
        commit="f287b7f",
        licence="none stated",
        receptive=78,
        padding="none, any size (as PReNet)",
        quantise="truncate",
        params=168_963,
        gmacs=66.24903168,
        gmacs_conv=66.24903168,
        notes=(
            "A training method: the network is PReNet's, the objective is rainrag.baselines.pigwm.ImportancePenalty.",
            "No weights were published; PReNet's own weights load, but they are not PIGWM's.",
            "The authors train with -SSIM as the loss, Adam as PReNet, beta 0.95.",
        ),
        fixture="PReNet",
        options={"iterations": "stages T, 6 as published"},
    ),
    build=build,
    check=refuse_foreign,
)
