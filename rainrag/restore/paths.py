"""Which files are restored, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rainrag.core.errors import MissingError, UsageError
from rainrag.core.files import listing, natural
from rainrag.core.images import SUFFIXES
from rainrag.core.names import grouped, is_image, unread


@dataclass(frozen=True)
class Job:
    """One file: where it is, where its result goes, and its name below the folder that all inputs share."""

    source: Path
    target: Path
    name: str


#: (path as it was met, reason) of files that are not taken.
NotRead = list[tuple[str, str]]


def jobs(inputs: Sequence[str | Path], out: str | Path, not_read: NotRead | None = None) -> list[Job]:
    """Files, folders (with all below them) and patterns as jobs.

    Each result keeps its path below the deepest folder that all inputs share: one folder's tree is kept as it is, two
    folders keep their names. Files below ``out`` are never inputs, so that a second run does not take up the first's
    results.

    Args:
        inputs: a file that is named is taken whatever its ending; of folders and patterns, image files only.
        out: folder.
        not_read: gets the files of folders and patterns that are not taken, each with its reason.

    Raises:
        MissingError: when an input is not there, a pattern fits nothing, or no images are found.
        UsageError: when a result would overwrite an input.
    """
    place = Path(os.path.abspath(out))
    found: dict[Path, None] = {}  # in order, each once
    roots = []
    other: NotRead = not_read if not_read is not None else []
    for given in map(str, inputs):
        root, files = _expand(given, other, place)
        roots.append(root)
        named = files == [Path(os.path.abspath(given))]
        found.update(dict.fromkeys(f for f in files if named or place not in f.parents))
    if not found:
        raise MissingError(
            f"no images in {', '.join(map(str, inputs))}" + "".join(f"; {line}" for line in grouped(other)),
            hint=f"files that end in {', '.join(SUFFIXES)}, or a folder of them",
        )
    shared = Path(os.path.commonpath(roots))
    made = [Job(f, place / f.relative_to(shared), f.relative_to(shared).as_posix()) for f in found]
    for job in made:
        if job.target in found or (job.target.exists() and any(job.target.samefile(f) for f in _same_name(job, found))):
            raise UsageError(
                "the result would overwrite an input", where=job.target, hint="choose another folder with --out"
            )
    return made


def _same_name(job: Job, found: dict[Path, None]) -> list[Path]:
    """Inputs that a link may make the same file as the target: the job's own, and those of its name."""
    return [f for f in found if f == job.source or f.name == job.target.name]


def _expand(given: str, other: NotRead, place: Path) -> tuple[Path, list[Path]]:
    """(folder that the results' paths count from, files) of one input; ``other`` gets what is not taken."""
    path = Path(os.path.abspath(given))
    if path.is_dir():
        met: NotRead = []
        names = listing(path, lambda name, why: met.append((name, why)))
        met += unread(names)
        other += [(str(path / n), why) for n, why in met if place not in (path / n).parents]
        return path, [path / n for n in sorted(filter(is_image, names), key=natural)]
    if path.exists():
        return path.parent, [path]
    if glob.has_magic(given):
        names = sorted(glob.glob(given, recursive=True), key=natural)
        there = [n for n in names if Path(n).is_file()]
        files = [Path(os.path.abspath(n)) for n in there if is_image(n)]
        other += [(os.path.abspath(n), why) for n, why in unread(there)]
        if files:
            return _fixed_part(path), files
        raise MissingError("no image fits this pattern", where=given, hint="'**' goes through folders; quote patterns")
    raise MissingError(
        "no such file or folder", where=given, hint="check the path; patterns such as 'rain/*.jpg' work too"
    )


def _fixed_part(pattern: Path) -> Path:
    """The folder before a pattern's first wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.parts[1:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed
