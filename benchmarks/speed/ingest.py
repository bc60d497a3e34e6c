"""Speed of ingest: N PNG pairs against only reading, hashing and decoding each file once, in one run.

    python -m rainrag.benchmarks.speed.ingest [--pairs 100] [--size 481x321] [--workers 1] [--json]

Both sides run turn by turn, in processes of their own with the same number of workers, and the best turn of each counts.
Target: 1.3 times or less, of processor time too: on a busy machine only that one is steady.
Peak memory is measured for N and for 4 N pairs: it must not grow with N.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def photograph(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Octaves of noise and a grain, float32 in [0, 255]: a PNG of it has the size and cost of a photograph's."""
    width, height = size
    total = np.full((height, width, 3), 120, np.float32)
    for octave in range(2, 9):
        n = 2**octave
        coarse = Image.fromarray(rng.normal(0, 150 * 2.0 ** (-0.7 * octave), (n * height // width + 1, n)).astype("f4"))
        total += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))[..., None] * rng.uniform(0.8, 1.2, 3)
    out: np.ndarray = total + rng.normal(0, 1.5, (height, width, 3)).astype("f4")
    return out


def write_pairs(root: Path, count: int, size: tuple[int, int]) -> int:
    """PNG pairs; returns their bytes."""
    rng = np.random.default_rng(0)
    total = 0
    for i in range(count):
        clean = photograph(rng, size)
        rainy = clean + rng.integers(0, 2, (size[0], 1)) * np.linspace(0, 25, size[1])[:, None, None]
        for side, values in (("input", rainy), ("target", clean)):
            path = root / "train" / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)
            total += path.stat().st_size
    return total


def repeat(root: Path, out: Path, times: int) -> None:
    """The same files under further names, without a copy: memory is measured on more pairs."""
    for path in sorted(root.rglob("*.png")):
        for i in range(times):
            target = out / path.relative_to(root).with_name(f"{path.stem}_{i}.png")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def once(path: str) -> int:
    """The least that anybody has to do with a file: read, hash, decode it, once."""
    data = Path(path).read_bytes()
    hashlib.sha256(data).hexdigest()
    import io

    return int(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).size)


def bare(root: Path, out: Path, workers: int) -> None:
    """``once`` for every file."""
    del out
    files = sorted(str(p) for p in root.rglob("*.png"))
    if workers == 1:
        for f in files:
            once(f)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(once, files, chunksize=16):
            pass


def ours(root: Path, out: Path, workers: int) -> None:
    """``rainrag ingest folder``."""
    from rainrag.core.jobs import create
    from rainrag.data import ingest, sources

    shutil.rmtree(out, ignore_errors=True)
    source = ingest.renamed(sources.get("folder"), "speed", streak=True, drop=False, night=None)
    report = ingest.ingest(source, root, out, create("local", workers=workers))
    assert report.pairs == sum(1 for _ in root.rglob("input/*.png")), "not all pairs were taken in"


def _child(work: Callable[[Path, Path, int], None], root: Path, out: Path, workers: int, queue: Any) -> None:
    warm = root.parent / "warm"  # imports are not what is measured
    work(warm, out.with_name("warm-out"), 1)
    started, used = time.perf_counter(), _processor_seconds()
    work(root, out, workers)
    seconds, used = time.perf_counter() - started, _processor_seconds() - used
    peak = max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    queue.put((seconds, used, peak / 1024))


def _processor_seconds() -> float:
    both = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both)


def measure(work: Callable[[Path, Path, int], None], root: Path, out: Path, workers: int) -> tuple[float, float, float]:
    """Seconds, processor seconds, and peak memory of the largest process in MB, of one run in its own process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_child, args=(work, root, out, workers, queue))
    child.start()
    result: tuple[float, float, float] = queue.get()
    child.join()
    return result


def run(pairs: int, size: tuple[int, int], workers: int, turns: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    write_pairs(folder / "warm", 2, size)
    total = write_pairs(folder / "few", pairs, size)
    repeat(folder / "few", folder / "many", 4)
    best: dict[str, list[float]] = {}
    for _ in range(turns):
        for name, work in (("bare", bare), ("ingest", ours)):
            figures = measure(work, folder / "few", folder / "out", workers)
            best[name] = [min(pair) for pair in zip(figures, best.get(name, figures), strict=True)]
    many = measure(ours, folder / "many", folder / "out", workers)[2]
    return {
        "pairs": pairs,
        "size": f"{size[0]}x{size[1]}",
        "megabytes": round(total / 1e6, 1),
        "workers": workers,
        "bare_seconds": round(best["bare"][0], 3),
        "ingest_seconds": round(best["ingest"][0], 3),
        "ratio": round(best["ingest"][0] / best["bare"][0], 3),
        "ratio_of_processor_time": round(best["ingest"][1] / best["bare"][1], 3),
        "peak_mb": round(best["ingest"][2]),
        "peak_mb_4x_pairs": round(many),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--size", default="481x321", help="WIDTHxHEIGHT")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        found = run(given.pairs, (width, height), given.workers, given.turns, Path(folder))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:24} {value}")
    print("target: ratios of 1.3 or less, and the same peak for 4 times the pairs")


if __name__ == "__main__":
    main()
