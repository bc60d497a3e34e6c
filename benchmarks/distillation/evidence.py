"""What the learned voters are trained on: pairs of known truth and photographs, measured and kept.

    python -m rainrag.benchmarks.distillation.evidence HALF --backgrounds DIR --pairs DIR… --photographs DIR… --out DIR

HALF is ``tuning`` or ``held-out``. For each clean scene: rendered rain (sound), false rain of several kinds (the tuned
kinds, or those held out) and the scene itself (dry). For each real pair: the pair (sound), false rain on its clean side.
For each photograph of real rain: the photograph (sound, without a clean side), and false rain on it. Which half a scene,
a pair's scene or a photograph belongs to follows from the hash of its name. A killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rainrag.benchmarks.distillation import scenes
from rainrag.core import images
from rainrag.core.files import listing
from rainrag.core.images import U8
from rainrag.core.parquet import write_table
from rainrag.core.types import Subset
from rainrag.data import rain_layer
from rainrag.data.synthetic import backgrounds as scenery
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic import faults as planting
from rainrag.data.synthetic.generate import visible
from rainrag.distill import evaluate_voters

PLANTED = ("cartoon-streaks", "pasted-streaks", "implausible-drops")
AT_ONCE = 8  # scenes a part
FORM = {
    "origin": "string", "scene": "string", "truth": "string", "kind": "string", "night": "bool", "drop": "bool",
    "layer": "floats", "alone": "floats",
}  # fmt: skip
SUFFIXES = images.SUFFIXES


@dataclass(frozen=True)
class Seen:
    """A picture or pair to measure: ``truth`` is ``real``, ``rendered``, ``false`` or ``dry``."""

    origin: str
    scene: str
    truth: str
    kind: str
    night: bool
    drop: bool
    lq: U8
    gt: U8 | None


def half_of(name: str) -> str:
    """The half of a pair's scene or a photograph."""
    return scenes.HALVES[hashlib.sha256(name.encode()).digest()[0] % 2]


def _jpeg(rgb: U8, quality: int) -> U8:
    return images.decode(images.encode_jpeg(rgb, quality)).rgb


def drawn(
    scene: str, origin: str, clean: U8, gt: U8 | None, night: bool, kinds: Sequence[str], rng: Any
) -> Iterator[Seen]:
    """False rain of each kind on a picture; half of the time both sides are JPEG, as most sets are."""
    for kind in kinds:
        lq, target = false_rain.draw(clean, kind, rng), gt
        if rng.random() < 0.5:
            quality = int(rng.integers(80, 98))
            lq, target = _jpeg(lq, quality), None if gt is None else _jpeg(gt, quality)
        yield Seen(origin, scene, "false", kind, night, kind in false_rain.DROPS, lq, target)


def dry(clean: U8, rng: Any) -> list[U8]:
    """The scene without rain: as it is, encoded again, with the noise or the exposure of another shot."""
    noise = np.clip(clean + rng.normal(0, rng.uniform(0.5, 4), clean.shape), 0, 255).astype(np.uint8)
    other = np.clip(clean.astype(np.float32) * rng.uniform(0.9, 1.12) + rng.uniform(-6, 6), 0, 255).astype(np.uint8)
    return [clean, _jpeg(clean, int(rng.integers(40, 96))), noise, _jpeg(other, 95)]


def from_scene(
    background: scenery.Background, subset: Subset, index: int, seed: int, kinds: Sequence[str], each: int
) -> list[Seen]:
    """A clean scene: rendered, planted false rain, ``each`` kinds of false rain, dry."""
    rng = np.random.default_rng([seed, 11, index])
    clean = scenery.crop(background.load(), evaluate_voters.SIZE, rng)
    night = background.night
    out = [
        Seen("scene", background.scene, "dry", "dry", night, bool(n % 2), x, clean)
        for n, x in enumerate(dry(clean, rng))
    ]
    for type_ in (subset,) if index % 2 else (subset, subset):
        pair = visible(clean, type_, rng, relight=None)
        lq, gt = pair.lq, pair.gt
        if rng.random() < 0.5:
            quality = int(rng.integers(80, 98))
            lq, gt = _jpeg(lq, quality), _jpeg(gt, quality)
        out.append(Seen("scene", background.scene, "rendered", type_.value, pair.night, pair.drop, lq, gt))
    if kinds[0] in false_rain.TUNED:
        fault = [f for f in PLANTED if f in planting.possible(pair.subset)]
        for name in fault:
            bad = planting.plant(pair, name, rng)
            out.append(Seen("scene", background.scene, "false", name, pair.night, pair.drop, bad.lq, bad.gt))
        out.append(
            Seen(
                "scene",
                background.scene,
                "false",
                "naive-overlay",
                night,
                False,
                planting.naive_overlay(clean, rng),
                clean,
            )
        )
    chosen = [kinds[(index * each + j) % len(kinds)] for j in range(each)]
    return out + list(drawn(background.scene, "scene", clean, clean, night, chosen, rng))


