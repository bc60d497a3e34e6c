"""URIR-8K: four rain patterns in one set; no address is known."""

from __future__ import annotations

from typing import Any

from rainrag.core.types import Source
from rainrag.data.sources.layouts import Rule, equal_name, same_names


def _pattern(words: str, label: str, **flags: Any) -> Rule:
    return same_names(
        rf"[^/]*(?:{words})[^/]*/(?:(?:train|validation|val|test)/)?",
        stem=f"{label}/{{name}}",
        scene=f"{{split}}/{label}/{{name}}",
        **flags,
    )


URIR_8K = Source(
    name="urir-8k",
    title="URIR-8K",
    paper="Towards universal rainy image restoration: benchmark and baseline, AAAI 2025",
    homepage="",
    licence="unstated",
    layouts=(
        equal_name(
            "PATTERN/{train,test}/{input,target}/NAME or {train,test}/PATTERN/{input,target}/NAME, where PATTERN names "
            "night, accumulation, drop or streak; without a split's name it counts as train",
            _pattern("night", "night", streak=True, drop=False, accumulation=False, night=True),
            _pattern("accumulation", "accumulation", streak=False, drop=False, accumulation=True),
            _pattern("drop", "drop", streak=False, drop=True, accumulation=False),
            _pattern("streak", "streak", streak=True, drop=False, accumulation=False),
        ),
    ),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=False,
    notes=(
        "No repository and no address of the data was found; folder names are not known: a folder has to name the "
        "pattern.",
        "Rain accumulation has no place among the four subsets: such pairs are in the config 'all' alone.",
        "Nighttime rain is read as streaks at night.",
        "Whether images are rendered is not stated; rows say real=False.",
    ),
    citation="@inproceedings{urir2025, title={Towards universal rainy image restoration: benchmark and baseline}, "
    "booktitle={AAAI}, year={2025}}",
)
