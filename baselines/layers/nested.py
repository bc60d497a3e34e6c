"""Nested names, the size check, and the Restormer block under its common key names."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from rainrag.core.errors import InputError
from rainrag.models.unirain.blocks import LayerNorm2d


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules in sequence under the given names: the authors' wrappers leave a level in the state dict's keys."""
    return nn.Sequential(OrderedDict(modules))


def require_size(x: Tensor, name: str, *, multiple: int = 1, fixed: int | None = None, square: bool = False) -> None:
    """Refuse images that a network cannot take.

    Args:
        x: (B, C, H, W).
        name: the network's.
        multiple: H and W must be multiples of it.
        fixed: H and W must equal it.
        square: H must equal W.

    Raises:
        InputError: naming what the network takes.
    """
    height, width = x.shape[-2:]
    if fixed is not None:
        fits, need = height == width == fixed, f"{fixed}x{fixed} images only"
    else:
        fits = height % multiple == 0 and width % multiple == 0 and (height == width or not square)
        need = f"{'square images with ' if square else ''}sides that are multiples of {multiple}"
    if not fits:
        raise InputError(
            f"{name} takes {need}, this one is {width}x{height}",
            hint="rainrag derain and rainrag bench pad and tile for it",
        )


class TransformerBlock(nn.Module):
    """x + attn(norm1(x)), then x + ffn(norm2(x)), norms over channels (Restormer, figure 2).

    Args:
        channels: of the feature map.
        attn: attention, (B, C, H, W) to the same.
        ffn: feed-forward network, likewise.
    """

    def __init__(self, channels: int, attn: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.norm1 = named(body=LayerNorm2d(channels))
        self.attn = attn
        self.norm2 = named(body=LayerNorm2d(channels))
        self.ffn = ffn

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.ffn(self.norm2(x))
        return out
