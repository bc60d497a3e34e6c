"""RainDS: one clean image with drops, with streaks, and with both; a rendered and a photographed part."""

from __future__ import annotations

from dataclasses import replace

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

#: folder -> (streak, drop, prefixes of the rendered files)
KINDS = {
    "raindrop": (False, True, "rd-"),
    "rainstreak": (True, False, "(?:rain|rs)-"),
    "rainstreak_raindrop": (True, True, "rd-(?:rain|rs)-"),
}


def _rule(kind: str, lq: str, clean: str, stem: str) -> Rule:
    streak, drop, _ = KINDS[kind]
    gt = tuple(f"{{pre}}{folder}/{clean}" for folder in ("gt", "Clear"))
    return Rule(rf"{kind}/{lq}", gt, f"{kind}/{stem}", f"{{split}}/{stem}", streak=streak, drop=drop)


RAINDS_SYN = Source(
    name="rainds-syn",
    title="RainDS-syn",
    paper="Quan et al., Removing raindrops and rain streaks in one go, CVPR 2021",
    homepage="https://github.com/Songforrr/RainDS_CCN",
    licence="unstated",
    layouts=(
        Layout(
            "rainds-syn",
            "RainDS_syn/{train_set,test_set}/{raindrop/rd-N,rainstreak/rain-N,rainstreak_raindrop/rd-rain-N}.png with "
            "gt/norain-N.png (or Clear/), the same with pie- before; without a split's name it counts as train",
            tuple(
                _rule(kind, rf"(?P<pie>pie-)?{prefix}(?P<n>\d+)", "{pie}norain-{n}", "{pie!l}{n}")
                for kind, (_, _, prefix) in KINDS.items()
            ),
            ignore="RainDS[_-]real",
        ),
    ),
    streak=None,
    drop=None,
    night=False,
    real=False,
    counts={"train": None, "test": 600},
    archives=(Archive("gdrive", "12yN6avKi4Tkrnqa3sMUmyyf4FET9npOT", "RainDS.zip"),),
    notes=(
        "Mixed rain (rainstreak_raindrop) counts as drops, as in the paper of UniRain.",
        "One clean image has three rainy versions: they share a scene.",
    ),
    citation="@inproceedings{quan2021removing, title={Removing raindrops and rain streaks in one go}, "
    "author={Quan and others}, booktitle={CVPR}, year={2021}}",
)

RAINDS_REAL = replace(
    RAINDS_SYN,
    name="rainds-real",
    title="RainDS-real",
    layouts=(
        Layout(
            "rainds-real",
            "RainDS_real/{train_set,test_set}/{raindrop,rainstreak,rainstreak_raindrop}/N.png with gt/N.png (or "
            "Clear/); without a split's name it counts as train",
            tuple(_rule(kind, r"(?P<n>\d+)", "{n}", "{n}") for kind in KINDS),
            ignore="RainDS[_-]syn",
        ),
    ),
    real=True,
    counts={"train": None, "test": 294},
    archives=(*RAINDS_SYN.archives, Archive("hub", "dronefreak/RainDS")),
    notes=(
        *RAINDS_SYN.notes,
        "The clean photograph was taken minutes apart: cars move, the light changes.",
        "raindrop and rainstreak_raindrop of the test part are test sets of the UniRain paper.",
        "The mirror on the Hub is unofficial and states no licence.",
    ),
)
