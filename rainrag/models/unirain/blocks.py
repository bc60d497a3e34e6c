"""Building blocks of the Restormer family (Zamir et al., CVPR 2022), written for speed where it is exact.

Feature maps are (B, C, H, W). Everything works in NCHW and in channels_last memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel, with weight and bias (eps 1e-5, biased variance).

    In channels_last memory it is the fused kernel on a view; in NCHW it is computed in place of the usual two copies.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        if x.is_contiguous(memory_format=torch.channels_last):
            y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, self.eps)
            return y.permute(0, 3, 1, 2)
        # torch.var_mean over dim 1 is several times slower than two plain means on CPU.
        d = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(d.square().mean(1, keepdim=True) + self.eps)
        w, b = self.weight[:, None, None], self.bias[:, None, None]
        return d * scale * w + b


def is_last(x: Tensor) -> bool:
    """Whether a feature map lies in channels_last memory (and not in NCHW as well, as thin ones do)."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution with a (out, in, 1, 1) kernel. In channels_last memory on a CPU it is one matrix product: PyTorch's
    convolution takes a slow road there when channels are few."""
    if x.device.type == "cpu" and is_last(x):
        return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias)


class Pointwise(nn.Conv2d):
    """``nn.Conv2d`` of kernel 1, done by ``pointwise``."""

    def __init__(self, channels: int, out: int, bias: bool = False) -> None:
        super().__init__(channels, out, 1, bias=bias)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, out, H, W), each image's times its (B, 1) scale."""
        if scale is None:
            return pointwise(x, self.weight, self.bias)
        y = scaled(x, self.weight, scale)
        return y if self.bias is None else y + self.bias[:, None, None] * scale.to(y.device, y.dtype)[:, :, None, None]


def scaled(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """1x1 convolution of x times the scale, (B, 1) or (B, C). It is linear, so a single image's scale goes onto the
    kernel, which is small, and not onto the feature map."""
    scale = scale.to(x.device, x.dtype)[:, :, None, None]
    return pointwise(x, weight * scale) if len(scale) == 1 else pointwise(x * scale, weight)


def channel_affinity(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
    """softmax(cos(q, k) * temperature), (B, heads, c, c), of (B, heads, c, H*W) queries and keys.

    The cosine comes from dividing the small (c x c) product by the norms, so no normalised copies of q and k are
    written; that equals normalising them first (each norm at least 1e-12).
    """
    qn, kn = (t.square().sum(-1, keepdim=True).clamp_min(1e-24).sqrt() for t in (q, k))
    logits = (q @ k.transpose(-2, -1)) / (qn * kn.transpose(-2, -1))
    return (logits * temperature).softmax(dim=-1)


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Transposed (channel) attention of MDTA: softmax(cos(q, k) * temperature) v.

    Args:
        q, k, v: (B, heads, c, H*W).
        temperature: (heads, 1, 1).

    Returns:
        (B, heads, c, H*W).
    """
    return channel_affinity(q, k, temperature) @ v


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention (Restormer, section 3.1).

    Args:
        channels: input and output channels.
        heads: attention heads; divides ``rank``.
        bias: of all convolutions.
        rank: channels in which attention is computed; None for ``channels``.
    """

    def __init__(self, channels: int, heads: int, bias: bool = False, rank: int | None = None) -> None:
        super().__init__()
        inner = rank or channels
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(channels, inner * 3, bias)
        self.qkv_dwconv = nn.Conv2d(inner * 3, inner * 3, 3, padding=1, groups=inner * 3, bias=bias)
        self.project_out = Pointwise(inner, channels, bias)

    def attend(self, qkv: Tensor) -> Tensor:
        """Attention alone: (B, 3 * rank, H, W), queries, keys and values, to (B, rank, H, W)."""
        b, _, h, w = qkv.shape
        if is_last(qkv):  # the same on strided views: with one head nothing is copied
            q, k, v = qkv.permute(0, 2, 3, 1).reshape(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
            attention = channel_affinity(q, k, self.temperature)
            mixed: Tensor = (v.transpose(-2, -1) @ attention.transpose(-2, -1)).transpose(1, 2)
            return mixed.reshape(b, h, w, -1).permute(0, 3, 1, 2)
        q, k, v = qkv.reshape(b, 3, self.heads, -1, h * w).unbind(1)
        return channel_attention(q, k, v, self.temperature).reshape(b, -1, h, w)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same, each image's times its (B, 1) scale."""
        mixed: Tensor = self.project_out(self.attend(self.qkv_dwconv(self.qkv(x))), scale)
        return mixed


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network (Restormer, section 3.2): gelu(a) * b between two 1x1 convolutions.

    Args:
        channels: input and output channels.
        expansion: hidden channels are ``int(channels * expansion)``.
        bias: of all convolutions.
    """

    def __init__(self, channels: int, expansion: float, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = Pointwise(channels, hidden * 2, bias)
        self.dwconv = nn.Conv2d(hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2, bias=bias)
        self.project_out = Pointwise(hidden, channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        y: Tensor = self.project_out(F.gelu(a) * b)
        return y


def downsample(channels: int) -> nn.Sequential:
    """3x3 convolution to half the channels, then pixel-unshuffle: (C, H, W) -> (2C, H/2, W/2)."""
    return nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))


def upsample(channels: int) -> nn.Sequential:
    """3x3 convolution to twice the channels, then pixel-shuffle: (C, H, W) -> (C/2, 2H, 2W)."""
    return nn.Sequential(nn.Conv2d(channels, channels * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))
