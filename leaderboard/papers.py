"""Published tables as they are shown: one row a method, one column a test set, inferred values marked."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field

from rainrag.leaderboard.networks import PUBLISHED

#: file -> (title, what a reader should know)
TITLES = {
    "table1_rainrag": ("Table 1: RainRAG", "PSNR, SSIM and LPIPS as the paper prints them, every method retrained by it."),
    "table2_public": ("Table 2: public real sets", "PSNR and SSIM; the models of Table 1."),
    "table3_complexity": ("Table 3: cost", "Counted at 256x256; the paper's other rows were not found."),
    "table4_distillation_ablation": ("Table 4: distillation ablation", "Average over the four RainRAG test sets."),
    "table5_optimization": ("Table 5: optimisation", "The text gives differences; figures are inferred from them."),
    "table6_moe_ablation": ("Table 6: mixture-of-experts ablation", "Average over the four RainRAG test sets."),
    "table7_weatherbench": ("Table 7: WeatherBench", "Average of rain, haze and snow."),
    "weatherbench_repository": (
        "WeatherBench's own table", "Beside Table 7, since the same table holds methods that Table 7 leaves out.",
    ),
}  # fmt: skip
METRICS = {"psnr_db": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}
#: Columns that name a row; the first that a file has.
NAMES = ("variant", "method")
#: Columns said elsewhere: in the title, or only for programs.
QUIET = {"model", "testset", "inferred", "source", "benchmark", "subset", "size"}
LABELS = {
    "venue": "Venue", "strategy": "Strategy", "difference_to": "Against", "difference_db": "Difference, dB",
    "params_m": "Parameters, M", "gmacs": "GMACs", "encoder_hard": "Hard encoder", "encoder_soft": "Soft encoder",
    "decoder_hard": "Hard decoder", "decoder_soft": "Soft decoder",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One value, or several metrics of one method on one test set.

    Args:
        text: as printed, best-first metrics.
        inferred: not printed in the paper.
        source: where it is from.
    """

    text: tuple[str, ...] = ()
    inferred: bool = False
    source: str = ""


@dataclass(frozen=True)
class Paper:
    """One published table."""

    name: str
    title: str
    about: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[str, dict[str, Cell]]] = field(default_factory=list)


def tables() -> list[Paper]:
    """All published tables, in the order of ``TITLES``."""
    return [read(name) for name in TITLES if (PUBLISHED / f"{name}.csv").is_file()]


def read(name: str) -> Paper:
    """One published table, one row a method and one column a test set."""
    with open(PUBLISHED / f"{name}.csv", newline="", encoding="utf-8") as f:
        listed = list(csv.DictReader(f))
    head = list(listed[0])
    metrics = [m for m in METRICS if m in head]
    first = next(n for n in NAMES if n in head)
    plain = [c for c in head if c not in (*QUIET, *METRICS, first)]
    many = "strategy" in head
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    columns = dict.fromkeys(LABELS[c] for c in plain)
    for r in listed:
        cells = rows.setdefault((r[first], r["strategy"] if many else ""), {})
        marked = r["inferred"] == "yes"
        for c in plain:
            cells[LABELS[c]] = Cell((_flag(r[c]) if c.startswith(("encoder", "decoder")) else r[c],))
            if c in ("params_m", "gmacs", "difference_db"):
                cells[LABELS[c]] = Cell((r[c],), False, r["source"])
        if metrics:
            column = r.get("subset") or r["benchmark"]
            columns[column] = None
            cells[column] = Cell(tuple(r[m] for m in metrics), marked, r["source"])
    title, about = TITLES[name]
    listed_rows = [(key[0], cells) for key, cells in rows.items()]
    return Paper(name, title, about, tuple(METRICS[m] for m in metrics), tuple(columns), listed_rows)


def _flag(value: str) -> str:
    return "yes" if value == "1" else "–"
