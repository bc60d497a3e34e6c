"""The distilled set of the UniRain paper, in its authors' release layout."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import equal_name, same_names

#: folder -> (streak, drop, night)
TYPES = {
    "drs": (True, False, False),
    "drd": (None, True, False),
    "nrs": (True, False, True),
    "nrd": (None, True, True),
}

UNIRAIN = Source(
    name="unirain",
    title="RainRAG (release of UniRain's authors)",
    paper="UniRain: unified image deraining with RAG-based dataset distillation and multi-objective reweighted "
    "optimization, CVPR 2026, arXiv 2603.03967",
    homepage="https://github.com/QianfengY/UniRain",
    licence="unstated",
    layouts=(
        equal_name(
            "[Test/]{drs,drd,nrs,nrd}/{input,target}/NAME, the same name on both sides; without Test or a split's "
            "name it counts as train",
            *(
                same_names(
                    f"{kind}/",
                    lq="input",
                    gts=("target",),
                    stem=f"{kind}/{{name}}",
                    scene=f"{{split}}/{kind}/{{name}}",
                    streak=streak,
                    drop=drop,
                    night=night,
                )
                for kind, (streak, drop, night) in TYPES.items()
            ),
        ),
    ),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=False,
    archives=(
        Archive("baidu", "links in the README of https://github.com/QianfengY/UniRain", password="1234"),
    ),
    contains=(
        "urir-8k", "rain200l", "rain200h", "rain13k", "raindrop", "rainds-syn", "rainds-real", "gtav-nightrain",
        "hq-nightrain", "spa-data", "gt-rain", "lhp-rain", "video-waterdrop", "uav-rain1k",
    ),
    notes=(
        "Rendered and photographed pairs are mixed and not told apart by the release; rows say real=False.",
        "Which set and scene a pair comes from is not recorded: run the audit against the sets that you train on.",
        "The paper's lists of sets do not say which parts of each were used.",
    ),
    citation="@inproceedings{unirain2026, title={UniRain: unified image deraining with RAG-based dataset distillation "
    "and multi-objective reweighted optimization}, booktitle={CVPR}, year={2026}}",
)  # fmt: skip
