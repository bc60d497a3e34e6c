"""RaindropClarity: drops by day and by night, with the camera focused on the background or on the drops."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule


def _time(name: str, night: bool) -> Rule:
    # the folder's name may hold the split: DayRainDrop_Train
    top = rf"{name}RainDrop(?:(?=[^/]*(?P<split>train|test|val))|)[^/]*/"
    return Rule(
        rf"(?P<top>{top})Drop/(?P<clip>\d{{5}})/(?P<file>.+)",
        ("{pre}{top}Clear/{clip}/{file}",),
        f"{name.lower()}/{{clip}}/{{file}}",
        f"{name.lower()}/{{clip}}",
        night=night,
    )


RAINDROP_CLARITY = Source(
    name="raindrop-clarity",
    title="RaindropClarity",
    paper="Jin et al., Raindrop Clarity: a dual-focused dataset for day and night raindrop removal, ECCV 2024",
    homepage="https://github.com/jinyeying/RaindropClarity",
    licence="MIT for academic and non-commercial use, else ask the authors",
    layouts=(
        Layout(
            "clarity",
            "{Day,Night}RainDrop*/{Drop,Clear,Blur}/SSSSS/NAME, paired by the same path; without a split's name it "
            "counts as train",
            (_time("Day", False), _time("Night", True)),
            ignore=r"RainDrop[^/]*/Blur/",
        ),
    ),
    streak=False,
    drop=True,
    night=None,
    real=True,
    archives=(
        Archive("gdrive", "1lHOumI4wDsJfgGnDPOCXM6h_C1F5ZQEA", "DayRainDrop_Train.zip"),
        Archive("gdrive", "1_ruwsBCzbOEkpqcqHIeKoyCg6P2Sxclr", "NightRainDrop_Train.zip", part=True),
        Archive("gdrive", "1KFInlF3cSZXxUIK4N9YvCC0B4N9lXAhB", part=True),
    ),
    notes=(
        "The only large source of drops at night.",
        "Where the camera focused on the drops, the input's background is blurred: (Drop, Clear) is then more than "
        "drop removal. Blur and Clear are equal bit for bit where the background was in focus; only the pixels tell, "
        "so the pairs are not marked. Blur itself is passed over.",
        "15,186 pairs in all (5,442 by day, 9,744 by night) over numbered scenes; the authors' code lists test scenes "
        "by number, so keep the scenes apart when you split.",
    ),
    citation="@inproceedings{jin2024raindrop, title={Raindrop Clarity: a dual-focused dataset for day and night "
    "raindrop removal}, author={Jin and others}, booktitle={ECCV}, year={2024}}",
)
