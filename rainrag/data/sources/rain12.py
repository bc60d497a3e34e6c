"""Rain12: the first small test set of the field."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

RAIN12 = Source(
    name="rain12",
    title="Rain12",
    paper="Li et al., Rain streak removal using layer priors, CVPR 2016",
    homepage="http://yu-li.github.io",
    licence="unstated",
    layouts=(
        Layout(
            "rain12",
            "NNN_in.png with NNN_GT.png in one folder; counts as test",
            (Rule(r"(?P<n>\d+)_in", ("{pre}{n}_gt",), "{n}", "{n}"),),
            default_split="test",
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"test": 12},
    archives=(Archive("direct", "http://yu-li.github.io/paper/li_cvpr16_rain.zip", "li_cvpr16_rain.zip"),),
    role="test",
    notes=("Its twelve pairs are also in the training part of Rain13K.",),
    citation="@inproceedings{li2016rain, title={Rain streak removal using layer priors}, author={Li and others}, "
    "booktitle={CVPR}, year={2016}}",
)
