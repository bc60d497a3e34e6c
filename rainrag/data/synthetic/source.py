"""The source ``rendered``: reads the folder that ``generate.write`` made."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from rainrag.core.errors import InputError
from rainrag.core.types import PairFiles, Source
from rainrag.data.sources.layouts import Found, Layout, Tree

MANIFEST = "rendered.jsonl"


def _lines(tree: Tree, name: str) -> list[dict[str, Any]]:
    found = []
    for number, text in enumerate((tree.root / name).read_text().splitlines(), 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as e:
            raise InputError(f"not JSON: {e}", where=f"{name}:{number}", hint="render the folder again") from e
        found.append(line)
    return found


def _find(tree: Tree) -> Found:
    """Pairs by the manifest, with their planted faults; without one, nothing is known."""
    found = Found()
    have = set(tree.images)
    for manifest in (f for f in tree.files if PurePosixPath(f).name == MANIFEST):
        parent = PurePosixPath(manifest).parent
        for line in _lines(tree, manifest):
            subset, name = line["stem"].split("/")
            lq, gt = (str(parent / subset / side / f"{name}.png") for side in ("input", "target"))
            if lq not in have or gt not in have:
                if lq in have or gt in have:
                    found.reject(lq if lq in have else gt, "missing-gt" if lq in have else "missing-lq")
                continue
            found.pairs.append(
                PairFiles(
                    stem=line["stem"], lq=lq, gt=gt, split=line["split"], scene=line["scene"],
                    streak=line["streak"], drop=line["drop"], night=line["night"],
                    accumulation=line["accumulation"], fault=line["fault"],
                )
            )  # fmt: skip
            found.used.update((lq, gt))
    return found


RENDERED = Source(
    name="rendered",
    title="Rendered rain",
    paper="Models and their sources: docs/rendered-rain.md",
    homepage="",
    licence="generated; the background's terms apply",
    layouts=(
        Layout(
            "rendered",
            f"{MANIFEST} beside {{DRS,DRD,NRS,NRD}}/{{input,target}}/NAME.png, as 'rainrag ingest rendered' writes it",
            find=_find,
        ),
    ),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=False,
    notes=(
        "Rain by physical models on photographs of yours, or on bundled photographs and made-up streets.",
        "With --faults a known share of the pairs carries one planted fault, named in the column fault.",
    ),
)
