"""Gated convolution blocks, for levels of high resolution: two halves of the channels are multiplied in place of an
activation function (Chen et al., NAFNet, ECCV 2022, section 3).

Written for CPUs: dense work is one matrix product in channels_last memory, and the gate's gradient is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.models.unirain.blocks import LayerNorm2d, Pointwise, is_last

_SMALL = 0.02  # standard deviation of last weights: a fresh block hands its input on


class _Gate(torch.autograd.Function):
    """a * b of the two halves of the channels; both gradients go into one tensor, without a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        a, b = x.chunk(2, 1)
        return a * b

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        a, b = x.chunk(2, 1)
        out = torch.empty_like(x)
        to_a, to_b = out.chunk(2, 1)
        torch.mul(grads[0], b, out=to_a)
        torch.mul(grads[0], a, out=to_b)
        return out


def gate(x: Tensor) -> Tensor:
    """(B, 2C, H, W) to (B, C, H, W): the product of both halves."""
    plain = not x.requires_grad or torch.compiler.is_compiling() or x.dtype != torch.float32
    if plain or x.device.type != "cpu" or not is_last(x):
        a, b = x.chunk(2, 1)
        return a * b
    y: Tensor = _Gate.apply(x)  # type: ignore[no-untyped-call]
    return y


class LocalScale(nn.Module):
    """Channel attention with local statistics: each channel times a linear map of the mean features around it. Cells have
    a fixed size, so crops and whole photographs are treated alike.

    Args:
        channels: of the feature map.
        cell: side of the cells over which means are taken; between cells the factors are interpolated.
    """

    def __init__(self, channels: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.linear = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        means = F.avg_pool2d(x, self.cell, self.cell, ceil_mode=True, count_include_pad=False)
        return x * F.interpolate(self.linear(means), x.shape[2:], mode="bilinear", align_corners=False)


class GatedFFN(nn.Module):
    """1x1 convolution, gate, 1x1 convolution.

    Args:
        channels: input and output channels.
        expansion: hidden channels are ``int(channels * expansion)``.
    """

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = Pointwise(channels, 2 * hidden, True)
        self.project_out = Pointwise(hidden, channels, True)
        nn.init.normal_(self.project_out.weight, std=_SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = self.project_out(gate(self.project_in(x)))
        return out


class GatedBlock(nn.Module):
    """x + gated convolution(norm x), then x + gated feed-forward(norm x).

    Args:
        channels: of the feature map.
        expansion: of the feed-forward part.
        cell: see LocalScale; None for no channel attention.
    """

    def __init__(self, channels: int, expansion: float = 1.0, cell: int | None = None) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.project_in = Pointwise(channels, 2 * channels, True)
        self.dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.scale = nn.Identity() if cell is None else LocalScale(channels, cell)
        self.project_out = Pointwise(channels, channels, True)
        nn.init.normal_(self.project_out.weight, std=_SMALL)
        self.norm2 = LayerNorm2d(channels)
        self.ffn = GatedFFN(channels, expansion)

    def forward(
        self, x: Tensor, name: str = "", given: Mapping[str, Tensor] | None = None, seen: dict[str, Any] | None = None
    ) -> Tensor:
        """(B, C, H, W) to the same. The other arguments are those of ``levels.Block``: here nothing is routed."""
        x = x + self.project_out(self.scale(gate(self.dwconv(self.project_in(self.norm1(x))))))
        out: Tensor = x + self.ffn(self.norm2(x))
        return out
