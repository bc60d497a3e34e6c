"""Histoformer: histogram transformer for adverse weather (Sun et al., ECCV 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named
from rainrag.baselines.layers.unet import RestormerUNet, conv, depthwise
from rainrag.core.types import Archive


def channel_norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer normalisation over the channels of each pixel; the published network has no affine part."""
    var, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(var + eps)


def unsort(x: Tensor, order: Tensor, dim: int) -> Tensor:
    """Undo ``sort``: element i goes back to where it came from, ``order[i]``."""
    return torch.empty_like(x).scatter(dim, order, x)


class DHSA(nn.Module):
    """Dynamic-range histogram self-attention: pixels of like intensity attend to each other.

    Args:
        channels: input and output channels.
        heads: attention heads, and number of bins.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv(channels, channels * 5, 1)
        self.qkv_dwconv = depthwise(channels * 5, 3)
        self.project_out = conv(channels, channels, 1)

    def _bins(self, x: Tensor, interleaved: bool) -> Tensor:
        """Sorted (B, C, N) to (B, heads, C / heads * bins, N / bins), zero-padded where N is no multiple of the bins.

        A bin is a run of neighbours in sorted order or, interleaved, takes every ``bins``-th pixel.
        """
        x = F.pad(x, (0, -x.shape[-1] % self.heads))
        x = x.unflatten(-1, (-1, self.heads)).transpose(-2, -1) if interleaved else x.unflatten(-1, (self.heads, -1))
        return x.reshape(x.shape[0], self.heads, -1, x.shape[-1])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, interleaved: bool) -> Tensor:
        """Attention between channels and bins of a head: (B, C, N) each, to (B, C, N)."""
        b, c, n = v.shape
        q, k, v = (self._bins(t, interleaved) for t in (q, k, v))
        qn = q.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        kn = k.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        # Softmax with one more in the denominator, so that a row may attend to nothing. A cosine times the temperature
        # is small: no maximum has to be taken out.
        weight = ((q @ k.transpose(-2, -1)) / (qn * kn.transpose(-2, -1)) * self.temperature).exp()
        out = (weight / (weight.sum(-1, keepdim=True) + 1)).to(v.dtype) @ v
        out = out.reshape(b, c, self.heads, -1)
        restored: Tensor = (out.transpose(-2, -1) if interleaved else out).reshape(b, c, -1)[..., :n]
        return restored

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        b, c, h, w = x.shape
        half = c // 2
        ranked, rows = x[:, :half].sort(dim=-2)
        ranked, cols = ranked.sort(dim=-1)
        x = self.qkv_dwconv(self.qkv(torch.cat([ranked, x[:, half:]], 1)))
        q1, k1, q2, k2, v = x.reshape(b, 5, c, h * w).unbind(1)
        v, order = v.sort(dim=-1)
        q1, k1, q2, k2 = (t.gather(-1, order) for t in (q1, k1, q2, k2))
        out = self._attend(q1, k1, v, interleaved=False) * self._attend(q2, k2, v, interleaved=True)
        out = self.project_out(unsort(out, order, -1).reshape(b, c, h, w))
        first = unsort(unsort(out[:, :half], cols, -1), rows, -2)
        return torch.cat([first, out[:, half:]], 1)


class DGFF(nn.Module):
    """Dual-scale gated feed-forward: 5x5 and dilated 3x3 branches at twice the resolution.

    Args:
        channels: input and output channels.
        expansion: hidden channels are ``int(channels * expansion)``.
    """

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = conv(channels, hidden * 2, 1)
        self.dwconv_5 = depthwise(hidden // 4, 5)
        self.dwconv_dilated2_1 = depthwise(hidden // 4, 3, dilation=2)
        self.project_out = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        a, b = F.pixel_shuffle(self.project_in(x), 2).chunk(2, dim=1)
        y = F.mish(self.dwconv_dilated2_1(b)) * self.dwconv_5(a)
        out: Tensor = self.project_out(F.pixel_unshuffle(y, 2))
        return out


class HistogramBlock(nn.Module):
    """Histogram transformer block: attention, then feed-forward, each over normalised features.

    Args:
        channels: input and output channels.
        heads: attention heads.
        expansion: of the feed-forward network.
    """

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.attn_g = DHSA(channels, heads)
        self.ffn = DGFF(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = x + self.attn_g(channel_norm(x))
        out: Tensor = x + self.ffn(channel_norm(x))
        return out


def skip_embed() -> nn.Sequential:
    """The image at half the size, through a separable convolution."""
    return named(proj=nn.Sequential(nn.AvgPool2d(2), conv(3, 3, 1), depthwise(3, 3)))


class Histoformer(RestormerUNet):
    """The network: a Restormer-shaped U-Net that sees the image again at each level.

    Args:
        dim: channels of the first level.
        blocks: transformer blocks of each level.
        heads: attention heads of each level.
        expansion: of the feed-forward networks.
        refinement: blocks after the decoder.
        intermediates: return ``{"y": image}``.
    """

    def __init__(
        self,
        dim: int = 36,
        blocks: tuple[int, ...] = (4, 4, 6, 8),
        heads: tuple[int, ...] = (1, 2, 4, 8),
        expansion: float = 2.667,
        refinement: int = 4,
        intermediates: bool = False,
    ) -> None:
        def block(channels: int, heads: int) -> HistogramBlock:
            return HistogramBlock(channels, heads, expansion)

        super().__init__(dim, blocks, heads, block, "Histoformer", intermediates)
        self.refinement = nn.Sequential(*(block(dim * 2, heads[0]) for _ in range(refinement)))
        self.skip_patch_embed1 = skip_embed()
        self.skip_patch_embed2 = skip_embed()
        self.skip_patch_embed3 = skip_embed()
        self.reduce_chan_level_1 = conv(dim * 2 + 3, dim * 2, 1)
        self.reduce_chan_level_2 = conv(dim * 4 + 3, dim * 4, 1)
        self.reduce_chan_level_3 = conv(dim * 8 + 3, dim * 8, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to the features of the three encoder levels and the latent ones."""
        s1 = self.skip_patch_embed1(x)
        s2 = self.skip_patch_embed2(s1)
        s3 = self.skip_patch_embed3(s2)
        e1 = self.encoder_level1(self.patch_embed(x))
        e2 = self.encoder_level2(self.reduce_chan_level_1(torch.cat([self.down1_2(e1), s1], 1)))
        e3 = self.encoder_level3(self.reduce_chan_level_2(torch.cat([self.down2_3(e2), s2], 1)))
        return e1, e2, e3, self.latent(self.reduce_chan_level_3(torch.cat([self.down3_4(e3), s3], 1)))


