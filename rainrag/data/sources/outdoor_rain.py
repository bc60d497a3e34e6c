"""Outdoor-Rain: streaks and fog together."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

OUTDOOR_RAIN = Source(
    name="outdoor-rain",
    title="Outdoor-Rain",
    paper="Li et al., Heavy rain image restoration: integrating physics model and conditional adversarial learning, "
    "CVPR 2019",
    homepage="https://github.com/liruoteng/HeavyRainRemoval",
    licence="unstated",
    layouts=(
        Layout(
            "outdoor-rain",
            "{train,Test1}/{in|input}/im_NNNN_sSS_aAA.png with gt/im_NNNN.png; without Test1 or a split's name it "
            "counts as train",
            (Rule(r"(?:in|input)/(?P<name>(?P<im>im_\d{4})_s\d+_a\d+)", ("{pre}gt/{im}",), "{name}", "{split}/{im}"),),
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    accumulation=True,
    real=False,
    counts={"train": 9000, "test": 1500},
    archives=(Archive("dropbox", "link in the README of https://github.com/liruoteng/HeavyRainRemoval"),),
    notes=(
        "Rain with accumulation (fog): it counts as day streaks, and the accumulation flag is set.",
        "Fifteen rainy images share a clean one; Test1 starts its numbers again: the scene is split and number.",
        "PSNR between the sides is 10 to 17 dB by design.",
        "Real photographs beside it (web, nus) have no targets: take them with 'rainrag ingest folder'.",
    ),
    citation="@inproceedings{li2019heavy, title={Heavy rain image restoration: integrating physics model and "
    "conditional adversarial learning}, author={Li and others}, booktitle={CVPR}, year={2019}}",
)
