"""A small folder of results with images, and the site of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rainrag.core import images, stats
from rainrag.core.files import write_bytes
from rainrag.core.types import Result
from rainrag.evaluation import metrics, results
from rainrag.leaderboard.build import build
from tests.conftest import picture, rainy

N = 6
PROTOCOL = metrics.protocol("y")


def run(
    root: Path,
    model: str,
    rows: Sequence[dict[str, Any]],
    *,
    testset: str = "rain100l",
    weights: str | None = None,
    sha256: str | None = None,
    clean: dict[str, Any] | None = None,
    images_sha256: str = "a" * 64,
    trained_on: tuple[str, ...] | None = ("rain100l",),
    notes: tuple[str, ...] = ("a <note> with & signs",),
) -> Path:
    """Save a run of the given scores."""
    names = [m for m in ("psnr", "ssim") if m in rows[0]]
    scenes = [r["scene"] for r in rows]
    result = Result(
        model=model,
        weights=weights,
        weights_sha256=sha256,
        testset=testset,
        testset_sha256=images_sha256,
        protocol="y",
        signature={m: PROTOCOL.signature(m) for m in names},
        inference="full",
        n=len(rows),
        mean={m: sum(r[m] for r in rows) / len(rows) for m in names},
        interval={m: stats.interval([r[m] for r in rows], scenes) for m in names},
        environment={"device": "cpu"},
        seconds=1.5,
        peak_memory_mb=None,
        trained_on=() if weights is None else trained_on,
        clean=clean,
        notes=notes,
    )
    return results.save(root, result, rows)


def rows(seed: int, mean: float, n: int = N, seen: bool | None = False) -> list[dict[str, Any]]:
    """Scores around a mean; the images' own difficulty is the same for every seed."""
    hard = np.random.default_rng(0).normal(0, 2, n)
    own = np.random.default_rng(seed).normal(0, 0.2, n)
    return [
        {"key": f"{i}", "scene": f"s{i}", "seen": seen, "psnr": float(mean + hard[i] + own[i]), "ssim": 0.9, "seconds": 0.25}
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def illustrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of three methods whose images were saved: the input itself, a good one and a network."""
    root = tmp_path_factory.mktemp("results")
    scored: dict[str, list[dict[str, Any]]] = {"input": [], "median": [], "prenet": []}
    outs = {"input": "input--none--y", "median": "median--none--y", "prenet": "prenet--01234567--y"}
    for i in range(N):
        gt = picture(i, 96, 64)
        lq = rainy(gt, i)
        for name, share in (("input", 0.0), ("median", 0.5), ("prenet", 0.9)):
            out = np.rint(lq + share * (gt.astype(np.float64) - lq)).astype(np.uint8)
            found = metrics.score(out, gt, PROTOCOL)
            scored[name].append(
                {"key": f"set/{i}", "scene": f"s{i}", "seen": name == "prenet" and i < 2, **found, "seconds": 0.1}
            )
            write_bytes(root / "rain100l" / outs[name] / "set" / f"{i}.png", images.encode_png(out))
        for side, rgb in (("inputs", lq), ("targets", gt)):
            write_bytes(root / "rain100l" / side / "set" / f"{i}.png", images.encode_png(rgb))
    for name in ("input", "median"):
        run(root, name, scored[name], clean={"n": N, "mean": {"psnr": 30.0}, "interval": {}, "complete": True})
    kept = [r for r in scored["prenet"] if not r["seen"]]
    clean = {
        "n": len(kept),
        "mean": {"psnr": sum(r["psnr"] for r in kept) / len(kept)},
        "interval": {},
        "complete": True,
    }
    run(root, "prenet", scored["prenet"], weights="rain100l", sha256="0123456789abcdef" * 4, clean=clean)
    run(root, "input", rows(1, 20.0, 4), testset="rain200l", images_sha256="b" * 64)
    return root


@pytest.fixture(scope="session")
def site(illustrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``index.html`` of these results."""
    return build([illustrated], tmp_path_factory.mktemp("site"))
