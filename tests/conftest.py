"""Shared fixtures. Tests make their own data; the real data are used where $RAINRAG_TESTDATA names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rainrag.core import images


@pytest.fixture
def real_data() -> Path:
    """The folder of real photographs and pairs; skips where it is not available locally."""
    root = os.environ.get("RAINRAG_TESTDATA")
    if not root or not (Path(root) / "data").is_dir():
        pytest.skip("RAINRAG_TESTDATA is not set: the real data are not available locally")
    return Path(root) / "data"


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a workspace of its own."""
    monkeypatch.setenv("RAINRAG_HOME", str(tmp_path / "workspace"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf-cache"))


def picture(seed: int, width: int = 48, height: int = 32) -> images.U8:
    """A picture with structure: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (5, 7, 3)).astype(np.uint8)
    base = images.resize(coarse, (width, height), "bicubic").astype(np.float32)
    return np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def rainy(clean: images.U8, seed: int = 0) -> images.U8:
    """The picture with a few bright vertical lines."""
    rng = np.random.default_rng(seed + 1000)
    out = clean.astype(np.int16)
    for x in rng.integers(0, clean.shape[1], 6):
        out[rng.integers(0, clean.shape[0] // 2) :, x] += 60
    return np.clip(out, 0, 255).astype(np.uint8)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: fastest for small networks, and other tests run beside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def write_pairs() -> Callable[..., Path]:
    """``write_pairs(root, n)`` writes root/input/i.png and root/target/i.png."""

    def write(root: Path, n: int = 4, first: int = 0, lq: str = "input", gt: str = "target") -> Path:
        for i in range(first, first + n):
            clean = picture(i)
            for side, rgb in ((lq, rainy(clean, i)), (gt, clean)):
                path = root / side / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(images.encode_png(rgb))
        return root

    return write
