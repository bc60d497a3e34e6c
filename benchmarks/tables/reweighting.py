"""How each reading of the adaptivity factor behaves: four simulated types, one of which diverges in the second run.

    python -m rainrag.benchmarks.tables.reweighting [--svg FILE] [--csv FILE]

Prints the tables of docs/reweighting.md; ``--svg`` draws its picture (needs matplotlib). Losses fall exponentially, each
type at its own rate to its own floor, with Gaussian noise; in the second run type 0 rises from round 60 on.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rainrag.training.reweight import Reweighter

ROUNDS, WARMUP, DIVERGES = 100, 20, 60
#: of each type: fall a round, loss at the end as a share of the first.
TYPES = ((0.03, 0.40), (0.05, 0.30), (0.08, 0.25), (0.12, 0.20))
NOISE, RISE = 0.004, 0.01
CALM, AFTER = (22, 30, 40, 50), (65, 70, 80, 99)


class Windowed(Reweighter):
    """The reading ``paper`` with AF's history cut to the window; here to show why it is none of the modes."""

    def _own(self, slopes: list[float], warm: bool) -> None:
        self._maxima = self._maxima[1 - self.window :]
        super()._own(slopes, warm)


#: what the table calls it -> how to build it.
READINGS: dict[str, Callable[[], Reweighter]] = {
    "literal": lambda: Reweighter(af="literal", warmup=WARMUP, floor=0.0),
    "paper (absolute values, all rounds)": lambda: Reweighter(af="paper", warmup=WARMUP, floor=0.0),
    "absolute values, last 10 rounds": lambda: Windowed(af="paper", warmup=WARMUP, floor=0.0),
    "authors": lambda: Reweighter(af="authors", warmup=WARMUP, floor=0.1),
    "positive (ours)": lambda: Reweighter(af="positive", warmup=WARMUP, floor=0.1),
}


@dataclass(frozen=True)
class Run:
    """Each round's AF (None in warm-up) and weights."""

    af: list[float | None]
    weights: list[list[float]]


def curves(diverge: bool, noise: float = NOISE, seed: int = 0) -> list[list[float]]:
    """Losses, one row a round."""
    rng = random.Random(seed)
    rows = []
    for t in range(ROUNDS):
        row = [end + (1 - end) * math.exp(-rate * t) for rate, end in TYPES]
        if diverge and t > DIVERGES:
            rate, end = TYPES[0]
            row[0] = end + (1 - end) * math.exp(-rate * DIVERGES) + RISE * (t - DIVERGES)
        rows.append([max(v + noise * rng.gauss(0, 1), 1e-4) for v in row])
    return rows


def simulate(build: Callable[[], Reweighter], losses: list[list[float]]) -> Run:
    """Run a reweighter over losses."""
    made = build()
    af: list[float | None] = []
    weights = []
    for row in losses:
        weights.append(made.update(row))
        af.append(None if made.scores is None else made.scores.af)
    return Run(af, weights)


# ---------------------------------------------------------------- what the text promises
def _all_balance_while_falling(build: Callable[[], Reweighter]) -> bool:
    calm = simulate(build, curves(False, noise=0))
    return min(calm.af[t] or 0 for t in range(WARMUP + 1, ROUNDS)) > 0.99


def _falls(build: Callable[[], Reweighter]) -> bool:
    return (simulate(build, curves(True, noise=0)).af[70] or 0) < 0.1


def _stays_down(build: Callable[[], Reweighter]) -> bool:
    af = simulate(build, curves(True, noise=0)).af
    return max(af[t] or 0 for t in range(70, ROUNDS)) < 0.1


def _loses_weight(build: Callable[[], Reweighter]) -> bool:
    weights = simulate(build, curves(True, noise=0)).weights
    return max(weights[t][0] for t in range(70, ROUNDS)) < 1 / len(TYPES)


