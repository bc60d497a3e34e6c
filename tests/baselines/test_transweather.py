from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.transweather import TaskAttention, TransWeather
from rainrag.core.errors import InputError


@pytest.mark.parametrize("n", [3, 48, 100])
def test_stretched_answers_equal_stretched_queries(n: int) -> None:
    torch.manual_seed(0)
    attention = TaskAttention(channels=16, heads=2).double()
    x = torch.randn(2, n, 16, dtype=torch.float64)
    with torch.no_grad():
        q = attention.q(attention.task_query)
        q = F.interpolate(q.transpose(1, 2), size=n, mode="nearest").transpose(1, 2)
        q = q.unflatten(-1, (2, 8)).transpose(1, 2)
        k, v = attention.kv(x).unflatten(-1, (2, 2, 8)).permute(2, 0, 3, 1, 4)
        y = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1) @ v
        want = attention.proj(y.transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(x, (1, n)), want)


@pytest.mark.parametrize("queries", [True, False])
def test_takes_sides_whose_small_maps_are_odd(queries: bool) -> None:
    network = TransWeather(queries=queries).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 80, 144)).shape == (1, 3, 80, 144)


@pytest.mark.parametrize(("height", "width", "need"), [(64, 72, "multiples of 16"), (48, 64, "at least 64")])
def test_says_which_sides_it_takes(height: int, width: int, need: str) -> None:
    with pytest.raises(InputError, match=need):
        TransWeather(queries=False)(torch.zeros(1, 3, height, width))
