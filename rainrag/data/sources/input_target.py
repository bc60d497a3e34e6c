"""Sets of one group, input/target folders with equal names: UAV-Rain1k, HQ-RAIN, 4K-Rain13k."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Layout, equal_name

_LAYOUT: tuple[Layout, ...] = (
    equal_name("{train,test}/{input,target}/NAME with equal names; without a split's name it counts as train"),
)
_INFERRED = "The inside of the archive was not seen: the layout is inferred from the group's other sets."

UAV_RAIN1K = Source(
    name="uav-rain1k",
    title="UAV-Rain1k",
    paper="Chang et al., UAV-Rain1k: a benchmark for raindrop removal from UAV aerial imagery, CVPRW 2024",
    homepage="https://github.com/cschenxiang/UAV-Rain1k",
    licence="research only",
    layouts=_LAYOUT,
    streak=False,
    drop=True,
    night=False,
    real=False,
    counts={"train": 800, "test": 220},
    archives=(
        Archive("gdrive", "1uELYr8-EesWXVi-Ty0vd4_7ig7taUDfq", "UAV-Rain1k.zip"),
        Archive("baidu", "https://pan.baidu.com/s/1J8LP4mOFOGopo-8YEpj7KQ", password="soi3"),
    ),
    notes=(_INFERRED, "Aerial views, rendered drops; several rainy versions of one clean image may occur."),
    citation="@inproceedings{chang2024uav, title={UAV-Rain1k: a benchmark for raindrop removal from UAV aerial "
    "imagery}, author={Chang and others}, booktitle={CVPRW}, year={2024}}",
)

HQ_RAIN = Source(
    name="hq-rain",
    title="HQ-RAIN",
    paper="Chen et al., Towards unified deep image deraining: a survey and a new benchmark, IEEE TPAMI 2025",
    homepage="https://github.com/cschenxiang/HQ-RAIN",
    licence="research only",
    layouts=_LAYOUT,
    streak=True,
    drop=False,
    night=False,
    real=False,
    archives=(
        Archive("baidu", "link to train in the README of https://github.com/cschenxiang/HQ-RAIN", password="bxrk"),
        Archive("baidu", "link to test in the README of https://github.com/cschenxiang/HQ-RAIN", password="o8m1"),
    ),
    notes=(_INFERRED,),
    citation="@article{chen2025towards, title={Towards unified deep image deraining: a survey and a new benchmark}, "
    "author={Chen and others}, journal={IEEE TPAMI}, year={2025}}",
)

RAIN13K_4K = Source(
    name="4k-rain13k",
    title="4K-Rain13k",
    paper="Chen et al. (UDR-Mixer)",
    homepage="https://github.com/cschenxiang/UDR-Mixer",
    licence="unstated",
    layouts=_LAYOUT,
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"train": 12500, "test": 500},
    archives=(Archive("baidu", "link in the README of https://github.com/cschenxiang/UDR-Mixer", password="spfi"),),
    notes=(_INFERRED, "3840x2160: decoding is slow and shards are large; --limit helps for a first look."),
)
