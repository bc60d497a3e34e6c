"""The import rule (docs/architecture.md), read from the code: packages in order, files without circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch",
    "transformers",
    "chromadb",
    "datasets",
    "open_clip",
    "sentence_transformers",
    "pyiqa",
    "ray",
    "lightning",
}

#: A package reads only from those before it. ``api`` reads all but ``cli``; ``cli`` reads everything.
ORDER = (
    "core", "data", "retrieval", "voters", "distill", "models", "baselines", "restore", "evaluation", "training",
    "reports", "benchmarks", "leaderboard", "api", "cli",
)  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    """Every file of the four folders by its dotted name; the three beside rainrag/ are linked below it."""
    found: dict[str, Path] = {}
    for folder in ("rainrag", "baselines", "benchmarks", "leaderboard"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if parts[0] == "rainrag" else ("rainrag", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Modules of ours that a module imports, inside functions too; blocks for type checkers are left out."""
    tree = ast.parse(modules()[name].read_text())
    hidden: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            hidden.update(id(n) for n in ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{name} imports relatively"
            members = {f"{node.module}.{a.name}" for a in node.names}
            found.update(m if m in modules() else node.module for m in members)
    return frozenset(found & modules().keys())


def package(name: str) -> str:
    """First part below rainrag; "" for the top itself."""
    return [*name.split("."), ""][1].removeprefix("__main__")


def test_every_package_has_its_place() -> None:
    assert {package(n) for n in modules()} - {""} == set(ORDER)


def test_a_package_imports_only_from_its_left() -> None:
    breaches = [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if package(name) and package(other) and ORDER.index(package(other)) > ORDER.index(package(name))
    ]
    assert not breaches, "\n".join(sorted(breaches))


def test_the_files_have_no_circle() -> None:
    try:
        TopologicalSorter({n: imports(n) - {n} for n in modules()}).prepare()
    except CycleError as e:
        pytest.fail(" -> ".join(e.args[1]))


def test_data_know_nothing_of_networks_and_networks_nothing_of_distillation() -> None:
    """Two flows that share ``core`` and ``data``: distillation, and networks from model to score."""
    distillation = {"retrieval", "voters", "distill"}
    networks = {"models", "baselines", "restore", "training", "evaluation"}
    for name in modules():
        if package(name) in networks:
            found = {package(n) for n in imports(name)} & distillation
            assert not found, f"{name} imports {found}"


def test_core_errors_and_types_import_nothing_of_ours() -> None:
    assert not imports("rainrag.core.errors")
    assert not imports("rainrag.core.types")


def test_imports_are_of_whole_names() -> None:
    """The folders beside rainrag/ have one name each, below it."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"baselines", "benchmarks", "leaderboard"}, name


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv=['rainrag','--help']\n"
        "import rainrag, rainrag.cli\n"
        "try: rainrag.cli.main()\n"
        "except SystemExit: pass\n"
        f"bad = sorted(set(sys.modules) & {HEAVY!r}); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_table_entry_resolves() -> None:
    """A lazily named module must be there: the tables are strings, which no import checks."""
    from importlib import import_module

    from rainrag import baselines
    from rainrag.core import jobs
    from rainrag.data import sources
    from rainrag.models import networks

    addresses = [*sources.TABLE.values(), *jobs.ENGINES.values(), *baselines.TABLE.values(), networks.PUBLISHED]
    for address in addresses:
        module, attr = address.split(":")
        assert hasattr(import_module(module), attr), address
