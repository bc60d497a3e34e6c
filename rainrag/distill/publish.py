"""Splits on the Hub: lock, ballots and verdicts always, pixels where their licence permits or the user has the rights.

What is published is first laid out in its own folder, then sent in commits of a few files; files that the
repository already has are not sent again, so a broken upload goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, MissingError
from rainrag.core.files import sha256_file
from rainrag.data import dataset
from rainrag.distill import splits

#: Licences (lower case) that allow images to be passed on unchanged. Sources say theirs in other words, or not at all:
#: those are not in the list, and a licence of code is none of its images.
FREE = frozenset(
    {"cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
     "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "odc-by", "odbl", "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause"}
)  # fmt: skip
TOGETHER = 20  # files a commit
PLAIN = ("splits.lock", "summary.json")
TABLES = ("ballots", "verdicts", "references")


@dataclass
class Parcel:
    """What is to be published.

    Attributes:
        folder: where it lies, laid out as in the repository.
        pixels: source -> images' rows that go out; ``withheld``: source -> rows whose licence does not permit it.
        licences: source -> licence.
    """

    folder: Path
    pixels: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """Paths in the repository; the card last, so that it never names what is not there yet."""
        found = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        return sorted(found, key=lambda f: f == "README.md")

    @property
    def size(self) -> int:
        """Bytes."""
        return sum((self.folder / f).stat().st_size for f in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        return {
            "files": len(self.files), "bytes": self.size, "rows_with_pixels": self.pixels,
            "rows_withheld": self.withheld, "licences": self.licences,
        }  # fmt: skip


def permits(licence: str | None) -> bool:
    """Whether a licence, as the dataset's rows say it, allows images to be passed on."""
    return (licence or "").strip().lower() in FREE


def pack(folder: Path, rights: bool = False, progress: Callable[[int], None] | None = None) -> Parcel:
    """Lay out what is to be published below ``folder/.rainrag/push``.

    Args:
        folder: what ``rainrag distill`` wrote.
        rights: publish all pixels: the user says that he has the rights.
        progress: called with 1 a shard.

    Raises:
        MissingError: when the folder holds no finished distillation.
    """
    if not (folder / "splits.lock").exists():
        raise MissingError("no finished distillation here", where=folder, hint="rainrag distill … --out " + str(folder))
    target = folder / ".rainrag" / "push"
    shutil.rmtree(target, ignore_errors=True)
    parcel = Parcel(target)
    for path in sorted((folder / "data").glob("*/*.parquet")):
        _shard(parcel, folder, path, rights)
        if progress:
            progress(1)
    for name in [
        *PLAIN,
        *(str(p.relative_to(folder)) for d in TABLES for p in (folder / d).glob("*")),
    ]:
        _link(folder / name, target / name)
    dataset.fill_empty(target, splits.EXTRA)
    head_title_counts_body = (folder / "README.md").read_text().split("\n\n", 3)  # as dataset.write_card lays it out
    dataset.write_card(
        target, splits.TITLE, head_title_counts_body[3] + _note(parcel), splits.LICENCE, splits.more(target)
    )
    return parcel


def _shard(parcel: Parcel, folder: Path, path: Path, rights: bool) -> None:
    """One shard: whole, its free rows alone, or not at all."""
    import pyarrow.parquet as pq

    named = pq.read_table(path, columns=["source", "licence"]).to_pylist()
    free = [rights or permits(r["licence"]) for r in named]
    for r, ok in zip(named, free, strict=True):
        count = parcel.pixels if ok else parcel.withheld
        count[r["source"]] = count.get(r["source"], 0) + 1
        parcel.licences[r["source"]] = r["licence"] or "unstated"
    name = path.relative_to(folder)
    if all(free):
        _link(path, parcel.folder / name)
    elif any(free):
        table = pq.read_table(path).take([i for i, ok in enumerate(free) if ok])
        dataset.write_rows(parcel.folder / name, table.to_pylist(), splits.EXTRA)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _note(parcel: Parcel) -> str:
    if not parcel.withheld:
        return ""
    sources = ", ".join(f"{n} of {s} ({parcel.licences[s]})" for s, n in sorted(parcel.withheld.items()))
    return (
        f"\n\nNot all pixels are here, since their licences do not permit it: {sources}. `splits.lock` names every pair "
        "by key and hash: ingest those sets with `rainrag ingest`, then `rainrag distill` with the settings of the lock "
        "makes the same splits, and `rainrag verify` says whether it did.\n"
    )


