"""Window attention on tokens (Uformer, Wang et al., CVPR 2022), for the networks built on it.

Tokens stay (B, H, W, C): linear layers and norms then work on the last axis without copies, and as a feature map they
are channels_last memory. All windows of all images are one batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.layers.nested import named


def to_windows(x: Tensor, size: int) -> Tensor:
    """(B, H, W, C) to (B * H/size * W/size, size * size, C), windows and pixels in raster order."""
    b, h, w, c = x.shape
    return x.view(b, h // size, size, w // size, size, c).transpose(2, 3).reshape(-1, size * size, c)


def from_windows(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """The inverse of :func:`to_windows`, to (B, height, width, C)."""
    x = windows.view(-1, height // size, width // size, size, size, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C) with the channels together in memory (no copy of a channels_last map)."""
    return x.permute(0, 2, 3, 1).contiguous()


def on_map(module: nn.Module, tokens: Tensor) -> Tensor:
    """Apply a module of feature maps to (B, H, W, C) tokens."""
    return to_tokens(module(tokens.permute(0, 3, 1, 2)))


def offsets_index(size: int) -> Tensor:
    """Row of the bias table for each (query, key) of a window: (size**2, size**2) int64."""
    axis = torch.arange(size)
    y, x = (t.flatten() for t in torch.meshgrid(axis, axis, indexing="ij"))
    dy, dx = y[:, None] - y, x[:, None] - x
    return (dy + size - 1) * (2 * size - 1) + dx + size - 1


def shift_masks(size: int, shift: int) -> Tensor:
    """Logits that part the pixels which rolling by ``shift`` brought together, for the four kinds of windows.

    Only windows of the last row or column hold pixels from opposite borders. Kinds: 0 inner, 1 last column, 2 last
    row, 3 both.

    Returns:
        (4, size**2, size**2) of 0 and -100 (Swin's constant).
    """
    wrapped = torch.arange(size) >= size - shift
    rows, columns = wrapped.repeat_interleave(size), wrapped.repeat(size)
    row = rows[:, None] != rows
    column = columns[:, None] != columns
    return -100.0 * torch.stack([torch.zeros_like(row), column, row, row | column]).float()


def window_kinds(rows: int, columns: int, batch: int, device: torch.device) -> Tensor:
    """Kind (see :func:`shift_masks`) of each of the batch * rows * columns windows, in raster order."""
    row = (torch.arange(rows, device=device) == rows - 1).long()
    column = (torch.arange(columns, device=device) == columns - 1).long()
    return (2 * row[:, None] + column).flatten().repeat(batch)