def _cut(lq: U8, gt: U8, rng: Any) -> tuple[U8, U8]:
    """A random part of a pair at a random scale down to 0.6."""
    scale = float(rng.uniform(0.6, 1.0))
    h, w = lq.shape[:2]
    if min(h, w) * scale < 260:
        scale = min(1.0, 260 / min(h, w))
    if scale < 1:
        size = (round(w * scale), round(h * scale))
        lq, gt = (np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA), np.uint8) for x in (lq, gt))
    h, w = lq.shape[:2]
    ch, cw = min(h, 320), min(w, 480)
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    return lq[y : y + ch, x : x + cw], gt[y : y + ch, x : x + cw]


def from_pair(
    origin: str, scene: str, lq: U8, gt: U8, drop: bool, index: int, seed: int, kinds: Sequence[str], cuts: int
) -> list[Seen]:
    """A real pair: as it is, parts of it, and false rain on its clean side."""
    rng = np.random.default_rng([seed, 12, index])
    night = images.is_night(gt)
    out = [Seen(origin, scene, "real", "pair", night, drop, lq, gt)]
    for _ in range(cuts):
        a, b = _cut(lq, gt, rng)
        out.append(Seen(origin, scene, "real", "pair", night, drop, a, b))
        chosen = [kinds[int(rng.integers(len(kinds)))]]
        out += drawn(scene, origin, b, b, night, chosen, rng)
    return out


def from_photograph(
    origin: str, name: str, rgb: U8, index: int, seed: int, kinds: Sequence[str], each: int
) -> list[Seen]:
    """A photograph of real rain, and false rain on it."""
    rng = np.random.default_rng([seed, 13, index])
    night = images.is_night(rgb)
    small = images.fit(rgb, 800)
    chosen = [kinds[(index * each + j) % len(kinds)] for j in range(each)]
    out = [Seen(origin, name, "real", "photograph", night, False, rgb, None)]
    if min(small.shape[:2]) >= 96:
        out += drawn(name, origin, small, None, night, chosen, rng)
    return out


def measured(x: Seen) -> dict[str, Any]:
    """The numbers of one."""
    layer = rain_layer.describe(x.lq, x.gt) if x.gt is not None else None
    return {
        "origin": x.origin, "scene": x.scene, "truth": x.truth, "kind": x.kind, "night": x.night, "drop": x.drop,
        "layer": None if layer is None else layer.tolist(), "alone": rain_layer.alone(x.lq).tolist(),
    }  # fmt: skip


# ---------------------------------------------------------------- sources
def pairs_of(root: Path) -> Iterator[tuple[str, Path, Path]]:
    """(scene, rainy, clean) of the layouts of the real sets at hand."""
    for left, right in (("input", "target"), ("rain_image", "clean_image")):
        for path in sorted((root / left).glob("*")) if (root / left).is_dir() else []:
            other = root / right / path.name.replace("_rain.", "_clean.")
            if other.exists():
                yield f"{root.name}/{path.stem.split('-Webcam')[0]}", path, other


def work(half: str, args: argparse.Namespace) -> Iterator[tuple[str, list[Any]]]:
    """(name, jobs) of each part."""
    kinds = list(false_rain.TUNED if half == "tuning" else false_rain.HELD_OUT)
    seed = args.seed
    jobs: list[Any] = []
    number = 0
    for root in args.pairs or []:
        for scene, a, b in pairs_of(root):
            number += 1
            if half_of(scene) == half or args.whole:
                drop = "drop" in str(root).lower()
                jobs.append((from_pair, root.name, scene, a, b, drop, number, seed, kinds, args.cuts))
    for root in args.photographs or []:
        for name in listing(root):
            if not name.lower().endswith(SUFFIXES):
                continue
            number += 1
            if half_of(f"{root.name}/{name}") == half:
                jobs.append(
                    (from_photograph, root.name, f"{root.name}/{name}", root / name, number, seed, kinds, args.each)
                )
    if args.backgrounds:
        dealt = scenes.deal(args.backgrounds, half, args.scenes, seed)
        jobs += [(from_scene, b, s, i, seed, kinds, args.each) for i, (b, s) in enumerate(dealt)]
    for at in range(0, len(jobs), AT_ONCE):
        yield f"{at // AT_ONCE:04d}", jobs[at : at + AT_ONCE]


def _made(job: Any) -> list[Seen]:
    how, *rest = job
    if how is from_pair:
        origin, scene, a, b, *more = rest
        lq, gt = images.read(a).rgb, images.read(b).rgb
        return from_pair(origin, scene, lq, gt, *more) if lq.shape == gt.shape else []
    if how is from_photograph:
        origin, name, path, *more = rest
        rgb = images.read(path).rgb
        return from_photograph(origin, name, rgb, *more) if min(rgb.shape[:2]) >= 96 else []
    return list(how(*rest))


def main(argv: list[str] | None = None) -> int:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=scenes.HALVES)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--pairs", type=Path, nargs="*")
    parser.add_argument("--photographs", type=Path, nargs="*")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--each", type=int, default=4, help="kinds of false rain a scene")
    parser.add_argument("--cuts", type=int, default=3, help="parts of each real pair")
    parser.add_argument("--whole", action="store_true", help="all real pairs, whatever their half")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long; run again to go on")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for name, jobs in work(args.half, args):
        path = args.out / f"{name}.parquet"
        if path.exists():
            continue
        if time.monotonic() - start > args.seconds:
            return 3
        rows = [measured(x) for job in jobs for x in _made(job)]
        write_table(path, rows, FORM)
        print(name, len(rows), f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
