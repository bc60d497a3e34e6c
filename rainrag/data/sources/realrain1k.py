"""RealRain-1k, light and heavy."""

from __future__ import annotations

from dataclasses import replace

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, equal_name


def _layouts(other: str) -> tuple[Layout, ...]:
    return (
        equal_name(
            "RealRain-1k-{L|H}/{train,validation|val,test}/{input,target}/N.png; without a split's name it counts as "
            "test",
            default_split="test",
            ignore=rf"(^|/)(RealRain-1k-{other}|SynRain-13k)/",
        ),
    )


REALRAIN_1K_L = Source(
    name="realrain-1k-l",
    title="RealRain-1k-L",
    paper="Li et al., Toward real-world single image deraining: a new benchmark and beyond, arXiv 2206.05514",
    homepage="https://github.com/hiker-lw/RealRain-1k",
    licence="unstated",
    layouts=_layouts("H"),
    streak=True,
    drop=False,
    night=False,
    real=True,
    counts={"train": 784, "validation": 112, "test": 224},
    archives=(
        Archive("gdrive", "1rk7jdBZifNe_OKJ6j-0Ne8gjYYIg6Qc5"),
        Archive("onedrive", "link in the README of https://github.com/hiker-lw/RealRain-1k"),
        Archive("hub", "dronefreak/RealRain-1k"),
    ),
    role="test",
    gt_estimated=True,
    notes=(
        "A test set of the UniRain paper: keep its training part out of training, too.",
        "Targets come from a temporal filter over video.",
        "The light and the heavy part share clean scenes under the same numbers.",
        "The mirror on the Hub is unofficial and states no licence.",
    ),
    citation="@article{li2022toward, title={Toward real-world single image deraining: a new benchmark and beyond}, "
    "author={Li and others}, journal={arXiv preprint arXiv:2206.05514}, year={2022}}",
)

REALRAIN_1K_H = replace(REALRAIN_1K_L, name="realrain-1k-h", title="RealRain-1k-H", layouts=_layouts("L"))
