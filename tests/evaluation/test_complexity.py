"""UniRain's presets, counted: Table 3's row is what base is fitted to."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core.errors import UsageError
from rainrag.evaluation import complexity
from rainrag.models.unirain.network import UniRain


def test_base_has_the_papers_size() -> None:
    found = complexity.of("unirain/base")
    assert found.params == pytest.approx(24.4e6, rel=0.01)
    assert found.macs_conv == pytest.approx(126.5e9, rel=0.01)
    assert found.macs > found.macs_conv


def test_it_is_the_mean_over_the_expert_that_runs() -> None:
    network = UniRain(preset="tiny-v1")
    hard = [complexity.routes(network, i)["decoder1.0"] for i in range(3)]
    assert [h.argmax().item() for h in hard] == [0, 1, 2]
    assert all((h > 0).sum() == 1 for h in hard)
    assert set(complexity.routes(network, 0)) == set(network.routing(torch.rand(1, 3, 16, 16)))


def test_the_command_counts_it() -> None:
    done = CliRunner().invoke(app, ["models", "unirain/tiny", "--complexity", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["params"] == sum(p.numel() for p in UniRain(preset="tiny").parameters())
    assert found["authors_macs"] is None
    with pytest.raises(UsageError, match="no preset"):
        complexity.of("unirain/huge")
