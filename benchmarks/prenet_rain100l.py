"""Published weights of PReNet, PReNet_r, PRN and PRN_r on the 100 test images of Rain100L, beside published figures.

    python -m rainrag.benchmarks.prenet_rain100l [--names prenet …] [--parquet FILE] [--json]

Each image goes through the network whole, in float32; the output is truncated to 8 bits as in the authors' script and
scored on the luma of BT.601 (protocol ``y``). The rounded output is scored too: that convention alone moves the mean.
Exit code 5 when a PSNR is further from the authors' than ``--tolerance``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rainrag import baselines
from rainrag.baselines.card import Card, Claim, Weights
from rainrag.core import images, workspace
from rainrag.core.errors import MissingError, RainRAGError
from rainrag.core.files import sha256_file
from rainrag.evaluation import metrics
from rainrag.evaluation.score import pair

NAMES = ("prenet", "prenet-r", "prn", "prn-r")
TESTSET = "rain100l"
SIZE = 100  # images of the whole set: the published mean is over all of them
#: key in a row -> how the float output goes to 8 bits.
RULES = {"truncated": metrics.protocol("y", quantise="u8trunc"), "rounded": metrics.protocol("y")}


def weights_of(card: Card) -> tuple[Weights, Claim]:
    """The card's weights for the test set and what was published for them."""
    weights = next(w for w in card.weights if w.tag == TESTSET)
    claim = next(c for c in card.claims if c.testset == TESTSET and c.weights == weights.tag)
    return weights, claim


def find(weights: Weights, folder: Path) -> Path:
    """The file below a folder that has the published sha256, under whatever name.

    Raises:
        MissingError: when there is none.
    """
    archive = weights.archive
    for path in sorted(folder.rglob("*.pth")):
        if path.stat().st_size == archive.size and sha256_file(path) == archive.sha256:
            return path
    raise MissingError(
        f"no file with sha256 {archive.sha256}",
        where=folder,
        hint=f"fetch {archive.ref}, or name a folder with --weights",
    )


@torch.inference_mode()
def restore(network: torch.nn.Module, rgb: images.U8) -> np.ndarray[Any, Any]:
    """(H, W, 3) uint8 to float32 in [0, 1]."""
    x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
    out: np.ndarray[Any, Any] = network(x)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    return out


def run(name: str, data: Path, folder: Path, limit: int | None) -> list[dict[str, Any]]:
    """Scores of every image, one row an image, with the seconds of the network alone."""
    weights, _ = weights_of(baselines.card_of(name))
    network = baselines.load(name, find(weights, folder))
    rows = []
    for key, rainy, clean in pair(data / "input", data / "target")[0][:limit]:
        lq, gt = images.read(rainy).rgb, images.read(clean).rgb
        start = time.perf_counter()
        y = restore(network, lq)
        seconds = time.perf_counter() - start
        row: dict[str, Any] = {"network": name, "key": key, "seconds": seconds}
        for rule, protocol in RULES.items():
            scores = metrics.score(y, gt, protocol, exact=True)
            row |= {f"{metric}_{rule}": value for metric, value in scores.items()}
        rows.append(row)
        if len(rows) % 10 == 0:
            print(f"{name}: {len(rows)} images, {seconds:.1f} s each", file=sys.stderr, flush=True)
    return rows


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means beside what was published."""
    _, claim = weights_of(baselines.card_of(name))
    means = {k: float(np.mean([r[k] for r in rows])) for k in rows[0] if k not in ("network", "key")}
    return {
        "network": name,
        "images": len(rows),
        **means,
        "published_psnr": claim.psnr,
        "published_ssim": claim.ssim,
        "signature": RULES["truncated"].signature("psnr"),
    }


def default_folders() -> tuple[Path, Path]:
    """Data and weights: below $RAINRAG_TESTDATA where it is set, else in the workspace."""
    root = os.environ.get("RAINRAG_TESTDATA")
    if root:
        return Path(root) / "data" / "Rain100L", Path(root) / "weights" / "PReNet"
    return workspace.place("raw", TESTSET), workspace.place("weights")


def show(found: dict[str, Any]) -> None:
    """A line of the table."""
    ours = f"{found['psnr_truncated']:.4f} / {found['ssim_truncated']:.4f}"
    theirs = f"{found['published_psnr']:.2f} / {found['published_ssim']:.3f}"
    rounded = f"{found['psnr_rounded']:.4f} / {found['ssim_rounded']:.4f}"
    print(
        f"{found['network']:10} {ours:18} {theirs:16} {rounded:18} {found['seconds']:6.2f} s  {found['images']} images",
        flush=True,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; see the module's text."""
    data, weights = default_folders()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--data", type=Path, default=data, help="folder with input/ and target/")
    parser.add_argument("--weights", type=Path, default=weights, help="folder with the authors' files, at any depth")
    parser.add_argument("--limit", type=int, help="first images only; then nothing is judged")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=0.05, help="dB")
    parser.add_argument("--parquet", type=Path, help="write the scores of every image")
    parser.add_argument("--json", action="store_true", help="print the means as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    rows, means = [], []
    if not args.json:
        print(f"{'network':10} {'ours (truncated)':18} {'published':16} {'ours (rounded)':18} per image")
    for name in args.names:
        found = run(name, args.data, args.weights, args.limit)
        rows += found
        means.append(summary(name, found))
        if not args.json:
            show(means[-1])
    if args.json:
        print(json.dumps(means, indent=2))
    if args.parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), args.parquet)
    far = [
        m["network"]
        for m in means
        if m["images"] == SIZE and abs(m["psnr_truncated"] - m["published_psnr"]) > args.tolerance
    ]
    if far:
        print(f"further than {args.tolerance} dB from the published figure: {', '.join(far)}", file=sys.stderr)
    return 5 if far else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RainRAGError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
