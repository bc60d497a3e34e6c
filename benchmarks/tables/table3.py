"""Table 3: parameters and multiply-accumulates at 256 x 256."""

from __future__ import annotations

from rainrag.benchmarks.tables import Experiment

EXPERIMENT = Experiment(
    name="table3",
    title="Table 3: complexity at 256 x 256",
    about="Nothing is run: 'rainrag models --complexity' counts ours on shapes alone; published figures mix "
    "multiply-accumulates of convolutions with those that count attention too.",
    published="table3_complexity.csv",
)
