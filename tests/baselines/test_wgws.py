from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rainrag import baselines
from rainrag.baselines.wgws import WGWS, WeatherConv2d, WGWSNet
from rainrag.core.errors import UsageError
from tests.baselines.test_fixtures import _one_thread, load_fixture, needs_fixtures  # noqa: F401 (a fixture)


@needs_fixtures
@pytest.mark.parametrize(("flag", "output"), [("snow", "y_flag_100"), ("raindrop", "y_flag_001")])
def test_other_weather_equals_the_authors_network(flag: str, output: str) -> None:
    _, z, state = load_fixture("wgws-net")
    network = baselines.create("wgws-net", flag=flag)
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        y = network(torch.from_numpy(z["x"])).numpy()
    assert np.abs(y - z[output]).max() <= 1e-4


def weather_conv(kernel: int, stride: int, indicator: float) -> tuple[WeatherConv2d, torch.Tensor]:
    torch.manual_seed(0)
    conv = WeatherConv2d(3, 5, kernel, stride, "rain", freeze=True).double()
    with torch.no_grad():
        conv.B2_indicator.fill_(indicator)
    return conv, torch.rand(2, 3, 8, 12, dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize(("indicator", "on"), [(0.0999, False), (0.1, True), (-3.0, False)])
def test_a_branch_is_added_unless_its_indicator_is_low(kernel: int, stride: int, indicator: float, on: bool) -> None:
    conv, x = weather_conv(kernel, stride, indicator)
    want = F.conv2d(x, conv.weight, None, stride, kernel // 2)
    if on:
        want = want + F.conv2d(x, conv.B2_residual, None, stride)
    torch.testing.assert_close(conv(x), want)


def test_only_the_flagged_branch_and_its_indicator_learn() -> None:
    conv, x = weather_conv(3, 1, 0.05)
    conv(x).square().sum().backward()
    assert conv.weight.grad is None
    assert conv.B1_residual.grad is None
    assert conv.B3_indicator.grad is None
    assert conv.B2_indicator.grad is not None
    assert conv.B2_indicator.grad.abs().item() > 0  # switched off, it can still be switched on


def test_general_kernels_learn_when_asked() -> None:
    def trainable(freeze: bool) -> int:
        return sum(p.numel() for p in WGWSNet(channels=4, blocks=1, freeze=freeze).parameters() if p.requires_grad)

    assert trainable(freeze=True) < trainable(freeze=False)


def test_unknown_weather_is_refused() -> None:
    with pytest.raises(UsageError, match="fog"):
        WGWSNet(channels=4, blocks=1, flag="fog")


def test_no_pixel_beyond_the_receptive_field_matters_and_the_last_one_does() -> None:
    torch.manual_seed(0)
    network = WGWSNet(channels=4).double()
    reach = []
    for column in range(320, 324):  # the four places on the grid of the smallest map
        x = torch.rand(1, 3, 4, 640, dtype=torch.float64, requires_grad=True)
        network(x)[0, :, 1, column].sum().backward()
        assert x.grad is not None
        touched = x.grad.abs().sum((0, 1, 2)).nonzero()
        reach += [column - touched.min().item(), touched.max().item() - column]
    assert max(reach) == WGWS.card.receptive
