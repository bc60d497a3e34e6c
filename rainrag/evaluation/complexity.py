"""What UniRain's presets cost, counted as the published networks are (``rainrag.baselines.complexity``)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from rainrag.baselines import complexity
from rainrag.baselines.complexity import Complexity
from rainrag.core.errors import UsageError, did_you_mean
from rainrag.models.unirain.experts import MoEAttention
from rainrag.models.unirain.network import UniRain
from rainrag.models.unirain.presets import PRESETS

EXPERTS = 3
#: What a reader should know of a preset's figures.
REASONS = {"base": "the authors published no network; the paper has 24.4 M and 126.5 G, and does not say of what"}


def names() -> list[str]:
    """``unirain/PRESET`` for each."""
    return [f"unirain/{preset}" for preset in PRESETS]


def routes(network: UniRain, expert: int) -> dict[str, torch.Tensor]:
    """Routes by which every hard mixture runs one given expert."""
    even = torch.full((1, EXPERTS), 1 / EXPERTS)
    one = F.one_hot(torch.tensor([expert]), EXPERTS) / EXPERTS
    mixtures = {n.removesuffix(".attention"): m for n, m in network.named_modules() if isinstance(m, MoEAttention)}
    return {name: even if m.router.top_k is None else one for name, m in mixtures.items()}


def of(name: str) -> Complexity:
    """Count a preset: the mean over the expert that its decoder runs; nothing is computed, only shapes.

    Raises:
        UsageError: for a preset that is not there.
    """
    preset = name.removeprefix("unirain/")
    if preset not in PRESETS:
        raise UsageError(f"UniRain has no preset '{preset}'", hint=did_you_mean(preset, list(PRESETS)))
    with torch.device("meta"):
        network: Any = UniRain(preset=preset).eval()
        x = torch.empty(1, 3, complexity.SIDE, complexity.SIDE)
    found = [complexity.measure(_Routed(network, expert), x) for expert in range(EXPERTS)]
    macs, conv = (round(sum(f[i] for f in found) / EXPERTS) for i in (0, 1))
    params = sum(p.numel() for p in network.parameters())
    return Complexity(name, params, params, macs, conv, reason=REASONS.get(preset))


class _Routed(torch.nn.Module):
    """A network whose hard mixtures run one expert."""

    def __init__(self, network: UniRain, expert: int) -> None:
        super().__init__()
        self.network = network
        self.routes = routes(network, expert)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = self.network(x, routes=self.routes)
        return restored
