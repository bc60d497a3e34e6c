"""Fills the tables of README.md from the code and the committed results: ``python docs/readme_tables.py [--check]``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SHOWN = ("rain100l", "rain200l-sample", "rain200h-sample", "hq-nightrain-sample", "raindrop-sample", "nitedr-roadscene")
MODELS = ("input", "median", "guided", "prenet", "unirain")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def sources() -> str:
    """One row a source."""
    from rainrag.data import sources as table_of

    rows = []
    for name in table_of.names():
        if name in ("rendered", "folder"):
            continue
        s = table_of.get(name)
        counts = ", ".join(f"{v:,} {k}" for k, v in s.counts.items() if v) or "-"
        hosts = ", ".join(dict.fromkeys(a.host for a in s.archives)) or "-"
        kind = "photographs" if s.real else "synthetic"
        rows.append([f"`{name}`", " ".join(s.subsets), counts, kind, re.sub(", [^)]*", "", s.licence), hosts])
    return table(["name", "types", "pairs, as published", "rain", "licence", "hosts"], rows)


def baselines() -> str:
    """One row a network."""
    import rainrag.baselines as networks

    rows = []
    for name in networks.names():
        c = networks.card_of(name)
        if not c.params:
            continue
        proof = "float64, 1e-9 of the largest value" if c.fixture else "as PReNet" if name == "pigwm" else "-"
        rows.append([f"`{name}`", c.venue, f"{c.params / 1e6:.2f}", f"{c.gmacs:.1f}" if c.gmacs else "-", proof])
    return table(["name", "venue", "M parameters", "GMACs at 256x256", "equal to the authors' network within"], rows)


def leaderboard() -> str:
    """PSNR of a few models on the sets available locally."""
    from rainrag.evaluation import results

    rows = []
    for testset in SHOWN:
        found = {}
        for path in results.find(ROOT / "leaderboard" / "results", testset):
            r = results.load(path)
            if r.protocol == "y":
                found[r.model] = r
        if not found:
            continue
        cells = []
        for m in MODELS:
            r = found.get(m)
            span = r.interval.get("psnr") if r else None
            cells.append(
                "-" if r is None else f"{r.mean['psnr']:.2f}" + (f" ({span[0]:.1f} to {span[1]:.1f})" if span else "")
            )
        rows.append([f"`{testset}` ({max(r.n for r in found.values())})", *cells])
    return table(["test set (images)", *MODELS], rows)


def filled(text: str) -> str:
    """README with its tables made again."""
    for name, make in (("sources", sources), ("baselines", baselines), ("leaderboard", leaderboard)):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, make=make: m[1] + make() + "\n" + m[2],
            text,
            flags=re.S,
        )
    return text


def main() -> int:
    """Write, or with --check say whether anything would change."""
    path = ROOT / "README.md"
    before = path.read_text()
    after = filled(before)
    if "--check" in sys.argv:
        return int(before != after)
    path.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
