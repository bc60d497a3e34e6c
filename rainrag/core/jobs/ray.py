"""Stages on a Ray cluster, by Ray Data: a pool of actors, each with the models of its stage.

The output folder must be one that all nodes see. Shards, files and records are those of the local engine, byte for byte.
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from rainrag.core.errors import MissingError
from rainrag.core.jobs.local import one_thread
from rainrag.core.jobs.stage import Shard, Stage


class Worker:
    """An actor: one stage, set up once.

    Args:
        stage: the stage, pickled.
        out: output folder.
    """

    def __init__(self, stage: bytes, out: str) -> None:
        one_thread()
        self.stage: Stage = pickle.loads(stage)
        self.out = Path(out)
        self.stage.setup()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Run the shards of a batch (Ray Data's columns in and out)."""
        names, records, seconds = [], [], []
        for packed in batch["shard"]:
            shard: Shard = pickle.loads(packed)
            started = time.perf_counter()
            records.append(json.dumps(self.stage.run(shard, self.out)))
            seconds.append(time.perf_counter() - started)
            names.append(shard.name)
        return {"name": names, "record": records, "seconds": seconds}


class Ray:
    """A Ray cluster.

    Args:
        workers: actors; None for one per core of the cluster.
        address: of the cluster; None starts one on this machine.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers = workers
        self.address = address

    def map(
        self, stage: Stage, shards: Sequence[Shard], out: Path
    ) -> Generator[tuple[str, dict[str, Any], float], None, None]:
        """Run every shard; results come as they are ready.

        Raises:
            MissingError: without the package, or when the cluster cannot be reached.
        """
        if not shards:
            return
        ray = self._start()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.verbose_stats_logs = False
        rows = [{"shard": pickle.dumps(s)} for s in shards]
        actors = min(len(shards), self.workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        there = int(ray.cluster_resources().get("GPU", 0))
        gpus = float(getattr(stage, "gpus", 0)) if there else 0.0
        if gpus:
            actors = min(actors, int(there / gpus))  # more actors than the GPUs hold would wait for ever
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=(pickle.dumps(stage), str(out.resolve())),
            batch_size=1,
            concurrency=actors,
            num_cpus=1,
            num_gpus=gpus,
        )
        for row in results.iter_rows():
            yield row["name"], json.loads(row["record"]), float(row["seconds"])

    def _start(self) -> Any:
        try:
            import ray
            import ray.data
        except ImportError as e:
            raise MissingError("--engine ray needs Ray", hint="pip install 'rainrag[ray]'") from e
        for name in ("ray", "ray.data"):  # chatty at INFO; what goes wrong is raised
            logging.getLogger(name).setLevel(logging.ERROR)
        if not ray.is_initialized():
            local: dict[str, Any] = {} if self.address else {"num_cpus": self.workers, "include_dashboard": False}
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **local)
            except (ConnectionError, ValueError, RuntimeError) as e:
                raise MissingError(
                    f"the Ray cluster cannot be reached: {e}",
                    where=self.address,
                    hint="ray start --head, or leave --address out",
                ) from e
        return ray
