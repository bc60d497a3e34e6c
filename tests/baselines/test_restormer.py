from __future__ import annotations

import pytest
import torch

from rainrag.baselines.restormer import Restormer
from rainrag.core.errors import InputError


def small() -> Restormer:
    torch.manual_seed(0)
    return Restormer(dim=8, blocks=(1, 1, 1, 1), refinement=1).eval()


@pytest.mark.parametrize("size", [(12, 16), (16, 12), (7, 7)])
def test_sides_that_are_no_multiples_of_eight_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 8") as error:
        small()(torch.rand(1, 3, *size))
    assert "rainrag derain" in str(error.value)


def test_the_network_predicts_a_residual() -> None:
    network = small()
    torch.nn.init.zeros_(network.output.weight)
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        assert torch.equal(network(x), x)


def test_channels_last_gives_the_same_image() -> None:
    network, x = small(), torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        before = network(x)
        after = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns() -> None:
    network = small().train()
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
