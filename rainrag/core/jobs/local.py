"""Stages on this machine: in this process, or in a pool of processes."""

from __future__ import annotations

import multiprocessing.connection
import os
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from rainrag.core.errors import RainRAGError
from rainrag.core.jobs.spawn import spawning
from rainrag.core.jobs.stage import Shard, Stage

_stage: Stage | None = None
_failed: RainRAGError | None = None


def _start(stage: Stage) -> None:
    global _stage, _failed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()
    try:
        stage.setup()
    except (
        RainRAGError
    ) as e:  # of a worker that ends here the pool would only say that it died; its first shard says why
        _failed = e
    _stage = stage


def _end_with_parent() -> None:
    """A worker whose parent was killed would finish its shard, then wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def one_thread() -> None:
    """One arithmetic thread a worker: the number of threads changes the last bits of float sums, so outputs would
    depend on the machine; parallelism comes from workers."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        pass
    else:
        threadpool_limits(1)


def _work(shard: Shard, out: Path) -> tuple[str, dict[str, Any], float]:
    assert _stage is not None
    if _failed is not None:
        raise _failed
    started = time.perf_counter()
    record = _stage.run(shard, out)
    return shard.name, record, time.perf_counter() - started


class Local:
    """Worker processes of this machine.

    Args:
        workers: None for one per core; 1 runs in one extra process all the same where a stage asks for isolation
            (``stage.isolated``), else in this process.
        address: not used.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers = max(1, workers or os.cpu_count() or 1)

    def map(
        self, stage: Stage, shards: Sequence[Shard], out: Path
    ) -> Generator[tuple[str, dict[str, Any], float], None, None]:
        """Run every shard; at most two shards a worker are under way, so memory stays flat in their number."""
        if not shards:
            return
        if self.workers == 1 and not getattr(stage, "isolated", False):
            stage.setup()
            for shard in shards:
                started = time.perf_counter()
                record = stage.run(shard, out)
                yield shard.name, record, time.perf_counter() - started
            return
        workers = min(self.workers, len(shards))
        with ProcessPoolExecutor(workers, mp_context=spawning(stage), initializer=_start, initargs=(stage,)) as pool:
            queue = iter(shards)
            running: set[Future[tuple[str, dict[str, Any], float]]] = set()
            try:
                for shard in queue:
                    running.add(pool.submit(_work, shard, out))
                    if len(running) >= 2 * workers:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        for f in done:
                            yield f.result()
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for f in done:
                        yield f.result()
            finally:
                for f in running:
                    f.cancel()