_HOSTS = (Archive("hub", "sunsean/Histoformer"), Archive("gdrive", "1dmPhr8Z5iPRx9lh7TwdUFPSfwGIxp5l0"))

HISTOFORMER = Baseline(
    Card(
        name="histoformer",
        title="Histoformer",
        paper="Restoring Images in Adverse Weather Conditions via Histogram Transformer",
        venue="ECCV 2024",
        repo="https://github.com/sunshangquan/Histoformer",
        commit="1f045f06c03551c31504d8042dbe6ff9b9569108",
        licence="none stated",
        multiple=8,
        padding="reflect, right and bottom, to a multiple of 8, only where needed",
        params=16_615_100,
        gmacs=113.333,
        gmacs_conv=91.589,
        weights=tuple(
            Weights(tag, ("outdoor-rain", "raindrop", "snow100k"), archive, container="params")
            for tag, archive in zip(("all-weather", "all-weather-drive"), _HOSTS, strict=True)
        ),
        claims=(
            Claim("outdoor-rain", 32.08, 0.9389, source="paper", weights="all-weather", verified=False),
            Claim("raindrop", 33.06, 0.9441, source="paper", weights="all-weather", verified=False),
        ),
        notes=(
            "Pixels are sorted by value, so rounding swaps near-ties: in single precision and with random weights, the "
            "authors' code gave outputs that differ by 0.2 between thread counts; only float64 is reproducible.",
            "The defaults here are the published configuration (the yml of the authors' training), not the defaults of "
            "the authors' class.",
            "The sources of the weights are those of the paper's all-weather training, quoted from memory.",
        ),
        fixture="Histoformer",
    ),
    build=Histoformer,
)
