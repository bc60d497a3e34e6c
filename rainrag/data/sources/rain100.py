"""Rain100L, Rain100H (2017) and their updated releases Rain200L, Rain200H, in the five layouts they are met in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule, equal_name

HOME = "http://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
TEST_ZIP = Archive("gdrive", "1P_-RAvltEoEhfT-9GrWRdpEi6NSswTs8", "test.zip")  # the tests of Rain13K hold both Rain100

#: How folders of each release, and of sets that are met beside it, are called.
CALLED = {
    "rain100l": "rain100l|r100l|raintrainl",
    "rain100h": "rain100h|r100h|raintrainh",
    "rain200l": "rain200l|rainlight",
    "rain200h": "rain200h|rainheavy",
    "": "rain13k|test100/|test1200|test2800",
}


def _layouts(name: str, default_split: str) -> tuple[Layout, ...]:
    """The layouts of one release; folders that are called like another one are passed over."""
    others = "|".join(called for key, called in CALLED.items() if key != name)
    ignore = rf"({others})(?!.*({CALLED[name]}))|(^|/)rain(streak|region)-[^/]*$"
    bare = f"without a split's name it is {default_split}"
    known: dict[str, Any] = {"default_split": default_split, "ignore": ignore}
    stem, scene = "{n}", "{split}/{n}"
    return (
        Layout(
            "authors",
            "{train,test}/small/{rain,norain}/norain-N.png, or rain/X2/norain-Nx2.png with norain/norain-N.png; "
            f"{bare}",
            (Rule(r"rain/(?:x2/)?norain-(?P<n>\d+)(?:x2)?", ("{pre}norain/norain-{n}",), stem, scene),),
            **known,
        ),
        Layout(
            "one-folder",
            f"rain-N.png with norain-N.png in one folder, or rainy/rain-N.png with norain-N.png above it; {bare}",
            (
                Rule(
                    r"(?P<side>rainy/|rain/)rain-(?P<n>\d+)",
                    ("{pre}norain-{n}", "{pre}norain/norain-{n}", "{pre}{side}norain-{n}"),
                    stem,
                    scene,
                ),
                Rule(r"rain-(?P<n>\d+)", ("{pre}norain-{n}",), stem, scene),
            ),
            **known,
        ),
        equal_name(
            f"{{train,test}}/{{input,target}}/N.png, test/NAME/{{input,target}}/N.png or "
            f"{{inputcrop,cleancrop}}/N.png; {bare}",
            name=r"(?P<n>\d+)", stem=stem, scene=scene, **known,
        ),
    )  # fmt: skip


_CUT = (
    "Copies with input/target folders are 480x320, the authors' own 481x321: the same images without one row and "
    "column.",
    "Numbers differ between copies (string order against numeric order): never join two copies by number.",
)

RAIN100L = Source(
    name="rain100l",
    title="Rain100L",
    paper="Yang et al., Deep joint rain detection and removal from a single image, CVPR 2017",
    homepage=HOME,
    licence="unstated",
    layouts=_layouts("rain100l", "test"),
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"train": 200, "test": 100},
    archives=(TEST_ZIP, Archive("page", HOME)),
    superseded_by="rain200l",
    notes=(
        *_CUT,
        "A bare input/target folder is taken as the test set, which is what circulates in that form.",
        "Only 91 of the 100 test targets are distinct.",
        "Rain100L and Rain100H test on the same clean images; Rain200 train holds scenes of this test set.",
    ),
    citation="@inproceedings{yang2017deep, title={Deep joint rain detection and removal from a single image}, "
    "author={Yang and others}, booktitle={CVPR}, year={2017}}",
)

RAIN100H = replace(
    RAIN100L,
    name="rain100h",
    title="Rain100H",
    layouts=_layouts("rain100h", "test"),
    counts={"train": 1800, "test": 100},
    archives=(
        Archive("direct", "http://www.icst.pku.edu.cn/struct/att/RainTrainH.zip", "RainTrainH.zip"),
        Archive("direct", "http://www.icst.pku.edu.cn/struct/att/Rain100H.zip", "Rain100H.zip", part=True),
        TEST_ZIP,
        Archive("page", HOME),
    ),
    superseded_by="rain200h",
    notes=(
        *_CUT,
        "546 of the 1,800 training images show backgrounds of the test set; 1,254 are free of that.",
        "Heavy rain: PSNR between the sides is 7 to 21 dB, which is no sign of a wrong pair.",
        "A bare folder counts as test; RainTrainH, or a folder 'train', as train.",
    ),
)

RAIN200L = replace(
    RAIN100L,
    name="rain200l",
    title="Rain200L (updated Rain100L, RainLight)",
    layouts=_layouts("rain200l", "train"),
    counts={"train": 1800, "test": 200},
    archives=(
        Archive("page", HOME),
        Archive("baidu", "https://pan.baidu.com/s/1rTb4qU3fCEA4MRpQss__DA", password="s2yx"),
    ),
    superseded_by=None,
    notes=(
        "Rain200L and Rain200H share their targets, number by number.",
        "Training scenes recur in the test sets of Rain100L and Rain100H: use both only with the leak audit.",
        "In the authors' folders the rainy file is called norain-N too: the folder tells the side.",
    ),
)

RAIN200H = replace(
    RAIN200L,
    name="rain200h",
    title="Rain200H (updated Rain100H, RainHeavy)",
    layouts=_layouts("rain200h", "train"),
    archives=(
        Archive("page", HOME),
        Archive("baidu", "https://pan.baidu.com/s/1KK8R2bPKgcOX8gMXSuKtCQ", password="z9br"),
    ),
)
