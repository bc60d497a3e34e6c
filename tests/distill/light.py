"""A small world to distil in: cheap triplets, an engine of this process, datasets of a few pairs, a paid voter."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from rainrag.core import images
from rainrag.core.files import sha256_bytes
from rainrag.core.jobs.stage import Shard, Stage
from rainrag.core.types import Ballot, Question, RainPair, Subset
from rainrag.data import dataset, rain_layer
from rainrag.retrieval import build
from rainrag.retrieval.store import Store
from rainrag.retrieval.triplet import STRUCTURE, Triplet, Triplets
from rainrag.voters import Kind
from tests.conftest import picture, rainy

LICENCES = {"free": "CC-BY-4.0", "closed": "unstated"}


class Inline:
    """Stages in this process. Each travels by pickle first, as it would to a worker."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers = 1

    def map(
        self, stage: Stage, shards: Sequence[Shard], out: Path
    ) -> Generator[tuple[str, dict[str, Any], float], None, None]:
        if not shards:
            return
        stage = pickle.loads(pickle.dumps(stage))
        stage.setup()
        for shard in shards:
            yield shard.name, stage.run(shard, out), time.perf_counter() * 0


class Light(Triplets):
    """Triplets without models: what a few means say of a picture."""

    def identity(self) -> dict[str, Any]:
        return {"name": "light", "version": 1}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, pictures: Sequence[images.U8]) -> list[Triplet]:
        return [self._one(p) for p in pictures]

    def _one(self, p: images.U8) -> Triplet:
        y = images.luma(p)
        coarse = images.grey(p, (8, 8)).astype(np.float32).ravel()
        edges = np.abs(np.diff(y, axis=1))
        rain = np.percentile(edges, np.linspace(5, 100, 35)).astype(np.float32)
        text = np.random.default_rng(int(y.mean()) // 16).standard_normal(16).astype(np.float32)
        return Triplet(
            caption=f"brightness {int(y.mean()) // 16}",
            text=text / np.linalg.norm(text),
            feature=coarse / (np.linalg.norm(coarse) + 1e-6),
            structure=images.grey(p, (STRUCTURE, STRUCTURE)).astype(np.uint8),
            signals={"rain": rain, "texture": coarse, "nature": rain[::2].copy(), "alone": rain_layer.alone(p)},
            night=images.is_night(p),
            drops=False,
        )


def build_store(root: Path, n: int = 24) -> Store:
    """A store of n rainy photographs."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    for i in range(n):
        (photos / f"{i}.png").write_bytes(images.encode_png(rainy(picture(500 + i, 112, 100), i)))
    with mock.patch.object(Store, "rebuild"):  # so small a store is searched exactly: no index is read
        return build.build([photos], root / "store", Light(), Inline())


def build_dataset(
    root: Path,
    name: str,
    subset: str = "DRS",
    train: int = 4,
    test: int = 0,
    first: int = 0,
    versions: int = 1,
    licence: str = "unstated",
    damage: Callable[[int, images.U8], images.U8] = lambda i, rgb: rgb,
) -> Path:
    """A dataset of pairs: one scene a number from ``first`` on, ``versions`` rainy sides each.

    Args:
        damage: changes the rainy side of a scene by its number.
    """
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for i in range(first, first + train + test):
        split = "train" if i < first + train else "test"
        clean = picture(i, 96, 72)
        for v in range(versions):
            wet = damage(i, rainy(clean, 100 * i + v))
            rows[split].append(_row(name, split, i, v, subset, licence, wet, clean))
    for split, part in rows.items():
        if part:
            dataset.write_rows(root / name / dataset.shard_path(subset, split, "00000"), part)
    dataset.fill_empty(root / name)
    dataset.write_card(root / name, name, "Made by a test.", licence)
    return root / name


def _row(
    name: str, split: str, i: int, v: int, subset: str, licence: str, wet: images.U8, clean: images.U8
) -> dict[str, Any]:
    lq, gt = images.encode_png(wet), images.encode_png(clean)
    h, w = clean.shape[:2]
    pair = RainPair(
        key=f"{name}/{split}/{i}-{v}", source=name, split=split, scene=f"{name}/{i}", subset=Subset(subset),
        streak=subset[2] == "S", drop=subset[2] == "D", night=subset[0] == "N", accumulation=False, weather="rain",
        real=False, licence=licence, lq_sha256=sha256_bytes(lq), gt_sha256=sha256_bytes(gt), lq_phash=images.phash(wet),
        gt_phash=images.phash(clean), lq_width=w, lq_height=h, gt_width=w, gt_height=h, lq_format="PNG", gt_format="PNG",
    )  # fmt: skip
    return dataset.row(pair, {"bytes": lq, "path": f"{i}.png"}, {"bytes": gt, "path": f"{i}.png"})


# ---------------------------------------------------------------- a voter that costs
@dataclass(frozen=True)
class Price:
    """Settings of the paid voter.

    Args:
        band: part of its prompt; the answer does not depend on it.
        bill: file in which each question is noted; none where not given.
    """

    band: int = 0
    bill: str = ""


class Paid:
    """Answers by a digit of the query's hash, so that voters of different names differ; notes every question."""

    revision = "r1"

    def __init__(self, name: str, price: Price) -> None:
        self.name, self.price = name, price
        self.prompt = f"p{price.band}"

    def setup(self) -> None:
        """Nothing to load."""

    def vote(self, questions: Sequence[Question]) -> list[Ballot]:
        assert all(q.query.data for q in questions), "a voter with a model needs pixels"
        if self.price.bill:
            fd = os.open(self.price.bill, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(fd, "".join(f"{self.name} {q.query.key}\n" for q in questions).encode())
            os.close(fd)
        return [self._vote(q) for q in questions]

    def _vote(self, q: Question) -> Ballot:
        digit = int(sha256_bytes(f"{self.name}{q.query.sha256}".encode())[:8], 16) % 10
        answer = "abstain" if digit == 0 else "yes" if digit < 6 else "no"
        keys = tuple(r.key for r in q.references)
        return Ballot(q.query.key, self.name, self.revision, self.prompt, keys, answer, digit / 10, f"digit {digit}")


#: Three voters: ``tests.distill.light:ONE`` and so on.
ONE, TWO, THREE = (Kind(Price, lambda _, __, s, name=name: Paid(name, s)) for name in ("one", "two", "three"))  # type: ignore[misc]
PAID = ",".join(f"tests.distill.light:{n}" for n in ("ONE", "TWO", "THREE"))


def contents(out: Path) -> dict[str, bytes]:
    """Every output file; what is below .rainrag are work files and logs."""
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and ".rainrag" not in p.relative_to(out).parts
    }
