"""Small stores for tests: triplets without models, an engine in this process."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.jobs.stage import Shard
from rainrag.data import rain_layer
from rainrag.retrieval.encoders.rain import NAMES
from rainrag.retrieval.triplet import STRUCTURE, Triplet
from tests.conftest import picture


@dataclass
class PlainTriplets:
    """Triplets by colour and shape, as fast as resizing; ``name`` is their identity."""

    name: str = "plain"
    captioner: str = "plain"
    encoder: str = "plain"
    refine: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    batch: int = 1

    def identity(self) -> dict[str, Any]:
        return {"captioner": {"name": self.name}, "encoder": {"name": self.name}, "refine": []}

    def choice(self) -> dict[str, Any]:
        return {"captioner": "plain", "encoder": "plain", "refine": [], "settings": {}}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, pictures: Sequence[images.U8]) -> list[Triplet]:
        self.seen += [p.size for p in pictures]
        return [self.one(p) for p in pictures]

    def one(self, p: images.U8) -> Triplet:
        text = images.resize(p, (3, 3), "area").astype(np.float32).ravel() - 128
        described = np.zeros(len(NAMES), np.float32)
        described[NAMES.index("ridge-calm")] = 4  # rain is seen
        return Triplet(
            caption=f"mean {p.mean():.0f}",
            text=text / np.linalg.norm(text),
            feature=images.resize(p, (4, 4), "area").astype(np.float32).ravel(),
            structure=images.grey(p, (STRUCTURE, STRUCTURE)).astype(np.uint8),
            signals={"rain": described, "nature": np.full(2, p.mean(), np.float32), "alone": rain_layer.alone(p)},
            night=images.is_night(p),
            drops=False,
        )


class Here:
    """Runs shards in this process; stops after ``most`` of them, as a killed run does."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.ran: list[str] = []

    def map(self, stage: Any, shards: Sequence[Shard], out: Path) -> Generator[tuple[str, dict[str, Any], float]]:
        stage.setup()
        for shard in shards:
            if self.most is not None and len(self.ran) >= self.most:
                raise KeyboardInterrupt
            started = time.perf_counter()
            record = stage.run(shard, out)
            self.ran.append(shard.name)
            yield shard.name, record, time.perf_counter() - started


def photographs(root: Path, n: int, first: int = 0) -> Path:
    """n different photographs as root/i.png."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + n):
        (root / f"{i}.png").write_bytes(images.encode_png(picture(i, 128, 96)))
    return root
