from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.rlp import RLP_UNET, RainLocationPrior, RLPUformer, RLPUNet
from rainrag.core.errors import InputError


@pytest.mark.parametrize(
    ("build", "size", "need"),
    [
        (RLPUNet, (30, 32), "multiples of 4"),
        (RLPUformer, (128, 256), "square"),
        (RLPUformer, (144, 144), "multiples of 128"),
    ],
)
def test_says_which_sizes_it_takes(build: type[torch.nn.Module], size: tuple[int, int], need: str) -> None:
    with pytest.raises(InputError, match=need):
        build()(torch.zeros(1, 3, *size))


def test_prior_is_the_recurrence_with_one_convolution_a_gate() -> None:
    torch.manual_seed(0)
    prior = RainLocationPrior(2, channels=4).double()
    x = torch.rand(1, 3, 8, 8, dtype=torch.double)
    rain, h, c = torch.ones(1, 1, 8, 8).double(), torch.zeros(1, 4, 8, 8).double(), torch.zeros(1, 4, 8, 8).double()
    for step in range(2):
        y = torch.cat([prior.conv0(torch.cat([x, rain], 1)), h], 1)
        c = prior.conv_f(y).sigmoid() * c + prior.conv_i(y).sigmoid() * prior.conv_g(y).tanh()
        h = y = prior.conv_o(y).sigmoid() * c.tanh()
        for i in range(1, 6):
            y = F.relu(prior.get_submodule(f"res_conv{i}")(y) + y)
        rain = prior.conv(y)
        assert torch.allclose(prior(x)[1][step], rain, atol=1e-12)
    assert torch.allclose(prior(x)[0], y, atol=1e-12)


def test_receptive_field_is_the_cards() -> None:
    torch.manual_seed(0)
    network = RLPUNet(iterations=1).double()
    with torch.no_grad():  # small positive weights: nothing saturates, no gradient cancels
        for p in network.parameters():
            p.abs_().mul_(0.1)
    x = torch.full((1, 3, 4, 400), 0.1, dtype=torch.double, requires_grad=True)
    y = network(x)
    reach = 0
    for column in range(200, 204):  # one for each place in the stride of 4
        (grad,) = torch.autograd.grad(y[..., column].sum(), x, retain_graph=True)
        seen = grad.abs().sum((0, 1, 2)).nonzero().flatten()
        assert seen.min() > 0
        assert seen.max() < 399
        reach = max(reach, int((seen - column).abs().max()))
    assert reach + 5 * 13 == RLP_UNET.card.receptive  # each further iteration of the prior adds 13 convolutions 3x3


def test_every_parameter_of_the_uformer_is_trained() -> None:
    network = RLPUformer(iterations=2)
    network(torch.rand(1, 3, 128, 128)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_maps_of_all_iterations_and_the_refined_one() -> None:
    out = RLPUNet(intermediates=True, iterations=2)(torch.rand(1, 3, 16, 16))
    assert list(out) == ["y", "rlp_1", "rlp_2", "rlp_3"]
    assert not torch.allclose(out["rlp_2"], out["rlp_3"])
