from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.msdt import DOConv2d, MultiScaleTransformer, TopKAttention
from rainrag.core.errors import InputError
from rainrag.models.unirain.blocks import MDTA


@pytest.mark.parametrize(("inputs", "outputs", "stride", "groups"), [(3, 8, 1, 1), (4, 6, 2, 1), (6, 6, 1, 6)])
def test_folded_kernel_equals_the_two_steps(inputs: int, outputs: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = DOConv2d(inputs, outputs, 3, stride, groups).double()
    torch.nn.init.normal_(conv.D)
    x = torch.randn(2, inputs, 8, 8, dtype=torch.double)
    # First the map on the 9 pixels under the kernel, channel by channel, then the weights on its 9 results.
    under = F.unfold(x, 3, padding=1, stride=stride).view(2, inputs, 9, -1)
    mapped = torch.einsum("ims,bimp->bisp", conv.D + torch.eye(9), under)
    equation = "ois,bisp->bop" if groups == 1 else "ois,bosp->bop"
    assert torch.allclose(conv(x).flatten(2), torch.einsum(equation, conv.W, mapped), atol=1e-10)


def test_a_fresh_kernel_is_its_weights() -> None:
    conv = DOConv2d(4, 8, 3)
    assert torch.equal(conv.weight(), conv.W.view(8, 4, 3, 3))


def test_constants_are_parameters_that_are_not_trained() -> None:
    network = MultiScaleTransformer()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(name.endswith(".D_diag") for name in frozen)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 16_691_065


def test_all_that_is_trained_gets_a_gradient_but_the_idle_convolutions() -> None:
    network = MultiScaleTransformer(intermediates=True, pairs=1)
    torch.nn.init.normal_(network.Encoder[0].layers[0].main[0].main[0].D, std=0.1)
    sum(t.square().mean() for t in network(torch.rand(1, 3, 16, 16)).values()).backward()
    without = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert without
    assert all(".conv_mid." in name or ".conv_small." in name for name in without)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_fusion_sends_all_scales_through_one_pair_of_convolutions() -> None:
    fusion = MultiScaleTransformer(pairs=1).GFMs[0]
    maps = [torch.rand(1, 32, 4, 4) for _ in range(3)]
    before = fusion(*maps)
    with torch.no_grad():
        for idle in (*fusion.conv_mid.parameters(), *fusion.conv_small.parameters()):
            idle.zero_()
    assert torch.equal(fusion(*maps), before)
    with torch.no_grad():
        fusion.conv_max[1].main[0].W.zero_()  # then both gates are shut
    assert torch.equal(fusion(*maps), sum(maps))


def test_attention_that_keeps_all_is_mdta() -> None:
    plain = MDTA(8, 2).double()
    kept = {k: TopKAttention(8, 2, k).double() for k in (1, 3, 4)}
    x = torch.randn(1, 8, 6, 6, dtype=torch.double)
    for attn in kept.values():
        attn.load_state_dict(plain.state_dict())
    assert torch.allclose(kept[4](x), plain(x), atol=1e-12)
    assert not torch.allclose(kept[3](x), plain(x), atol=1e-6)
    q, k, v = plain.qkv_dwconv(plain.qkv(x)).reshape(1, 3, 2, 4, 36).unbind(1)
    nearest = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).argmax(-1)  # keeping one copies its values
    copied = v.gather(2, nearest[..., None].expand(-1, -1, -1, 36)).reshape(1, 8, 6, 6)
    assert torch.allclose(kept[1](x), plain.project_out(copied), atol=1e-12)


def test_channels_kept_at_each_scale() -> None:
    network = MultiScaleTransformer(pairs=1)
    assert [stage.layers[1].attn.kept for stage in network.Encoder] == [19, 22, 25]
    assert [stage.layers[1].attn.kept for stage in network.Decoder] == [25, 22, 19]


def test_half_precision_keeps_the_transforms_in_float32() -> None:
    network = MultiScaleTransformer(pairs=1).eval()
    x = torch.rand(1, 3, 12, 20)  # sides that are no powers of two
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = network(x)
    with torch.no_grad():
        assert (half.float() - network(x)).abs().max() < 0.1


def test_refuses_sides_that_do_not_halve_twice() -> None:
    with pytest.raises(InputError, match="multiples of 4"):
        MultiScaleTransformer(pairs=1)(torch.zeros(1, 3, 16, 18))
