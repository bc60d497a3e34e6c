"""SPA-Data: crops of real rain videos, paired by a list file."""

from __future__ import annotations

import posixpath
import re

from rainrag.core.images import SUFFIXES
from rainrag.core.types import Archive, PairFiles, Source
from rainrag.data.sources.layouts import GT_DIRS, LQ_DIRS, Found, Layout, Rule, Tree, equal_name

SIDES = {*LQ_DIRS, *GT_DIRS}


def read_lists(tree: Tree) -> Found:
    """Pairs of every list file of the tree (lines ``RAINY GT``, with ``./`` or ``/`` before)."""
    found = Found()
    taken: set[tuple[str, str]] = set()
    for name in tree.files:
        if not name.lower().endswith(".txt"):
            continue
        try:
            text = (tree.root / name).read_bytes().decode(errors="replace")
        except OSError as e:
            found.reject(name, "unreadable-list", f"cannot be read: {e.strerror}")
            continue
        lines = [f for line in text.splitlines() if (f := line.split()) and _is_pair(f)]
        absent = [lq for lq, gt in lines if not _pair(tree, name, lq.lstrip("./"), gt.lstrip("./"), found, taken)]
        if absent:
            found.reject(
                name,
                "not-there",
                f"{len(absent)} of {len(lines)} lines name files that are not there, e.g. {absent[0]}",
            )
    return found


def _is_pair(fields: list[str]) -> bool:
    return len(fields) == 2 and all(f.lower().endswith(SUFFIXES) for f in fields)


def _pair(tree: Tree, listed_in: str, lq: str, gt: str, found: Found, taken: set[tuple[str, str]]) -> bool:
    """Add a listed pair; False when one of the files is not there."""
    folder, name = posixpath.split(listed_in)
    lq_file, gt_file = _resolve(tree, folder, lq), _resolve(tree, folder, gt)
    if lq_file is None or gt_file is None:
        return False
    split = "test" if "test" in name.lower() else tree.split(lq, "train")
    top, *below = posixpath.splitext(lq)[0].split("/")
    stem = "/".join(p for p in below if p.lower() not in SIDES) or top
    if (split, stem) in taken:
        found.reject(lq_file, "duplicate-key", f"{split}/{stem} is listed twice")
        return True
    taken.add((split, stem))
    number = re.search(r"\d+", stem)  # of the clip: its frames and crops are one scene
    found.pairs.append(PairFiles(stem, lq_file, gt_file, split, f"{split}/{number.group() if number else stem}"))
    found.used.update((lq_file, gt_file))
    return True


def _resolve(tree: Tree, folder: str, path: str) -> str | None:
    """A listed path below the list's folder or one above it, up to the root."""
    while True:
        hits = tree.find(posixpath.splitext(posixpath.join(folder, path))[0], path)
        if len(hits) == 1:
            return hits[0]
        if not folder:
            return None
        folder = posixpath.dirname(folder)


SPA_DATA = Source(
    name="spa-data",
    title="SPA-Data",
    paper="Wang et al., Spatial attentive single-image deraining with a high quality real rain dataset, CVPR 2019",
    homepage="https://github.com/stevewongv/SPANet",
    licence="BSD-3-like text, headed 'All rights reserved'",
    layouts=(
        Layout(
            "list",
            "real_world.txt or real_test_1000.txt (lines 'RAINY GT') beside the folders that it names",
            find=read_lists,
        ),
        Layout(
            "mirror",
            "{train,val}/rgb_reconstruction/{rain/rain-N,norain/norain-N}.png (a sub-sample)",
            (Rule(r"rain/rain-(?P<n>\d+)", ("{pre}norain/norain-{n}",), "{n}", "{split}/{n}"),),
        ),
        Layout(
            "test-copy",
            "test/small/{rain,norain}/norain-N.png; without a split's name it counts as test",
            (Rule(r"rain/norain-(?P<n>\d+)", ("{pre}norain/norain-{n}",), "{n}", "{split}/{n}"),),
            default_split="test",
        ),
        equal_name("{train,test}/{input,target}/NAME (paired copies); without a split's name it counts as train"),
    ),
    streak=True,
    drop=False,
    night=False,
    real=True,
    counts={"train": 638492, "test": 1000},
    archives=(
        Archive("hub", "dronefreak/SPA-Data"),
        Archive("page", "https://stevewongv.github.io/derain-project.html"),
        Archive("baidu", "https://pan.baidu.com/s/1YfxC5OvgYcQCffEttFz8Kg", password="yjow"),
    ),
    gt_estimated=True,
    per_scene=20,
    notes=(
        "The training part comes in twelve zip parts: cat real_world.zip.* > real_world.zip, then unzip.",
        "Targets are estimated from video: residual rain and blur occur.",
        "Thousands of crops show one clip: cap them with --per-scene; in the copies whose files are only numbered, "
        "clips cannot be told apart and every pair is its own scene.",
        "Real_Internet holds photographs without targets: take them with 'rainrag ingest folder'.",
        "The mirror on the Hub is an unofficial sub-sample (6,385 train, 1,000 validation).",
    ),
    citation="@inproceedings{wang2019spatial, title={Spatial attentive single-image deraining with a high quality real "
    "rain dataset}, author={Wang and others}, booktitle={CVPR}, year={2019}}",
)
