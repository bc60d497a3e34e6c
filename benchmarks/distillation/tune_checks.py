"""Measure planted faults of pairs, fit the scores that tell them, and show their recall and false rate source by source.

    python -m rainrag.benchmarks.distillation.tune_checks measure HALF --backgrounds DIR --pairs DIR… --seed S --out DIR
    python -m rainrag.benchmarks.distillation.tune_checks fit TUNING HELD_OUT [--out FILE]

Each fault is planted in rendered pairs and in pairs of the sets named. The scores are logistic regressions on the gate's
measures, one a fault, on the tuning half; their limits let 0.7 % of sound pairs through to each reason, by scores of a
cross-validation over scenes. The table is of the held-out half.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rainrag.benchmarks.distillation import scenes
from rainrag.benchmarks.distillation.evidence import half_of, pairs_of
from rainrag.benchmarks.distillation.fit_evidence import fold_of
from rainrag.core import images
from rainrag.core.files import write_json
from rainrag.core.images import U8
from rainrag.core.parquet import read_table, write_table
from rainrag.data import pair_checks
from rainrag.data.synthetic import backgrounds as scenery
from rainrag.data.synthetic.generate import visible
from rainrag.distill import evaluate_voters

FORM = {
    "origin": "string",
    "scene": "string",
    "fault": "string",
    "strength": "float64",
    "night": "bool",
    "drop": "bool",
    "values": "floats",
    "reason": "string",
}
RIDGE = 0.05
FALSE = 0.007  # share of sound pairs that a reason may stop
WIDER = {"exposure": 0.02}  # real pairs differ in exposure by themselves
#: reason -> the fault that it is there for
HEADS = {
    "exposure": "exposure",
    "colour-cast": "colour-cast",
    "enlarged-target": "enlarged-target",
    "over-compressed-target": "compressed-target",
    "residual-rain": "residual-rain",
}


def damaged(lq: U8, gt: U8, fault: str, rng: Any) -> tuple[U8, U8, float]:
    """A pair with one fault, and how strong it is."""
    if fault == "exposure":
        if rng.random() < 0.7:
            amount = float(rng.choice([rng.uniform(0.55, 0.85), rng.uniform(1.18, 1.8)]))
            return lq, np.asarray(np.round(255 * (gt / 255.0) ** amount), np.uint8), amount
        amount = float(rng.choice([rng.uniform(0.6, 0.83), rng.uniform(1.2, 1.6)]))
        return lq, np.asarray(np.clip(np.round(gt * amount), 0, 255), np.uint8), amount
    if fault == "colour-cast":
        gains = np.array([rng.uniform(1.1, 1.3), rng.uniform(0.94, 1.06), rng.uniform(0.72, 0.9)])
        gains = gains if rng.random() < 0.5 else gains[::-1]
        return lq, np.asarray(np.clip(np.round(gt * gains), 0, 255), np.uint8), float(gains.max() / gains.min())
    if fault == "enlarged-target":
        factor = float(rng.uniform(1.6, 3))
        h, w = gt.shape[:2]
        small = cv2.resize(gt, (round(w / factor), round(h / factor)), interpolation=cv2.INTER_AREA)
        how = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_LINEAR
        return lq, np.asarray(cv2.resize(small, (w, h), interpolation=how), np.uint8), factor
    if fault == "compressed-target":
        quality = int(rng.integers(5, 21))
        return lq, images.decode(images.encode_jpeg(gt, quality)).rgb, float(quality)
    assert fault == "residual-rain"
    share = float(rng.uniform(0.2, 0.6))
    return lq, np.asarray(np.round(gt + share * (lq.astype(np.float32) - gt)), np.uint8), share


def values_of(measures: pair_checks.Measures) -> list[float]:
    """All measures in the order that the scores know."""
    return [float(v) for v in asdict(measures).values()]


def cases(half: str, args: argparse.Namespace) -> Iterator[tuple[str, list[Any]]]:
    """(name, jobs) of each part."""
    jobs: list[Any] = []
    for root in args.pairs or []:
        found = [(scene, a, b) for scene, a, b in pairs_of(root) if half_of(scene) == half]
        order = np.random.default_rng([args.seed, 1]).permutation(len(found))[: args.most]
        jobs += [
            (root.parent.name if root.name == "train" else root.name, *found[i], "drop" in root.name.lower())
            for i in order
        ]
    dealt = scenes.deal(args.backgrounds, half, args.scenes, args.seed) if args.backgrounds else []
    jobs += [("rendered", b.scene, b, s, None) for b, s in dealt]
    for at in range(0, len(jobs), 8):
        yield f"{at // 8:04d}", list(enumerate(jobs))[at : at + 8]


def measured(number: int, job: Any, seed: int) -> list[dict[str, Any]]:
    """The rows of one pair: sound, and with each fault."""
    origin, scene, a, b, drop = job
    rng = np.random.default_rng([seed, 2, number])
    if origin == "rendered":
        clean = scenery.crop(a.load(), evaluate_voters.SIZE, rng)
        pair = visible(clean, b, rng, relight=not a.night)
        lq, gt, night, drop = pair.lq, pair.gt, pair.night, pair.drop
    else:
        lq, gt = (pair_checks.crop(images.read(side).rgb, 360) for side in (a, b))
        if lq.shape != gt.shape or min(lq.shape[:2]) < 100:
            return []
        night = images.is_night(gt)
    out = []
    for fault in ("", *HEADS.values()):
        x, y, strength = (lq, gt, 0.0) if not fault else damaged(lq, gt, fault, rng)
        found = pair_checks.check(x, y, night, drop)
        out.append({"origin": origin, "scene": scene, "fault": fault, "strength": strength, "night": night, "drop": drop,
                    "values": values_of(found.measures or pair_checks.measure(x, y)), "reason": found.reason})  # fmt: skip
    return out


def logistic(x: Any, y: Any, w: Any) -> Any:
    """Weights and constant (last)."""
    from sklearn.linear_model import LogisticRegression

    m = LogisticRegression(C=RIDGE, max_iter=500).fit(x, y, w)
    return np.append(m.coef_[0], m.intercept_[0])


def _standard(x: Any, middle: Any, spread: Any) -> Any:
    z = np.clip((x - middle) / spread, -6, 6)
    return np.concatenate([z, np.abs(z)], axis=1)


def fit(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores of all faults, by kind of rain for the rain that is left."""
    out: dict[str, Any] = {}
    for reason, fault in HEADS.items():
        for kind in ("streaks", "drops"):
            own = [r for r in rows if r["drop"] == (kind == "drops")]
            used = [r for r in own if r["fault"] in ("", fault)]
            # other faults count as sound for this score: each reason names its own fault
            x = np.array([r["values"] for r in used])
            y = np.array([r["fault"] == fault for r in used])
            origins = np.array([r["origin"] for r in used])
            weight = np.array([1 / np.sqrt((origins == o).sum()) for o in origins])
            weight[y] *= weight[~y].sum() / weight[y].sum()
            middle = np.median(x[~y], axis=0)
            spread = np.median(np.abs(x[~y] - middle), axis=0) * 1.4826 + 0.1 * x[~y].std(axis=0) + 1e-3
            z = _standard(x, middle, spread)
            folds = np.array([fold_of(r["scene"]) for r in used])
            held = np.zeros(len(used))
            for f in range(3):
                w = logistic(z[folds != f], y[folds != f], weight[folds != f])
                held[folds == f] = z[folds == f] @ w[:-1] + w[-1]
            allowed = WIDER.get(reason, FALSE)
            limit = max(float(np.quantile(held[~y], 1 - allowed)), 0.0)
            w = logistic(z, y, weight)
            out[f"{reason}/{kind}"] = {
                "middle": np.round(middle, 5).tolist(), "spread": np.round(spread, 5).tolist(),
                "weights": np.round(w, 5).tolist(), "limit": round(limit, 4),
            }  # fmt: skip
            print(f"{reason}/{kind}: scenes left out, caught {float((held[y] > limit).mean()):.2f} at {allowed}, AUC "
                  f"{float((held[y][:, None] > held[~y][None]).mean()):.3f}, n {len(y)}")  # fmt: skip
    return out


