"""HQ-NightRain: night driving with rendered streaks (RS), drops (RD) and both (SD)."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import equal_name, same_names

#: subset -> (streak, drop)
PARTS = {"RS": (True, False), "RD": (False, True), "SD": (True, True)}

HQ_NIGHTRAIN = Source(
    name="hq-nightrain",
    title="HQ-NightRain",
    paper="Rethinking nighttime image deraining via learnable color space transformation, NeurIPS 2025",
    homepage="https://github.com/guanqiyuan/CST-Net",
    licence="unstated",
    layouts=(
        equal_name(
            "{RS,RD,SD}/{train,validation,test}/{input,target}/NAME or {train,…}/{RS,RD,SD}/{input,target}/NAME; bare "
            "{train,validation,test}/{input,target}, as in the authors' repository, is RS",
            *(
                same_names(
                    rf"(?:HQ-NightRain[-_])?{part}/(?:(?:train|validation|val|test)/)?",
                    stem=f"{part}/{{name}}",
                    scene="{name}",
                    streak=streak,
                    drop=drop,
                )
                for part, (streak, drop) in PARTS.items()
            ),
            same_names(scene="{name}", streak=True, drop=False),
        ),
    ),
    streak=None,
    drop=None,
    night=True,
    real=False,
    archives=(
        Archive("gdrive", "1WZ3uIWkNkIHVLGDUo8OPmrsNI_hheIUT"),
        Archive("baidu", "https://pan.baidu.com/s/1gU2aI08UFzS3JLSl_l0GLw", password="asht"),
    ),
    notes=(
        "RS, RD and SD are read as streaks, drops and both; SD counts as drops.",
        "Without a folder RS, RD or SD the pairs count as streaks, as the authors' sample shows: keep those folders.",
        "Backgrounds carry BDD100K names, so a scene is a name, across subsets; other sets on BDD can share them.",
        "JPEG on both sides; streaks are weak (30 to 38 dB between the sides), which is no sign of a wrong pair.",
    ),
    citation="@inproceedings{hqnightrain2025, title={Rethinking nighttime image deraining via learnable color space "
    "transformation}, booktitle={NeurIPS}, year={2025}}",
)
