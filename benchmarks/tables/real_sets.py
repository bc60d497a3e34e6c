"""Every available pair set: the input, classical methods, published weights, and the UniRain in the package."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment
from rainrag.evaluation.testsets import TABLE

EXPERIMENT = Experiment(
    name="real-sets",
    title="All pair sets available locally",
    about="Released weights as they are, on every available test set with targets. With --model only that one.",
    entries=tuple(Entry(n) for n in ("input", "median", "guided", "prenet", "prenet-r", "prn", "prn-r", "unirain")),
    testsets=tuple(n for n, t in TABLE.items() if t.paired),
    optional=True,
)
