"""Table 4: what each part of the distillation is worth to the trained network."""

from __future__ import annotations

from rainrag.benchmarks.tables import Entry, Experiment

#: label in the paper -> option of 'rainrag distill'
VARIANTS = {
    "only VLM": "--ablate vlm-only",
    "w/o retrieval stage": "--ablate no-retrieval",
    "w/o generation stage": "--ablate no-generation",
    "UniRain": "",
}


def _entry(label: str, option: str) -> Entry:
    slug = option.removeprefix("--ablate ") or "full"
    splits, run = f"$RAINRAG_HOME/splits-{slug}", f"runs/table4-{slug}"
    distill = f"rainrag distill {option} --out {splits}".replace("  ", " ")
    train = f"rainrag train --data {splits} --recipe paper --out $RAINRAG_HOME/{run}"
    return Entry("unirain", label, f"{run}/weights", f"{distill} && {train}")


EXPERIMENT = Experiment(
    name="table4",
    title="Table 4: ablation of the distillation",
    about="One UniRain a variant of the data; the published figures are means over the four subsets. What the "
    "distillation itself finds, against planted faults, is measured by benchmarks/distillation.",
    entries=tuple(_entry(label, option) for label, option in VARIANTS.items()),
    testsets=("rainrag-drs", "rainrag-drd", "rainrag-nrs", "rainrag-nrd"),
    protocols=("unirain",),
    published="table4_distillation_ablation.csv",
)
