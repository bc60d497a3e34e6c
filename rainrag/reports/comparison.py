"""Before and after: a labelled sheet for each image, and one page with a slider for all."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rainrag.core import images
from rainrag.core.files import write_bytes, write_text
from rainrag.core.images import U8
from rainrag.core.names import printable, short
from rainrag.reports import html
from rainrag.restore.folder import Done, Failed
from rainrag.restore.image_file import Photo
from rainrag.restore.paths import Job

#: Images on the page, and the longer side they are shown at; the sheets are all written, at full size.
MOST, SHOWN = 60, 960
GAP = 8

# The picture after lies over the picture before, cut at --x. Without scripts the page stands at one half.
STYLE = """
.pair{position:relative;margin:.4rem 0;max-width:100%;--x:50%;display:inline-block;line-height:0}
.pair img{max-width:100%;height:auto;display:block;border-radius:6px}
.pair .after{position:absolute;inset:0;clip-path:inset(0 0 0 var(--x))}
.pair::after{content:"";position:absolute;top:0;bottom:0;left:var(--x);width:2px;background:var(--hi)}
.pair input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize;z-index:1}
.pair:focus-within{outline:2px solid var(--hi);outline-offset:2px}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(24rem,100%),1fr));gap:1rem}
.pairs h2{border:0;margin:.2rem 0;font-size:1rem;overflow-wrap:anywhere}
dialog{width:96vw;max-width:none;height:94vh;padding:.6rem;border:0;border-radius:8px;background:var(--bg);color:var(--fg)}
dialog::backdrop{background:#000a}dialog div{overflow:auto;height:calc(100% - 2.4rem)}
dialog img{max-width:100%;max-height:100%;display:block;margin:auto}dialog.full img{max-width:none;max-height:none}
"""
#: The viewer: left and right arrows for the images, z for their full size. Without scripts the sheets are links.
SCRIPT = """
const box=document.querySelector('dialog'),view=box.querySelector('img'),links=[...document.querySelectorAll('a.sheet')];
let at=0;
function show(i){at=(i+links.length)%links.length;view.src=links[at].href;
box.querySelector('b').textContent=links[at].title;if(!box.open)box.showModal()}
links.forEach((a,i)=>a.addEventListener('click',e=>{e.preventDefault();show(i)}));
view.addEventListener('click',()=>box.classList.toggle('full'));
document.addEventListener('keydown',e=>{if(!box.open)return;if(e.key==='ArrowRight')show(at+1);
else if(e.key==='ArrowLeft')show(at-1);else if(e.key==='z')box.classList.toggle('full');else return;e.preventDefault()});
"""
VIEWER = (
    '<dialog><p><b></b> <span class="dim">arrows: next and previous, z or click: full size, Esc: close</span></p>'
    f'<div><img alt="before and after"></div></dialog><script>{SCRIPT}</script>'
)


def eight(pixels: npt.NDArray[Any]) -> U8:
    """16-bit pixels as 8 bits, for the eye."""
    return np.asarray(pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257.0), np.uint8)


def sheet(before: U8, after: U8, title: str = "") -> U8:
    """Both side by side under a strip with their names.

    Args:
        before, after: (H, W, 3).
        title: shown after the names where there is room.

    Returns:
        (H + strip, 2 W + gap, 3) uint8.
    """
    h, w = before.shape[:2]
    strip = max(18, min(64, h // 16))
    out = Image.new("RGB", (2 * w + GAP, h + strip), (24, 28, 32))
    out.paste(Image.fromarray(before), (0, strip))
    out.paste(Image.fromarray(after), (w + GAP, strip))
    pen, font = ImageDraw.Draw(out), ImageFont.load_default(size=strip * 0.6)
    for x, word in ((0, "before"), (w + GAP, "after")):
        full = f"{word}  {title}".rstrip()
        label = full if pen.textlength(full, font=font) <= w - strip else word
        pen.text((x + strip // 3, strip // 2), label, fill=(235, 238, 240), font=font, anchor="lm")
    return np.asarray(out)


class Comparison:
    """Collects pairs while files are written; called from several threads.

    Args:
        out: folder of the results: sheets go below ``compare/``, the page is ``compare.html``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._shown: dict[str, str] = {}
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, job: Job, photo: Photo, pixels: npt.NDArray[Any]) -> None:
        """Write one sheet and keep small pictures for the page."""
        before, after = eight(photo.rgb), eight(pixels)
        write_bytes(self.out / _place(job.name), images.encode_png(sheet(before, after, printable(job.name))))
        with self._lock:
            self._seen.add(job.name)
            wanted = len(self._seen) <= MOST
        if wanted:
            card = _slider(before, after, printable(job.name))
            with self._lock:
                self._shown[job.name] = card

    def page(self, title: str, answers: Sequence[Done | Failed] = ()) -> Path | None:
        """Write the page: a grid of sliders, what was done to each image, what failed, and a viewer of the full sheets.

        Args:
            answers: of this run; images without one are shown without their figures.

        Returns:
            Its path; None when there is nothing to show.
        """
        if not self._shown:
            return None
        left_out = len(self._seen) - len(self._shown)
        more = f"<p>{left_out} more are in the folder <code>compare</code> only.</p>" if left_out else ""
        failed = [a for a in answers if isinstance(a, Failed)]
        said = {a.job.name: _figures(a) for a in answers if isinstance(a, Done)}
        cards = "".join(
            f"<section><h2>{html.text(printable(name))}</h2>{self._shown[name]}"
            f"<p>{said.get(name, '')} {_link(name)}</p></section>"
            for name in sorted(self._shown)
        )
        rows = [(printable(str(f.job.source)), f.reason, f.detail, f.hint or "") for f in failed]
        missed = [(f"Failed: {len(failed)}", html.table(("file", "reason", "detail", "hint"), rows))] if failed else []
        intro = f"<style>{STYLE}</style><p>Move the line: left of it before, right of it after.</p>{more}"
        path = self.out / "compare.html"
        write_text(path, html.page(title, missed, f'{intro}<div class="pairs">{cards}</div>{VIEWER}'))
        return path


def _place(name: str) -> str:
    """Of an image's sheet, below the folder of the results."""
    *folders, last = name.split("/")
    return "/".join(("compare", *folders, f"{short(last)}.png"))


def _figures(done: Done) -> str:
    """Size, tiling, seconds and notes of one image."""
    notes = f", {', '.join(done.notes)}" if done.notes else ""
    return html.text(f"{done.width} x {done.height}, {done.inference}, {done.seconds:.1f} s{notes}")


def _link(name: str) -> str:
    """To the sheet, at full size."""
    address = html.text(quote(os.fsencode(_place(name))))
    return f'<a class="sheet" href="{address}" title="{html.text(printable(name))}">full size</a>'


def _slider(before: U8, after: U8, name: str) -> str:
    low, high = (html.picture(p, f"{name}, {word}", SHOWN) for p, word in ((before, "before"), (after, "after")))
    move = "this.parentNode.style.setProperty('--x',this.value+'%')"
    return (
        f'<div class="pair">{low}<div class="after">{high}</div>'
        f'<input type="range" min="0" max="100" value="50" step="0.5" aria-label="{html.text(name)}: before and after" '
        f'oninput="{move}"></div>'
    )