class WindowAttention(nn.Module):
    """Multi-head attention in windows with a learned bias for each relative position.

    Args:
        dim: channels.
        window: side of a window.
        heads: divides ``dim``.
        values: value projections that ``to_kv`` gives beside the keys; the first is attended to.
        stored: the index of relative positions is in the state dict.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, window: int, heads: int, values: int = 1, stored: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.values = values
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", offsets_index(window), persistent=stored)
        self.qkv = nn.ModuleDict({"to_q": nn.Linear(dim, dim), "to_kv": nn.Linear(dim, dim * (1 + values))})
        self.proj = nn.Linear(dim, dim)

    def bias(self) -> Tensor:
        """(heads, N, N) from the table."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)

    def attend(self, x: Tensor, bias: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Attention before the last projection.

        Args:
            x: (n, N, C) windows.
            bias: added to the logits; (1 or n, heads, N, N).

        Returns:
            (n, N, C), and the value projections that were not attended to.
        """
        k, v, *rest = self.qkv["to_kv"](x).chunk(1 + self.values, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.qkv["to_q"](x), k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return y.transpose(1, 2).flatten(2), rest

    def forward(self, x: Tensor, masks: Tensor | None = None, kinds: Tensor | None = None) -> Tensor:
        """(n, N, C) windows to the same; ``masks[kinds]``, (n, N, N), is added to the logits."""
        bias = self.bias()[None]
        if masks is not None:
            bias = (bias + masks[:, None])[kinds]
        out: Tensor = self.proj(self.attend(x, bias)[0])
        return out


class LeFF(nn.Module):
    """Locally-enhanced feed-forward network (Uformer, section 3.2): a depthwise convolution between two linear layers.

    Args:
        dim: channels in and out.
        hidden: channels between.
        residual: the convolution's output is added to its input (IDT).
    """

    def __init__(self, dim: int, hidden: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.linear1 = nn.Sequential(nn.Linear(dim, hidden), nn.GELU())
        self.dwconv = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU())
        self.linear2 = nn.Sequential(nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        x = self.linear1(x)
        y = on_map(self.dwconv, x)
        out: Tensor = self.linear2(x + y if self.residual else y)
        return out


class WindowBlock(nn.Module):
    """x + attn(norm1(x)) in windows, then x + mlp(norm2(x)).

    Args:
        dim: channels.
        attn: called with (windows) or (windows, masks, kinds) as :class:`WindowAttention`.
        mlp: on (B, H, W, C) tokens.
        window: side of a window.
        shift: windows are moved by so many pixels to the right and down.
        modulated: a learned (window**2, C) is added to every window before attention (Uformer's modulator).
    """

    def __init__(
        self, dim: int, attn: nn.Module, mlp: nn.Module, window: int = 8, shift: int = 0, modulated: bool = False
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.modulator = nn.Embedding(window**2, dim) if modulated else None
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = mlp
        self.register_buffer("masks", shift_masks(window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same; H and W are multiples of the window."""
        b, h, w, _ = x.shape
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        windows = to_windows(y, self.window)
        if self.modulator is not None:
            windows = windows + self.modulator.weight
        if self.shift:
            kinds = window_kinds(h // self.window, w // self.window, b, x.device)
            y = from_windows(self.attn(windows, self.masks, kinds), self.window, h, w).roll(
                (self.shift, self.shift), (1, 2)
            )
        else:
            y = from_windows(self.attn(windows), self.window, h, w)
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TokenUNet(nn.Module):
    """Four levels down and up with a bottleneck; skips are concatenated and keep the joint width.

    Args:
        first: channels of the first level.
        width: the levels below have 2, 4, 8 and 16 times so many; upsampling gives 8, 4, 2 and 1 times.
        level: makes one level from its place (0-3 down, 4 bottleneck, 5-8 up) and channels.
        bottleneck: name of the bottleneck in the state dict.
    """

    def __init__(self, first: int, width: int, level: Callable[[int, int], nn.Module], bottleneck: str) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        dims = [first, *(width * 2**i for i in range(1, 4))]
        for i, dim in enumerate(dims):
            self.add_module(f"encoderlayer_{i}", level(i, dim))
            down = nn.Conv2d(dim, width * 2 ** (i + 1), 4, stride=2, padding=1)
            self.add_module(f"dowsample_{i}", named(conv=nn.Sequential(down)))  # so spelt in published weights
        self.add_module(bottleneck, level(4, width * 16))
        below = width * 16
        for i in range(4):
            up = width * 2 ** (3 - i)
            self.add_module(f"upsample_{i}", named(deconv=nn.Sequential(nn.ConvTranspose2d(below, up, 2, stride=2))))
            below = up + dims[3 - i]
            self.add_module(f"decoderlayer_{i}", level(5 + i, below))

    def levels(self, x: Tensor) -> Tensor:
        """(B, H, W, first) to (B, H, W, width + first); H and W are multiples of 16 windows."""
        skips = []
        for i in range(4):
            x = self.get_submodule(f"encoderlayer_{i}")(x)
            skips.append(x)
            x = on_map(self.get_submodule(f"dowsample_{i}"), x)
        x = self.get_submodule(self.bottleneck)(x)
        for i in range(4):
            x = torch.cat([on_map(self.get_submodule(f"upsample_{i}"), x), skips.pop()], dim=-1)
            x = self.get_submodule(f"decoderlayer_{i}")(x)
        return x
