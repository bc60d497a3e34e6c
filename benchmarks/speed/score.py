"""Scoring 100 images of 481 x 321 against the way of the field's Python scripts: scikit-image, one file after another.

    python -m rainrag.benchmarks.speed.score [--images 100] [--repeats 3] [--json]

Both score the same files in one run, turn by turn, on one thread a library, and their PSNR and SSIM must agree. Two
ratios are the result: of the arithmetic alone, on decoded images (processor time of one thread), and of the whole with
reading and decoding the PNGs, which ``rainrag score`` does ahead in threads (wall time; it needs two free cores).
Protocol ``y-full``: the luma that scripts pass to scikit-image. Last, a small network on a test set as the bench runs
it, decoding and scoring while the network works, against one thing after another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from rainrag.core import images
from rainrag.evaluation import metrics, score

WIDTH, HEIGHT = 481, 321
PROTOCOL = metrics.PRESETS["y-full"]
AGREE = {"psnr": 1e-4, "ssim": 1e-6}


def picture(seed: int) -> images.U8:
    """A picture with edges, gradients and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 18, 3)).astype(np.float32)
    base = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    out: images.U8 = np.clip(base, 0, 255).astype(np.uint8)
    return out


def write(root: Path, n: int) -> tuple[Path, Path]:
    """Results and targets as PNG files."""
    for i in range(n):
        gt = picture(i)
        noise = np.random.default_rng(i + n).normal(0, 8, gt.shape)
        for side, rgb in (("gt", gt), ("out", np.clip(gt + noise, 0, 255).astype(np.uint8))):
            (root / side).mkdir(exist_ok=True)
            (root / side / f"{i}.png").write_bytes(images.encode_png(rgb))
    return root / "out", root / "gt"


def scripts(out: images.U8, gt: images.U8) -> dict[str, float]:
    """PSNR and SSIM (11 x 11 Gaussian, sigma 1.5, valid region) as scripts with scikit-image compute them."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = (x.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) for x in (out, gt))
    return {
        "psnr": float(peak_signal_noise_ratio(b, a, data_range=255)),
        "ssim": float(
            structural_similarity(b, a, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        ),
    }


def ours(out: images.U8, gt: images.U8) -> dict[str, float]:
    """The same by rainrag.evaluation.metrics, its fast path."""
    return metrics.score(out, gt, PROTOCOL)


def loop(pairs: list[tuple[str, Path, Path]]) -> list[dict[str, float]]:
    """Read, decode and score one pair after another with scikit-image."""
    from skimage.io import imread

    return [scripts(imread(a), imread(b)) for _, a, b in pairs]


def product(pairs: list[tuple[str, Path, Path]]) -> list[dict[str, float]]:
    """What ``rainrag score`` does."""
    return score.score_pairs(pairs, PROTOCOL).images


def seconds(
    works: dict[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The shortest time of each, taken turn by turn: what else runs on the machine only makes them longer."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = clock()
            work()
            taken[name].append(clock() - start)
    return {name: min(t) for name, t in taken.items()}


def disagreement(mine: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, float]:
    """Largest difference of any image, by metric.

    Raises:
        SystemExit: when it is more than rounding.
    """
    worst = {m: max(abs(a[m] - b[m]) for a, b in zip(mine, theirs, strict=True)) for m in AGREE}
    if any(worst[m] > AGREE[m] for m in AGREE):
        raise SystemExit(f"the two ways disagree: {worst}")
    return worst


def run(n: int, repeats: int) -> dict[str, Any]:
    """Both comparisons."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        cv2.setNumThreads(1)
        out, gt = write(Path(folder), n)
        pairs = score.pair(out, gt)[0]
        decoded = [(images.read(a).rgb, images.read(b).rgb) for _, a, b in pairs]
        worst = disagreement([ours(*d) for d in decoded], [scripts(*d) for d in decoded])
        disagreement(product(pairs), loop(pairs))
        alone = {
            "scikit-image, decoded": lambda: [scripts(*d) for d in decoded],
            "rainrag, decoded": lambda: [ours(*d) for d in decoded],
        }
        whole = {
            "scikit-image, files": lambda: loop(pairs),
            "rainrag, files": lambda: product(pairs),
        }
        times = seconds(alone, repeats, time.process_time) | seconds(whole, repeats)
    return {
        "images": n,
        "size": [WIDTH, HEIGHT],
        "seconds": times,
        "arithmetic": times["scikit-image, decoded"] / times["rainrag, decoded"],
        "files": times["scikit-image, files"] / times["rainrag, files"],
        "disagreement": worst,
        "overlap": overlap(),
    }


def overlap(n: int = 12) -> dict[str, float]:
    """A small network over a test set: one thing after another, and as ``rainrag bench`` does it."""
    import torch

    from rainrag.evaluation import run as bench
    from rainrag.evaluation import submissions, testsets
    from rainrag.restore import Contract

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 24, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(24, 3, 3, padding=1)
    )
    entrant = submissions.Entrant("small", network=network, contract=Contract(), trained_on=())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        out, gt = write(root, n)
        opened = testsets.open_set(f"folder:{out},{gt}")
        worker = submissions.Network(entrant, "auto", "cpu", "fp32")
        scorer = bench.Scorer([PROTOCOL], (), False)

        def one_by_one() -> None:
            for item in opened.items:
                lq, target = item.read()
                assert target is not None
                scorer(worker(item, lq.rgb)[0], target.rgb)

        work = {"one by one": one_by_one, "overlapped": lambda: list(bench._rows(opened.items, worker, scorer, None))}
        times = seconds(work, 3)
    return {**times, "ratio": times["one by one"] / times["overlapped"]}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = run(args.images, args.repeats)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for name, t in found["seconds"].items():
        print(f"{name:24} {t:7.2f} s   {1000 * t / found['images']:6.1f} ms an image")
    print(f"faster: {found['arithmetic']:.1f} x on decoded images, {found['files']:.1f} x with reading and decoding")
    print(f"largest difference: {found['disagreement']['psnr']:.1e} dB, SSIM {found['disagreement']['ssim']:.1e}")
    print(f"overlap with a small network: {found['overlap']['ratio']:.2f} x one by one")


if __name__ == "__main__":
    main()
