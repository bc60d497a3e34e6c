"""Draws docs/assets/imports.svg from the imports of the code: ``python docs/import_graph.py``.

A box a package, with its number of files and lines; an arrow says "reads". Arrows that follow from others are left out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "assets" / "imports.svg"
WIDE, HIGH, GAP_X, GAP_Y, EDGE = 150, 46, 26, 44, 20
LEFT_OUT = {"cli", "api"}  # they read nearly everything, which the caption says


def sources() -> dict[str, Path]:
    """Files of the four folders by dotted name; those beside rainrag/ are linked below it."""
    found: dict[str, Path] = {}
    for folder in ("rainrag", "baselines", "benchmarks", "leaderboard"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if parts[0] == "rainrag" else ("rainrag", *parts)
            found[".".join(p for p in parts if p != "__init__")] = path
    return found


def package(name: str) -> str:
    """First part below rainrag."""
    return [*name.split("."), ""][1]


def arrows(files: dict[str, Path]) -> dict[str, set[str]]:
    """Package -> packages that it reads, inside functions too."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [f"{node.module}.{a.name}" for a in node.names]
            found[package(name)] |= {package(m) for m in modules if m.startswith("rainrag.")}
    drawn = {package(n) for n in files if n.count(".") > 1 or files[n].name == "__init__.py"} - LEFT_OUT - {""}
    return {p: (found[p] & drawn) - {p} for p in drawn}


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without arrows that follow from others (the graph has no circle)."""

    def reach(p: str) -> set[str]:
        return graph[p] | {r for q in graph[p] for r in reach(q)}

    return {p: {q for q in to if not any(q in reach(r) for r in to - {q})} for p, to in graph.items()}


def depth(graph: dict[str, set[str]], p: str) -> int:
    """Longest way down to a package that reads nothing."""
    return 1 + max((depth(graph, q) for q in graph[p]), default=-1)


def draw() -> str:
    """The picture."""
    files = sources()
    graph = arrows(files)
    rows: dict[int, list[str]] = defaultdict(list)
    for p in sorted(graph):
        rows[depth(graph, p)].append(p)
    broad = max(len(r) for r in rows.values())
    width = 2 * EDGE + broad * (WIDE + GAP_X) - GAP_X
    height = 2 * EDGE + len(rows) * (HIGH + GAP_Y) - GAP_Y
    at = {}
    for level, row in rows.items():
        left = (width - len(row) * (WIDE + GAP_X) + GAP_X) / 2
        for i, p in enumerate(row):
            at[p] = (left + i * (WIDE + GAP_X), height - EDGE - HIGH - level * (HIGH + GAP_Y))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif">',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
    ]
    for p, to in sorted(reduced(graph).items()):
        for q in sorted(to):
            (x, y), (u, v) = at[p], at[q]
            lines.append(
                f'<path d="M{x + WIDE / 2:.0f} {y + HIGH:.0f}C{x + WIDE / 2:.0f} {y + HIGH + 24:.0f} '
                f'{u + WIDE / 2:.0f} {v - 24:.0f} {u + WIDE / 2:.0f} {v:.0f}" fill="none" stroke="#57606a" '
                'stroke-width="1.2" marker-end="url(#a)"/>'
            )
    for p, (x, y) in sorted(at.items()):
        own = [f for n, f in files.items() if package(n) == p]
        size = f"{len(own)} files, {sum(len(f.read_text().splitlines()) for f in own):,} lines"
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{HIGH}" rx="6" fill="#eef4fb" stroke="#3b6ea5"/>'
            f'<text x="{x + WIDE / 2:.0f}" y="{y + 20:.0f}" text-anchor="middle" font-size="14">{p}</text>'
            f'<text x="{x + WIDE / 2:.0f}" y="{y + 36:.0f}" text-anchor="middle" font-size="10" fill="#57606a">{size}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    OUT.write_text(draw())
