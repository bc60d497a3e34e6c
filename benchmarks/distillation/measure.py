"""Render scenes of a half, plant every fault, measure each case, keep the measures.

    python -m rainrag.benchmarks.distillation.measure HALF --backgrounds DIR --scenes N --seed S --out FILE.parquet
    python -m rainrag.benchmarks.distillation.measure HALF --public DATASET… --seed S --out FILE.parquet
    python -m rainrag.benchmarks.distillation.measure HALF --rendered DIR --backgrounds DIR --seed S --out FILE.parquet
    python -m rainrag.benchmarks.distillation.measure HALF --backgrounds DIR --overlays --scenes N --seed S --out FILE.parquet

HALF is ``tuning`` or ``held-out``; the seeds of the two must differ, so that rain and faults differ too. With
``--public`` the pairs are those of ingested datasets, and the same faults are planted in them: training parts for
tuning, test and validation parts held out. With ``--overlays`` each scene gets uniform white lines and nothing else.
With ``--rendered`` the pairs are the sound ones of a folder that ``rainrag ingest rendered`` wrote, those whose
background is a photograph of the half. ``--gate-only`` leaves the encoders out: enough to tune the gate, in a third of the
time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rainrag.benchmarks.distillation import cache, scenes
from rainrag.benchmarks.distillation.evidence import half_of, pairs_of
from rainrag.core import images
from rainrag.core.files import listing, sha256_bytes
from rainrag.core.images import U8
from rainrag.core.types import Subset
from rainrag.data import dataset, pair_checks
from rainrag.data.synthetic import backgrounds as scenery
from rainrag.data.synthetic.backgrounds import Background
from rainrag.data.synthetic.faults import naive_overlay
from rainrag.data.synthetic.scene import Rendered
from rainrag.data.synthetic.source import MANIFEST
from rainrag.distill import evaluate_voters
from rainrag.retrieval.triplet import Triplets

T = TypeVar("T")
OVERLAY = "naive-overlay"
WANTED = ["key", "scene", "split", "subset", "streak", "drop", "night", "lq", "gt"]


def public(
    roots: Sequence[Path], half: str, seed: int, most: int, faults: Sequence[str]
) -> Iterator[list[evaluate_voters.Case]]:
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
            yield evaluate_voters.planted(row["key"], _pair(row, lq, gt), [seed, 6, number], others, faults)


def rendered(
    folder: Path, backgrounds: Path, half: str, seed: int, most: int, faults: Sequence[str]
) -> Iterator[list[evaluate_voters.Case]]:
    """Sound pairs of a rendered folder on photographs of the half, each with the faults that fit its type."""
    photographs = {str(Path(backgrounds.name, n).with_suffix("")) for n in scenes.names(backgrounds, half)}
    lines = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    lines = [r for r in lines if r["fault"] is None and r["scene"] in photographs]
    chosen = [lines[i] for i in np.random.default_rng([seed, 10]).permutation(len(lines))[:most]]
    before: list[U8] = []  # a wrong target is another scene's, of the pair before
    for row in chosen:
        name = f"{Path(row['stem']).name}.png"
        lq, gt = (images.read(folder / row["subset"] / side / name).rgb for side in ("input", "target"))
        made = evaluate_voters.planted(row["scene"], _pair(row, lq, gt), [seed, 6, row["index"]], before, faults)
        yield [replace(c, key=f"{row['stem']}/{c.fault or 'sound'}") for c in made]
        before = [gt]


def see(cases: Sequence[evaluate_voters.Case]) -> list[cache.Seen]:
    """The gate's measures alone."""
    checked = [(c, pair_checks.check(c.lq, c.gt, c.night, c.drop)) for c in cases]
    return [cache.Seen(c.key, c.scene, c.subset, c.fault, c.night, c.drop, f.measures) for c, f in checked]


def _pair(row: dict[str, Any], lq: U8, gt: U8) -> Rendered:
    """A public pair as the faults take it."""
    streak, drop, night = bool(row["streak"]), bool(row["drop"]), bool(row["night"])
    return Rendered(lq, gt, Subset(row["subset"]), streak, drop, night, False, {})


def overlays(dealt: Sequence[tuple[Background, Subset]], seed: int) -> Iterator[list[evaluate_voters.Case]]:
    """Naive rain on clean scenes: what real photographs are told from."""
    for i, (background, _) in enumerate(dealt):
        rng = np.random.default_rng([seed, 9, i])
        clean = scenery.crop(background.load(), evaluate_voters.SIZE, rng)
        night = background.night
        label = (Subset.NRS if night else Subset.DRS).value
        key = f"{background.scene}/{OVERLAY}"
        yield [
            evaluate_voters.Case(key, background.scene, label, OVERLAY, naive_overlay(clean, rng), clean, night, False)
        ]


