"""The cards: what they promise has to hold together."""

from __future__ import annotations

import json
import re

import pytest

from rainrag.core.types import Archive
from rainrag.data import dataset
from rainrag.data.sources import get, names

#: Which subsets the pairs of each set can fall into (where lighting is judged from the pixels: day and night).
SUBSETS = {
    "urir-8k": "DRS DRD NRS NRD",
    "rain200l": "DRS",
    "rain200h": "DRS",
    "rain100l": "DRS",
    "rain100h": "DRS",
    "rain13k": "DRS",
    "raindrop": "DRD",
    "rainds-syn": "DRS DRD",
    "rainds-real": "DRS DRD",
    "gtav-nightrain": "NRS",
    "gtav-nightrain-rerendered": "NRS",
    "hq-nightrain": "NRS NRD",
    "spa-data": "DRS",
    "gt-rain": "DRS NRS",
    "lhp-rain": "DRS NRS",
    "vrds": "DRD NRD",
    "video-waterdrop": "DRD NRD",
    "uav-rain1k": "DRD",
    "realrain-1k-l": "DRS",
    "realrain-1k-h": "DRS",
    "weatherbench": "DRS NRS",
    "rain1400": "DRS",
    "rain12000": "DRS",
    "rain12": "DRS",
    "rain800": "DRS",
    "outdoor-rain": "DRS",
    "hq-rain": "DRS",
    "4k-rain13k": "DRS",
    "raindrop-clarity": "DRD NRD",
    "mpid": "DRS DRD NRS NRD",
    "mpid-synthetic": "DRS DRD NRS NRD",
    "real-147": "DRS NRS",
    "real3000": "DRS DRD NRS NRD",
    "ntu-rain": "DRS",
    "unirain": "DRS DRD NRS NRD",
    "folder": "DRS DRD NRS NRD",
}


@pytest.mark.parametrize("name", SUBSETS)
def test_subsets_follow_from_the_flags(name):
    assert " ".join(get(name).subsets) == SUBSETS[name]


@pytest.mark.parametrize("name", names())
def test_a_card_holds_together(name):
    s = get(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", s.name)
    assert s.licence
    assert s.role in ("pairs", "unlabelled", "test")
    assert set(s.counts) <= set(dataset.SPLITS)
    for other in (*s.contains, *([s.superseded_by] if s.superseded_by else [])):
        assert get(other).name != s.name
    assert all(layout.expected for layout in s.layouts)
    assert all(note.endswith(".") for note in s.notes)
    assert s.citation.count("{") == s.citation.count("}")
    shown = json.loads(json.dumps(s.to_dict()))
    assert shown["layouts"] == [layout.expected for layout in s.layouts]


@pytest.mark.parametrize("name", names())
def test_archives_can_be_followed(name):
    hosts = (*Archive.FETCHABLE, "baidu", "onedrive", "kaggle", "dropbox", "page")
    for a in get(name).archives:
        assert a.host in hosts
        assert a.sha256 is None  # no checksum was published for any of them
        if a.host in ("direct", "page"):
            assert a.ref.startswith("http")
        elif not a.fetchable:
            assert a.ref.startswith("http") or "README" in a.ref or a.host == "kaggle"
        if a.host == "gdrive":
            assert re.fullmatch(r"[\w-]{28,40}", a.ref)
        if a.host == "hub":
            assert "/" in a.ref
            assert any("unofficial" in note for note in get(name).notes)


def test_sets_without_targets_are_marked():
    unlabelled = {n for n in names() if get(n).role == "unlabelled"}
    assert unlabelled == {"mpid", "real-147", "real3000", "ntu-rain"}
    for name in unlabelled:
        assert all(rule.gt == () for layout in get(name).layouts for rule in layout.rules)


def test_videos_advise_a_cap_for_each_scene():
    assert {n for n in names() if get(n).per_scene} >= {"spa-data", "gt-rain", "lhp-rain", "vrds", "video-waterdrop"}
