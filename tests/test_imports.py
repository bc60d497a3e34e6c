"""The house's import rules (docs/architecture.md), read from the code."""

from __future__ import annotations

import ast
import subprocess
import sys
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

#: The flow, left to right: a module may import those before it (and the ground), never those after.
FLOW = [
    "pairing", "sources", "render", "ingest", "gate", "audit", "encoders", "store", "stock", "cascade", "voters", "vote",
    "distill", "splits",
]  # fmt: skip
GROUND = {"records": set(), "errors": set()}
BASE = {"records", "errors", "names", "headers", "files", "images", "stage", "metrics", "stats"}
#: Commands that need a checkout, and so may import its folders.
CHECKOUT = {"train", "models", "weights", "bench", "explain", "leaderboard", "demo", "derain", "complete"}


def imports(path: Path, top_only: bool = False) -> set[str]:
    """Dotted names that a file imports, inside functions too unless ``top_only``; TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text())
    hidden: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            hidden.update(id(n) for n in ast.walk(node))
        if top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            hidden.update(id(n) for n in ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{a.name}" for a in node.names)
    return found


def files(folder: str) -> list[Path]:
    """Python files of a room."""
    return sorted((ROOT / folder).rglob("*.py"))


def room(name: str) -> str:
    """First part below rainrag of a dotted name."""
    parts = name.split(".")
    return parts[1] if parts[0] == "rainrag" and len(parts) > 1 else ""


@pytest.mark.parametrize("path", files("rainrag"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_wheel_knows_nothing_of_the_checkout(path: Path) -> None:
    outside = {n for n in imports(path) if n.split(".")[0] in ("baselines", "benchmarks", "leaderboard")}
    if not outside:
        return
    assert path.parent.name == "cli", f"{path} imports {outside}"
    assert any(path.stem.startswith(v) or v in path.stem for v in CHECKOUT), (
        f"{path.stem} is no command that needs a checkout"
    )
    top = {n for n in imports(path, top_only=True) if n.split(".")[0] in ("baselines", "benchmarks", "leaderboard")}
    assert not top, f"{path} imports {top} at its top"


def test_records_and_errors_import_nothing_of_ours() -> None:
    for name in GROUND:
        assert not {n for n in imports(ROOT / "rainrag" / f"{name}.py") if n.startswith("rainrag")}


def test_ground_modules_import_only_the_ground() -> None:
    for name in ("files", "images", "metrics", "stats", "stage"):
        used = {room(n) for n in imports(ROOT / "rainrag" / f"{name}.py")} - {""}
        assert used <= BASE, f"{name} imports {used - BASE}"


def test_sources_never_import_each_other() -> None:
    for path in files("rainrag/sources"):
        if path.name in ("__init__.py", "layouts.py"):
            continue
        used = {n for n in imports(path) if n.startswith("rainrag.sources")}
        assert all(n.startswith("rainrag.sources.layouts") for n in used), f"{path.name} imports {used}"


def test_the_flow_imports_leftwards_only() -> None:
    for i, name in enumerate(FLOW):
        mine = [p for p in files("rainrag") if p.relative_to(ROOT / "rainrag").parts[0] in (name, f"{name}.py")]
        right = set(FLOW[i + 1 :])
        if name == "sources":
            right.discard("render")  # the table names the rendered source by its address, not by an import
        for path in mine:
            used = {room(n) for n in imports(path)}
            assert not used & right, f"{path.relative_to(ROOT)} imports {used & right}, which lie to its right"


def test_vote_knows_no_particular_voter() -> None:
    path = ROOT / "rainrag" / "vote.py"
    if path.exists():
        assert not {n for n in imports(path) if n.startswith("rainrag.voters.")}


def test_baselines_import_only_what_they_may() -> None:
    allowed = (
        "rainrag.records",
        "rainrag.errors",
        "rainrag.files",
        "rainrag.http",
        "rainrag.unirain.blocks",
        "baselines.",
    )
    for path in files("baselines"):
        ours = {n for n in imports(path) if n.split(".")[0] in ("rainrag", "benchmarks", "leaderboard", "baselines")}
        bad = {n for n in ours if not n.startswith(allowed) and n != "baselines"}
        assert not bad, f"{path.name} imports {bad}"


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

    from rainrag import engine, sources

    for table in (sources.TABLE, engine.ENGINES):
        for address in table.values():
            module, attr = address.split(":")
            assert hasattr(import_module(module), attr), address
