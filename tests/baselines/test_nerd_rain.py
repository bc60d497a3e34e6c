from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.nerd_rain import INR, Fusion, NeRDRain
from rainrag.core.errors import InputError


def test_inr_equals_the_mlp_on_unfolded_features_and_coordinates() -> None:
    torch.manual_seed(0)
    inr = INR(6, hidden=16).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.double)
    features = F.unfold(x, 3, padding=1).transpose(1, 2)
    relative, cell = features.new_zeros(2, 35, 18), features.new_full((2, 35, 2), 2.0)
    want = inr.imnet.layers(torch.cat([features, relative, cell], -1)).transpose(1, 2).view(2, 3, 5, 7)
    assert torch.allclose(inr(x), want, atol=1e-12)


def test_fusion_equals_fusing_at_full_size_and_dropping_pixels() -> None:
    torch.manual_seed(0)
    fusion = Fusion(4).double()
    x, y = torch.randn(2, 2, 4, 8, 12, dtype=torch.double)
    attention = (fusion.query_conv(x) * fusion.key_conv(y)).sigmoid()
    total = torch.zeros_like(x)
    for z, gamma in ((x, fusion.gamma1), (y, fusion.gamma2)):
        shares = F.conv2d(torch.cat([z, z * attention], 1), gamma.weight, gamma.bias, padding=1)
        total = total + z * shares[:, :1] + z * attention * shares[:, 1:]
    assert torch.allclose(fusion(x, y), F.interpolate(total, scale_factor=0.5, mode="nearest"), atol=1e-12)


def test_third_unet_shares_the_seconds_convolution() -> None:
    network = NeRDRain(dim=4)
    network(torch.rand(1, 3, 16, 16)).square().mean().backward()
    idle = {name for name, p in network.named_parameters() if p.grad is None}
    assert idle == {"reduce_chan_level1_max3.weight", "output_mid.weight", "output_small.weight"}

    def third(x: torch.Tensor) -> torch.Tensor:
        latent, skips = network._encode("max", 3, x)
        return network._decode("max", 3, latent, skips)

    x = torch.rand(1, 4, 16, 16)
    before = third(x)
    with torch.no_grad():
        network.reduce_chan_level1_max2.weight.add_(1)
    assert not torch.allclose(third(x), before)


def test_coarse_images_reach_the_fine_branch_and_back() -> None:
    network = NeRDRain(dim=4, intermediates=True).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = network(x)
        network.INR.imnet.layers[-1].bias.add_(1)  # brightens the quarter-size image by one
        after = network(x)
    assert torch.allclose(after["small_img_plus_inr"], before["small_img_plus_inr"] + 1, atol=1e-5)
    assert not torch.allclose(after["y"], before["y"], atol=1e-4)
    assert not torch.allclose(after["out_small"], before["out_small"], atol=1e-7)  # through the fusions


def test_refuses_sides_that_are_no_multiples_of_16() -> None:
    with pytest.raises(InputError, match="multiples of 16"):
        NeRDRain(dim=4)(torch.zeros(1, 3, 32, 40))