def table(rows: Sequence[dict[str, Any]], heads: dict[str, Any]) -> None:
    """Share of each fault that any score or the old rules stop, by source."""
    origins = sorted({r["origin"] for r in rows})
    for fault in ("", *HEADS.values()):
        cells = []
        for origin in origins:
            own = [r for r in rows if r["origin"] == origin and r["fault"] == fault]
            if own:
                old = np.mean([r["reason"] is not None for r in own])
                new = np.mean([r["reason"] is not None or bool(said(r["values"], r["drop"], heads)) for r in own])
                right = np.mean(
                    [
                        said(r["values"], r["drop"], heads)[:1] == [k for k, v in HEADS.items() if v == fault]
                        for r in own
                    ]
                )
                cells.append(f"{origin} {old:.2f}->{new:.2f} ({right:.2f} own reason) of {len(own)}")
        print(fault or "sound", "; ".join(cells))


def said(values: Sequence[float], drop: bool, heads: dict[str, Any]) -> list[str]:
    """Reasons whose score is above its limit, the clearest first."""
    found = []
    for reason in HEADS:
        h = heads[f"{reason}/{'drops' if drop else 'streaks'}"]
        z = _standard(np.array([values]), np.array(h["middle"]), np.array(h["spread"]))[0]
        over = float(z @ np.array(h["weights"][:-1]) + h["weights"][-1]) - h["limit"]
        if over > 0:
            found.append((-over, reason))
    return [r for _, r in sorted(found)]


def main(argv: list[str] | None = None) -> int:
    """Measure or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    one = parts.add_parser("measure")
    one.add_argument("half", choices=scenes.HALVES)
    one.add_argument("--backgrounds", type=Path)
    one.add_argument("--pairs", type=Path, nargs="*")
    one.add_argument("--scenes", type=int, default=100)
    one.add_argument("--most", type=int, default=40, help="pairs of each set")
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--seconds", type=float, default=1e9)
    one.add_argument("--out", type=Path, required=True)
    two = parts.add_parser("fit")
    two.add_argument("tuning", type=Path)
    two.add_argument("held", type=Path)
    two.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    if args.what == "fit":
        heads = fit(_read(args.tuning))
        table(_read(args.held), heads)
        if args.out:
            write_json(args.out, heads)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for name, jobs in cases(args.half, args):
        if (args.out / f"{name}.parquet").exists():
            continue
        if time.monotonic() - start > args.seconds:
            return 3
        rows = [r for number, job in jobs for r in measured(number, job, args.seed)]
        write_table(args.out / f"{name}.parquet", rows, FORM)
        print(name, len(rows), f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return 0


def _read(folder: Path) -> list[dict[str, Any]]:
    return [r for path in sorted(folder.glob("*.parquet")) for r in read_table(path)]


if __name__ == "__main__":
    sys.exit(main())
