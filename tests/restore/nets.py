"""Small networks whose behaviour is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: A UniRain that runs in a moment: one block a level, four to sixteen channels.
SIZES: dict[str, Any] = {
    "preset": "tiny-v1", "widths": [4, 8, 12, 16], "experts": 2, "heads": [1, 1, 1, 1],
}  # fmt: skip


class Darker(nn.Module):
    """Half of every value; counts its calls and notes their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return x * 0.5


class Local(nn.Module):
    """Two 3x3 convolutions: a receptive field of two pixels to each side."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = 0.5 + 0.3 * self.body(x)
        return y


class Mean(nn.Module):
    """Paints the mean of what it sees, or of what ``routing`` saw: it tells a tile from the whole."""

    def routing(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {"level": [x.mean((1, 2, 3))[:, None]]}

    def forward(self, x: Tensor, routes: dict[str, list[Tensor]] | None = None) -> Tensor:
        mean = (self.routing(x) if routes is None else routes)["level"][0]
        assert mean.shape == (len(x), 1)
        return torch.zeros_like(x) + mean[:, :, None, None]


def lively(network: nn.Module, seed: int = 1) -> Any:
    """Weights of a size at which routers, attention and output all matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.8 / max(1, p[0].numel()) ** 0.5)
            if name.endswith("router.linear.weight"):
                nn.init.normal_(p, std=1.0)
    return network.eval()


def unirain(**more: Any) -> Any:
    """A small UniRain that changes its input."""
    from rainrag.models.unirain.network import UniRain

    return lively(UniRain(**{**SIZES, **more}))


def saved(folder: Path) -> Path:
    """A folder as UniRain.save_pretrained writes it."""
    unirain().save_pretrained(folder)
    return folder
