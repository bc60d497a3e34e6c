"""Before and after: a labelled sheet for each image, and one page with a slider for all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rainrag.core import images
from rainrag.core.files import write_bytes, write_text
from rainrag.core.images import U8
from rainrag.core.names import printable, short
from rainrag.reports import html
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
"""


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
        *folders, last = job.name.split("/")
        place = Path(self.out, "compare", *folders, f"{short(last)}.png")
        write_bytes(place, images.encode_png(sheet(before, after, printable(job.name))))
        with self._lock:
            self._seen.add(job.name)
            wanted = len(self._seen) <= MOST
        if wanted:
            card = _slider(before, after, printable(job.name))
            with self._lock:
                self._shown[job.name] = card

    def page(self, title: str) -> Path | None:
        """Write the page; None when there is nothing to show."""
        if not self._shown:
            return None
        left_out = len(self._seen) - len(self._shown)
        more = f"<p>{left_out} more are in the folder <code>compare</code> only.</p>" if left_out else ""
        sections = [(printable(name), self._shown[name]) for name in sorted(self._shown)]
        intro = f"<style>{STYLE}</style><p>Move the line: left of it before, right of it after.</p>{more}"
        path = self.out / "compare.html"
        write_text(path, html.page(title, sections, intro))
        return path


def _slider(before: U8, after: U8, name: str) -> str:
    low, high = (html.picture(p, f"{name}, {word}", SHOWN) for p, word in ((before, "before"), (after, "after")))
    move = "this.parentNode.style.setProperty('--x',this.value+'%')"
    return (
        f'<div class="pair">{low}<div class="after">{high}</div>'
        f'<input type="range" min="0" max="100" value="50" step="0.5" aria-label="{html.text(name)}: before and after" '
        f'oninput="{move}"></div>'
    )
