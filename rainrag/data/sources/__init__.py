"""The public sets: a literal table of names, each a ``Source`` record in the file of its family."""

from __future__ import annotations

from rainrag.core.registry import Registry
from rainrag.core.types import Source

#: name -> "module:attr"
TABLE: dict[str, str] = {
    "urir-8k": "rainrag.data.sources.urir:URIR_8K",
    "rain200l": "rainrag.data.sources.rain100:RAIN200L",
    "rain200h": "rainrag.data.sources.rain100:RAIN200H",
    "rain100l": "rainrag.data.sources.rain100:RAIN100L",
    "rain100h": "rainrag.data.sources.rain100:RAIN100H",
    "rain13k": "rainrag.data.sources.rain13k:RAIN13K",
    "raindrop": "rainrag.data.sources.raindrop:RAINDROP",
    "rainds-syn": "rainrag.data.sources.rainds:RAINDS_SYN",
    "rainds-real": "rainrag.data.sources.rainds:RAINDS_REAL",
    "gtav-nightrain": "rainrag.data.sources.gtav:GTAV_NIGHTRAIN",
    "gtav-nightrain-rerendered": "rainrag.data.sources.gtav:GTAV_NIGHTRAIN_RERENDERED",
    "hq-nightrain": "rainrag.data.sources.hq_nightrain:HQ_NIGHTRAIN",
    "spa-data": "rainrag.data.sources.spa:SPA_DATA",
    "gt-rain": "rainrag.data.sources.gt_rain:GT_RAIN",
    "lhp-rain": "rainrag.data.sources.lhp_rain:LHP_RAIN",
    "vrds": "rainrag.data.sources.waterdrop:VRDS",
    "video-waterdrop": "rainrag.data.sources.waterdrop:VIDEO_WATERDROP",
    "uav-rain1k": "rainrag.data.sources.input_target:UAV_RAIN1K",
    "realrain-1k-l": "rainrag.data.sources.realrain1k:REALRAIN_1K_L",
    "realrain-1k-h": "rainrag.data.sources.realrain1k:REALRAIN_1K_H",
    "weatherbench": "rainrag.data.sources.weatherbench:WEATHERBENCH",
    "rain1400": "rainrag.data.sources.rain1400:RAIN1400",
    "rain12000": "rainrag.data.sources.side_by_side:RAIN12000",
    "rain12": "rainrag.data.sources.rain12:RAIN12",
    "rain800": "rainrag.data.sources.side_by_side:RAIN800",
    "outdoor-rain": "rainrag.data.sources.outdoor_rain:OUTDOOR_RAIN",
    "hq-rain": "rainrag.data.sources.input_target:HQ_RAIN",
    "4k-rain13k": "rainrag.data.sources.input_target:RAIN13K_4K",
    "raindrop-clarity": "rainrag.data.sources.raindrop_clarity:RAINDROP_CLARITY",
    "mpid": "rainrag.data.sources.mpid:MPID",
    "mpid-synthetic": "rainrag.data.sources.mpid:MPID_SYNTHETIC",
    "real-147": "rainrag.data.sources.photographs:REAL_147",
    "real3000": "rainrag.data.sources.photographs:REAL3000",
    "ntu-rain": "rainrag.data.sources.photographs:NTU_RAIN",
    "unirain": "rainrag.data.sources.unirain:UNIRAIN",
    "rendered": "rainrag.data.synthetic.source:RENDERED",
    "folder": "rainrag.data.sources.folder:FOLDER",
}
SOURCES: Registry[Source] = Registry("source", TABLE, group="rainrag.sources", hint="'rainrag sources' lists all")


def names() -> list[str]:
    """All names, in the table's order."""
    return list(TABLE)


def get(name: str) -> Source:
    """A source by name.

    Raises:
        UsageError: with the nearest names, for an unknown one.
    """
    return SOURCES.get(name)


def find(spec: str) -> Source:
    """A source that a user named: by its name, or by the address ``package.module:SOURCE`` of one's own record.

    Raises:
        UsageError: as ``get``; for an address at which nothing is.
    """
    return SOURCES.resolve(spec)
