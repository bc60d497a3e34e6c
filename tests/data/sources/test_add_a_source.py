"""docs/add-a-source.md, followed to the letter."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.data.sources import TABLE, get
from tests.data.sources import test_cards, test_layouts
from tests.data.sources.build import files

PAGE = Path(__file__).parents[3] / "docs" / "add-a-source.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The file and the line of the page; gives its test functions."""
    file, line, test = blocks("python")
    name = re.match(r"# rainrag/data/sources/(\w+)\.py\n", file).group(1)
    path = tmp_path / f"{name}.py"
    path.write_text(file)
    spec = importlib.util.spec_from_file_location(f"rainrag.data.sources.{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    for key, value in ast.literal_eval("{" + line + "}").items():
        monkeypatch.setitem(TABLE, key, value)
    space: dict = {}
    exec(compile(test, str(PAGE), "exec"), space)
    return [f for key, f in space.items() if key.startswith("test_")]


def test_the_pages_own_test_passes(added, tmp_path):
    assert len(added) == 1
    for function in added:
        function(tmp_path)


def test_the_general_checks_hold_for_it(added):
    test_cards.test_a_card_holds_together("drizzle")
    test_cards.test_archives_can_be_followed("drizzle")
    test_layouts.test_every_template_names_groups_that_its_pattern_has()
    assert get("drizzle").subsets == ("DRS", "NRS")


def test_the_pages_commands_run(added, tmp_path, monkeypatch):
    files(tmp_path / "Drizzle", "train/wet/0001_s2.jpg", "train/dry/0001.png")
    monkeypatch.chdir(tmp_path)
    show, dry_run = [line.split()[1:] for line in blocks("sh")[0].splitlines()]
    shown = CliRunner().invoke(app, show)
    assert "Doe et al." in shown.output
    planned = CliRunner().invoke(app, [*dry_run, "--json"])
    assert json.loads(planned.stdout)["pairs"] == 1
    assert not (tmp_path / "workspace").exists()
