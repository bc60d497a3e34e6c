"""Table 7: one network for haze, rain and snow, on WeatherBench."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment

NETWORKS = ("transweather", "wgws-net", "histoformer", "unirain")


def _entry(model: str) -> Entry:
    run = f"runs/weatherbench-{model}"
    data = "$RAINRAG_HOME/datasets/weatherbench"
    train = f"rainrag train --model {model} --data {data} --recipe paper --out $RAINRAG_HOME/{run}"
    return Entry(model, weights=f"{run}/weights", train=train)


EXPERIMENT = Experiment(
    name="table7",
    title="Table 7: all-in-one restoration on WeatherBench",
    about="Means over the three tasks. The rivals' rows seem to be copied from WeatherBench's own table, in which "
    "further methods stand above UniRain (published/weatherbench_repository.csv).",
    entries=(Entry("input"), *(_entry(n) for n in NETWORKS)),
    testsets=("weatherbench-dehaze", "weatherbench-derain", "weatherbench-desnow"),
    protocols=("weatherbench",),
    published="table7_weatherbench.csv",
)
