"""TransWeather: transformer with weather-type queries (Valanarasu et al., CVPR 2022), and its base without them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim
from rainrag.baselines.layers.nested import named, require_size
from rainrag.core.errors import InputError

#: Smallest side, as the authors' network is known to take it; below 48 its last attention has nothing to reduce.
LEAST = 64

WIDTHS = (64, 128, 320, 512)


def tokens(x: Tensor) -> Tensor:
    """Map (B, C, H, W) to tokens (B, H * W, C); no copy in channels_last memory."""
    return x.flatten(2).transpose(1, 2)


def image(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (B, H * W, C) to the map (B, C, H, W), a channels_last view."""
    out: Tensor = x.transpose(1, 2).unflatten(2, size)
    return out


class PatchEmbed(nn.Module):
    """Overlapping patches: strided convolution and layer normalisation."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, out, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, H / stride, W / stride), rounded up."""
        x = self.proj(x)
        return image(self.norm(tokens(x)), (x.shape[-2], x.shape[-1]))


class ReducedAttention(nn.Module):
    """Multi-head attention whose keys and values come from a smaller map.

    Args:
        channels: of the tokens.
        heads: attention heads.
        reduction: side of the patches that become one key and value.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, channels * 2)
        self.proj = nn.Linear(channels, channels)
        self.reduced = reduction > 1
        if self.reduced:
            self.sr = nn.Conv2d(channels, channels, reduction, reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) and (H, W) to (B, H * W, C)."""
        source = self.norm(tokens(self.sr(image(x, size)))) if self.reduced else x
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(source).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out


class TaskAttention(nn.Module):
    """Attention of learned weather-type queries to the tokens.

    The queries are stretched to the number of tokens by nearest-neighbour interpolation. Copies of a query have the
    same answer, so the few answers are stretched here instead of the queries.

    Args:
        channels: of the tokens.
        heads: attention heads.
        queries: number of learned queries.
    """

    def __init__(self, channels: int, heads: int, queries: int = 48) -> None:
        super().__init__()
        self.heads = heads
        self.task_query = nn.Parameter(torch.randn(1, queries, channels))
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, channels * 2)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C); ``size`` is not needed."""
        q = self.q(self.task_query).unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(x.shape[0], -1, -1, -1)
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return F.interpolate(y.transpose(1, 2), size=x.shape[1], mode="nearest").transpose(1, 2)


class MixFFN(nn.Module):
    """Two linear layers with a depth-wise 3x3 convolution and GELU between them."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        hidden = channels * ratio
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = named(dwconv=nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) and (H, W) to (B, H * W, C)."""
        out: Tensor = self.fc2(F.gelu(tokens(self.dwconv(image(self.fc1(x), size)))))
        return out


class Block(nn.Module):
    """Pre-norm transformer block over a map's tokens."""

    def __init__(self, channels: int, attention: nn.Module, ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MixFFN(channels, ratio)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) and (H, W) to (B, H * W, C)."""
        x = x + self.attn(self.norm1(x), size)
        out: Tensor = x + self.mlp(self.norm2(x), size)
        return out


def run(x: Tensor, blocks: nn.ModuleList, norm: nn.LayerNorm) -> Tensor:
    """A map (B, C, H, W) through blocks and a final norm, to a map of the same shape."""
    size = (x.shape[-2], x.shape[-1])
    x = tokens(x)
    for block in blocks:
        x = block(x, size)
    return image(norm(x), size)


class Encoder(nn.Module):
    """Four stages, the first three with an intra-patch branch that joins the next stage."""

    def __init__(self) -> None:
        super().__init__()
        before = (3, *WIDTHS)
        for stage, (heads, reduction) in enumerate(zip((1, 2, 4, 4), (4, 2, 2, 1), strict=True), 1):
            c = WIDTHS[stage - 1]
            embed = PatchEmbed(before[stage - 1], c, *((7, 4) if stage == 1 else (3, 2)))
            blocks = nn.ModuleList(Block(c, ReducedAttention(c, heads, reduction), 2) for _ in range(2))
            self.add_module(f"patch_embed{stage}", embed)
            self.add_module(f"block{stage}", blocks)
            self.add_module(f"norm{stage}", nn.LayerNorm(c, eps=1e-6))
        for stage, (heads, reduction) in enumerate(((1, 4), (2, 2), (2, 2)), 1):
            c = WIDTHS[stage]
            self.add_module(f"mini_patch_embed{stage}", PatchEmbed(WIDTHS[stage - 1], c, 3, 2))
            self.add_module(f"patch_block{stage}", nn.ModuleList([Block(c, ReducedAttention(c, heads, reduction), 2)]))
            self.add_module(f"pnorm{stage}", nn.LayerNorm(c, eps=1e-6))
        self.mini_patch_embed4 = PatchEmbed(64, 512, 3, 2)  # published, never used

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to maps at 1/4, 1/8, 1/16 and 1/32."""
        features: list[Tensor] = []
        branch: Tensor | None = None
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"patch_embed{stage}")(x)
            if branch is not None:
                x = x + branch
            if stage < 4:
                mini = getattr(self, f"mini_patch_embed{stage}")(x)
                branch = run(mini, getattr(self, f"patch_block{stage}"), getattr(self, f"pnorm{stage}"))
            x = run(x, getattr(self, f"block{stage}"), getattr(self, f"norm{stage}"))
            features.append(x)
        return features


