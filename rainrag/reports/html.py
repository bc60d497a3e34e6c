"""HTML reports: one self-contained file, day and night theme, readable on a phone, no script needed to read it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rainrag.core import images
from rainrag.core.files import write_text

STYLE = """
:root{--bg:#fbfbfa;--fg:#1d2329;--dim:#66717c;--line:#dfe3e6;--card:#fff;--ok:#1a7f4b;--bad:#b3261e;--hi:#0b62a8}
@media(prefers-color-scheme:dark){:root{--bg:#14181c;--fg:#e6eaed;--dim:#98a4ae;--line:#2c343b;--card:#1b2126;
--ok:#5cc98d;--bad:#f2857d;--hi:#79b8ef}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:1rem}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;
border-bottom:1px solid var(--line);padding-bottom:.2rem}p,li{max-width:75ch}.dim{color:var(--dim)}
table{border-collapse:collapse;margin:.6rem 0;font-size:.92rem}th,td{padding:.28rem .7rem;
border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}svg,img{max-width:100%;height:auto}h1,h2,p,li{overflow-wrap:anywhere}
@media print{.card{break-inside:avoid}.scroll{overflow:visible}}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(250px,100%),1fr));gap:.8rem}.card{background:var(--card);
border:1px solid var(--line);border-radius:8px;padding:.5rem;overflow-wrap:anywhere;font-size:.85rem}
.card img{width:100%;height:auto;display:block;border-radius:4px}
.row{display:flex;gap:4px;align-items:flex-start}.row img{flex:1;min-width:0}
.ok{color:var(--ok)}.bad{color:var(--bad)}.bar{height:.8em;background:var(--hi);display:inline-block;border-radius:2px}
details{margin:.4rem 0}summary{cursor:pointer}a{color:var(--hi)}
"""


def text(value: Any) -> str:
    """Escaped for HTML."""
    return html.escape(str(value))


def thumb(rgb: images.U8, side: int = 220) -> str:
    """A small picture as a data address."""
    data = base64.b64encode(images.encode_jpeg(images.fit(rgb, side), 80)).decode()
    return f"data:image/jpeg;base64,{data}"


def picture(rgb: images.U8 | None, alt: str, side: int = 220) -> str:
    """An ``img`` element, or a note where the picture cannot be shown."""
    if rgb is None:
        return f'<span class="dim">no picture of {text(alt)}</span>'
    height, width = images.fit(rgb, side).shape[:2]  # said, so that a page has its size before pictures are decoded
    return f'<img src="{thumb(rgb, side)}" width="{width}" height="{height}" alt="{text(alt)}">'


def card(pictures: Sequence[str], *lines: str) -> str:
    """A card: pictures in a row and lines of HTML below."""
    return (
        f'<div class="card"><div class="row">{"".join(pictures)}</div>{"".join(f"<div>{x}</div>" for x in lines)}</div>'
    )


def grid(cards: Iterable[str]) -> str:
    """Cards in a grid that fits the screen."""
    return f'<div class="grid">{"".join(cards)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    """A table; columns in ``numbers`` are set right. Cells that are ``Html`` are not escaped."""
    mark = [' class="n"' if i in numbers else "" for i in range(len(head))]
    top = "".join(f"<th{m}>{text(h)}</th>" for h, m in zip(head, mark, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{m}>{_cell(c)}</td>" for c, m in zip(r, mark, strict=True)) + "</tr>" for r in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


class Html(str):
    """Text that is HTML already."""


def _cell(value: Any) -> str:
    return value if isinstance(value, Html) else "" if value is None else text(value)


def bar(share: float, label: str = "") -> Html:
    """A share in [0, 1] as a bar."""
    return Html(f'<span class="bar" style="width:{max(0.0, min(1.0, share)) * 8:.2f}em"></span> {text(label)}')


def page(title: str, sections: Iterable[tuple[str, str]], intro: str = "") -> str:
    """A whole page from (heading, HTML) sections."""
    body = "".join(f"<section><h2>{text(h)}</h2>{content}</section>" for h, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{text(title)}</h1>{intro}{body}</main></body></html>\n"
    )


def write(path: Path, title: str, sections: Iterable[tuple[str, str]], intro: str = "") -> None:
    """Write a page atomically."""
    write_text(path, page(title, sections, intro))
