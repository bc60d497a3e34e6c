"""MSDT: multi-scale deraining transformer with over-parameterised convolutions (Chen et al., AAAI 2024)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Weights
from rainrag.baselines.layers.nested import TransformerBlock, named, require_size
from rainrag.core.types import Archive
from rainrag.models.unirain.blocks import GDFN, MDTA, downsample, upsample

WIDTHS = (32, 64, 128)
HEADS = (1, 2, 4)
#: Tenths of the channels of a head that attention keeps, at full, half and quarter scale.
KEPT = (6, 7, 8)
EXPANSION = 2.66


class DOConv2d(nn.Module):
    """Depthwise over-parameterised convolution without bias (Cao et al., TIP 2022), zero padding kernel // 2.

    Every input channel's kernel is a linear map of its weights: kernel[o, i] = (D + identity)[i] W[o, i]. The map is
    folded into the kernel at run time, which is exact, so it costs nothing per pixel. 1x1 kernels have no map.

    Args:
        inputs, outputs: channels.
        kernel: odd side.
        stride: of the convolution.
        groups: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.inputs, self.kernel, self.stride, self.groups = inputs, kernel, stride, groups
        taps = kernel * kernel
        self.W = nn.Parameter(torch.empty(outputs, inputs // groups, taps))
        nn.init.kaiming_uniform_(self.W, a=math.sqrt(5))
        if kernel > 1:
            self.D = nn.Parameter(torch.zeros(inputs, taps, taps))
            self.D_diag = nn.Parameter(torch.eye(taps).repeat(inputs, 1, 1), requires_grad=False)

    def weight(self) -> Tensor:
        """The kernel in effect, (outputs, inputs / groups, kernel, kernel)."""
        if self.kernel == 1:
            return self.W.unsqueeze(-1)
        per_input = self.W.reshape(-1, self.inputs, self.kernel**2).transpose(0, 1)
        folded = torch.bmm(per_input, (self.D + self.D_diag).transpose(1, 2)).transpose(0, 1)
        return folded.reshape(*self.W.shape[:2], self.kernel, self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return F.conv2d(x, self.weight(), None, self.stride, self.kernel // 2, 1, self.groups)


def _conv(
    inputs: int, outputs: int, kernel: int, relu: bool = False, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Over-parameterised convolution, ReLU on demand."""
    conv = DOConv2d(inputs, outputs, kernel, stride, groups)
    return named(main=nn.Sequential(conv, nn.ReLU()) if relu else nn.Sequential(conv))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return named(main=nn.Sequential(conv, nn.ReLU()))


class FourierResBlock(nn.Module):
    """x plus a spatial branch plus a branch of 1x1 convolutions on the spectrum.

    Args:
        channels: of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(_conv(channels, channels, 3, relu=True), _conv(channels, channels, 3))
        self.main_fft = nn.Sequential(
            _conv(2 * channels, 2 * channels, 1, relu=True), _conv(2 * channels, 2 * channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        # Half precision has no transforms of any size, hence at least float32 on both sides of the convolutions.
        spectrum = torch.fft.rfft2(_wide(x))
        real, imaginary = _wide(self.main_fft(torch.cat([spectrum.real, spectrum.imag], dim=1))).chunk(2, dim=1)
        out: Tensor = self.main(x) + x + torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[2:])
        return out


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


class TopKAttention(MDTA):
    """MDTA that keeps the strongest channels of each row of the attention (section 3.2).

    Args:
        channels: of the feature map.
        heads: divides ``channels``.
        kept: channels kept for each.
    """

    def __init__(self, channels: int, heads: int, kept: int) -> None:
        super().__init__(channels, heads)
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # there are no other scales here
        """(B, C, H, W) to the same."""
        b, _, h, w = x.shape
        q, k, v = self.qkv_dwconv(self.qkv(x)).reshape(b, 3, self.heads, -1, h * w).unbind(1)
        # Cosines by dividing the small product, so that no normalised copies of q and k are written.
        q_norm, k_norm = (t.norm(dim=-1, keepdim=True).clamp_min(1e-12) for t in (q, k))
        logits = q @ k.transpose(-2, -1) / (q_norm * k_norm.transpose(-2, -1)) * self.temperature
        values, where = logits.topk(self.kept, dim=-1, sorted=False)
        weights = torch.zeros_like(logits).scatter(-1, where, values.softmax(dim=-1).to(logits.dtype))
        out: Tensor = self.project_out((weights @ v).reshape(b, -1, h, w))
        return out


def _transformer(channels: int, heads: int, tenths: int) -> TransformerBlock:
    attn = TopKAttention(channels, heads, channels // heads * tenths // 10)
    ffn = GDFN(channels, EXPANSION)
    hidden = ffn.dwconv.in_channels
    ffn.add_module("dwconv", _conv(hidden, hidden, 3, groups=hidden))
    return TransformerBlock(channels, attn, ffn)


def _stage(level: int, pairs: int) -> nn.Sequential:
    """Pairs of residual and transformer blocks at level 0 (full), 1 (half) or 2 (quarter scale)."""
    channels, heads, tenths = WIDTHS[level], HEADS[level], KEPT[level]
    blocks: list[nn.Module] = []
    for _ in range(pairs):
        blocks += [FourierResBlock(channels), _transformer(channels, heads, tenths)]
    return named(layers=nn.Sequential(*blocks))


class ShallowFeatures(nn.Module):
    """Features of a smaller copy of the image (MIMO-UNet's SCM).

    Args:
        channels: that it returns.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _conv(3, channels // 4, 3, relu=True),
            _conv(channels // 4, channels // 2, 1, relu=True),
            _conv(channels // 2, channels // 2, 3, relu=True),
            _conv(channels // 2, channels - 3, 1, relu=True),
        )
        self.conv = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, channels, H, W)."""
        out: Tensor = self.conv(torch.cat([x, self.main(x)], dim=1))
        return out


class FeatureAttention(nn.Module):
    """a + convolution of a * b (MIMO-UNet's FAM).

    Args:
        channels: of both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = _conv(channels, channels, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two (B, C, H, W) to one."""
        out: Tensor = a + self.merge(a * b)
        return out


class GatedFusion(nn.Module):
    """Gated fusion of three scales' features at one size (section 3.3).

    All three pass through ``conv_max``, as published; ``conv_mid`` and ``conv_small`` are in the weights and idle.

    Args:
        channels: of each.
    """

    conv_max: nn.Module

    def __init__(self, channels: int) -> None:
        super().__init__()
        for scale in ("max", "mid", "small"):
            convs = nn.Sequential(_conv(channels, channels, 1, relu=True), _conv(channels, channels, 3))
            self.add_module(f"conv_{scale}", convs)
        self.conv1 = _conv(channels, channels, 1, relu=True)
        self.conv2 = _conv(channels, channels, 1, relu=True)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Three (B, C, H, W) to one."""
        total = a + b + c
        a, b, c = (self.conv_max(t) for t in (a, b, c))
        gated = self.conv1(b.tanh() * a)
        out: Tensor = self.conv2(c.tanh() * gated) + total
        return out


class MultiScaleTransformer(nn.Module):
    """Multi-scale deraining transformer: three inputs, three outputs, fusion across scales (figure 2).

    Args:
        intermediates: return a dict with the restored image ``y``, ``out_half`` and ``out_quarter``.
        pairs: of residual and transformer blocks in each stage.
    """

    def __init__(self, intermediates: bool = False, pairs: int = 8) -> None:
        super().__init__()
        self.intermediates = intermediates
        a, b, c = WIDTHS
        self.Encoder = nn.ModuleList(_stage(level, pairs) for level in (0, 1, 2))
        self.Decoder = nn.ModuleList(_stage(level, pairs) for level in (2, 1, 0))
        down = [_conv(3, a, 3, relu=True), _conv(a, b, 3, relu=True, stride=2), _conv(b, c, 3, relu=True, stride=2)]
        self.feat_extract = nn.ModuleList([*down, _up(c, b), _up(b, a), _conv(a, 3, 3)])
        self.Convs = nn.ModuleList([_conv(2 * b, b, 1, relu=True), _conv(2 * a, a, 1, relu=True)])
        self.ConvsOut = nn.ModuleList([_conv(c, 3, 3), _conv(b, 3, 3)])
        self.GFMs = nn.ModuleList([GatedFusion(a), GatedFusion(b)])
        self.FAM1, self.SCM1 = FeatureAttention(c), ShallowFeatures(c)
        self.FAM2, self.SCM2 = FeatureAttention(b), ShallowFeatures(b)
        self.down_1 = named(body=downsample(a))
        self.up_1, self.up_2, self.up_3 = (named(body=upsample(width)) for width in (b, c, b))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same.

        Raises:
            InputError: where H or W is no multiple of 4.
        """
        require_size(x, "MSDT", multiple=4)
        half, quarter = x[..., ::2, ::2], x[..., ::4, ::4]
        full_skip, half_skip, z = self._encode(x, half, quarter)
        quarter_z = self.Decoder[0](z)
        z = torch.cat([self.feat_extract[3](quarter_z), half_skip], dim=1)
        half_z = self.Decoder[1](self.Convs[0](z))
        z = torch.cat([self.feat_extract[4](half_z), full_skip], dim=1)
        y = self.feat_extract[5](self.Decoder[2](self.Convs[1](z))) + x
        if not self.intermediates:
            out: Tensor | dict[str, Tensor] = y
            return out
        return {
            "y": y,
            "out_half": self.ConvsOut[1](half_z) + half,
            "out_quarter": self.ConvsOut[0](quarter_z) + quarter,
        }

    def _encode(self, x: Tensor, half: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fused skips at full and half scale, and the bottom features at quarter scale."""
        full = self.Encoder[0](self.feat_extract[0](x))
        middle = self.Encoder[1](self.FAM2(self.feat_extract[1](full), self.SCM2(half)))
        bottom = self.Encoder[2](self.FAM1(self.feat_extract[2](middle), self.SCM1(quarter)))
        raised = self.up_2(bottom)
        full_skip = self.GFMs[0](full, self.up_1(middle), self.up_3(raised))
        return full_skip, self.GFMs[1](self.down_1(full), middle, raised), bottom


MSDT = Baseline(
    Card(
        name="msdt",
        title="MSDT",
        paper="Rethinking Multi-Scale Representations in Deep Deraining Transformer",
        venue="AAAI 2024",
        repo="https://github.com/cschenhm/MSDT",
        commit="b25bf28dc3efbf8521899bac7c202e578c5c9023",
        licence="none stated",
        multiple=4,
        padding="none: 256x256 windows, the last ones at the far edge, which give only what is not yet covered",
        tile=(256, 0),
        params=18_887_218,
        gmacs=129.927508208,
        gmacs_conv=126.107910144,
        weights=tuple(
            Weights(data, (data,), Archive("gdrive", file_id, f"msdt-{data}.pth"))
            for data, file_id in (
                ("rain200l", "1qk8pUq7oM4Z4v2X-qmWJpE2LmUuweL4_"),
                ("rain200h", "1y8gjAvnt0kkf1dSEyauVFu2weLi53LmF"),
                ("rain12000", "1RDvMFZn57UFrkeeojRHXwR7YbvXSGR5i"),
                ("rain1400", "1p7FVQuZSw4n0nXEvLrsJPtYxzlMyOCK0"),
                ("spa-data", "1hEpYFrFG0qhKassfYAZmXwUnNUYmGMLs"),
            )
        ),
        notes=(
            "2,196,153 of the parameters are the constants of over-parameterised convolutions, 16,691,065 are trained.",
            "conv_mid and conv_small of the gated fusions are in the weights and have no effect.",
            "Transforms and attention span the whole image: tiles give another result than the image at once.",
        ),
        fixture="MSDT",
        options={"pairs": "of residual and transformer blocks in each stage"},
    ),
    build=MultiScaleTransformer,
)
