"""The page's HTML. Everything can be read without scripts; they add sorting, details and the theme's switch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rainrag.benchmarks.ranking import SMALLER, Standing
from rainrag.core.types import Result
from rainrag.evaluation import results
from rainrag.leaderboard import boards, plot
from rainrag.leaderboard.boards import Board
from rainrag.leaderboard.papers import Cell, Paper

NAMES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "niqe": "NIQE", "musiq": "MUSIQ", "clip-iqa": "CLIP-IQA"}


def text(value: object) -> str:
    """Escaped for HTML."""
    return escape(str(value))


def index(found: Sequence[Board], papers: Sequence[Paper]) -> str:
    """The whole page."""
    runs = sum(len(b.table.standings) for b in found)
    sets = len({b.table.testset for b in found})
    drawn = [plot.published(papers), *(plot.measured(b) for b in found)]
    shown = "".join(f'<figure class="card">{p}</figure>' for p in drawn if p)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><title>RainRAG leaderboard</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="style.css"><script src="app.js"></script></head><body>
<a class="skip" href="#results">Skip to the results</a>
<header><div class="wrap"><div class="bar"><span class="brand">{LOGO}RainRAG</span>
<button id="theme" type="button" aria-label="Switch to the night theme">{MOON}</button></div>
<h1>Deraining leaderboard</h1>
<p class="lead">{runs} runs on {sets} test sets. Every figure has its protocol, its interval, and its images' scores.</p>
<nav aria-label="Sections">{_nav(found)}</nav></div></header>
<main class="wrap"><section id="results"><h2>Results</h2>{READING}{"".join(map(_board, found))}</section>
<section id="cost"><h2>Cost against quality</h2>
<p class="dim">Up and to the left is better. Circles grow with the number of parameters.</p>
<div class="plots">{shown}</div></section>
<section id="published"><h2>Published figures</h2>
<p class="dim">From the UniRain paper and what quotes it, not run here. A dagger <b class="mark">†</b> marks what is inferred
and not printed in the paper.</p>{"".join(map(_paper, papers))}</section></main>
<footer class="wrap dim">Made by <code>rainrag leaderboard build</code>. Images, where shown, keep their dataset's licence.
</footer><dialog id="detail" aria-labelledby="detail-title"></dialog></body></html>
"""


LOGO = (
    '<svg class="logo" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2.5c3.6 4.3 6 7.6 6 11a6 6 0 0 1-12 0c0-3.4 '
    '2.4-6.7 6-11z"/><path class="glint" d="M9 14a3 3 0 0 0 3 3"/></svg>'
)
MOON = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path class="moon" d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 '
    '1 0 20 14.5z"/><path class="sun" d="M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM12 1v3M12 20v3M1 12h3M20 12h3'
    'M4.2 4.2l2.1 2.1M17.7 17.7l2.1 2.1M4.2 19.8l2.1-2.1M17.7 6.3l2.1-2.1"/></svg>'
)
READING = """<details class="reading"><summary>How to read the tables</summary><ul>
<li><b>Rank</b> is an interval: the best and worst place that the images allow.</li>
<li><b>Group</b>: methods that share a letter cannot be told apart (paired tests over scenes, Holm-corrected, 5 %).</li>
<li>The line beside a figure is its 95 % interval over scenes (bootstrap), all on one scale.</li>
<li><b>Clean</b> is the score on scenes that the weights are not known to have seen in training.
<span class="badge warn">seen</span> marks weights that have seen some;
<span class="badge">not compared</span>, weights whose training set is known and not available, so that its scenes were
not looked at; <span class="badge">unknown</span>, weights of which nobody says what they were trained on.</li>
<li><b>Published</b> is what a paper or repository says of the same method here, and how far ours is from it.
Its protocol is in the details; <b class="mark">†</b> is a figure not verified at its source.</li>
<li><b>s / image</b> is the network's time, comparable on one machine only (it stands in the details); there is none
where other work ran beside it.</li>
<li>A method's name opens its details and every image.</li></ul></details>"""


