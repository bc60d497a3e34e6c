"""Fit the gate's score of residual rain and show what each of its limits costs and catches, on tuning scenes alone.

    python -m rainrag.benchmarks.distillation.tune_gate FILE.parquet [FILE.parquet …]

The score is a logistic regression on sound pairs and their twins with 30 to 70 % of the rain left in the target, for streaks
and drops apart; each twin weighs as much as its sound pair. It is printed as the literal in ``rainrag/data/pair_checks.py``,
with its AUC over scenes that were left out of the fit. Then follow the rules: at the limit as it stands and around it, the
share of sound pairs that the rule alone stops, and of the faults it is there for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.benchmarks.distillation import cache
from rainrag.benchmarks.distillation.cache import Seen
from rainrag.data import pair_checks
from rainrag.distill import evaluate_voters

#: measures that tell residual rain, by kind of rain
USED = {
    "streaks": ("edges", "through_fine", "alike_coarse", "third", "fourth", "layer_skew", "covered_fine"),
    "drops": (
        "edges", "through_coarse", "alike_coarse", "fourth", "layer_skew", "layer_tail", "covered_fine", "covered_coarse",
    ),
}  # fmt: skip
RIDGE = 3.0
#: limit -> (rule's reason, faults it is there for, factors tried)
RULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "change": ("no-rain", ("clean-input",)),
    "edges": ("wrong-target", ("wrong-target",)),
    "shift": ("misaligned", ("misaligned", "wrong-target")),
    "brighter": ("swapped", ("swapped",)),
    "skew": ("swapped", ("swapped",)),
    "cast_gain": ("colour-cast", ("colour-cast",)),
    "cast_level": ("colour-cast", ("colour-cast",)),
    "blocks": ("over-compressed", ("over-compression",)),
    "lost": ("blurred-target", ("blurred", "rescaled", "over-compression")),
    "residual": ("residual-rain", ("residual-rain",)),
    "night_above": ("lighting", ("day-labelled-night",)),
    "day_below": ("lighting", ("day-labelled-night",)),
}
FACTORS = (0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.6)


def logistic(x: Any, y: Any, ridge: float = RIDGE, steps: int = 30) -> Any:
    """Weights and constant (last) of a ridge logistic regression by Newton's method; columns standardised."""
    design = np.column_stack([x, np.ones(len(x))])
    w = np.zeros(design.shape[1])
    penalty = np.diag([ridge] * x.shape[1] + [0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ w))
        slope = design.T @ (p - y) + penalty @ w
        bend = (design * (p * (1 - p))[:, None]).T @ design + penalty + 1e-6 * np.eye(len(w))
        w = w - np.linalg.solve(bend, slope)
    return w


def standard(rows: Sequence[Seen], names: Sequence[str]) -> tuple[Any, Any, Any]:
    """(standardised values, means, deviations), clipped as the gate clips them."""
    raw = np.array([[getattr(r.measures, n) for n in names] for r in rows])
    mean, deviation = raw.mean(0), raw.std(0) + 1e-6
    return np.clip((raw - mean) / deviation, -6, 6), mean, deviation


def fit(looked: Sequence[Seen], drops: bool) -> tuple[str, evaluate_voters.Rate | None]:
    """The literal for one kind of rain and its AUC by leaving out a fifth of the scenes at a time."""
    names = USED["drops" if drops else "streaks"]
    rows = [r for r in looked if r.drop == drops and r.fault in (None, "residual-rain") and r.measures]
    x, mean, deviation = standard(rows, names)
    y = np.array([r.fault is not None for r in rows], float)
    fold = {s: i % 5 for i, s in enumerate(sorted({r.scene for r in rows}))}
    folds = np.array([fold[r.scene] for r in rows])
    held = np.zeros(len(rows))
    for k in range(5):
        w = logistic(x[folds != k], y[folds != k])
        held[folds == k] = x[folds == k] @ w[:-1] + w[-1]
    w = logistic(x, y)
    lines = [
        f'            "{n}": ({a:.3f}, {m:.3f}, {d:.3f}),'
        for n, a, m, d in zip(names, w, mean, deviation, strict=False)
    ]
    kind = "drops" if drops else "streaks"
    literal = "\n".join([f'    "{kind}": (', f"        {w[-1]:.3f},", "        {", *lines, "        },", "    ),"])
    return literal, evaluate_voters.auc((-held).tolist(), (y == 0).tolist(), [r.scene for r in rows])


def costs(looked: Sequence[Seen], limit: str) -> list[tuple[float, float, dict[str, float]]]:
    """(value of the limit, share of sound pairs its rule stops, share of each of its faults)."""
    reason, faults = RULES[limit]
    out = []
    for factor in FACTORS:
        limits = replace(pair_checks.DEFAULT, **{limit: getattr(pair_checks.DEFAULT, limit) * factor})

        def stopped(wanted: str | None, limits: pair_checks.Limits = limits) -> float:
            hits = [_fires(r, reason, limits) for r in looked if r.fault == wanted and r.measures]
            return float(np.mean(hits)) if hits else float("nan")

        out.append((getattr(limits, limit), stopped(None), {f: stopped(f) for f in faults}))
    return out


def _fires(r: Seen, reason: str, limits: pair_checks.Limits) -> bool:
    """Whether a rule applies, whatever rules stand before it; the two blur rules count as one."""
    assert r.measures is not None
    wanted = {"blurred-target", "blurred-input"} if reason == "blurred-target" else {reason}
    return any(bad and name in wanted for name, bad, _ in pair_checks._rules(r.measures, r.night, r.drop, limits))


def main(argv: list[str] | None = None) -> int:
    """Print literals and costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="+")
    args = parser.parse_args(argv)
    looked = list({(path, x.key): x for path in args.cases for x in cache.read_seen(path)}.values())
    for drops in (False, True):
        literal, area = fit(looked, drops)
        print(literal)
        print(f"# AUC on scenes left out: {area.share:.3f} ({area.low:.3f}-{area.high:.3f})\n" if area else "")
    for limit, (reason, _) in RULES.items():
        print(f"{limit} ({reason}), now {getattr(pair_checks.DEFAULT, limit)}")
        for value, sound, caught in costs(looked, limit):
            print(f"  {value:8.3f}  sound stopped {sound:.3f}  " + "  ".join(f"{f} {v:.2f}" for f, v in caught.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
