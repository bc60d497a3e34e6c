"""Videos with drops on the pane: VRDS (drops and streaks together) and Video-Waterdrop (driving)."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, Rule


def _frames(lq: str, gt: str, split: str | None = None) -> Rule:
    return Rule(
        rf"{lq}/(?P<clip>[^/]+)/(?P<frame>[^/]+)",
        (f"{{pre}}{gt}/{{clip}}/{{frame}}",),
        "{clip}/{frame}",
        "{split}/{clip}",
        split=split,
    )


VRDS = Source(
    name="vrds",
    title="VRDS",
    paper="Wu et al., ACM MM 2023 (ViMP-Net)",
    homepage="https://github.com/TonyHongtaoWu/ViMP-Net",
    licence="unstated (the code is Apache-2.0)",
    layouts=(
        Layout(
            "vrds",
            "{lq,gt}/<clip>/NNNNNNNN.png for train, {testlq,testgt}/<clip>/NNNNNNNN.png for test",
            (_frames("testlq", "testgt", "test"), _frames("lq", "gt")),
            ignore=r"(^|/)(01drop|drop|mstreak)/",
        ),
    ),
    streak=True,
    drop=True,
    night=None,
    real=False,
    archives=(Archive("onedrive", "link in the README of https://github.com/TonyHongtaoWu/ViMP-Net"),),
    per_scene=10,
    notes=(
        "Every frame has streaks and drops: it counts as drops.",
        "102 clips: the scene is the clip; cap frames with --per-scene.",
        "Drop masks and streak maps (01drop, drop, mstreak) are passed over.",
        "Night clips may occur: day or night is judged from the pixels.",
    ),
)

VIDEO_WATERDROP = Source(
    name="video-waterdrop",
    title="Video Waterdrop Removal in Driving Scenes",
    paper="Wen et al., Video waterdrop removal via spatio-temporal fusion in driving scenes, ICRA 2023",
    homepage="https://github.com/csqiangwen/Video_Waterdrop_Removal_in_Driving_Scenes",
    licence="unstated (the code is MIT)",
    layouts=(
        Layout(
            "video-waterdrop",
            "train_vid/{rainy_vid,clean_vid}/<clip>/<frame> and syn/{rainy_vid,clean_vid}/<clip>/<frame> (test)",
            (
                Rule(
                    r"syn/rainy_vid/(?P<clip>[^/]+)/(?P<frame>[^/]+)",
                    ("{pre}syn/clean_vid/{clip}/{frame}",),
                    "{clip}/{frame}",
                    "test/{clip}",
                    split="test",
                ),
                _frames("rainy_vid", "clean_vid"),
            ),
            ignore=r"(^|/)(rainy_mask|train_img)/",
        ),
    ),
    streak=False,
    drop=True,
    night=None,
    real=False,
    counts={"train": 65868, "test": None},
    archives=(
        Archive(
            "onedrive", "link in the README of https://github.com/csqiangwen/Video_Waterdrop_Removal_in_Driving_Scenes"
        ),
    ),
    per_scene=10,
    notes=(
        "The scene is the clip; cap frames with --per-scene.",
        "train_img holds a copy of RainDrop and rainy_mask the drop masks: both are passed over.",
        "real/ holds clips without targets: take them with 'rainrag ingest folder'.",
        "The authors score the first 100 frames of the test clips.",
        "Night clips may occur: day or night is judged from the pixels.",
    ),
    citation="@inproceedings{wen2023video, title={Video waterdrop removal via spatio-temporal fusion in driving "
    "scenes}, author={Wen and others}, booktitle={ICRA}, year={2023}}",
)
