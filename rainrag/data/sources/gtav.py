"""GTAV-NightRain: night streaks rendered in a game, in its first release and in the re-rendered one."""

from __future__ import annotations

from dataclasses import replace

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

GTAV_NIGHTRAIN = Source(
    name="gtav-nightrain",
    title="GTAV-NightRain (first release)",
    paper="Zhang et al., GTAV-NightRain: photometric realistic large-scale dataset for night-time rain streak "
    "removal, arXiv 2210.04708",
    homepage="https://github.com/zkawfanx/GTAV-NightRain",
    licence="CC-BY-NC-SA-4.0",
    layouts=(
        Layout(
            "gtav",
            "{set1,set2}/{Train,Test}/{Rainy/NNNN_KK,GT/NNNN}.png and set3/[Test/]{Rainy,GT}, in any case; set3 itself "
            "counts as train",
            (
                Rule(
                    r"(?P<set>set[123])/(?P<part>(?:train|test)/)?rainy/(?P<n>\d{4})_(?P<k>\d\d)",
                    ("{pre}{set}/{part}gt/{n}",),
                    "{set!l}/{n}_{k}",
                    "{set!l}/{n}",
                ),
            ),
        ),
    ),
    streak=True,
    drop=False,
    night=True,
    real=False,
    counts={"train": 11860, "test": 1186},
    archives=(Archive("zenodo", "6638011"), Archive("gdrive", "1Tsoh_9iCfYc2rtMCHnJACnKW5W_SOheb")),
    superseded_by="gtav-nightrain-rerendered",
    notes=(
        "Ten rainy frames show each clean one; numbers start again in each set: the scene is set and number.",
        "set3/Test repeats 186 pairs of set3 itself: the two parts share scenes.",
        "The copy on Google Drive is the small version, with one rainy frame (_00) a clean one.",
    ),
    citation="@article{zhang2022gtav, title={GTAV-NightRain: photometric realistic large-scale dataset for night-time "
    "rain streak removal}, author={Zhang and others}, journal={arXiv preprint arXiv:2210.04708}, year={2022}}",
)

GTAV_NIGHTRAIN_RERENDERED = replace(
    GTAV_NIGHTRAIN,
    name="gtav-nightrain-rerendered",
    title="GTAV-NightRain (re-rendered)",
    licence="unstated",
    layouts=(
        Layout(
            "gtav-rerendered",
            "{train,test}/{rainy/NNNN_KK,gt/NNNN}.png, in any case, no set1, set2, set3 (inferred from the first "
            "release); without a split's name it counts as train",
            (Rule(r"rainy/(?P<n>\d+)_(?P<k>\d+)", ("{pre}gt/{n}",), "{n}_{k}", "{split}/{n}"),),
            ignore=r"(^|/)set[123]/",
        ),
    ),
    counts={"train": 5000, "test": 500},
    archives=(Archive("kaggle", "zkawfanx/gtav-nightrain-rerendered-version"),),
    superseded_by=None,
    notes=(
        "Another release with denser rain, ten frames a clean one in train and five in test: not to be mixed with the "
        "first.",
        "The authors say that a few scenes are misaligned, worth about 0.5 dB; no list was published.",
    ),
)
