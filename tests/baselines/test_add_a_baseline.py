"""docs/add-a-baseline.md, followed to the letter."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from rainrag import baselines
from rainrag.cli import app
from rainrag.restore import Contract, Restorer
from tests.baselines import test_cards, test_restore, test_training

PAGE = Path(__file__).parents[2] / "docs" / "add-a-baseline.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The file and the line of the page; gives its test functions."""
    file, line, test = blocks("python")
    found = re.match(r"# baselines/(\w+)\.py\n", file)
    assert found
    path = tmp_path / f"{found.group(1)}.py"
    path.write_text(file)
    spec = importlib.util.spec_from_file_location(f"rainrag.baselines.{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    for key, value in ast.literal_eval("{" + line + "}").items():
        monkeypatch.setitem(baselines.TABLE, key, value)
    space: dict[str, Any] = {}
    exec(compile(test, str(PAGE), "exec"), space)
    return [f for key, f in space.items() if key.startswith("test_")]


def test_the_pages_own_tests_pass(added: list[Callable[[], None]]) -> None:
    assert len(added) == 3
    for function in added:
        function()


def test_the_general_checks_hold_for_it(added: Any) -> None:
    test_cards.test_weights_say_where_they_are_and_what_they_were_trained_on("drip")
    test_training.test_one_step_lowers_the_loss("drip")
    test_restore.test_tiles_meet_the_networks_contract("drip")


def test_tiles_that_overlap_by_the_receptive_field_change_nothing(added: Any) -> None:
    network = baselines.create("drip")
    restorer = Restorer(network, Contract.of(baselines.card_of("drip")), device="cpu")
    image = torch.rand(60, 70, 3, generator=torch.Generator().manual_seed(0)).numpy()
    whole, tiled = (restorer.run([image], tile=t).images for t in ("full", "40,18"))
    assert abs(whole - tiled).max() < 1e-5


def test_the_pages_commands_run(
    added: Any, write_pairs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "pairs", 2)
    monkeypatch.chdir(tmp_path)
    torch.save(baselines.create("drip").state_dict(), "drip.pth")
    shown, counted, benched = (
        CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"]) for line in blocks("sh")[0].splitlines()
    )
    assert json.loads(shown.stdout)["title"] == "Drip"
    assert "7843" in counted.stdout
    (table,) = json.loads(benched.stdout)["tables"]
    (result,) = table["results"]
    assert (result["model"], result["weights"], result["n"]) == ("drip", "drip", 2)
