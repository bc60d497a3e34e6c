"""Window attention: shifted windows must not let opposite borders see each other, nor one image of a batch another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rainrag.baselines.layers.windows import (
    WindowAttention,
    WindowBlock,
    from_windows,
    offsets_index,
    shift_masks,
    to_windows,
)


class _NoMlp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def block(shift: int, modulated: bool = False) -> WindowBlock:
    torch.manual_seed(0)
    made = WindowBlock(8, WindowAttention(8, 4, 2), _NoMlp(), window=4, shift=shift, modulated=modulated).double()
    nn.init.normal_(made.attn.relative_position_bias_table)
    return made


def test_windows_and_back() -> None:
    x = torch.arange(2 * 8 * 12 * 3).view(2, 8, 12, 3)
    windows = to_windows(x, 4)
    assert torch.equal(windows[1], x[0, :4, 4:8].reshape(16, 3))
    assert torch.equal(windows[6 + 3], x[1, 4:, :4].reshape(16, 3))
    assert torch.equal(from_windows(windows, 4, 8, 12), x)


def test_offsets_are_query_minus_key() -> None:
    index = offsets_index(8)
    assert index[0, 0] == 7 * 15 + 7
    assert index[0, 1] == index[0, 0] - 1
    assert index[8, 0] == index[0, 0] + 15
    assert sorted(index.unique().tolist()) == list(range(225))


@pytest.mark.parametrize(("pixel", "seen"), [((0, 0), (2, 2)), ((7, 11), (2, 2)), ((3, 5), (4, 4)), ((0, 5), (2, 4))])
def test_shifted_windows_are_cut_at_the_borders(pixel: tuple[int, int], seen: tuple[int, int]) -> None:
    x = torch.randn(1, 8, 12, 8, dtype=torch.double, requires_grad=True)
    y = block(shift=2)(x)
    (grad,) = torch.autograd.grad(y[0, pixel[0], pixel[1]].sum(), x)
    rows, columns = torch.where(grad[0].abs().sum(-1) > 1e-30)
    assert (len(rows.unique()), len(columns.unique())) == seen
    assert rows.max() - rows.min() < 4
    assert columns.max() - columns.min() < 4


def test_shifted_block_equals_attention_on_each_cut_window() -> None:
    made = block(shift=2)
    x = torch.randn(1, 8, 8, 8, dtype=torch.double)
    y = made(x) - x
    normed = made.norm1(x)
    attn, table = made.attn, made.attn.relative_position_bias_table
    for rows in (slice(0, 2), slice(2, 6), slice(6, 8)):
        for columns in (slice(0, 2), slice(2, 6), slice(6, 8)):
            part = normed[0, rows, columns]
            h, w = part.shape[:2]
            place = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1).view(-1, 2)
            offset = place[:, None] - place[None] + 3
            bias = table[offset[..., 0] * 7 + offset[..., 1]].permute(2, 0, 1)
            q, k, v = F.linear(
                part.reshape(h * w, 8),
                torch.cat([attn.qkv["to_q"].weight, attn.qkv["to_kv"].weight]),
                torch.cat([attn.qkv["to_q"].bias, attn.qkv["to_kv"].bias]),
            ).chunk(3, -1)
            q, k, v = (t.view(h * w, 2, 4).transpose(0, 1) for t in (q, k, v))
            want = attn.proj(((q @ k.mT / 2 + bias).softmax(-1) @ v).transpose(0, 1).reshape(h * w, 8))
            assert torch.allclose(y[0, rows, columns].reshape(h * w, 8), want, atol=1e-12)


def test_masks_part_only_wrapped_pixels() -> None:
    inner, column, row, both = shift_masks(4, 1)
    assert not inner.any()
    assert torch.equal(both != 0, (column != 0) | (row != 0))
    assert both.unique().tolist() == [-100.0, 0.0]  # not -200 where row and column both differ
    assert int((row != 0).sum()) == 2 * 4 * 12


@pytest.mark.parametrize("shift", [0, 2])
def test_images_of_a_batch_do_not_mix(shift: int) -> None:
    made = block(shift, modulated=True)
    x = torch.randn(3, 8, 16, 8, dtype=torch.double)
    together = made(x)
    for i in range(3):
        assert torch.allclose(together[i : i + 1], made(x[i : i + 1]), atol=1e-12)


def test_modulator_is_added_before_attention() -> None:
    made = block(0, modulated=True)
    x = torch.randn(1, 4, 4, 8, dtype=torch.double)
    want = x + made.attn(made.norm1(x).view(1, 16, 8) + made.modulator.weight).view(1, 4, 4, 8)
    assert torch.allclose(made(x), want, atol=1e-12)
