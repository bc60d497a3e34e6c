"""The picture of a query: the photograph, and what each stage of the cascade found for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rainrag.core import images
from rainrag.core.images import U8
from rainrag.reports import html
from rainrag.reports.captions import plain
from rainrag.retrieval.search import Trace
from rainrag.retrieval.store import Store

MOST = 24  # pictures of a stage

Hits = Sequence[tuple[str, str]]


def write(path: Path, store: Store, name: str, rgb: U8, caption: str, found: Trace) -> None:
    """Write one self-contained HTML page.

    Args:
        path: of the page.
        name, rgb, caption: the query's.
        found: what the cascade found.
    """
    stages: list[tuple[str, Hits, int]] = [
        (
            "3. By structure (SSIM): the retrieved set",
            [(m.key, f"SSIM {m.structural:.3f}, cosine {m.visual:.3f}, distance {m.semantic:.3f}")
             for m in found.structure],
            len(found.structure),
        ),
        ("2. By look (cosine of features)", [(k, f"cosine {c:.3f}") for k, c in found.look[:MOST]], len(found.look)),
        (
            "1. By meaning (distance of captions)",
            [(k, f"distance {d:.3f}") for k, d in found.meaning[:MOST]],
            len(found.meaning),
        ),
    ]  # fmt: skip
    keys = {k for _, hits, _ in stages for k, _ in hits}
    shown = store.some(keys, ["caption", "image", "licence"])
    intro = html.grid([html.card([html.picture(rgb, name)], html.text(name), html.text(plain(caption)))])
    html.write(path, f"References for {name}", [(_title(t, h, n), _cards(shown, h)) for t, h, n in stages], intro)


def _title(title: str, hits: Hits, all_of_them: int) -> str:
    return title if len(hits) == all_of_them else f"{title}: the first {len(hits)} of {all_of_them}"


def _cards(shown: dict[str, dict[str, object]], hits: Hits) -> str:
    cards = []
    for key, score in hits:
        row = shown[key]
        image = row["image"]
        assert isinstance(image, dict)
        cards.append(
            html.card(
                [html.picture(images.decode(image["bytes"], key).rgb, key)],
                f"<b>{html.text(score)}</b>",
                html.text(plain(str(row["caption"]))),
                f'<span class="dim">{html.text(key)} (licence {html.text(row["licence"])})</span>',
            )
        )
    return html.grid(cards) if cards else "<p>Nothing: every reference is the query itself or its near-duplicate.</p>"
