"""A stage: work over shards, with a fingerprint and resume. It knows nothing of rain, nor of where it runs.

A stage is a callable over a batch of columns (``dict[str, list]`` in and out), its models loaded once in ``setup``: the
shape that ``datasets.map`` and Ray Data share. A *job* binds a stage to an output folder: it turns one shard of rows
into files and a record. Shards are written aside and renamed; a shard whose record exists is finished. The folder
carries the fingerprint of (stage, version, settings, inputs), and other settings never reuse it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rainrag.core.errors import IntegrityError
from rainrag.core.files import fingerprint, read_json, sweep, write_json

Batch = dict[str, list[Any]]


class Stage(Protocol):
    """What runs on a shard. Pickles before ``setup``; ``settings`` holds all that changes its output."""

    name: str
    version: int

    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, JSON-able."""
        ...

    def setup(self) -> None:
        """Load models; called once in each worker."""
        ...

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Do one shard, write its files below ``out`` atomically, return its record (JSON-able, no timings)."""
        ...


@dataclass(frozen=True)
class Shard:
    """A piece of work: a name that sorts, its rows, and how many items they count as (None: as many as rows)."""

    name: str
    rows: tuple[Any, ...]
    count: int | None = None

    @property
    def size(self) -> int:
        """Items for progress and logs."""
        return len(self.rows) if self.count is None else self.count


class Engine(Protocol):
    """Where shards run. Yields (shard name, record, seconds) in any order; one stage instance a worker."""

    def map(
        self, stage: Stage, shards: Sequence[Shard], out: Path
    ) -> Generator[tuple[str, dict[str, Any], float], None, None]:
        """Run every shard."""
        ...


class Job:
    """A stage bound to an output folder.

    Args:
        stage: what to do.
        out: folder that the stage writes into; records go to ``out/.rainrag/<stage>/``.
        inputs: identity of what goes in (JSON-able); part of the fingerprint.

    Raises:
        IntegrityError: when ``out`` was made by the same stage with other settings or inputs.
    """

    def __init__(self, stage: Stage, out: Path, inputs: Any = None) -> None:
        self.stage = stage
        self.out = out
        self.records = out / ".rainrag" / stage.name
        self.identity = {
            "stage": stage.name,
            "version": stage.version,
            "settings": stage.settings(),
            "inputs": inputs,
        }
        self.fingerprint = fingerprint(self.identity)
        self._claim()

    def _claim(self) -> None:
        marker = self.records / "stage.json"
        if marker.exists():
            before = read_json(marker)
            if before["fingerprint"] != self.fingerprint:
                changed = [k for k in self.identity if before["identity"].get(k) != self.identity[k]]
                raise IntegrityError(
                    f"this folder was made by '{self.stage.name}' with other {', '.join(changed) or 'content'}",
                    where=self.out,
                    hint="choose another --out, or repeat with --overwrite to discard existing results",
                )
            sweep(self.out)
            return
        write_json(marker, {"fingerprint": self.fingerprint, "identity": self.identity})

    def done(self) -> dict[str, dict[str, Any]]:
        """Records of the shards that are finished (all their files present)."""
        records = {}
        for path in sorted(self.records.glob("shard-*.json")):
            record = read_json(path)
            if all((self.out / f).exists() for f in record.get("files", {})):
                records[path.stem.removeprefix("shard-")] = record
        return records

    def run(
        self,
        shards: Iterable[Shard],
        engine: Engine,
        progress: Callable[[str, int], None] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Run what is not finished.

        Args:
            progress: called with (shard name, rows) for every shard, finished before or now.

        Returns:
            Records by shard name, sorted.
        """
        todo = []
        finished = self.done()
        wanted = []
        for shard in shards:
            wanted.append(shard.name)
            if shard.name in finished:
                if progress:
                    progress(shard.name, shard.size)
            else:
                todo.append(shard)
        sizes = {s.name: s.size for s in todo}
        started = time.perf_counter()
        with contextlib.closing(engine.map(self.stage, todo, self.out)) as results:
            for name, record, seconds in results:
                write_json(self.records / f"shard-{name}.json", record)
                finished[name] = record
                self._log(name, sizes[name], seconds)
                if progress:
                    progress(name, sizes[name])
        if todo:
            self._log("all", sum(sizes.values()), time.perf_counter() - started)
        return {name: finished[name] for name in sorted(wanted)}

    def _log(self, name: str, rows: int, seconds: float) -> None:
        """Timings are metadata: they go to a log, never into an output."""
        with open(self.records / "timings.log", "a") as f:
            f.write(f"{name}\t{rows} rows\t{seconds:.3f} s\n")


def shards_by_size(
    rows: Sequence[Any], sizes: Sequence[int], prefix: str, most_bytes: int = 128 << 20, most_rows: int = 1024
) -> list[Shard]:
    """Cut rows, in order, into shards of bounded bytes and count; the cuts depend on the rows alone."""
    shards: list[Shard] = []
    part: list[Any] = []
    total = 0
    for row, size in zip(rows, sizes, strict=True):
        if part and (total + size > most_bytes or len(part) >= most_rows):
            shards.append(Shard(f"{prefix}-{len(shards):05d}", tuple(part)))
            part, total = [], 0
        part.append(row)
        total += size
    if part:
        shards.append(Shard(f"{prefix}-{len(shards):05d}", tuple(part)))
    return shards
