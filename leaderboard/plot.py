"""Complexity against quality, as SVG: GMACs at 256x256 on a logarithmic axis, circles as large as the parameters say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rainrag.benchmarks import tables
from rainrag.leaderboard import boards, networks
from rainrag.leaderboard.boards import Board
from rainrag.leaderboard.papers import Paper

WIDTH, HEIGHT = 640, 400
FEWEST = 10  # images that a plot is drawn for: fewer say little about a network
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 20, 48


@dataclass(frozen=True)
class Point:
    """One network.

    Args:
        gmacs: at 256x256, > 0.
        params: in millions.
        psnr: in dB.
    """

    name: str
    gmacs: float
    params: float
    psnr: float
    ours: bool = False


def published(papers: Sequence[Paper]) -> str:
    """Averages of Table 1 against the cost of the networks; UniRain's is the paper's own figure."""
    table = next((p for p in papers if p.name == "table1_rainrag"), None)
    cost = next((p for p in papers if p.name == "table3_complexity"), None)
    model = {r["method"]: r["model"] for r in tables.read("table1_rainrag.csv")}
    known = {n: (c["gmacs"], c["params"]) for n, c in networks.load().items() if c["params"] and c["gmacs"]}
    for _, cells in cost.rows if cost else ():
        known["unirain"] = (float(cells["GMACs"].text[0]), float(cells["Parameters, M"].text[0]) * 1e6)
    points = []
    for name, cells in table.rows if table else ():
        if model[name] in known and "Average" in cells:
            g, p = known[model[name]]
            points.append(Point(name, g, p / 1e6, float(cells["Average"].text[0]), name == "UniRain"))
    return draw("Average of RainRAG, as published", points)


#: Shipped weights that were trained before their preset was redesigned: weights -> preset of their network.
PRESET_OF = {"tiny": "tiny-v1"}


def measured(board: Board) -> str:
    """Runs of networks of known cost on one test set; nothing where there are fewer than two, or too few images."""
    if board.images < FEWEST:
        return ""
    points: dict[str, Point] = {}
    for s in board.table.standings:
        r = s.result
        preset = PRESET_OF.get(r.weights or "", r.weights)
        card = networks.load().get(f"{r.model}/{preset}") or networks.load().get(r.model)
        psnr = r.mean.get("psnr")
        if card and card["gmacs"] and psnr is not None:
            name = boards.title(r)
            points.setdefault(name, Point(name, card["gmacs"], card["params"] / 1e6, psnr, r.model == "unirain"))
    return draw(f"{board.title}, protocol {board.table.protocol}", list(points.values()))


def draw(title: str, points: Sequence[Point]) -> str:
    """The SVG with its caption; nothing for fewer than two points."""
    if len(points) < 2:
        return ""
    x0, x1 = (math.log10(f(p.gmacs for p in points)) for f in (min, max))
    x0, x1 = x0 - 0.15, x1 + 0.15
    y0, y1 = (f(p.psnr for p in points) for f in (min, max))
    pad = max(0.3, (y1 - y0) * 0.15)
    y0, y1 = y0 - pad, y1 + pad

    def at(p: Point) -> tuple[float, float]:
        return _x(math.log10(p.gmacs), x0, x1), _y(p.psnr, y0, y1)

    parts = [_axes(x0, x1, y0, y1)]
    taken: list[Box] = []
    for p in sorted(points, key=lambda p: -p.params):
        x, y = at(p)
        radius = _radius(p)
        taken.append((x - radius, y - radius, x + radius, y + radius))
        said = f"{p.name}: {p.psnr:.2f} dB, {p.gmacs:.1f} GMACs, {p.params:.2f} M parameters"
        parts.append(
            f'<circle class="dot{" ours" * p.ours}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(said)}</title></circle>"
        )
    for p in sorted(points, key=lambda p: -p.psnr):
        x, y = at(p)
        lx, ly, anchor = _label(x, y, _radius(p), len(p.name) * 7.0, taken)
        parts.append(f'<text class="name" x="{lx:.1f}" y="{ly:.1f}" text-anchor="{anchor}">{escape(p.name)}</text>')
    names = ", ".join(f"{p.name} {p.psnr:.2f} dB at {p.gmacs:.1f} GMACs" for p in points)
    return (
        f'<figcaption>{escape(title)}</figcaption><svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title}: {names}")}">{"".join(parts)}</svg>'
    )


def _x(v: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (v - low) / (high - low)


def _y(v: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (v - low) / (high - low)


#: Left, top, right, bottom.
Box = tuple[float, float, float, float]


def _radius(p: Point) -> float:
    return 4 + 2.2 * math.sqrt(p.params)


def _label(x: float, y: float, radius: float, wide: float, taken: list[Box]) -> tuple[float, float, str]:
    """A place for a name beside its circle: right of it, left, above or below, where nothing else is; else below more."""
    away = radius + 4
    around = [
        (x + away, y + 4, "start"),
        (x - away, y + 4, "end"),
        (x, y - away, "middle"),
        (x, y + away + 10, "middle"),
    ]
    beside = [(x + away, y + 4 + shift, "start") for shift in (8, -8, 12, -12)]
    further = [(x, y + away + 10 + 12 * n, "middle") for n in range(1, 20)]
    for lx, ly, anchor in [*around[:1], *beside, *around[1:], *further]:
        left = lx - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
        box = (left, ly - 11, left + wide, ly + 3)
        inside = box[0] > LEFT and box[2] < WIDTH - 4
        if inside and not any(_overlap(box, t) for t in taken):
            break
    taken.append(box)
    return lx, ly, anchor


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _axes(x0: float, x1: float, y0: float, y1: float) -> str:
    parts = []
    ticks = [m * 10**e for e in range(-2, 4) for m in (1, 2, 5) if x0 <= math.log10(m * 10**e) <= x1]
    for g in ticks:
        x = _x(math.log10(g), x0, x1)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{g:g}</text>')
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if (y1 - y0) / s <= 8)
    v = math.ceil(y0 / step) * step
    while v <= y1:
        y = _y(v, y0, y1)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{v:.1f}</text>')
        v += step
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">GMACs at 256x256</text>'
    )
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">PSNR, dB</text>')
    return "".join(parts)
