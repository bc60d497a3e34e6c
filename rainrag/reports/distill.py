"""The report of a distillation: the pyramid, what was kept of which source, how the voters agree, and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rainrag.core import images, stats
from rainrag.core.errors import DecodeError, MissingError
from rainrag.core.files import natural, read_json
from rainrag.core.parquet import read_table
from rainrag.core.types import Ballot
from rainrag.data import dataset, pair_checks
from rainrag.distill.splits import UNUSED
from rainrag.distill.vote_stage import ballot_of
from rainrag.reports import html
from rainrag.reports.captions import plain
from rainrag.retrieval.store import Store
from rainrag.voters import voting

MOST = 24  # pictures of each kind; the parquet has all
Row = dict[str, Any]


def write(path: Path, folder: Path, store: Store | None = None) -> str | None:
    """Write the report of what ``rainrag distill`` left in a folder.

    Args:
        path: HTML file.
        store: for pictures of the references; another state of it than the one that was used shows none.

    Returns:
        Why the references have no pictures, or None.

    Raises:
        MissingError: when the folder holds no finished distillation.
    """
    if not (folder / "splits.lock").exists():
        raise MissingError("no finished distillation here", where=folder, hint="rainrag distill … --out " + str(folder))
    lock = read_json(folder / "splits.lock")
    why = _strange(store, lock)
    album = Album(folder, None if why else store)
    rows = read_table(folder / "verdicts" / "train-00000.parquet")
    ballots: dict[str, list[Ballot]] = {}
    for b in read_table(folder / "ballots" / "train-00000.parquet"):
        ballots.setdefault(b["key"], []).append(ballot_of(b))
    sections = [
        ("The pyramid", _pyramid(rows, _references(folder))),
        ("Kept, by source and subset", _rates(rows)),
        ("Why pairs were rejected", _rejections(rows)),
        ("The splits", _splits(rows)),
        ("The voters", _voters(rows, ballots, lock)),
    ]
    for title, chosen in _galleries(rows).items():
        cards = [_card(r, ballots.get(r["key"], []), album) for r in chosen]
        sections.append((f"{title} ({len(chosen)} shown)", html.grid(cards)))
    notes = [f"{lock['candidates']} labelled pairs were judged by {', '.join(v['name'] for v in lock['voters'])}."]
    if why:
        notes.append(f"The references have no pictures here: {why}.")
    html.write(path, "What was distilled", sections, "".join(f"<p>{html.text(n)}</p>" for n in notes))
    return why


def _references(folder: Path) -> int:
    """Real photographs at the top of the pyramid: those that the pairs were compared with."""
    import pyarrow.parquet as pq

    return int(sum(pq.ParquetFile(p).metadata.num_rows for p in (folder / "references").glob("*.parquet")))


def _strange(store: Store | None, lock: dict[str, Any]) -> str | None:
    """Why a store cannot show the references, else None."""
    if store is None:
        return "no reference store was available locally (--store DIR)"
    if store.fingerprint != lock["store"]["fingerprint"]:
        return "the reference store has changed since"
    return None


# ---------------------------------------------------------------- pictures
class Album:
    """Pictures by key, read when they are wanted.

    Args:
        folder: of the splits.
        store: of the references, or None.
    """

    def __init__(self, folder: Path, store: Store | None) -> None:
        import pyarrow.parquet as pq

        self.store = store
        self._at: dict[str, tuple[Path, int]] = {}
        for path in sorted((folder / "data").glob("*/*.parquet")):
            file = pq.ParquetFile(path)
            if path.parent.name == "real":  # references: their pictures are the store's
                continue
            for group in range(file.num_row_groups):
                for key in file.read_row_group(group, columns=["key"]).column("key").to_pylist():
                    self._at[key] = (path, group)

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def sides(self, key: str) -> list[str]:
        """``img`` elements of the rainy and the clean side."""
        if key not in self._at:  # kept, but in neither part
            return [html.picture(None, key)]

        path, group = self._at[key]
        part = dataset.group(path, group, ["key", "lq", "gt"])
        row = next(r for r in part if r["key"] == key)
        cells = (("rainy side", row["lq"]), ("clean side", row["gt"]))
        return [_picture(dataset.image_bytes(c), f"{side} of {key}", 200) for side, c in cells]

    def references(self, keys: Sequence[str]) -> list[str]:
        """``img`` elements of references, or their keys where there is no store."""
        if self.store is None:
            return [f'<span class="dim">{html.text(k)}</span>' for k in keys]
        found = self.store.some(set(keys), ["image"])
        return [_picture(found[k]["image"]["bytes"], f"reference {k}", 110) for k in keys]


def _picture(data: bytes, alt: str, side: int) -> str:
    try:
        return html.picture(images.decode(data, alt).rgb, alt, side)
    except DecodeError:  # such a pair was rejected as undecodable: the card says so
        return html.picture(None, alt)


# ---------------------------------------------------------------- numbers
def _pyramid(rows: Sequence[Row], real: int) -> str:
    """The paper's data pyramid, real at the top: each tier's area is its share of the images."""
    kept = sum(r["keep"] for r in rows)
    tiers: list[tuple[str, int, str, str]] = [
        ("real", real, "photographs of real rain that the pairs were compared with", "var(--hi)"),
        ("distilled", kept, "pairs that passed", "var(--ok)"),
        ("rejected", len(rows) - kept, "pairs that did not, each with its reason", "var(--bad)"),
    ]
    drawn = "".join(_band(band, tier) for band, tier in zip(_bands([t[1] for t in tiers]), tiers, strict=True))
    picture = f'<svg viewBox="0 0 380 {HIGH + 6}" width="380" role="img" aria-label="The pyramid">{drawn}</svg>'
    most = max(1, *(count for _, count, _, _ in tiers))
    table = [(name, count, html.bar(count / most, meaning)) for name, count, meaning, _ in tiers]
    return f"<p>{picture}</p>" + html.table(["tier", "images", ""], table, numbers=(1,))


HIGH, HALF = 170, 120  # of the pyramid, in the picture's units: height, and half its base
LINE = 20  # between two names at least


def _bands(counts: Sequence[int]) -> list[tuple[float, float, float]]:
    """(top, bottom, height of the name) of each tier of a triangle whose areas are in the ratio of the counts.

    The area above a line grows with the square of its distance from the apex.
    """
    total = max(1, sum(counts))
    edges = [HIGH * (sum(counts[:i]) / total) ** 0.5 for i in range(len(counts) + 1)]
    names: list[float] = []
    for top, bottom in pairwise(edges):
        middle = (top + bottom) / 2 + 5
        names.append(max(middle, names[-1] + LINE) if names else max(middle, 14))
    over = max(0.0, names[-1] - HIGH)
    return [(top, bottom, y - over) for (top, bottom), y in zip(pairwise(edges), names, strict=True)]


def _band(band: tuple[float, float, float], tier: tuple[str, int, str, str]) -> str:
    """One tier: a trapezoid, and its name and number beside it."""
    (top, bottom, y), (name, count, meaning, colour) = band, tier
    left, right = (HALF * top / HIGH, HALF * bottom / HIGH)
    corners = f"{HALF - left:.1f},{top:.1f} {HALF + left:.1f},{top:.1f} {HALF + right:.1f},{bottom:.1f} "
    corners += f"{HALF - right:.1f},{bottom:.1f}"
    return (
        f'<polygon points="{corners}" fill="{colour}"><title>{html.text(meaning)}</title></polygon>'
        f'<text x="{2 * HALF + 12}" y="{y:.1f}" fill="{colour}" font-size="15">{count:,} {name}</text>'
    )


def _rates(rows: Sequence[Row]) -> str:
    by: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        by.setdefault((r["source"], r["subset"]), []).append(r)
        by.setdefault(("all", r["subset"]), []).append(r)
        by.setdefault(("all", "all"), []).append(r)
    if len({source for source, _ in by}) == 2:  # of one source, its own rows say it
        by = {k: part for k, part in by.items() if k[0] != "all" or k[1] == "all"}
    order = sorted(by, key=lambda k: (k[0] == "all", natural(k[0]), k[1] == "all", k[1]))
    table = [[source, subset, *keep_rate(by[source, subset])] for source, subset in order]
    head = ["source", "subset", "pairs", "scenes", "unsound", "kept", "keep rate", "95 % interval"]
    return html.table(head, table, numbers=(2, 3, 4, 5))


def keep_rate(rows: Sequence[Row]) -> list[Any]:
    """Pairs, scenes, gated, kept, the rate as a bar, and its interval over scenes."""
    kept = [float(r["keep"]) for r in rows]
    scenes = [r["group"] for r in rows]
    n = len(set(scenes))
    between = stats.share_interval(kept, scenes, rounds=min(4000, max(100, 8_000_000 // n)))
    shown = "" if between is None else f"{between[0]:.1%} to {between[1]:.1%}"
    rate = sum(kept) / len(kept)
    gated = sum(_gated(r) for r in rows)
    return [len(rows), n, gated, int(sum(kept)), html.bar(rate, f"{rate:.1%}"), shown]


def _gated(r: Row) -> bool:
    return str(r["reason"]).startswith(("gate:", "undecodable"))


def _rejections(rows: Sequence[Row]) -> str:
    found = Counter(r["reason"] for r in rows if not r["keep"])
    meaning = {**voting.REASONS, **{f"gate:{k}": v for k, v in pair_checks.REASONS.items()}}
    return html.table(["reason", "pairs", "meaning"], [(r, n, meaning[r]) for r, n in found.most_common()], (1,))


def _splits(rows: Sequence[Row]) -> str:
    parts = Counter((r["subset"], r["part"]) for r in rows if r["part"])
    table = [(s, parts[s, "train"], parts[s, "test"]) for s in dataset.SUBSETS]
    unused = Counter(r["unused"] for r in rows if r["unused"])
    rest = html.table(["kept, not used", "pairs", "why"], [(u, n, UNUSED[u]) for u, n in unused.most_common()], (1,))
    return html.table(["subset", "train", "test"], table, (1, 2)) + (rest if unused else "")


def _voters(rows: Sequence[Row], ballots: dict[str, list[Ballot]], lock: dict[str, Any]) -> str:
    judged = sum(not _gated(r) for r in rows)
    table = []
    for v in lock["voters"]:
        own = [b for cast in ballots.values() for b in cast if b.voter == v["name"]]
        said = Counter(b.answer for b in own)
        table.append((v["name"], v["revision"], len(own), said["yes"], said["no"], said["abstain"], judged - len(own)))
    head = ["voter", "revision", "asked", "yes", "no", "abstained", "not needed"]
    s = lock["settings"]
    agreed = voting.agreement(ballots, 1.0 if s["all_voters"] else s["audit_share"], s["seed"])
    kappa = "not defined" if agreed["kappa"] is None else f"{agreed['kappa']:.3f}"
    lines = [
        f"Agreement on the random audit sample, in which all voters vote: {agreed['items']} pairs, "
        f"Fleiss' kappa {kappa} (1: always the same answer, 0: as by chance)."
    ]
    if agreed["items"]:
        rates = ", ".join(f"{v} {r:.1%}" for v, r in agreed["yes_rate"].items())
        lines.append(f"Unanimous: {agreed['unanimous']:.1%}. Yes rates there: {rates}.")
    return html.table(head, table, (2, 3, 4, 5, 6)) + "".join(f"<p>{html.text(line)}</p>" for line in lines)


# ---------------------------------------------------------------- gallery
def _galleries(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Kept, contested and rejected pairs, some of each source and subset in turn."""

    def contested(r: Row) -> bool:
        return bool(r["yes"]) and bool(r["no"])

    kinds: dict[str, Callable[[Row], bool]] = {
        "Kept": lambda r: bool(r["keep"]) and not contested(r),
        "Contested": contested,
        "Rejected by the vote": lambda r: not r["keep"] and not _gated(r) and not contested(r),
        "Unsound pairs": _gated,
    }
    return {title: found for title, want in kinds.items() if (found := _spread(filter(want, rows)))}


