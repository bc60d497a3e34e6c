"""The verbs before training: known test scenes, datasets, rendered rain; and the division into training and probe."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rainrag.benchmarks import shipped
from rainrag.benchmarks.campaign.plan import HELD, SETS, TESTS
from rainrag.core import images, jobs, workspace
from rainrag.core.images import U8
from rainrag.data import contamination, ingest, sources
from rainrag.data.synthetic import generate
from rainrag.training import cache, data
from rainrag.training.cache import Pixels
from rainrag.training.data import Item

#: Bits of 256 by which the hashes of two pictures of one scene may differ.
NEAR = 24
SCENES, VERSIONS, LAYERS = 480, 2, 3
SIDE = 512  # of the part of a clean photograph that is kept in memory


def known_scenes(tests: Path) -> int:
    """Put every image of the test sets, rainy or clean, into the workspace's ledger; returns how many are new."""
    rows = []
    for top in TESTS:
        for path in sorted((tests / top).rglob("*")):
            if path.suffix.lower() in images.SUFFIXES:
                key = f"tests/{path.relative_to(tests).as_posix()}"
                rows.append({"key": key, "phash": images.phash(images.read(path).rgb)})
    return contamination.extend(workspace.place("ledger.jsonl"), rows)


def datasets(pairs: Path, tests: Path, work: Path) -> list[Any]:
    """Ingest all sets, and the training parts of those that ``shipped`` uses; returns the reports."""
    one = jobs.create("local", workers=1)
    reports = []
    for s in SETS:
        source = ingest.renamed(sources.get("folder"), s.name, streak=s.streak, drop=s.drop, night=s.night)
        reports.append(ingest.ingest(source, pairs / s.folder, work / "datasets" / s.name, one))
    for folder, name in shipped.PAIRS.items():
        target = work / "datasets" / name
        reports.append(ingest.ingest(sources.get(name), tests / folder, target, one, splits=["train"]))
    return reports


def rain(photographs: Path, work: Path) -> None:
    """Rain of four types, without planted faults, and additive streaks, on photographs that show no test scene."""
    shipped.pools(photographs, work)
    generate.write(
        work / "raw/rendered", SCENES, work / "backgrounds/photo", shipped.SEED, per_scene=VERSIONS, size=shipped.SIZE,
        workers=1,
    )  # fmt: skip
    shipped.layers(work / "backgrounds/layers", work / "raw/layers", LAYERS)
    one = jobs.create("local", workers=1)
    rendered = sources.get("rendered")
    for name, source in (("rendered", rendered), ("layers", ingest.renamed(rendered, "layers"))):
        ingest.ingest(source, work / "raw" / name, work / "datasets" / name, one)


def divided(work: Path) -> tuple[Pixels, list[Item], list[Item]]:
    """Pixels, training pairs and held-out pairs. No scene is in both: pictures whose clean sides are near duplicates
    count as one scene, whatever sets they are in; those near a test scene are left out."""
    found = data.collect(sorted(p for p in (work / "datasets").iterdir() if p.is_dir()))
    pixels, items, _ = cache.build(found.items)
    known = contamination.Ledger.load(workspace.place("ledger.jsonl"))
    scene = scenes(items)
    barred = {scene[i.key] for i in items if known.find(i.phash)}
    left = [i for i in items if scene[i.key] not in barred]
    return pixels, [i for i in left if not held(scene[i.key])], [i for i in left if held(scene[i.key])]


def held(scene: str) -> bool:
    """Whether a scene belongs to the probe: by its name's hash, so that new data move no scene."""
    return int(hashlib.sha256(scene.encode()).hexdigest(), 16) % HELD == 0


def scenes(items: Sequence[Item]) -> dict[str, str]:
    """Key -> scene; scenes whose clean sides look alike are one, named by the first of their hashes and names."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def join(a: str, b: str) -> None:
        first, second = sorted((root(a), root(b)))
        parent[second] = first

    hashes = sorted({i.phash for i in items if i.phash})
    if hashes:
        packed = np.stack([np.frombuffer(bytes.fromhex(h), np.uint8) for h in hashes])
        for a, b in zip(*np.nonzero(np.triu(images.hamming(packed, packed) <= NEAR, 1)), strict=True):
            join(f"g:{hashes[a]}", f"g:{hashes[b]}")
    for i in items:
        if i.phash:
            join(f"s:{i.scene}", f"g:{i.phash}")
    return {i.key: root(f"s:{i.scene}") for i in items}


def clean_photographs(work: Path) -> tuple[list[U8], list[U8]]:
    """Middle parts of the photographs that carry rendered rain, as they are: for training, and held out."""
    train: list[U8] = []
    probe: list[U8] = []
    for path in sorted((work / "backgrounds").rglob("*")):
        if path.suffix.lower() in images.SUFFIXES:
            part = _middle(images.read(path).rgb)
            (probe if held(path.name) else train).append(part)
    return train, probe


def _middle(picture: npt.NDArray[np.uint8]) -> U8:
    y, x = (max(0, (n - SIDE) // 2) for n in picture.shape[:2])
    return np.ascontiguousarray(picture[y : y + SIDE, x : x + SIDE])