class Decoder(nn.Module):
    """Three blocks of weather-type queries on the smallest map, halved once more."""

    def __init__(self) -> None:
        super().__init__()
        c = WIDTHS[-1]
        self.patch_embed1 = PatchEmbed(c, c, 3, 2)
        self.block1 = nn.ModuleList(Block(c, TaskAttention(c, heads=8), 4) for _ in range(3))
        self.norm1 = nn.LayerNorm(c, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 512, H, W) to (B, 512, H / 2, W / 2), rounded up."""
        return run(self.patch_embed1(x), self.block1, self.norm1)


class ResidualBlock(nn.Module):
    """x + 0.1 * conv(relu(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = named(conv2d=nn.Conv2d(channels, channels, 3, padding=1))
        self.conv2 = named(conv2d=nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return torch.add(x, self.conv2(F.relu(self.conv1(x))), alpha=0.1)


def transposed(channels: int, out: int) -> nn.Sequential:
    """Transposed convolution to twice the size."""
    return named(conv2d=nn.ConvTranspose2d(channels, out, 4, 2, 1))


def fitted(x: Tensor, like: Tensor) -> Tensor:
    """Drop the last row or column that doubling a rounded-up size brings too many."""
    return x[..., : like.shape[-2], : like.shape[-1]]


class Tail(nn.Module):
    """Convolutional decoder with skips from the encoder.

    Args:
        queried: starts at the query decoder's map, 1/64 of the image, rather than at the encoder's last one.
    """

    def __init__(self, queried: bool) -> None:
        super().__init__()
        c1, c2, c3, c4 = WIDTHS
        if queried:
            self.convd32x = transposed(c4, c4)
        self.convd16x = transposed(c4, c3)
        self.dense_4 = nn.Sequential(ResidualBlock(c3))
        self.convd8x = transposed(c3, c2)
        self.dense_3 = nn.Sequential(ResidualBlock(c2))
        self.convd4x = transposed(c2, c1)
        self.dense_2 = nn.Sequential(ResidualBlock(c1))
        self.convd2x = transposed(c1, 16)
        self.dense_1 = nn.Sequential(ResidualBlock(16))
        self.convd1x = transposed(16, 8)
        self.conv_output = named(conv2d=nn.Conv2d(8, 3, 3, padding=1))  # published, never used

    def forward(self, features: list[Tensor], decoded: Tensor | None) -> Tensor:
        """Encoder maps, and the query decoder's, to (B, 8, H, W)."""
        x1, x2, x3, x = features
        if decoded is not None:
            x = fitted(self.convd32x(decoded), x) + x
        x = self.dense_4(fitted(self.convd16x(x), x3)) + x3
        x = self.dense_3(self.convd8x(x)) + x2
        x = self.dense_2(self.convd4x(x)) + x1
        out: Tensor = self.convd1x(self.dense_1(self.convd2x(x)))
        return out


class TransWeather(nn.Module):
    """The network: encoder, decoder of weather-type queries, convolutional tail.

    Args:
        queries: with the decoder of weather-type queries; without it, the authors' base for a single kind of weather.
        intermediates: return ``{"y": image}``.
    """

    def __init__(self, queries: bool = True, intermediates: bool = False) -> None:
        super().__init__()
        self.Tenc = Encoder()
        self.Tdec = Decoder() if queries else None
        self.tail = "convtail" if queries else "convproj"
        self.add_module(self.tail, Tail(queries))
        self.clean = named(conv2d=nn.Conv2d(8, 3, 3, padding=1))
        self.intermediates = intermediates

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [-1, 1] to (B, 3, H, W) in [-1, 1]; H and W multiples of 16, from 64 on.

        Raises:
            InputError: for other sizes.
        """
        require_size(x, "TransWeather", multiple=16)
        if min(x.shape[-2:]) < LEAST:
            raise InputError(
                f"TransWeather takes sides of at least {LEAST}, this image is {x.shape[-1]}x{x.shape[-2]}",
                hint="rainrag derain and rainrag bench pad for it",
            )
        features = self.Tenc(x)
        decoded = None if self.Tdec is None else self.Tdec(features[-1])
        y = torch.tanh(self.clean(getattr(self, self.tail)(features, decoded)))
        return {"y": y} if self.intermediates else y


def build_base(**options: Any) -> TransWeather:
    """The variant without weather-type queries."""
    return TransWeather(queries=False, **options)


_COMMON: dict[str, Any] = {
    "paper": "TransWeather: Transformer-based Restoration of Images Degraded by Adverse Weather Conditions",
    "venue": "CVPR 2022",
    "repo": "https://github.com/jeya-maria-jose/TransWeather",
    "commit": "54c4e69180502e0386ee6186a4318d6d61e0bf8d",
    "licence": "MIT",
    "value_range": (-1.0, 1.0),
    "multiple": 16,
    "min_side": LEAST,
    "padding": "none: the authors RESAMPLE input and target alike, to a longest side of at most 1024 and to sides that "
    "are multiples of 16; figures computed so are of resampled images",
    "quantise": None,
}
_NOTES = (
    "The authors train the tanh output against targets in [0, 1]: with weights trained so, the restored image is the "
    "output itself, clamped, and not (output + 1) / 2.",
    "Sides must be at least 64.",
    "No weights are published, only links to data.",
    "The parameters of mini_patch_embed4 and of conv_output are in the published state dict but never used.",
)

TRANSWEATHER = Baseline(
    Card(
        name="transweather",
        title="TransWeather",
        **_COMMON,
        params=38_052_078,
        gmacs=4.663,
        gmacs_conv=2.611,
        claims=(
            Claim("the authors' rain test", 27.96, None, protocol="the authors' validation code", source="README text"),
        ),
        notes=_NOTES,
        fixture="TransWeather",
    ),
    build=TransWeather,
)

TRANSWEATHER_BASE = Baseline(
    Card(
        name="transweather-base",
        title="TransWeather base",
        **_COMMON,
        params=21_903_086,
        gmacs=4.380,
        gmacs_conv=2.505,
        notes=(*_NOTES, "Without the decoder of weather-type queries: for a single kind of weather."),
        fixture="TransWeather-base",
    ),
    build=build_base,
)
