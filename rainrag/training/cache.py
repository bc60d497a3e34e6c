"""The pixel cache: every pair decoded once to uint8 in memory-mapped files, whatever the number of epochs.

One file a shard of pairs, rainy side then clean side of each, (H, W, 3) uint8. The folder carries the fingerprint of
what went in, so changed data never meet an old cache; a killed run goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images, jobs, workspace
from rainrag.core.errors import DecodeError, MissingError
from rainrag.core.files import atomic, fingerprint, human_bytes, lock
from rainrag.core.images import U8
from rainrag.core.jobs.stage import Job, Shard
from rainrag.core.types import Reject
from rainrag.data import dataset
from rainrag.training.data import REASONS, Item

VERSION = 1
_ROWS = 64  # pairs a shard, at most


@dataclass(frozen=True)
class Place:
    """Where a pair's pixels are: file, offset in bytes, size of one side."""

    file: str
    offset: int
    height: int
    width: int


class Pixels:
    """Decoded pairs by key, read through memory maps.

    Args:
        folder: of the cache.
        places: by key.
    """

    def __init__(self, folder: Path, places: dict[str, Place]) -> None:
        self.folder = folder
        self.places = places
        self._maps: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Maps stay behind when the cache travels to a loader's process."""
        return {**self.__dict__, "_maps": {}}

    def pair(self, key: str) -> U8:
        """(2, H, W, 3) uint8 view: rainy side, clean side."""
        at = self.places[key]
        whole = self._maps.get(at.file)
        if whole is None:
            whole = self._maps[at.file] = np.memmap(self.folder / at.file, np.uint8, "r")
        size = 2 * at.height * at.width * 3
        view: U8 = whole[at.offset : at.offset + size].reshape(2, at.height, at.width, 3)
        return view

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(2 * p.height * p.width * 3 for p in self.places.values())


@dataclass
class Decode:
    """The stage: pairs of a shard to one file of pixels."""

    window: int | None
    name: str = "pixels"
    version: int = VERSION

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        return {"window": self.window}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Decode one shard; pairs that cannot be used are in the record with their reason."""
        rows: list[list[Any]] = []
        bad: list[list[str]] = []
        offset = 0
        made = f"{shard.name}.u8"
        with atomic(out / made) as tmp, open(tmp, "wb") as f:
            for item, lq, gt in _bytes(shard.rows):
                try:
                    pair = self._pair(item, lq, gt)
                except DecodeError as e:
                    bad.append([item.key, e.reason, e.what])
                    continue
                f.write(pair.tobytes())
                rows.append([item.key, offset, pair.shape[1], pair.shape[2], images.phash(pair[1])])
                offset += pair.nbytes
        return {"files": {made: offset}, "rows": rows, "bad": bad}

    def _pair(self, item: Item, lq: bytes, gt: bytes) -> U8:
        rainy, clean = images.decode(lq, item.key).rgb, images.decode(gt, item.key).rgb
        if rainy.shape != clean.shape:
            raise DecodeError("size-mismatch", f"{REASONS['size-mismatch']}: {rainy.shape[:2]} and {clean.shape[:2]}")
        h, w = rainy.shape[:2]
        if self.window and max(h, w) > self.window:
            rng = np.random.default_rng(int(fingerprint(item.key), 16) % 2**63)
            y = int(rng.integers(max(0, h - self.window) + 1))
            x = int(rng.integers(max(0, w - self.window) + 1))
            part = np.s_[y : y + self.window, x : x + self.window]
            rainy, clean = rainy[part], clean[part]
        return np.stack((rainy, clean))


def _bytes(items: Sequence[Item]) -> Any:
    """(item, encoded rainy side, encoded clean side) of the items of one shard."""
    if items[0].shard is None:
        for i in items:
            try:
                yield i, images.read_bytes(str(i.lq)), images.read_bytes(str(i.gt))
            except DecodeError:
                yield i, b"", b""  # reported as empty by the decoder
        return

    rows = dataset.group(items[0].shard, items[0].group, ["key", *dataset.IMAGES])
    by_key = {r["key"]: r for r in rows}
    for i in items:
        row = by_key[i.key]
        try:
            yield i, *(dataset.image_bytes(row[side]) for side in dataset.IMAGES)
        except DecodeError:
            yield i, b"", b""


def shards(items: Sequence[Item]) -> list[Shard]:
    """Items by row group or, for files, in runs."""
    groups: dict[tuple[str, int], list[Item]] = {}
    for n, i in enumerate(items):
        groups.setdefault((i.shard, i.group) if i.shard else ("", n // _ROWS), []).append(i)
    return [Shard(f"{n:05d}", tuple(part)) for n, part in enumerate(groups.values())]


def identity(items: Sequence[Item], window: int | None) -> str:
    """Fingerprint of a cache: what goes in and how."""
    return fingerprint([VERSION, window, [[i.key, i.identity] for i in items]])


def size(items: Sequence[Item], window: int | None) -> int:
    """Bytes that a cache will take; an estimate where sizes are only in the files."""
    known = [i.pixels for i in items if i.pixels is not None]
    if len(known) < len(items):
        some = [i for i in items if i.pixels is None]
        known = [n for i in some[:: max(1, len(some) // 20)] if (n := _pixels(str(i.lq))) is not None]
    if not known:
        return 0
    most = window * window if window else max(known)
    return round(6 * sum(min(n, most) for n in known) * len(items) / len(known))


def _pixels(path: str) -> int | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.width * image.height
    except OSError:
        return None  # the decoder will say what is wrong with it


def build(
    items: Sequence[Item],
    window: int | None = None,
    workers: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[Pixels, list[Item], list[Reject]]:
    """The cache of some pairs: made, gone on with, or found finished. Several processes may ask at once; one makes it.

    Returns:
        (pixels, the items that could be decoded with the hash of their clean side, the others with a reason).

    Raises:
        MissingError: when the disk has no room.
    """
    name = identity(items, window)
    folder = workspace.place("cache", "train", name)
    parts = shards(items)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock", wait=True):  # several processes of one training want the same cache
        job = Job(Decode(window), folder, name)
        if len(job.done()) < len(parts):
            _room(folder, size(items, window))
        records = job.run(
            parts, jobs.create("local", workers=workers), (lambda _, n: progress(n)) if progress else None
        )
    places: dict[str, Place] = {}
    hashes: dict[str, str] = {}
    rejects = []
    for shard, record in records.items():
        for key, offset, height, width, phash in record["rows"]:
            places[key] = Place(f"{shard}.u8", offset, height, width)
            hashes[key] = phash
        rejects += [Reject(*b) for b in record["bad"]]
    decoded = [replace(i, phash=i.phash or hashes[i.key]) for i in items if i.key in places]
    return Pixels(folder, places), decoded, rejects


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise MissingError(
            f"the pixel cache needs {human_bytes(needed)}, {human_bytes(free)} are free",
            where=folder,
            hint="set 'window: 512' in the recipe to keep a window of each large picture, or move $RAINRAG_HOME",
        )
