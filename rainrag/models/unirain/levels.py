"""Parts of UniRain's levels: changes of size, blocks, prompts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.core.errors import InputError
from rainrag.models.unirain.blocks import GDFN, MDTA, LayerNorm2d, Pointwise
from rainrag.models.unirain.experts import MoEAttention, Routing
from rainrag.models.unirain.gated import GatedBlock


def conv(channels: int, out: int) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the size."""
    return nn.Conv2d(channels, out, 3, padding=1, bias=False)


def down(channels: int, out: int) -> nn.Sequential:
    """Half the size: (channels, H, W) -> (out, H/2, W/2)."""
    return nn.Sequential(conv(channels, out // 4), nn.PixelUnshuffle(2))


def up(channels: int, out: int) -> nn.Sequential:
    """Twice the size: (channels, H, W) -> (out, 2H, 2W)."""
    return nn.Sequential(conv(channels, out * 4), nn.PixelShuffle(2))


def lean_down(channels: int, out: int) -> nn.Conv2d:
    """As ``down``, by one product with each square of 2x2 pixels."""
    return nn.Conv2d(channels, out, 2, 2)


def lean_up(channels: int, out: int) -> nn.Sequential:
    """As ``up``, by one product with each pixel."""
    return nn.Sequential(Pointwise(channels, out * 4), nn.PixelShuffle(2))


class Block(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x).

    Args:
        channels: of the feature map.
        attention: MDTA, or a mixture of experts.
        expansion: of the feed-forward part.
    """

    def __init__(self, channels: int, attention: MDTA | MoEAttention, expansion: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.attention = attention
        self.norm2 = LayerNorm2d(channels)
        self.ffn = GDFN(channels, expansion)

    def forward(self, x: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]) -> Tensor:
        """(B, C, H, W) to the same.

        Args:
            x: feature map.
            name: of this block in ``given`` and ``seen``.
            given: weights of every mixture's experts to take in place of its router's.
            seen: where the decision is noted.
        """
        x = x + attended(self.attention, self.norm1(x), name, given, seen)
        out: Tensor = x + self.ffn(self.norm2(x))
        return out


class LeanBlock(nn.Module):
    """x + attention(norm x), then a gated convolution block.

    Args:
        channels: of the feature map.
        attention: MDTA, or a mixture of experts.
        expansion: of the feed-forward part.
    """

    def __init__(self, channels: int, attention: MDTA | MoEAttention, expansion: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.attention = attention
        self.gated = GatedBlock(channels, expansion)

    def forward(self, x: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]) -> Tensor:
        """As ``Block.forward``."""
        out: Tensor = self.gated(x + attended(self.attention, self.norm1(x), name, given, seen))
        return out


def attended(
    attention: MDTA | MoEAttention, y: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]
) -> Tensor:
    """Attention of a normed feature map; see ``Block.forward``."""
    if isinstance(attention, MDTA):
        plain: Tensor = attention(y)
        return plain
    router = attention.router
    routing = router(y) if given is None else _given(given, name, router.top_k is not None)
    seen[name] = routing
    mixed: Tensor = attention(y, routing)
    return mixed


def _given(routes: Mapping[str, Tensor], name: str, hard: bool) -> Routing:
    if name not in routes:
        raise InputError(f"the routes have none for '{name}'", hint="take them from routing(x) of the same network")
    return Routing(routes[name], routes[name], hard)


class Prompt(nn.Module):
    """Learned maps mixed by what the image is like, joined to its features (Potlapalli et al., PromptIR, NeurIPS 2023,
    section 3.1): the prompt-learning row of the paper's Table 5.

    Args:
        channels: of the feature map.
        heads, expansion: of the block that lets features and prompt meet.
        side: of the learned maps, which are resized to the feature map.
        length: number of them.
    """

    def __init__(self, channels: int, heads: int, expansion: float, side: int, length: int = 5) -> None:
        super().__init__()
        width = channels // 2
        self.maps = nn.Parameter(torch.rand(length, width * side * side))
        self.width, self.side = width, side
        self.linear = nn.Linear(channels, length)
        self.smooth = conv(width, width)
        self.meet = Block(channels + width, MDTA(channels + width, heads), expansion)
        self.reduce = Pointwise(channels + width, channels)

    def forward(self, x: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]) -> Tensor:
        """As ``Block.forward``; the weights are those of the maps."""
        if given is None:
            with torch.autocast(x.device.type, enabled=False):
                pooled = x.mean((2, 3), dtype=torch.float32)
                weights = F.linear(pooled, self.linear.weight.float(), self.linear.bias.float()).softmax(1)
            routing = Routing(weights, weights, hard=False)
        else:
            routing = _given(given, name, hard=False)
        seen[name] = routing
        mixed = (routing.weights.to(self.maps.dtype) @ self.maps).reshape(-1, self.width, self.side, self.side)
        prompt = self.smooth(F.interpolate(mixed.to(x.dtype), x.shape[2:], mode="bilinear", align_corners=False))
        joined = self.meet(torch.cat((x, prompt.to(x.dtype)), 1), name, None, seen)
        out: Tensor = self.reduce(joined)
        return out
