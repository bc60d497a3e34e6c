from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.mprnet import Down, MPRNet, Up, join, split
from rainrag.core.errors import InputError


def small(**options: bool) -> MPRNet:
    torch.manual_seed(0)
    return MPRNet(channels=8, step=4, extra=4, blocks=1, reduction=2, **options).double().eval()


def test_split_puts_patches_in_reading_order_and_join_undoes_it() -> None:
    x = torch.rand(2, 3, 8, 12)
    patches = split(x, 2, 2)
    assert torch.equal(patches[1], x[0, :, :4, 6:])
    assert torch.equal(patches[6], x[1, :, 4:, :6])
    assert torch.equal(join(patches, 2, 2), x)
    assert torch.equal(join(join(patches, 1, 2), 2, 1), x)


def test_scaling_equals_bilinear_interpolation_then_projection() -> None:
    x = torch.rand(1, 6, 8, 8, dtype=torch.float64)
    down, up = Down(6, 2).double(), Up(4, 2).double()
    half = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(down(x), down.down[1](half))
    twice = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up(x), up.up[1](twice))


def test_one_activation_serves_all_blocks() -> None:
    network = small()
    state = network.state_dict()
    shared = [k for k, v in state.items() if v.numel() == 1]
    assert len(shared) > 30
    assert all(state[k].data_ptr() == state[shared[0]].data_ptr() for k in shared)
    assert sum(p.numel() == 1 for p in network.parameters()) == 1


def test_a_batch_is_restored_image_by_image() -> None:
    x = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    network = small(intermediates=True)
    with torch.no_grad():
        both, second = network(x), network(x[1:])
    for key in ("y", "stage_1", "stage_2", "stage_3"):
        torch.testing.assert_close(both[key][1:], second[key])


def test_refuses_sides_that_the_quadrants_cannot_halve_twice() -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        small()(torch.zeros(1, 3, 16, 20, dtype=torch.float64))
