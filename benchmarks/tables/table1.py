"""Table 1: eleven networks, trained on RainRAG, on its four test subsets."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment

#: All but URIR, which has no public code. The paper trained each on RainRAG by one recipe, which is what
#: ``rainrag train --model NAME --data SPLITS --recipe paper --out runs/rainrag-NAME`` does.
NETWORKS = (
    "prenet", "rcdnet", "mprnet", "restormer", "idt", "drsformer", "rlp-uformer-t", "msdt", "nerd-rain", "unirain",
)  # fmt: skip


def trained(model: str) -> Entry:
    """A network as the paper compares it: trained on the distilled splits."""
    run = f"runs/rainrag-{model}"
    command = f"rainrag train --model {model} --recipe paper --out $RAINRAG_HOME/{run}"
    return Entry(model, weights=f"{run}/weights", train=command)


EXPERIMENT = Experiment(
    name="table1",
    title="Table 1: the four subsets of RainRAG",
    about="Every network trained on the distilled splits by the paper's recipe, tested on the authors' 4 x 100 pairs.",
    entries=(Entry("input"), *(trained(n) for n in NETWORKS)),
    testsets=("rainrag-drs", "rainrag-drd", "rainrag-nrs", "rainrag-nrd"),
    protocols=("unirain",),
    published="table1_rainrag.csv",
)