def _spread(rows: Iterable[Row]) -> list[Row]:
    """At most ``MOST`` rows, one of each source, subset and reason before a second of any."""
    seen: Counter[tuple[Any, ...]] = Counter()
    ranked: list[tuple[int, int, Row]] = []
    for r in rows:
        kind = (r["source"], r["subset"], r["reason"])
        ranked.append((seen[kind], len(ranked), r))
        seen[kind] += 1
    return [r for _, _, r in sorted(ranked, key=lambda x: x[:2])[:MOST]]


def _card(r: Row, ballots: Sequence[Ballot], album: Album) -> str:
    lines = [f"<b>{html.text(r['key'])}</b>", html.text(f"{r['subset']}, {r['source']}")]
    mark = "ok" if r["keep"] else "bad"
    lines.append(f'<span class="{mark}">{html.text(r["reason"])}</span> {html.text(r["detail"])}')
    for b in ballots:
        p = "" if b.p_yes is None else f" p={b.p_yes:.3f}"
        lines.append(
            f'{html.text(b.voter)}: <b>{html.text(b.answer)}</b>{p} <span class="dim">{html.text(b.raw)}</span>'
        )
    if r["caption"]:
        lines.append(f'<span class="dim">{html.text(plain(r["caption"]))}</span>')
    if r["references"]:
        lines.append("References:")
        lines.append(f'<div class="row">{"".join(album.references(r["references"]))}</div>')
        lines.append(
            '<span class="dim">'
            + html.text("SSIM " + ", ".join("?" if s is None else f"{s:.3f}" for s in r["structural"]))
            + "</span>"
        )
    if r["unused"]:
        lines.append(f'<span class="dim">not used: {html.text(UNUSED[r["unused"]])}</span>')
    return html.card(album.sides(r["key"]), *lines)
