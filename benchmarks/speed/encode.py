"""Images a second of captions, features and whole triplets, by the embedded encoders or any other.

    python -m rainrag.benchmarks.speed.encode [--images 24] [--captioner blip] [--encoder clip] [--real]

Pictures are synthetic (480 x 320), or with ``--real`` those of Rain100L in ``$RAINRAG_TESTDATA``. Processor time of one
thread; decoding is left out. Peak memory is printed for two numbers of pictures: pictures come in batches, so it must
not grow with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from rainrag.core import images
from rainrag.retrieval import encoders
from rainrag.retrieval.encoders import nature, rain
from rainrag.retrieval.triplet import Triplets

BATCH = 8


def pictures(n: int, real: bool) -> list[images.U8]:
    """n pictures."""
    if real:
        folder = Path(os.environ["RAINRAG_TESTDATA"]) / "data" / "Rain100L"
        files = sorted(folder.rglob("*.png"))[:n]
        return [images.decode(images.read_bytes(p), str(p)).rgb for p in files]
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (12, 18, 3)).astype(np.uint8) for _ in range(n)]
    return [cv2.resize(c, (480, 320), interpolation=cv2.INTER_CUBIC) for c in coarse]


def rate(work: Callable[[Sequence[images.U8]], Any], given: Sequence[images.U8]) -> float:
    """Images a second of processor time, in batches."""
    work(given[:1])
    started = time.process_time()
    for at in range(0, len(given), BATCH):
        work(given[at : at + BATCH])
    return len(given) / (time.process_time() - started)


def main() -> None:
    """Run and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--captioner", default="embedded")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--real", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        given = pictures(args.images, args.real)
        pair = encoders.create(args.captioner, args.encoder)
        triplets = Triplets(args.captioner, args.encoder)
        triplets(given[:BATCH])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        captions = pair.caption(given[:BATCH])
        rates = {
            "caption": rate(pair.caption, given),
            "encode": rate(pair.images, given),
            "encode captions": rate(lambda some: pair.texts(captions[: len(some)]), given),
            "rain descriptor": rate(lambda some: [rain.describe(p) for p in some], given),
            "natural-scene statistics": rate(lambda some: [nature.describe(p) for p in some], given),
            "triplet": rate(triplets, given),
        }
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps({
            "images": len(given), "captioner": args.captioner, "encoder": args.encoder,
            "images_a_second": {k: round(v, 2) for k, v in rates.items()},
            "peak_mib": {f"after {BATCH}": before // 1024, f"after {len(given)}, six times": after // 1024},
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
