"""Tiled against whole: what an image loses by being restored in tiles, for each overlap.

    python -m rainrag.benchmarks.speed.tiles --model unirain --model prenet=WEIGHTS [--photographs DIR] [--size 1280x256]
        [--side 256] [--overlap 0 32 64 96 128] [--images 2] [--json]

Each image is a clean photograph with rendered streaks, so the truth is known. For each network and overlap: the largest
difference of a channel (in levels of 255), PSNR between tiled and whole, and by how much tiles change PSNR-Y against the
truth (mean of the images, the worst of them, in dB). A network that shares the image's routing among its tiles is measured
without that as well. Where the receptive field is finite, tiles that share twice of it must equal the whole: that overlap
is added to the list, and the run fails if they do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rainrag import restore
from rainrag.baselines.finder import find as baseline
from rainrag.benchmarks.speed.ingest import photograph
from rainrag.core import images
from rainrag.core.types import Subset
from rainrag.data.synthetic.generate import visible
from rainrag.evaluation import metrics
from rainrag.restore import Restorer, Tiling, tiles

#: Largest difference that is rounding of float sums, not of [0, 1]: half a level of 16 bits.
ROUNDING = 0.5 / 65535
PSNR_Y = metrics.PRESETS["y"]


@dataclass(frozen=True)
class Row:
    """One network at one overlap.

    Args:
        network: name.
        overlap: pixels that neighbours share at least: tiles are spread evenly, so often more than was asked for.
        tiles: of the first image.
        shared: whether the image's routing was shared; None where the network has none.
        levels: largest difference from the whole, of 255.
        near: lowest PSNR between tiled and whole, dB; None where they are equal.
        change, worst: PSNR-Y of tiled less that of whole, against the truth, dB: mean, and the most of any image.
    """

    network: str
    overlap: int
    tiles: int
    shared: bool | None
    levels: float
    near: float | None
    change: float
    worst: float


def scenes(folder: Path | None, size: tuple[int, int], n: int) -> list[tuple[images.U8, images.U8]]:
    """(rainy, clean) pairs of (width, height): photographs of a folder that are large enough, else synthetic ones."""
    width, height = size
    rng = np.random.default_rng(0)
    clean: list[images.U8] = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() in images.SUFFIXES and len(clean) < n:
            rgb = images.read(path).rgb
            if rgb.shape[0] >= height and rgb.shape[1] >= width:
                clean.append(np.ascontiguousarray(rgb[:height, :width]))
    if folder and len(clean) < n:
        raise SystemExit(f"{folder} has {len(clean)} photographs of at least {width}x{height}, not {n}")
    if not folder:
        clean = [np.clip(photograph(rng, size), 0, 255).astype(np.uint8) for _ in range(n)]
    return [(pair.lq, pair.gt) for pair in (visible(c, Subset.DRS, rng) for c in clean)]


def compare(
    name: str, engine: Restorer, pairs: list[tuple[images.U8, images.U8]], side: int, overlaps: list[int]
) -> list[Row]:
    """One network at all overlaps.

    Raises:
        SystemExit: when tiles that share twice a finite receptive field are not the whole.
    """
    receptive = engine.contract.receptive
    asked = [*overlaps, *([2 * receptive] if receptive else [])]
    height, width = pairs[0][0].shape[:2]
    plans = {
        str(tiles.plan(engine.contract, height, width, tiling)): tiling
        for tiling in (tiles.fitted(engine.contract, side, n) for n in sorted(asked) if n < side)
    }
    whole = [engine.restore(lq, "full") for lq, _ in pairs]
    rows = []
    for tiling in plans.values():
        for shared in (True, False) if engine.routed else (None,):
            routed, engine.routed = engine.routed, bool(shared)
            row = _row(name, engine, pairs, whole, tiling, shared)
            print(f"{name}: overlap {row.overlap} done", file=sys.stderr, flush=True)
            engine.routed = routed
            rows.append(row)
            if receptive is not None and row.overlap >= 2 * receptive and row.levels > 255 * ROUNDING:
                raise SystemExit(f"{name}: tiles that share {row.overlap} differ by {row.levels} levels from the whole")
    return rows


def _row(
    name: str, engine: Restorer, pairs: list[tuple[images.U8, images.U8]], whole: list[Any], tiling: Tiling,
    shared: bool | None,
) -> Row:  # fmt: skip
    parts = [engine.restore(lq, str(tiling)) for lq, _ in pairs]
    differences = [np.abs(p - w) for p, w in zip(parts, whole, strict=True)]
    error = max(float(np.square(d, dtype=np.float64).mean()) for d in differences)
    changes = [_psnr(p, gt) - _psnr(w, gt) for p, w, (_, gt) in zip(parts, whole, pairs, strict=True)]
    height, width = pairs[0][0].shape[:2]
    plan = tiles.plan(engine.contract, height, width, tiling)
    overlap = min(n for n in (plan.rows.shared, plan.columns.shared, tiling.size) if n is not None)
    return Row(
        name, overlap, len(plan.windows()), shared, 255 * max(float(d.max()) for d in differences),
        None if error == 0 else -10 * float(np.log10(error)), float(np.mean(changes)), max(changes, key=abs),
    )  # fmt: skip


def _psnr(restored: Any, gt: images.U8) -> float:
    """PSNR-Y of 8-bit results."""
    return float(metrics.score(restore.quantise(restored), gt, PSNR_Y)["psnr"])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", metavar="NAME[=WEIGHTS]")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--size", default="1280x256", metavar="WIDTHxHEIGHT")
    parser.add_argument("--side", type=int, default=256, help="of a tile")
    parser.add_argument("--overlap", type=int, nargs="+", default=[0, 32, 64, 96, 128])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    width, height = (int(n) for n in args.size.split("x"))
    pairs = scenes(args.photographs, (width, height), args.images)
    rows: list[Row] = []
    with threadpool_limits(args.threads):
        for given in args.model or ["unirain"]:
            name, _, weights = given.partition("=")
            found = restore.find(name, weights or None, baseline)
            engine = Restorer(found.network, found.contract, device="cpu", channels_last=True)
            rows += compare(name, engine, pairs, args.side, args.overlap)
    if args.json:
        print(json.dumps([asdict(r) for r in rows], indent=2))
        return
    print(f"{len(pairs)} images of {width} x {height}, tiles of {args.side}; the default overlap is {tiles.OVERLAP}")
    print("network    overlap tiles  routing    levels  near dB  change dB     worst")
    for r in rows:
        routing = {None: "-", True: "shared", False: "own"}[r.shared]
        near = "equal" if r.near is None else f"{r.near:.1f}"
        print(
            f"{r.network:10} {r.overlap:7} {r.tiles:5} {routing:>8} {r.levels:9.4f} {near:>8} {r.change:10.4f} {r.worst:9.4f}"
        )


if __name__ == "__main__":
    main()