def _nav(found: Sequence[Board]) -> str:
    first = {b.table.testset: b for b in reversed(found)}
    sets = dict.fromkeys(b.table.testset for b in found)
    links = [(f"#{first[t].name}", first[t].title.split(",")[0]) for t in sets]
    links += [("#cost", "Cost"), ("#published", "Published")]
    return "".join(f'<a href="{text(a)}">{text(t)}</a>' for a, t in links)


# ---------------------------------------------------------------- results
def _board(board: Board) -> str:
    t = board.table
    notes = "".join(f"<li>{text(n)}</li>" for n in board.notes)
    listed = f'<ul class="notes dim">{notes}</ul>' if notes else ""
    head = [("Rank", "asc"), ("Method", "asc")]
    head += [(NAMES.get(m, m.upper()), "asc" if m in SMALLER else "desc") for m in board.metrics]
    head += [("Group", "asc"), (f"Clean {NAMES.get(t.metric, t.metric)}", "desc"), ("Published", "desc")]
    timed = any(results.BUSY not in s.result.notes for s in t.standings)
    head += [("s / image", "asc")] if timed else []
    span = _span(board)
    rows = "".join(_row(board, s, span, timed) for s in t.standings)
    return f"""<article class="card board" id="{text(board.name)}"><h3>{text(board.title)}</h3>
<p class="dim">{board.images} images, protocol <code>{text(t.protocol)}</code></p>{listed}
<div class="scroll" tabindex="0" role="region" aria-label="{text(board.title)}, {text(t.protocol)}"><table class="sortable">
<thead><tr>{_head(head)}</tr></thead><tbody>{rows}</tbody></table></div></article>"""


def _head(columns: Sequence[tuple[str, str]]) -> str:
    cells = [
        f'<th scope="col" aria-sort="none" data-first="{order}ending"><button type="button">{text(name)}</button></th>'
        for name, order in columns
    ]
    return "".join(cells)


