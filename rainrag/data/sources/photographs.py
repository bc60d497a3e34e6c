"""Real rainy photographs without targets, for the reference store: Real-147, Real3000; and a clip of NTURain."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

REAL_147 = Source(
    name="real-147",
    title="Real-147 (Internet-Data)",
    paper="Wei et al., Semi-supervised transfer learning for image rain removal, CVPR 2019",
    homepage="https://github.com/wwzjer/Semi-supervised-IRR",
    licence="unstated",
    layouts=(
        Layout("real-147", "real_input/N.jpg: photographs", (Rule(r"real_input/(?P<n>\d+)", (), "{n}", "{n}"),)),
        Layout("bare", "N.jpg in the root itself", (Rule(r"(?P<n>\d+)", (), "{n}", "{n}"),)),
    ),
    streak=True,
    drop=False,
    night=None,
    accumulation=None,
    real=True,
    counts={"train": 147},
    archives=(Archive("page", "https://github.com/wwzjer/Semi-supervised-IRR"),),
    role="unlabelled",
    notes=(
        "The files lie in the repository, folder data/rainy_image_dataset/real_input.",
        "About 102 scenes are distinct: many 512x512 files are squashed copies of another file.",
        "Six photographs show snow, six files are graphics.",
        "A copy elsewhere holds the same files under rain/ and norain/: those are not pairs.",
        "A few are at night: judged from the pixels.",
    ),
    citation="@inproceedings{wei2019semi, title={Semi-supervised transfer learning for image rain removal}, "
    "author={Wei and others}, booktitle={CVPR}, year={2019}}",
)

REAL3000 = Source(
    name="real3000",
    title="Real3000",
    paper="RainDirection and Real3000 (Yueziyu/RainDirection-and-Real3000-Dataset)",
    homepage="https://github.com/Yueziyu/RainDirection-and-Real3000-Dataset",
    licence="unstated",
    layouts=(
        Layout(
            "real3000",
            "N.png, N = 1..3000, in any folder: photographs; 1705 to 2004 are the test part",
            (
                Rule(r"(?P<n>170[5-9]|17[1-9]\d|1[89]\d\d|200[0-4])", (), "{n}", "{n}", split="test"),
                Rule(r"(?P<n>\d{1,4})", (), "{n}", "{n}"),
            ),
            ignore=r"(^|/)(rainy|latent|streak)/",
        ),
    ),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=True,
    counts={"train": 2700, "test": 300},
    archives=(
        Archive(
            "baidu",
            "link in the README of https://github.com/Yueziyu/RainDirection-and-Real3000-Dataset",
            password="33e8",
        ),
    ),
    role="unlabelled",
    notes=(
        "No targets: photographs for the reference store; what kind of rain each shows is not known.",
        "RainDirection, the rendered set of the same repository (rainy, latent), is passed over.",
    ),
)

NTU_RAIN = Source(
    name="ntu-rain",
    title="NTURain (sample clip)",
    paper="Chen et al., Robust video content alignment and compensation for rain removal in a CNN framework, CVPR 2018",
    homepage="https://github.com/flyywh/CVPR-2020-Self-Rain-Removal",
    licence="unstated",
    layouts=(
        Layout(
            "clips",
            "train/<clip>_Rain/NNNNN.jpg: frames without targets; without a split's name it counts as train",
            (Rule(r"(?P<clip>[^/]+_Rain)/(?P<frame>\d+)", (), "{clip}/{frame}", "{clip}"),),
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"train": 20},
    archives=(Archive("page", "https://github.com/flyywh/CVPR-2020-Self-Rain-Removal"),),
    role="unlabelled",
    per_scene=1,
    notes=("The repository ships twenty frames of the clip b1_Rain (rendered rain): they are one scene.",),
    citation="@inproceedings{chen2018robust, title={Robust video content alignment and compensation for rain removal "
    "in a CNN framework}, author={Chen and others}, booktitle={CVPR}, year={2018}}",
)
