"""LHP-Rain: a million frames of real rain over static scenes."""

from __future__ import annotations

import re

from rainrag.core.errors import LayoutError
from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Found, Layout, Tree, same_names


def refuse_other_names(tree: Tree, found: Found) -> None:
    """Refuse a copy in which each side has names that the other lacks.

    The authors' loader pairs by sorted order, which shifts in silence when one file is missing. Files that are missing
    on one side alone are reported; names that differ on both sides mean that equal names prove nothing.

    Raises:
        LayoutError: with the first name of each side.
    """
    rainy = [r.key for r in found.rejects if r.reason == "missing-gt"]
    paired = {p.gt for p in found.pairs}
    clean = [f for f in tree.images if re.search(r"(^|/)gt/", f, re.IGNORECASE) and f not in paired]
    if rainy and clean:
        raise LayoutError(
            f"the two sides are named differently: {len(rainy)} rainy files without a clean one, e.g. {rainy[0]}, and "
            f"{len(clean)} clean files without a rainy one, e.g. {clean[0]}. The authors' loader pairs such files by "
            "sorted order, which shifts in silence when one file is missing; that is not done here.",
            where=tree.root,
            hint="if you know how the names correspond: rainrag ingest folder --root DIR --lq-glob … --gt-glob …",
        )


LHP_RAIN = Source(
    name="lhp-rain",
    title="LHP-Rain",
    paper="Guo et al., From sky to the ground: a large-scale benchmark and simple baseline towards real rain removal, "
    "ICCV 2023",
    homepage="https://github.com/yunguo224/LHP-Rain",
    licence="unstated",
    layouts=(
        Layout(
            "lhp-rain",
            "[{train,val,test}/]{input,gt}/[clip/]NAME with equal names; without a split's name it counts as train",
            (
                same_names(lq="input", gts=("gt",), name="(?P<clip>[^/]+)/[^/]+", scene="{split}/{clip}"),
                same_names(lq="input", gts=("gt",), name="[^/]+"),
            ),
            check=refuse_other_names,
        ),
    ),
    streak=True,
    drop=False,
    night=None,
    accumulation=None,
    real=True,
    archives=(Archive("page", "https://yunguo224.github.io/LHP-Rain.github.io"),),
    gt_estimated=True,
    per_scene=10,
    notes=(
        "Targets are estimated from video (low-rank tensor recovery).",
        "Paired by name, never by sorted order as in the authors' loader; a copy whose sides are named differently is "
        "refused.",
        "A million frames of 3,000 static scenes: take a few a clip with --per-scene; without clip folders every "
        "frame is its own scene.",
        "Dusk and night may occur: day or night is judged from the pixels.",
    ),
    citation="@inproceedings{guo2023sky, title={From sky to the ground: a large-scale benchmark and simple baseline "
    "towards real rain removal}, author={Guo and others}, booktitle={ICCV}, year={2023}}",
)