# ---------------------------------------------------------------- sending
def push(
    parcel: Parcel, repo: str, private: bool = False, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Send a parcel to a dataset repository of the Hub.

    Args:
        repo: ``owner/name``; made where it does not exist.
        progress: called with the number of files sent or found there.

    Returns:
        ``sent``, ``there`` (already), ``removed`` (shards of an earlier state): numbers of files; ``url``.

    Raises:
        MissingError: when the Hub cannot be reached or refuses; what was sent stays, and the next call goes on there.
        InputError: for an impossible name.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with _reaching(repo), _silent():
        url = str(api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True))
        there = _remote(api, repo)
        todo = [f for f in parcel.files if there.get(f) not in _identities(parcel.folder / f)]
        if progress:
            progress(len(parcel.files) - len(todo))
        stale = sorted(f for f in set(there) - set(parcel.files) if f.split("/")[0] in ("data", *TABLES))
        for at in range(0, len(todo), TOGETHER):
            part = todo[at : at + TOGETHER]
            adds = [CommitOperationAdd(f, parcel.folder / f) for f in part]
            api.create_commit(repo, adds, commit_message=f"rainrag push: {_what(part)}", repo_type="dataset")
            if progress:
                progress(len(part))
        if stale:
            gone = [CommitOperationDelete(f) for f in stale]
            api.create_commit(
                repo, gone, commit_message="rainrag push: shards of an earlier state", repo_type="dataset"
            )
    return {"url": url, "sent": len(todo), "there": len(parcel.files) - len(todo), "removed": len(stale)}


def _what(names: list[str]) -> str:
    kinds = Counter(n.split("/")[0] for n in names)
    return ", ".join(f"{k} ({n})" if n > 1 else k for k, n in kinds.items())


def _remote(api: Any, repo: str) -> dict[str, str]:
    """Files of the repository and their identity: sha256 of large ones, git's blob id of small ones."""
    from huggingface_hub.hf_api import RepoFile

    found = api.list_repo_tree(repo, recursive=True, repo_type="dataset")
    return {f.path: f.lfs.sha256 if f.lfs else f.blob_id for f in found if isinstance(f, RepoFile)}


def _identities(path: Path) -> set[str]:
    """What the Hub may call a file: its sha256, or git's blob id."""
    size = path.stat().st_size
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            blob.update(block)
    return {sha256_file(path), blob.hexdigest()}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the client's own progress bars."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextlib.contextmanager
def _reaching(repo: str) -> Iterator[None]:
    """Turns what the Hub's client raises into our errors."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    client: Any = HfHubHTTPError.__bases__[0]  # what its HTTP client raises, whichever that is in this version
    again = "run again: what was sent is not sent twice; HF_HUB_OFFLINE must not be set"
    try:
        yield
    except HFValidationError as e:
        raise InputError(f"no name of a repository: {e}", where=repo, hint="owner/name") from e
    except (LocalTokenNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, client, OSError) as e:
        status = getattr(getattr(e, "response", None), "status_code", None)
        if isinstance(e, LocalTokenNotFoundError) or status in (401, 403):
            hint = "hf auth login, or HF_TOKEN with a token that may write; check the owner's name"
            raise MissingError("the Hub does not let you write there", where=repo, hint=hint) from e
        said = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise MissingError(f"the Hub cannot be reached or broke off: {said}", where=repo, hint=again) from e


def listed(parcel: Parcel) -> Iterator[list[Any]]:
    """Rows for people: source, licence, rows with pixels, rows without."""
    for source in sorted(parcel.licences):
        yield [source, parcel.licences[source], parcel.pixels.get(source, 0), parcel.withheld.get(source, 0)]
