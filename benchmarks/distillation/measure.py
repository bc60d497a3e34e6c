"""Render scenes of a half, plant every fault, measure each case, keep the measures.

    python -m benchmarks.distillation.measure HALF --backgrounds DIR --scenes N --seed S --out FILE.parquet
    python -m benchmarks.distillation.measure HALF --public DATASET… --seed S --out FILE.parquet

    python -m benchmarks.distillation.measure HALF --backgrounds DIR --overlays --scenes N --seed S --out FILE.parquet

HALF is ``tuning`` or ``held-out``; the seeds of the two must differ, so that rain and faults differ too. With
``--public`` the pairs are those of ingested datasets, and the same faults are planted in them: training parts for
tuning, test and validation parts held out. With ``--overlays`` each scene gets uniform white lines and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.distillation import cache, scenes
from rainrag import calibrate, dataset, images
from rainrag.encoders.triplet import Triplets
from rainrag.images import U8
from rainrag.records import Subset
from rainrag.render import backgrounds as scenery
from rainrag.render.backgrounds import Background
from rainrag.render.faults import naive_overlay
from rainrag.render.scene import Rendered

OVERLAY = "naive-overlay"
WANTED = ["key", "scene", "split", "subset", "streak", "drop", "night", "lq", "gt"]


def public(roots: Sequence[Path], half: str, seed: int, most: int) -> Iterator[list[calibrate.Case]]:
    """Pairs of ingested datasets, at most so many a dataset, each with the faults that fit its type."""
    number = 0
    for root in roots:
        rows = [
            r
            for r in dataset.read_rows(root, WANTED)
            if r["subset"] and r["gt"] and (r["split"] == "train") == (half == "tuning")
        ]
        order = np.random.default_rng([seed, 8]).permutation(len(rows))[:most]
        chosen = [rows[i] for i in order]
        targets = [(r["scene"], images.decode(dataset.image_bytes(r["gt"]), r["key"]).rgb) for r in chosen]
        for row, (_, gt) in zip(chosen, targets, strict=True):
            number += 1
            lq = images.decode(dataset.image_bytes(row["lq"]), row["key"]).rgb
            others = [t for s, t in targets if s != row["scene"]]
            yield calibrate.planted(row["key"], _pair(row, lq, gt), [seed, 6, number], others)


def _pair(row: dict[str, Any], lq: U8, gt: U8) -> Rendered:
    """A public pair as the faults take it."""
    streak, drop, night = bool(row["streak"]), bool(row["drop"]), bool(row["night"])
    return Rendered(lq, gt, Subset(row["subset"]), streak, drop, night, False, {})


def overlays(dealt: Sequence[tuple[Background, Subset]], seed: int) -> Iterator[list[calibrate.Case]]:
    """Naive rain on clean scenes: what real photographs are told from."""
    for i, (background, _) in enumerate(dealt):
        rng = np.random.default_rng([seed, 9, i])
        clean = scenery.crop(background.load(), calibrate.SIZE, rng)
        night = background.night
        label = (Subset.NRS if night else Subset.DRS).value
        key = f"{background.scene}/{OVERLAY}"
        yield [calibrate.Case(key, background.scene, label, OVERLAY, naive_overlay(clean, rng), clean, night, False)]


def main(argv: list[str] | None = None) -> int:
    """Measure a half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=scenes.HALVES)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--backgrounds", type=Path)
    given.add_argument("--public", type=Path, nargs="+")
    parser.add_argument("--scenes", type=int, default=120, help="rendered scenes, or pairs a public set at most")
    parser.add_argument("--overlays", action="store_true", help="naive overlays instead of rain and faults")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.public:
        made = public(args.public, args.half, args.seed, args.scenes)
    else:
        dealt = scenes.deal(args.backgrounds, args.half, args.scenes, args.seed)
        made = overlays(dealt, args.seed) if args.overlays else calibrate.cases(dealt, args.seed)
    triplets = Triplets()
    looked: list[calibrate.Looked] = []
    for n, scene in enumerate(made, 1):
        looked += calibrate.look(scene, triplets)
        if n % 10 == 0:
            print(f"{n} scenes, {len(looked)} cases", file=sys.stderr, flush=True)
            cache.write(args.out, looked)
    cache.write(args.out, looked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
