"""GT-Rain: webcam clips, one clean frame a clip."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule

#: Scenes of the published test results: test, whatever the folder above is called.
TEST_SCENES = (
    "Gurutto_0-0", "M1135_0-0", "Oinari_0-0", "Oinari_1-1", "Table_Rock_0-0", "Winter_Garden_0-1", "Winter_Garden_0-4",
)  # fmt: skip
OWN_CLEAN = "Gurutto_1-2"  # the one scene with a clean frame for every rainy one


def _scene(name: str, clean: str, split: str | None = None) -> Rule:
    # the place is the scene: several clips come from one webcam
    return Rule(
        rf"(?P<clip>(?={name}/)(?P<place>[^/_]+)[^/]*)/(?P<file>(?P<cam>[^/]+)-R-(?P<k>\d+))",
        (f"{{pre}}{{clip}}/{{cam}}-C-{clean}",),
        "{clip}/{file}",
        "{place}",
        split=split,
    )


GT_RAIN = Source(
    name="gt-rain",
    title="GT-Rain",
    paper="Ba et al., Not just streaks: towards ground truth for single image deraining, ECCV 2022",
    homepage="https://github.com/UCLA-VMG/GT-RAIN",
    licence="research only",
    layouts=(
        Layout(
            "gt-rain",
            "SPLIT/<scene>/<scene>-Webcam-R-NNN.png with <scene>-Webcam-C-000.png (in Gurutto_1-2 with C-NNN); a scene "
            "below no split's name counts as train, the seven published test scenes as test",
            (
                _scene(OWN_CLEAN, "{k}"),
                *(_scene(name, "000", "test") for name in TEST_SCENES),
                _scene("[^/]+", "000"),
            ),
        ),
    ),
    streak=True,
    drop=False,
    night=None,
    accumulation=None,
    real=True,
    counts={"train": None, "validation": None, "test": 2100},
    archives=(Archive("gdrive", "1NSRl954QPcGIgoyJa_VjQwh_gEaHWPb8"),),
    per_scene=20,
    notes=(
        "Hundreds of rainy frames share a clean one: cap them with --per-scene.",
        "Clips of one webcam recur in train and test (Gurutto, Oinari, Winter_Garden): the scene is the name before "
        "the first underscore.",
        "Some scenes are fog or dusk: day or night is judged from the pixels.",
        "Some clips hold frozen frames; the audit finds them as exact duplicates.",
        "Wet ground, moving objects and video compression remain in the clean frames.",
    ),
    citation="@inproceedings{ba2022not, title={Not just streaks: towards ground truth for single image deraining}, "
    "author={Ba and others}, booktitle={ECCV}, year={2022}}",
)
