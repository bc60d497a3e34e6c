"""Rain13K, as MSPFN and MPRNet put it together, with the five test sets of its release."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, same_names

TESTS = ("Test100", "Rain100H", "Rain100L", "Test1200", "Test2800")

RAIN13K = Source(
    name="rain13k",
    title="Rain13K",
    paper="Jiang et al., Multi-scale progressive fusion network for single image deraining, CVPR 2020; "
    "released by Zamir et al., CVPR 2021",
    homepage="https://github.com/swz30/Restormer",
    licence="unstated",
    layouts=(
        Layout(
            "restormer",
            "train/Rain13K/{input,target}/NAME and "
            "test/{Test100,Rain100H,Rain100L,Test1200,Test2800}/{input,target}/NAME",
            (
                same_names(
                    r"Rain13K/(?:train/)?", stem="Rain13K/{name}", scene="Rain13K/{name}", split="train", name="[^/]+"
                ),
                *(
                    same_names(
                        f"{test}/",
                        stem=f"{test}/{{name}}",
                        # Rain100L and Rain100H show the same clean images, number by number
                        scene=f"{'Rain100' if test.startswith('Rain100') else test}/{{name}}",
                        split="test",
                        name="[^/]+",
                    )
                    for test in TESTS
                ),
            ),
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    archives=(
        Archive("gdrive", "14BidJeG4nSNuFNFDf99K-7eErCq4i47t", "train.zip"),
        Archive("gdrive", "1P_-RAvltEoEhfT-9GrWRdpEi6NSswTs8", "test.zip", part=True),
        Archive("gdrive", "1Hnnlc5kI0v9_BtfMytC2LR5VpLAFZtVe"),
        Archive("gdrive", "1PDWggNh8ylevFmrjo-JEvlmqsDlWWvZs", part=True),
        Archive("hub", "dronefreak/Rain13K"),
        Archive("baidu", "link in the README of MSPFN", password="4qnh"),
    ),
    contains=("rain1400", "rain800", "rain100h", "rain12", "rain100l", "rain12000"),
    notes=(
        "It holds Rain1400, Rain800, the training part of Rain100H and Rain12: beside those sets, pairs are "
        "duplicates.",
        "Its tests are Rain100L, Rain100H, Test100 (Rain800), Test1200 (Rain12000) and Test2800 (Rain1400).",
        "Copies differ by a pair (13,712 or 13,711): the number is not checked.",
        "Many rainy images share a clean one, but names do not tell which: scenes of the training part are single "
        "pairs until the audit joins them by pixels.",
        "The mirror on the Hub is unofficial and states no licence.",
    ),
    citation="@inproceedings{jiang2020multi, title={Multi-scale progressive fusion network for single image "
    "deraining}, author={Jiang and others}, booktitle={CVPR}, year={2020}}",
)
