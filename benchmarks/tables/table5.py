"""Table 5: ways to train one network for four types of rain."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment

#: (method, strategy) of the paper -> settings of the recipe
STRATEGIES = {
    "prompt learning": "--set network.prompt=true --set weighting=uniform",
    "continual learning": "--set weighting=pigwm",
    "ours": "",
}
#: Rows of the paper; PIGWM is PReNet under its own objective, which 'ours' replaces.
ROWS = (
    ("promptir", "prompt learning"), ("promptir", "ours"), ("pigwm", "continual learning"), ("pigwm", "ours"),
    ("unirain", "prompt learning"), ("unirain", "continual learning"), ("unirain", "ours"),
)  # fmt: skip


def _entry(model: str, strategy: str) -> Entry:
    run = f"runs/table5-{model}-{strategy.split()[0]}"
    settings = STRATEGIES[strategy] if model == "unirain" or "prompt" not in strategy else "--set weighting=uniform"
    command = f"rainrag train --model {model} --recipe paper {settings} --out $RAINRAG_HOME/{run}".replace("  ", " ")
    return Entry(model, f"{model} + {strategy}", f"{run}/weights", command)


EXPERIMENT = Experiment(
    name="table5",
    title="Table 5: optimisation strategies",
    about="RainDS-real with drops and streaks. The paper's text gives differences; what follows from them is marked.",
    entries=tuple(_entry(model, strategy) for model, strategy in ROWS),
    testsets=("rainds-real-rds",),
    protocols=("unirain",),
    published="table5_optimization.csv",
)
