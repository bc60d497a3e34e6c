"""RainDrop (DeRaindrop): photographs through a wet and a dry glass pane."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

_LQ = r"(?:data|input|rain_image)/(?P<n>\d+)_rain"
_CLEAN = (
    "gt/{n}_clean",
    "clean_image/{n}_clean",
    "target/{n}_clean",
    "gt/{n}_rain",
    "target/{n}_rain",
)

RAINDROP = Source(
    name="raindrop",
    title="RainDrop (DeRaindrop)",
    paper="Qian et al., Attentive generative adversarial network for raindrop removal from a single image, CVPR 2018",
    homepage="https://github.com/rui1996/DeRaindrop",
    licence="unstated",
    layouts=(
        Layout(
            "deraindrop",
            "{train,test_a,test_b}/{data|input|rain_image}/N_rain.* with {gt|clean_image|target}/N_clean.*; without a "
            "split's name it counts as train",
            (
                Rule(
                    rf"test_(?P<t>[ab])/{_LQ}",
                    tuple(f"{{pre}}test_{{t}}/{c}" for c in _CLEAN),
                    "{t!l}/{n}",
                    "test_{t!l}/{n}",
                ),
                Rule(_LQ, tuple(f"{{pre}}{c}" for c in _CLEAN), "{n}", "{split}/{n}"),
            ),
            ignore=r"(^|/)(preview|mask)/",
        ),
    ),
    streak=False,
    drop=True,
    night=False,
    real=True,
    archives=(Archive("gdrive", "1e7R76s6vwUJxILOcAsthgDLPSnOrQ49K"), Archive("hub", "dronefreak/RainDrop")),
    notes=(
        "test_a is a well aligned part of test_b under other numbers: together they score scenes twice.",
        "The published counts do not add up, so none is checked.",
        "Two panes of glass: the sides are shifted by up to a few pixels, most in test_b.",
        "A few images are not 720x480, and the two sides can differ in size: such pairs are left out.",
        "Licence plates are masked in the released copy.",
        "The mirror on the Hub is unofficial and states no licence.",
    ),
    citation="@inproceedings{qian2018attentive, title={Attentive generative adversarial network for raindrop removal "
    "from a single image}, author={Qian and others}, booktitle={CVPR}, year={2018}}",
)
