"""Table 2: the networks of Table 1 on five public test sets that none was trained on."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment
from rainrag.benchmarks.tables.table1 import NETWORKS, trained

EXPERIMENT = Experiment(
    name="table2",
    title="Table 2: public real test sets",
    about="The networks of Table 1, as they were trained there, on sets that were not trained on.",
    entries=(Entry("input"), *(trained(n) for n in NETWORKS)),
    testsets=("realrain-1k-l", "realrain-1k-h", "rainds-real-rd", "rainds-real-rds", "weatherbench-rain"),
    protocols=("unirain",),
    published="table2_public.csv",
)