def _span(board: Board) -> tuple[float, float] | None:
    """Least and largest value of all intervals of the ranking's metric: the scale of the lines."""
    ends: list[float] = []
    for s in board.table.standings:
        mean, ends_ = s.result.mean.get(board.table.metric), s.result.interval.get(board.table.metric)
        ends += [] if mean is None else [mean, *(ends_ or ())]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _row(board: Board, s: Standing, span: tuple[float, float] | None, timed: bool) -> str:
    r, t = s.result, board.table
    rank = "–" if s.rank is None else str(s.rank[0]) if s.rank[0] == s.rank[1] else f"{s.rank[0]}–{s.rank[1]}"
    name = (
        f'<button type="button" class="open" data-board="{text(board.name)}" data-run="{text(s.path.stem)}">'
        f"{text(boards.title(r))}</button>"
    )
    cells = [
        _cell(rank, None if s.rank is None else s.rank[0] + s.rank[1] / 1000),
        f'<th scope="row" data-value="{text(boards.title(r).lower())}">{name}{_mark(s)}</th>',
        *(_metric(s, m, span if m == t.metric else None) for m in board.metrics),
        _cell(f'<span class="group">{text(s.group)}</span>' if s.group else "–", s.group or None),
        _clean(s, t.metric),
        _published(s),
        *([_seconds(r)] if timed else []),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(html: str, value: object, kind: str = "n") -> str:
    sort = "" if value is None else f' data-value="{text(value)}"'
    return f'<td class="{kind}"{sort}>{html}</td>'


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _digits(metric: str) -> int:
    return 2 if metric in ("psnr", "niqe", "musiq") else 4


def _metric(s: Standing, metric: str, span: tuple[float, float] | None) -> str:
    mean, ends = s.result.mean.get(metric), s.result.interval.get(metric)
    d = _digits(metric)
    between = f"{ends[0]:.{d}f} to {ends[1]:.{d}f}" if ends else "no interval: fewer than two scenes"
    said = f'<small class="dim">{between}</small>' if ends else ""
    return _cell(f'<b title="{between}">{_number(mean, d)}</b>{_line(mean, ends, span)}{said}', mean)


def _line(mean: float | None, ends: tuple[float, float] | None, span: tuple[float, float] | None) -> str:
    """The interval as a line with a dot, on the table's scale."""
    if span is None or mean is None:
        return ""
    x, (low, high) = _on(mean, span), ((_on(e, span) for e in ends) if ends else (0.0, 0.0))
    line = f'<line x1="{low:.1f}" x2="{high:.1f}" y1="5" y2="5"/>' if ends else ""
    return (
        f'<svg class="whisker" viewBox="0 0 100 10" aria-hidden="true">{line}<circle cx="{x:.1f}" cy="5" r="3"/></svg>'
    )


def _on(value: float, span: tuple[float, float]) -> float:
    return 4 + 92 * (value - span[0]) / (span[1] - span[0])


def _seconds(r: Result) -> str:
    """Of the network, and on what; nothing where other work ran beside it."""
    if results.BUSY in r.notes:
        return _cell(f'<span title="{results.BUSY}">–</span>', None)
    e = r.environment
    where = e.get("gpu") or ", ".join(
        x for x in (e.get("processor"), f"{e['threads']} threads" if "threads" in e else "") if x
    )
    each = r.seconds / max(r.n, 1)
    return _cell(f'<span title="{text(where or "on a machine that is not named")}">{_number(each, 2)}</span>', each)


def _mark(s: Standing) -> str:
    """Contamination: some scenes were trained on, or nobody knows."""
    r = s.result
    if r.clean is None:
        word = "unknown" if r.trained_on is None else "not compared"
        return f'<span class="badge" title="{text(boards.trained(r))}">{word}</span>'
    seen = r.n - int(r.clean["n"])
    if seen:
        return f'<span class="badge warn" title="{seen} of {r.n} images are of scenes trained on">seen {seen}</span>'
    return ""


def _clean(s: Standing, metric: str) -> str:
    if s.result.clean is None:
        return _cell("–", None)
    mean, n = s.result.clean["mean"].get(metric), s.result.clean["n"]
    whole = "" if s.result.clean["complete"] else " at most"
    return _cell(f'{_number(mean, _digits(metric))}<small class="dim">{n} images{whole}</small>', mean)


def _published(s: Standing) -> str:
    """The first published figure, of the authors' own where they give one; others are in the details."""
    ours = s.result.mean.get("psnr")
    if not s.published or ours is None:
        return _cell("–", None)
    p = s.published[0]
    dagger = "" if p.sure else '<b class="mark">†</b>'
    return _cell(
        f'<span title="{text(p.source)}">{p.psnr:.2f}{dagger}</span><small class="dim">ours {ours - p.psnr:+.2f}</small>',
        p.psnr,
    )


# ---------------------------------------------------------------- papers
def _paper(p: Paper) -> str:
    best = {c: _best([cells.get(c) for _, cells in p.rows]) for c in p.columns}
    head = _head([("Method", "asc"), *((c, "desc") for c in p.columns)])
    rows = []
    for name, cells in p.rows:
        values = "".join(_value(cells.get(c, Cell()), best[c]) for c in p.columns)
        rows.append(f'<tr><th scope="row" data-value="{text(name.lower())}">{text(name)}</th>{values}</tr>')
    metrics = f" Top to bottom in a cell: {', '.join(p.metrics)}." if len(p.metrics) > 1 else ""
    return f"""<details class="card paper" id="{p.name}"{" open" * (p.name == "table1_rainrag")}>
<summary><h3>{text(p.title)}</h3></summary>
<p class="dim">{text(p.about)}{metrics}</p><div class="scroll" tabindex="0" role="region" aria-label="{text(p.title)}">
<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>"""


def _best(cells: Sequence[Cell | None]) -> str | None:
    numbers = [c.text[0] for c in cells if c and len(c.text) > 1 and c.text[0]]
    return max(numbers, key=float) if numbers else None


def _value(cell: Cell, best: str | None) -> str:
    if not cell.text or not cell.text[0]:
        return _cell("–", None)
    first, *rest = cell.text
    dagger = '<b class="mark" title="inferred">†</b>' if cell.inferred else ""
    shown = f"<b>{text(first)}</b>" if best is not None and first == best else text(first)
    small = "".join(f'<small class="dim">{text(x)}</small>' for x in rest if x)
    source = f' title="{text(cell.source)}"' if cell.source else ""
    return _cell(f"<span{source}>{shown}{dagger}</span>{small}", first)
