from __future__ import annotations

import pytest
import torch
from torch import nn

from rainrag.baselines.idt import DerainingTransformer, PositionalAttention, SpatialTransformer
from rainrag.core.errors import InputError


class _Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("size", [(128, 136), (64, 64), (256, 256)])
def test_takes_128_alone(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="128x128"):
        DerainingTransformer(width=16)(torch.zeros(1, 3, *size))


def test_spatial_transformer_adds_patch_order_to_raster_order() -> None:
    block = SpatialTransformer(4, 32, 2)
    block.attn, block.mlp = nn.Identity(), _Zero()
    x = torch.randn(2, 32, 32, 4)
    added = block(x) - x
    # token 9 in patch order is the pixel (1, 1) of the first patch; token 64 the first pixel of the second patch
    assert torch.allclose(added.view(2, 1024, 4)[:, 9], x[:, 1, 1], atol=1e-6)
    assert torch.allclose(added.view(2, 1024, 4)[:, 64], x[:, 0, 8], atol=1e-6)
    assert not torch.allclose(added, x, atol=0.1)


def test_spatial_attention_treats_channels_apart() -> None:
    block = SpatialTransformer(3, 32, 2).double()
    block.mlp = _Zero()
    x = torch.randn(1, 32, 32, 3, dtype=torch.double)
    other = x.clone()
    other[..., 1] += 1
    changed = (block(other) - block(x)).abs().amax((0, 1, 2))
    assert changed[1] > 1e-3
    assert changed[[0, 2]].max() < 1e-12


def test_positions_come_from_the_second_values() -> None:
    attn = PositionalAttention(8, 4, 2).double()
    x = torch.randn(3, 16, 8, dtype=torch.double)
    before = attn(x)
    with torch.no_grad():  # silence the second value projection: only the convolutions' biases remain of the term
        attn.qkv["to_kv"].weight[16:] = 0
        attn.qkv["to_kv"].bias[16:] = 0
    assert not torch.allclose(attn(x), before)
    plain = attn.attend(x, attn.bias()[None])[0]
    constant = attn.Position_Extract(torch.zeros(1, 8, 4, 4, dtype=torch.double)).flatten(2).transpose(1, 2)
    assert torch.allclose(attn(x), attn.proj(plain + constant), atol=1e-12)


def test_every_parameter_is_trained() -> None:
    network = DerainingTransformer(width=16)
    network(torch.rand(1, 3, 128, 128)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
