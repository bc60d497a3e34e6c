"""Worker processes and a Ray cluster give the bytes of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rainrag.distill import pipeline
from tests.distill.light import PAID, contents

VOTERS = f"descriptor,{PAID.split(',')[0]}"  # one that is cheap, one that has a model


@pytest.fixture
def expected(request_of: Any, tmp_path: Path) -> dict[str, bytes]:
    pipeline.make(request_of(VOTERS), tmp_path / "inline")
    return contents(tmp_path / "inline")


def test_processes_give_the_same_bytes(request_of: Any, tmp_path: Path, expected: dict[str, bytes]) -> None:
    pipeline.make(request_of(VOTERS, engine="local", workers=2), tmp_path / "local")
    assert contents(tmp_path / "local") == expected


def test_a_ray_cluster_gives_the_same_bytes(
    request_of: Any, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # at Ray's own 15 the other tests would starve its workers
    try:
        pipeline.make(request_of(VOTERS, engine="ray", workers=2), tmp_path / "ray")
    finally:
        ray.shutdown()
    assert contents(tmp_path / "ray") == expected