def real(roots: Sequence[Path], half: str) -> Iterator[list[evaluate_voters.Case]]:
    """Real pairs of folders laid out as ``input`` and ``target``, those of the half."""
    for root in roots:
        for scene, a, b in pairs_of(root):
            if half_of(scene) != half:
                continue
            lq, gt = images.read(a).rgb, images.read(b).rgb
            drop, night = "drop" in str(root).lower(), images.is_night(gt)
            label = Subset.NRD if drop and night else Subset.DRD if drop else Subset.NRS if night else Subset.DRS
            yield [evaluate_voters.Case(f"{root}/{a.name}", f"real/{scene}", label.value, None, lq, gt, night, drop)]


def photographs(
    roots: Sequence[Path], half: str, triplets: Triplets, part: int = 0, parts: int = 1
) -> Iterator[list[evaluate_voters.Looked]]:
    """Photographs of real rain of the half: no clean side, nothing for the checks of pairs to say."""
    for root in roots:
        listed = [n for n in listing(root) if n.lower().endswith(images.SUFFIXES)]
        for name in [n for n in listed if half_of(f"{root.name}/{n}") == half][part::parts]:
            data = (root / name).read_bytes()
            rgb = images.decode(data, name).rgb
            if min(rgb.shape[:2]) < 96:
                continue
            t = triplets([rgb])[0]
            key = f"{root.name}/{name}"
            yield [
                evaluate_voters.Looked(
                    key,
                    f"photograph/{key}",
                    "",
                    None,
                    t.night,
                    t.drops,
                    None,
                    None,
                    sha256_bytes(data),
                    images.phash(rgb),
                    t,
                )
            ]


def main(argv: list[str] | None = None) -> int:
    """Measure a half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=scenes.HALVES)
    parser.add_argument("--backgrounds", type=Path)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--public", type=Path, nargs="+")
    given.add_argument("--rendered", type=Path)
    given.add_argument("--real", type=Path, nargs="+", help="folders of real pairs, nothing planted")
    given.add_argument("--photographs", type=Path, nargs="+", help="folders of photographs of real rain")
    parser.add_argument("--scenes", type=int, default=120, help="scenes; or pairs at most, of each public set")
    parser.add_argument("--fault", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--overlays", action="store_true", help="naive overlays instead of rain and faults")
    parser.add_argument("--gate-only", action="store_true", help="no encoders: enough to tune the gate")
    parser.add_argument("--parts", type=int, default=1, help="of the scenes, to measure one after another")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if not (args.public or args.backgrounds or args.real or args.photographs):
        parser.error("--backgrounds DIR, --public DATASET…, --real DIR… or --photographs DIR…")
    if args.photographs:
        encoders = Triplets()
        found = photographs(args.photographs, args.half, encoders, args.part, args.parts)
        cache.write(args.out, [x for looked in found for x in looked])
        return 0
    made = _made(args)
    if args.gate_only:
        _keep(made, see, lambda found: cache.write_seen(args.out, found))
        return 0
    triplets = Triplets()
    _keep(made, lambda scene: evaluate_voters.look(scene, triplets), lambda found: cache.write(args.out, found))
    return 0


def _made(args: argparse.Namespace) -> Iterator[list[evaluate_voters.Case]]:
    if args.real:
        return real(args.real, args.half)
    if args.public:
        return public(args.public, args.half, args.seed, args.scenes, args.fault)
    if args.rendered:
        return rendered(args.rendered, args.backgrounds, args.half, args.seed, args.scenes, args.fault)
    dealt = scenes.deal(args.backgrounds, args.half, args.scenes, args.seed)[args.part :: args.parts]
    return overlays(dealt, args.seed) if args.overlays else evaluate_voters.cases(dealt, args.seed, faults=args.fault)


def _keep(
    made: Iterable[list[evaluate_voters.Case]],
    measured: Callable[[list[evaluate_voters.Case]], list[T]],
    write: Callable[[list[T]], None],
) -> None:
    """Measure scene after scene; what there is is kept every ten scenes."""
    found: list[T] = []
    for n, scene in enumerate(made, 1):
        found += measured(scene)
        if n % 10 == 0:
            print(f"{n} scenes, {len(found)} cases", file=sys.stderr, flush=True)
            write(found)
    write(found)


if __name__ == "__main__":
    sys.exit(main())
