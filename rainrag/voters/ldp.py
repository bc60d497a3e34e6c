"""MobileVLM's projectors: image tokens of the vision tower, a quarter of them, in the language model's width.

LDP: Chu et al., "MobileVLM: A Fast, Strong and Open Vision Language Assistant for Mobile Devices" (2023), figure 4.
LDPv2: Chu et al., "MobileVLM V2: Faster and Stronger Baseline for Vision Language Model" (2024), section 3.
Names of the parts are those of the published weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rainrag.core.errors import InputError


def grid(tokens: Tensor) -> Tensor:
    """(B, N, C) tokens of a square image in raster order as (B, C, H, H).

    Raises:
        InputError: when N is no square.
    """
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise InputError(
            f"{tokens.shape[1]} image tokens are no square", hint="the vision tower's input must be square"
        )
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], side, side)


def tokens(grid: Tensor) -> Tensor:
    """(B, C, H, W) as (B, H * W, C) tokens in raster order."""
    return grid.flatten(2).transpose(1, 2)


class PixelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5)  # 1e-5 gives the authors' outputs; MobileNetV3's usual 1e-6 does not

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Channel gates from the global mean (Hu et al. 2018), hard sigmoid as in MobileNetV3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _divisible(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        gates = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gates)


def _divisible(width: float) -> int:
    """MobileNet's rounding to a multiple of 8, never losing more than a tenth."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class DepthwiseBlock(nn.Module):
    """MobileNetV3's inverted residual without expansion: depthwise 3x3, squeeze-excite, 1x1; a skip at stride 1."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.block = nn.Sequential(
            nn.Sequential(depthwise, PixelNorm(channels), nn.Hardswish()),
            SqueezeExcite(channels),
            nn.Sequential(pointwise, PixelNorm(channels)),
        )
        self.skip = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), halved at stride 2."""
        y: Tensor = self.block(x)
        return x + y if self.skip else y


class _Ldp(nn.Module):
    def __init__(self, vision: int, text: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Identity(), nn.Linear(vision, text), nn.GELU(), nn.Linear(text, text))
        self.mb_block = nn.Sequential(nn.Identity(), DepthwiseBlock(text, 1), DepthwiseBlock(text, 2))

    def forward(self, x: Tensor) -> Tensor:
        return tokens(self.mb_block(grid(self.mlp(x))))


class Ldp(nn.Module):
    """Lightweight downsample projector of MobileVLM (``ldpnet``).

    Args:
        vision: width of the vision tower.
        text: width of the language model.
    """

    def __init__(self, vision: int, text: int) -> None:
        super().__init__()
        self.model = _Ldp(vision, text)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, vision) patch tokens of a square grid -> (B, N / 4, text)."""
        y: Tensor = self.model(x)
        return y


class _Features(nn.Module):
    def __init__(self, vision: int, text: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(vision, text), nn.GELU(), nn.Linear(text, text))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp(x)
        return y


class _Positions(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.peg = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, groups=channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.peg(x)
        return x + y


class LdpV2(nn.Module):
    """Projector of MobileVLM V2 (``ldpnetv2``): pointwise layers, average pooling to 12 x 12, position injection.

    Args:
        vision: width of the vision tower.
        text: width of the language model.
    """

    SIDE = 12

    def __init__(self, vision: int, text: int) -> None:
        super().__init__()
        self.mlp = _Features(vision, text)
        self.peg = _Positions(text)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, vision) patch tokens of a square grid -> (B, 144, text)."""
        pooled = F.adaptive_avg_pool2d(grid(self.mlp(x)), self.SIDE)
        return tokens(self.peg(pooled))


#: ``mm_projector_type`` of the published configurations -> class
PROJECTORS: dict[str, type[nn.Module]] = {"ldpnet": Ldp, "ldpnetv2": LdpV2}


def projector(kind: str, vision: int, text: int, state: dict[str, Tensor]) -> nn.Module:
    """A projector with its published weights.

    Args:
        kind: ``mm_projector_type``.
        vision, text: widths.
        state: weights, without the prefix that they have in a checkpoint.

    Raises:
        InputError: for an unknown kind, or weights that do not fit it.
    """
    if kind not in PROJECTORS:
        raise InputError(f"no projector '{kind}'", hint=f"known: {', '.join(PROJECTORS)}")
    with torch.device("meta"):
        made = PROJECTORS[kind](vision, text)
    try:
        made.load_state_dict(state, assign=True)
    except RuntimeError as e:
        raise InputError(f"the weights do not fit the projector '{kind}': {e}") from e
    return made
