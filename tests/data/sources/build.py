"""Small sets in temporary folders, and how they are taken in."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from rainrag.core import jobs
from rainrag.data import dataset
from rainrag.data.ingest import IngestReport, ingest
from rainrag.data.sources import get
from rainrag.data.sources.layouts import Found, match


def picture(name: str, size: tuple[int, int] = (32, 24), light: int = 150) -> np.ndarray:
    """A small image of its own for each name (a slope, a box, noise), of this mean value: 150 is day, 30 night."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    width, height = size
    rgb = np.linspace(0, 1, width)[None, :, None] * rng.uniform(-1, 1, 3) * np.ones((height, 1, 1))
    x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
    rgb[y : y + height // 2, x : x + width // 2] = rng.uniform(-1, 1, 3)
    rgb = (rgb - rgb.mean()) * min(light, 255 - light) / 2 + rng.normal(0, 5, rgb.shape)
    return np.clip(light + rgb, 0, 255).astype(np.uint8)


def files(root: Path, *names: str, light: int = 150) -> Path:
    """Write an image at each path; in names, ``{a,b}`` stands for each of its parts."""
    for name in (one for n in names for one in braces(n)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(name, light=light)).save(path)
    return root


def braces(name: str) -> list[str]:
    """``a/{b,c}/1`` -> ``a/b/1``, ``a/c/1``."""
    start = name.find("{")
    if start < 0:
        return [name]
    end = name.index("}", start)
    return [one for part in name[start + 1 : end].split(",") for one in braces(name[:start] + part + name[end + 1 :])]


def found(source: str, root: Path) -> Found:
    """What the layouts of a source make of a folder."""
    return match(get(source), root)[1]


def pairs(source: str, root: Path) -> dict[str, tuple[str, str | None]]:
    """``split/stem`` -> (rainy file, clean file)."""
    return {f"{p.split}/{p.stem}": (p.lq, p.gt) for p in found(source, root).pairs}


def scenes(source: str, root: Path) -> dict[str, str]:
    """``split/stem`` -> scene."""
    return {f"{p.split}/{p.stem}": p.scene for p in found(source, root).pairs}


def rejects(source: str, root: Path) -> dict[str, str]:
    """File that was left out -> reason."""
    return {r.key: r.reason for r in found(source, root).rejects}


def take(source: str, root: Path, out: Path) -> tuple[IngestReport, dict[str, dict]]:
    """Ingest with one worker and without the ledger; rows by key."""
    report = ingest(get(source), root, out, jobs.create("local", workers=1), keep_ledger_scenes=True)
    names = [n for n in dataset.columns() if n not in dataset.IMAGES]
    return report, {row["key"]: row for row in dataset.read_rows(out, names)}


def keys(source: str, root: Path, out: Path) -> list[str]:
    """Keys of the rows that an ingest makes, without the source's name, sorted."""
    return sorted(key.removeprefix(f"{source}/") for key in take(source, root, out)[1])