def _unit_free(build: Callable[[], Reweighter]) -> bool:
    losses = curves(True, noise=0)
    plain, scaled = simulate(build, losses), simulate(build, [[row[0] * 10, *row[1:]] for row in losses])
    pairs = zip(plain.weights, scaled.weights, strict=True)
    return all(math.isclose(a, b, abs_tol=1e-6) for x, y in pairs for a, b in zip(x, y, strict=True))


PROPERTIES: dict[str, Callable[[Callable[[], Reweighter]], bool]] = {
    "all TBS while every type converges": _all_balance_while_falling,
    "AF falls when one type diverges": _falls,
    "AF stays down while it diverges": _stays_down,
    "the diverging type loses weight": _loses_weight,
    "a type's unit does not matter": _unit_free,
}


# ---------------------------------------------------------------- tables and picture
def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def behaviour() -> str:
    """Markdown: AF without and with divergence, and the weight of the diverging type, with noise."""
    at = [
        f"AF, calm, at {' / '.join(map(str, CALM))}",
        f"AF, diverging, at {' / '.join(map(str, AFTER))}",
        "its weight",
    ]
    lines = [_row(["reading", *at]), "|---|---|---|---|"]
    for name, build in READINGS.items():
        calm, diverging = simulate(build, curves(False)), simulate(build, curves(True))
        cells = [
            " / ".join(f"{calm.af[t]:.2f}" for t in CALM),
            " / ".join(f"{diverging.af[t]:.2f}" for t in AFTER),
            " / ".join(f"{diverging.weights[t][0]:.2f}" for t in AFTER),
        ]
        lines.append(_row([name, *cells]))
    return "\n".join(lines)


def promises() -> str:
    """Markdown: which reading keeps which property, without noise."""
    lines = [_row(["property", *READINGS]), "|" + "---|" * (len(READINGS) + 1)]
    for name, holds in PROPERTIES.items():
        lines.append(_row([name, *("yes" if holds(build) else "no" for build in READINGS.values())]))
    return "\n".join(lines)


def draw(path: Path) -> None:
    """The picture: losses, AF and the weight of type 0, calm on the left, diverging on the right."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {"svg.hashsalt": "rainrag", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    )
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(8, 6), sharex=True, sharey="row", layout="constrained")
    styles = ("-", "--", "-.", ":", "-")
    for column, diverge in enumerate((False, True)):
        losses = curves(diverge)
        for i in range(len(TYPES)):
            axes[0, column].plot([row[i] for row in losses], label=f"type {i}", lw=1)
        for (name, build), style in zip(READINGS.items(), styles, strict=True):
            found = simulate(build, losses)
            thick = 2 if "ours" in name else 1
            af = [math.nan if v is None else v for v in found.af]
            axes[1, column].plot(af, style, lw=thick, label=name)
            axes[2, column].plot([w[0] for w in found.weights], style, lw=thick)
        axes[0, column].set_title("every type converges" if not diverge else f"type 0 diverges from round {DIVERGES}")
        axes[2, column].set_xlabel("round")
    for row, label in enumerate(("loss", "AF", "weight of type 0")):
        axes[row, 0].set_ylabel(label)
    axes[0, 0].legend(ncols=2, frameon=False)
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def save(path: Path) -> None:
    """Every round of every reading as CSV."""
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["reading", "diverging", "round", "af", *(f"weight{i}" for i in range(len(TYPES)))])
        for diverge in (False, True):
            for name, build in READINGS.items():
                found = simulate(build, curves(diverge))
                for t, (af, weights) in enumerate(zip(found.af, found.weights, strict=True)):
                    out.writerow([name, diverge, t, af, *weights])


def main(argv: list[str] | None = None) -> int:
    """Print the tables; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, help="draw the picture")
    parser.add_argument("--csv", type=Path, help="write every round")
    args = parser.parse_args(argv)
    print(promises(), behaviour(), sep="\n\n")
    if args.svg:
        draw(args.svg)
    if args.csv:
        save(args.csv)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
