"""The tables of docs/measured.md on false rain: what checks and panel keep of what ``measure`` kept.

    python -m rainrag.benchmarks.distillation.figures --store DIR --cases FILE.parquet… [--alpha A] [--majority]

Prints what is kept of each kind of false rain, of dry scenes, rendered pairs, real pairs by source and photographs; the same
without each voter and by majority; and retrieved neighbours against random ones and the whole store: differences of shares
and of AUC on the same cases, with intervals over scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rainrag import voters
from rainrag.benchmarks.distillation import cache
from rainrag.benchmarks.distillation.evaluate import CONTEXTS, cell, markdown
from rainrag.core import stats
from rainrag.distill import evaluate_voters
from rainrag.distill.decide import panel_of
from rainrag.distill.evaluate_voters import BOTH, GATE, VOTE, Judged, Looked, Rate
from rainrag.retrieval.store import Store

ROUNDS = 2000


def group_of(x: Looked | Judged, key: str) -> str:
    """The row of the table that a case belongs to."""
    if x.fault is not None:
        return x.fault
    if x.scene.startswith("photograph/"):
        return "photographs"
    if x.scene.startswith("real/"):
        return f"real pairs, {x.scene.split('/')[1]}"
    return f"rendered {x.subset}"


def judged(looked: Sequence[Looked], store: Store, context: str, alpha: float) -> tuple[list[Judged], dict[str, Any]]:
    """Ballots in one context, and the judges."""
    panel = voters.panel("statistical", store=str(store.path), context=context, alpha=alpha)
    told = evaluate_voters.judge(looked, store, panel)
    return told, evaluate_voters.judges([v.name for v in panel], None, panel_of(panel, store), alpha)


def shares(told: Sequence[Judged], names: Sequence[str], judge: Callable[[Judged], Any]) -> dict[str, Rate]:
    """Kept share of each group, and of groups together."""
    groups: dict[str, list[tuple[bool, str]]] = {}
    for c, name in zip(told, names, strict=True):
        kept = judge(c).keep
        wider = (
            ["all rendered"]
            if name.startswith("rendered ")
            else ["all real pairs"]
            if name.startswith("real pairs")
            else []
        )
        if c.fault is not None and evaluate_voters.kind_of(c.fault) == "rain":
            wider = ["all false rain"]
        for g in (name, *wider):
            groups.setdefault(g, []).append((kept, c.scene))
    return {g: Rate.of([k for k, _ in v], [s for _, s in v]) for g, v in sorted(groups.items())}


def differences(
    a: Sequence[float], b: Sequence[float], scenes: Sequence[str]
) -> tuple[float, tuple[float, float] | None, float]:
    """Mean difference of the same cases, its interval, and its p-value."""
    d = np.subtract(a, b).tolist()
    return float(np.mean(d)), stats.interval(d, scenes), stats.paired_p(a, b, scenes)


def auc_difference(x: Any, y: Any, positive: Any, scenes: Sequence[str], seed: int = 0) -> tuple[float, float, float]:
    """AUC of x minus AUC of y, with a 95 % interval by resampling scenes."""
    from scipy.stats import rankdata

    names, at = np.unique(np.asarray(scenes), return_inverse=True)
    members = [np.flatnonzero(at == i) for i in range(len(names))]
    rng = np.random.default_rng(seed)

    def one(rows: Any) -> float:
        good = positive[rows]
        n, m = int(good.sum()), int((~good).sum())
        if not n or not m:
            return float("nan")
        u = [float(rankdata(v[rows])[good].sum() - n * (n + 1) / 2) / (n * m) for v in (x, y)]
        return u[0] - u[1]

    draws = [
        one(np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])) for _ in range(ROUNDS)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return one(np.arange(len(at))), float(low), float(high)


def contexts(looked: Sequence[Looked], store: Store, alpha: float) -> str:
    """Retrieved neighbours against random ones and the whole store, on the same cases."""
    found = {}
    for name, context in CONTEXTS.items():
        told, judges = judged(looked, store, context, alpha)
        found[name] = [judges[VOTE](c) for c in told]
    scenes = [x.scene for x in looked]
    false = np.array([x.fault is not None and evaluate_voters.kind_of(x.fault) == "rain" for x in looked])
    sound = np.array([x.fault is None for x in looked])
    rows = []
    for other in ("no-retrieval", "vlm-only"):
        for label, mask in (("false rain kept", false), ("sound kept", sound)):
            a, b = ([float(found[n][i].keep) for i in np.flatnonzero(mask)] for n in ("full", other))
            mean, span, p = differences(a, b, [scenes[i] for i in np.flatnonzero(mask)])
            rows.append(
                [
                    f"full - {other}",
                    label,
                    f"{mean:+.3f}",
                    f"{span[0]:+.3f} to {span[1]:+.3f}" if span else "-",
                    f"{p:.3f}",
                ]
            )
        both = np.flatnonzero(false | sound)
        x, y = (np.array([found[n][i].score or 0.0 for i in both]) for n in ("full", other))
        mean, low, high = auc_difference(x, y, sound[both], [scenes[i] for i in both])
        rows.append([f"full - {other}", "AUC", f"{mean:+.4f}", f"{low:+.4f} to {high:+.4f}", "-"])
    return markdown(["contexts", "what", "difference", "95 % interval", "p"], rows)


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--alpha", type=float, default=0.05)
    args = parser.parse_args(argv)
    store = Store.open(args.store)
    looked = evaluate_voters.again([x for path in args.cases for x in cache.read(path)])
    told, judges = judged(looked, store, "retrieved", args.alpha)
    names = [group_of(x, x.key) for x in looked]
    shown = [GATE, *[n for n in judges if n in voters.GROUPS["statistical"]], "majority", VOTE, BOTH]
    table = {n: shares(told, names, judges[n]) for n in shown}
    print(f"{len(looked)} cases, {len({x.scene for x in looked})} scenes, alpha {args.alpha}; share kept\n")
    print(markdown(["", *shown], [[g, *(cell(table[n][g]) for n in shown)] for g in table[BOTH]]))
    left = [n for n in judges if n.startswith("without ")]
    wide = [g for g in table[BOTH] if g.startswith("all ") or g in ("photographs", "dry")]
    print(
        markdown(
            ["panel", *wide], [[n, *(cell(shares(told, names, judges[n])[g]) for g in wide)] for n in (VOTE, *left)]
        )
    )
    print(contexts(looked, store, args.alpha))
    for p in panel_of(voters.panel("statistical", store=str(store.path), alpha=args.alpha), store).promises(args.alpha):
        print(
            f"store, {p.stratum or 'all'}: {p.n} photographs, rejected {p.rejected:.3f} {p.interval}, pooled {p.pooled}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
