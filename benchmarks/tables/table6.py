"""Table 6: soft and hard mixtures of experts in the encoder and the decoder."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment

#: label in the paper -> (encoder, decoder)
VARIANTS = {
    "Baseline": ("none", "none"),
    "Variant 1": ("hard", "hard"),
    "Variant 2": ("hard", "soft"),
    "Variant 3": ("soft", "soft"),
    "UniRain": ("soft", "hard"),
}


def _entry(label: str, encoder: str, decoder: str) -> Entry:
    run = f"runs/table6-{encoder}-{decoder}"
    settings = f"--set network.encoder={encoder} --set network.decoder={decoder}"
    return Entry(
        "unirain", label, f"{run}/weights", f"rainrag train --recipe paper {settings} --out $RAINRAG_HOME/{run}"
    )


EXPERIMENT = Experiment(
    name="table6",
    title="Table 6: ablation of the experts",
    about="One UniRain a variant of the network; the published figures are means over the four subsets.",
    entries=tuple(_entry(label, *kinds) for label, kinds in VARIANTS.items()),
    testsets=("rainrag-drs", "rainrag-drd", "rainrag-nrs", "rainrag-nrd"),
    protocols=("unirain",),
    published="table6_moe_ablation.csv",
)
