"""Rain1400 (DDN-Data): fourteen rainy versions of each clean photograph."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

RAIN1400 = Source(
    name="rain1400",
    title="Rain1400 (DDN-Data, Rain14000)",
    paper="Fu et al., Removing rain from single images via a deep detail network, CVPR 2017",
    homepage="https://github.com/XMU-smartdsp/Removing_Rain",
    licence="unstated",
    layouts=(
        Layout(
            "ddn",
            "{training,testing}/{rainy_image/I_J.jpg,ground_truth/I.jpg}; without a split's name it counts as train",
            (Rule(r"rainy_image/(?P<name>(?P<i>\d+)_\d+)", ("{pre}ground_truth/{i}",), "{name}", "{i}"),),
        ),
        Layout(
            "ddn-paired",
            "{train,test}/{input,target}/NAME (paired copies); without a split's name it counts as train",
            (
                Rule(
                    r"input/(?P<name>(?P<i>\d+)_\d+)",
                    ("{pre}target/{name}", "{pre}target/{i}"),
                    "{name}",
                    "{i}",
                ),
            ),
        ),
        Layout(
            "ddn-demo",
            "synthetic/Nrain.jpg with synthetic/Nground_truth.jpg (the demo of the code; counts as test)",
            (Rule(r"(?P<n>\d+)rain", ("{pre}{n}ground_truth",), "{n}", "demo/{n}"),),
            default_split="test",
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"train": 12600, "test": 1400},
    archives=(
        Archive("baidu", "https://pan.baidu.com/s/1g_m7RfSUJUtknlWugO1nrw", password="ldzo"),
        Archive("hub", "dronefreak/DDN-Data"),
    ),
    notes=(
        "Fourteen rainy images share a clean one: the scene is the first number.",
        "JPEG on both sides.",
        "Test2800 in Rain13K comes from this set.",
        "The mirror on the Hub is unofficial and states no licence.",
    ),
    citation="@inproceedings{fu2017removing, title={Removing rain from single images via a deep detail network}, "
    "author={Fu and others}, booktitle={CVPR}, year={2017}}",
)
