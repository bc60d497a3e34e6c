"""The tables of docs/measured.md from what was measured.

    python -m rainrag.benchmarks.distillation.evaluate --store DIR --cases FILE [--overlays FILE] [--json FILE]

Prints, for the gate, each voter alone, the panel without each of them, the panel, and gate and panel together: sound
pairs kept, faults rejected, AUC; the paper's ablations; and the AUC of the store's own photographs against naive overlays.
Intervals are 95 %, by resampling scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rainrag import voters
from rainrag.benchmarks.distillation import cache
from rainrag.core.files import natural, write_json
from rainrag.distill import evaluate_voters
from rainrag.distill.evaluate_voters import BOTH, VOTE, Figures, Judged, Looked, Rate
from rainrag.retrieval.store import Store
from rainrag.retrieval.triplet import STRUCTURE, Triplet

#: ablation -> context of the statistical voters
CONTEXTS = {"full": "retrieved", "vlm-only": "store", "no-retrieval": "random"}


def judged(looked: Sequence[Looked], store: Store, context: str, alpha: float) -> tuple[list[Judged], list[str]]:
    """Ballots of the statistical voters in one context."""
    panel = voters.panel("statistical", store=str(store.path), context=context, alpha=alpha)
    return evaluate_voters.judge(looked, store, panel), [v.name for v in panel]


def by_retrieval(full: Sequence[Judged], names: Sequence[str]) -> evaluate_voters.Judge:
    """Ablation without generation: of each type the top of the retrieval scores, as many as the full run keeps."""
    both = evaluate_voters.judges(names)[BOTH]
    kept: set[int] = set()
    for subset in {c.subset for c in full}:
        passed = [c for c in full if c.subset == subset and c.reason is None and c.retrieval is not None]
        count = sum(both(c).keep for c in passed)
        order = sorted(range(len(passed)), key=lambda i: (-(passed[i].retrieval or 0), i))
        kept |= {id(passed[i]) for i in order[:count]}
    return lambda c: evaluate_voters.Opinion(id(c) in kept, c.retrieval if c.reason is None else -9.0)


def photographs(store: Store) -> list[Looked]:
    """The store's own photographs as queries; the cascade hides each one's own scene from it."""
    rows = store.rows(["sha256", "phash", "caption", "text", "feature", "structure", "stratum",
                       *[f"signal_{s}" for s in cache.SIGNALS]])  # fmt: skip
    out = []
    for r in rows:
        night, drops = r["stratum"].startswith("night"), r["stratum"].endswith("drops")
        triplet = Triplet(
            r["caption"], np.array(r["text"], np.float32), np.array(r["feature"], np.float32),
            np.frombuffer(r["structure"], np.uint8).reshape(STRUCTURE, STRUCTURE),
            {s: np.array(r[f"signal_{s}"], np.float32) for s in cache.SIGNALS}, night, drops,
        )  # fmt: skip
        scene = store.manifest["scenes"].get(r["key"], r["key"])
        out.append(Looked(r["key"], scene, "", None, night, drops, None, None, r["sha256"], r["phash"], triplet))
    return out


def against_overlays(overlays: Sequence[Looked], store: Store, alpha: float) -> dict[str, dict[str, Rate | None]]:
    """Real photographs against naive overlays: kept, rejected and AUC of each judge, in each context."""
    out: dict[str, dict[str, Rate | None]] = {}
    for ablation, context in CONTEXTS.items():
        told, names = judged([*photographs(store), *overlays], store, context, alpha)
        for name, judge in evaluate_voters.judges(names).items():
            if name not in (*names, VOTE):
                continue
            said = [judge(c) for c in told]
            real, drawn = (
                [(o, c) for o, c in zip(said, told, strict=True) if (c.fault is None) == w] for w in (True, False)
            )
            scored = [(o.score, c) for o, c in zip(said, told, strict=True) if o.score is not None]
            out[f"{name}, {ablation}"] = {
                "kept": Rate.of([o.keep for o, _ in real], [c.scene for _, c in real]),
                "rejected": Rate.of([not o.keep for o, _ in drawn], [c.scene for _, c in drawn]),
                "auc": evaluate_voters.auc(
                    [s for s, _ in scored],
                    [c.fault is None for _, c in scored],
                    [c.scene for _, c in scored],
                ),
            }
    return out


def evaluate(looked: Sequence[Looked], store: Store, alpha: float) -> dict[str, Any]:
    """All figures: judges of the full run, the ablations, keep rates by type."""
    out: dict[str, Any] = {"cases": len(looked), "scenes": len({x.scene for x in looked}), "alpha": alpha}
    ablations: dict[str, dict[str, Figures]] = {}
    for ablation, context in CONTEXTS.items():
        told, names = judged(looked, store, context, alpha)
        every = evaluate_voters.judges(names)
        ablations[ablation] = {n: evaluate_voters.tally(told, every[n]) for n in (*names, VOTE, BOTH)}
        if ablation == "full":
            out["judges"] = {n: evaluate_voters.tally(told, j) for n, j in every.items()}
            ablations["no-generation"] = {BOTH: evaluate_voters.tally(told, by_retrieval(told, names))}
            out["subsets"] = {
                s: evaluate_voters.tally([c for c in told if c.subset == s], every[BOTH])
                for s in sorted({c.subset for c in told}, key=natural)
            }
            out["reasons"] = _reasons(looked)
    out["ablations"] = ablations
    return out


def _reasons(looked: Sequence[Looked]) -> dict[str, dict[str, int]]:
    """fault (or sound) -> gate reason (or passed) -> cases."""
    out: dict[str, dict[str, int]] = {}
    for x in looked:
        row = out.setdefault(x.fault or "sound", {})
        row[x.reason or "passed"] = row.get(x.reason or "passed", 0) + 1
    return {k: dict(sorted(v.items(), key=lambda kv: -kv[1])) for k, v in out.items()}


# ---------------------------------------------------------------- tables
def cell(r: Rate | None) -> str:
    """``0.93 (0.89-0.96)``."""
    if r is None or r.share is None:
        return "-"
    return f"{r.share:.2f}" if r.low is None else f"{r.share:.2f} ({r.low:.2f}-{r.high:.2f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows]) + "\n"


def tables(found: dict[str, Any]) -> str:
    """All tables as markdown."""
    judges: dict[str, Figures] = found["judges"]
    faults = list(judges[BOTH].faults)
    columns = [n for n in judges if not n.startswith("without ")]
    parts = [
        f"{found['scenes']} scenes, {found['cases']} cases, alpha {found['alpha']}\n",
        markdown(
            ["", *columns],
            [
                ["sound kept", *(cell(judges[n].keep) for n in columns)],
                *[[f, *(cell(judges[n].faults[f]) for n in columns)] for f in faults],
                *[[f"all {k} faults", *(cell(getattr(judges[n], k)) for n in columns)] for k in ("pair", "rain")],
                ["all faults", *(cell(judges[n].all) for n in columns)],
                ["AUC, all faults", *(cell(judges[n].auc) for n in columns)],
                ["AUC, rain faults", *(cell(judges[n].auc_rain) for n in columns)],
            ],
        ),
        markdown(
            ["panel", "sound kept", "rain faults", "AUC, rain faults"],
            [
                [n, cell(judges[n].keep), cell(judges[n].rain), cell(judges[n].auc_rain)]
                for n in judges
                if n == VOTE or n.startswith("without ")
            ],
        ),
        markdown(
            ["ablation", "judge", "sound kept", "rain faults", "all faults", "AUC, rain faults", "AUC, all faults"],
            [
                [a, n, cell(f.keep), cell(f.rain), cell(f.all), cell(f.auc_rain), cell(f.auc)]
                for a, part in found["ablations"].items()
                for n, f in part.items()
            ],
        ),
        markdown(
            ["type", "sound kept", "all faults rejected"],
            [[s, cell(f.keep), cell(f.all)] for s, f in found["subsets"].items()],
        ),
        markdown(
            ["fault", "what the gate said"],
            [[k, ", ".join(f"{r} {n}" for r, n in v.items())] for k, v in found["reasons"].items()],
        ),
    ]
    if "overlays" in found:
        parts.append(
            markdown(
                ["judge", "photographs kept", "overlays rejected", "AUC"],
                [[n, cell(r["kept"]), cell(r["rejected"]), cell(r["auc"])] for n, r in found["overlays"].items()],
            )
        )
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--overlays", type=Path)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    store = Store.open(args.store)
    looked = evaluate_voters.again([x for path in args.cases for x in cache.read(path)])
    found = evaluate(looked, store, args.alpha)
    if args.overlays:
        found["overlays"] = against_overlays(cache.read(args.overlays), store, args.alpha)
    print(tables(found))
    if args.json:
        write_json(args.json, _plain(found))
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return asdict(value) if isinstance(value, Figures | Rate) else value


if __name__ == "__main__":
    sys.exit(main())
