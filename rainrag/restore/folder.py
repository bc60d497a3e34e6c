"""Image files through a restorer: reading and writing go on in threads while the network works."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy.typing as npt

from rainrag.core.errors import DecodeError, InputError, RainRAGError, UsageError
from rainrag.core.files import write_bytes
from rainrag.core.images import F32
from rainrag.models.input_spec import quantise
from rainrag.restore import image_file
from rainrag.restore.image_file import Photo
from rainrag.restore.paths import Job
from rainrag.restore.restorer import Restored, Restorer

#: Threads that read, threads that write, and files that wait at most on either side.
THREADS, WAITING = 2, 4


@dataclass(frozen=True)
class Done:
    """A file that was restored and written."""

    job: Job
    width: int
    height: int
    bits: int
    format: str
    inference: str
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A file that was not: ``reason`` is one of rainrag.core.images.REASONS, ``network`` for what the network did to it, or
    ``writing`` where its format or its name did not take the result."""

    job: Job
    reason: str
    detail: str
    hint: str | None = None


#: Called in a writing thread with (job, photo, restored pixels of the photo's type).
Also = Callable[[Job, Photo, npt.NDArray], None]  # type: ignore[type-arg]
Item = tuple[Job, Photo | Failed]


def restore_files(
    restorer: Restorer, jobs: Iterable[Job], tile: str = "auto", also: Also | None = None
) -> Iterator[Done | Failed]:
    """Restore files one after another; neighbours of one size go together up to the restorer's batch.

    At most a few images are in memory at a time. A file that cannot be read or restored is reported, and the rest done.

    Yields:
        One answer a job, in their order.

    Raises:
        RainRAGError: when a result cannot be written, or memory does not suffice: that would meet every file.
    """
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
        waiting: deque[Future[Done | Failed] | Failed] = deque()
        try:
            for group in _groups(_ahead(readers, jobs, WAITING + restorer.batch), restorer.batch):
                for answer in _restored(restorer, group, tile):
                    waiting.append(answer if isinstance(answer, Failed) else writers.submit(_write, *answer, also))
                while len(waiting) > WAITING:
                    yield _answer(waiting.popleft())
            while waiting:
                yield _answer(waiting.popleft())
        finally:  # after an error or an early end nothing more is begun
            readers.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(wait=False, cancel_futures=True)


def _answer(waiting: Future[Done | Failed] | Failed) -> Done | Failed:
    return waiting if isinstance(waiting, Failed) else waiting.result()


def _ahead(readers: ThreadPoolExecutor, jobs: Iterable[Job], most: int) -> Iterator[Item]:
    """Photos in order, read ahead."""
    reading: deque[Future[Item]] = deque()
    for job in jobs:
        reading.append(readers.submit(_read, job))
        if len(reading) > most:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


def _read(job: Job) -> Item:
    try:
        return job, image_file.read(job.source)
    except DecodeError as e:
        return job, Failed(job, e.reason, e.what, e.hint)


def _groups(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Neighbours of one size together; what could not be read alone."""
    group: list[Item] = []
    for item in items:
        if group and (len(group) == most or _size(item) is None or _size(item) != _size(group[0])):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _size(item: Item) -> tuple[int, ...] | None:
    return None if isinstance(item[1], Failed) else item[1].rgb.shape


Restoration = tuple[Job, Photo, F32, str, float]


def _restored(restorer: Restorer, group: list[Item], tile: str) -> list[Restoration | Failed]:
    if isinstance(group[0][1], Failed):
        return [group[0][1]]
    photos = [(job, photo) for job, photo in group if isinstance(photo, Photo)]
    started = time.perf_counter()
    try:
        found: Restored = restorer.run([p.rgb for _, p in photos], tile, [str(j.source) for j, _ in photos])
    except UsageError:  # a tiling the network does not take: the same for every file
        raise
    except InputError as e:
        if len(group) > 1:  # one of them: each alone, so that the others are done
            return [answer for item in group for answer in _restored(restorer, [item], tile)]
        return [Failed(group[0][0], "network", e.what, e.hint)]
    seconds = (time.perf_counter() - started) / len(photos)
    return [
        (job, photo, image, found.inference, seconds) for (job, photo), image in zip(photos, found.images, strict=True)
    ]


def _write(job: Job, photo: Photo, image: F32, inference: str, seconds: float, also: Also | None) -> Done | Failed:
    """Write a result; what meets this file alone is reported, what would meet every file (a full disk) is raised."""
    pixels = quantise(image, photo.rgb.dtype)
    try:
        data = image_file.encode(photo, pixels)
    except Exception as e:  # Pillow's writers raise many kinds on what a format cannot hold
        return Failed(job, "writing", f"{photo.format} cannot hold it: {e}", "convert it to PNG first")
    try:
        write_bytes(job.target, data)
    except RainRAGError as e:
        if getattr(e.__cause__, "errno", None) != errno.ENAMETOOLONG:
            raise
        return Failed(job, "writing", e.what, e.hint)
    if also:
        also(job, photo, pixels)
    height, width = pixels.shape[:2]
    return Done(job, width, height, photo.bits, photo.format, inference, seconds, photo.notes)
