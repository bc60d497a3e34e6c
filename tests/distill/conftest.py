"""The small world, made once; an engine ``inline``; the store's queries made by the light triplets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rainrag.core import images
from rainrag.core import jobs as engine
from rainrag.retrieval.store import Store
from tests.distill.light import Light, build_dataset, build_store


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``store``, and datasets ``closed`` (with a test part and damaged pairs), ``free``, ``night`` below a folder."""
    root = tmp_path_factory.mktemp("world")
    build_store(root)

    def damage(i: int, rgb: images.U8) -> images.U8:
        if i == 3:  # another scene altogether
            return np.ascontiguousarray(rgb[::-1, ::-1])
        if i == 5:
            return np.random.default_rng(0).integers(0, 256, rgb.shape).astype(np.uint8)
        return rgb

    build_dataset(root / "data", "closed", train=10, test=2, versions=2, damage=damage)
    build_dataset(root / "data", "free", train=5, first=40, licence="CC-BY-4.0")
    build_dataset(root / "data", "night", "NRS", train=4, first=60)
    return root


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.ENGINES, "inline", "tests.distill.light:Inline")
    monkeypatch.setattr(Store, "triplets", lambda self: Light())


@pytest.fixture
def request_of(world: Path) -> Any:
    """``request_of(voters=…, quorum=…, …)``: a request over the whole world, in this process."""
    from rainrag.distill.pipeline import Request
    from rainrag.distill.stages import DistillSettings

    def make(
        voters: str = "descriptor,features,naturalness",
        engine: str = "inline",
        workers: int = 1,
        data: tuple[str, ...] = (),
        **rest: Any,
    ) -> Request:
        options, alpha = rest.pop("options", {}), rest.pop("alpha", 0.2)
        rest.setdefault("decide", "majority")  # toy rain is not like rain: the shipped voters would keep none of it
        names = data or ("closed", "free", "night")
        return Request(
            [world / "data" / n for n in names], str(world / "store"), voters, DistillSettings(**rest), options,
            alpha, engine, workers,
        )  # fmt: skip

    return make
