"""MPID: a benchmark in parts; real photographs without targets (RID, RIS, Real) and rendered pairs (Synthetic)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule, equal_name, same_names

_BAIDU = Archive("baidu", "links in the README of https://github.com/lsy17096535/Single-Image-Deraining")


def _kinds(part: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Folder patterns of a part, with what the name says of the rain."""
    return (
        (rf"(?=[^/]*drop)[^/]*{part}[^/]*", {"streak": False, "drop": True}),
        (rf"(?=[^/]*mist)[^/]*{part}[^/]*", {"streak": True, "drop": False, "accumulation": True}),
        (rf"(?=[^/]*streak)[^/]*{part}[^/]*", {"streak": True, "drop": False}),
    )


MPID = Source(
    name="mpid",
    title="MPID: RID, RIS and Real",
    paper="Li et al., Single image deraining: a comprehensive benchmark analysis, CVPR 2019",
    homepage="https://github.com/lsy17096535/Single-Image-Deraining",
    licence="unstated",
    layouts=(
        Layout(
            "photographs",
            "RID/…, RIS/… or a folder whose name holds 'real' and one of streak, drop, mist: photographs",
            tuple(
                Rule(rf"(?P<part>{folder})/(?P<name>.+)", (), "{part}/{name}", "{part}/{name}", **flags)
                for folder, flags in (("RID|RIS", {}), *_kinds("real"))
            ),
            ignore=r"(^|/)[^/]*synthetic[^/]*/",
        ),
    ),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=True,
    archives=(
        Archive("gdrive", "1DPf5mPoMnypt5mPDbdS8jNANoRuVIWf2"),
        Archive("gdrive", "1fwudnpjfCcGRBYp84nmnXZbhaPe3IfCP"),
        _BAIDU,
    ),
    role="unlabelled",
    notes=(
        "No targets: photographs for the reference store. RID has 2,495 driving images, RIS 2,348 of surveillance, "
        "both with object boxes.",
        "RIS is of low resolution; some photographs are at night: judged from the pixels.",
        "What kind of rain RID and RIS show is not known image by image, so they have no subset.",
        "The rendered pairs are the source mpid-synthetic.",
    ),
    citation="@inproceedings{li2019single, title={Single image deraining: a comprehensive benchmark analysis}, "
    "author={Li and others}, booktitle={CVPR}, year={2019}}",
)

MPID_SYNTHETIC = replace(
    MPID,
    name="mpid-synthetic",
    title="MPID: Synthetic",
    layouts=(
        equal_name(
            "a folder whose name holds 'synthetic' and streak, drop or mist, below it {input|rain…}/NAME with "
            "{target|gt|norain…}/NAME; without a split's name it counts as train",
            *(
                same_names(
                    rf"(?P<part>{folder})/(?:(?:train|test)/)?",
                    stem="{part}/{name}",
                    scene="{split}/{part}/{name}",
                    **flags,
                )
                for folder, flags in _kinds("synthetic")
            ),
        ),
    ),
    real=False,
    archives=(_BAIDU,),
    role="pairs",
    notes=(
        "Parts: streaks, drops, rain and mist (streaks with the accumulation flag).",
        "The inside of the archives was not seen: a folder has to name the part.",
    ),
)
