"""Fetch the archives of a source: from the Hub, Zenodo, plain URLs and Google Drive; for other hosts, steps for a person.

Checksums and revisions are recorded at first use (``checksums.json`` beside the archives) and checked after.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rainrag.core.errors import MissingError
from rainrag.core.files import sha256_file, unpack
from rainrag.core.http import download
from rainrag.core.recorded import Recorded
from rainrag.core.types import Archive, Source

ZENODO = "https://zenodo.org"
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_PERSON = {
    "baidu": "open the Baidu Netdisk link and enter the code",
    "onedrive": "open the OneDrive link in a browser",
    "dropbox": "open the Dropbox link in a browser",
    "kaggle": "log in to Kaggle and download the dataset",
    "page": "follow the download link on the page",
}


def steps(source: Source, out: Path) -> list[str]:
    """What has to be done to get a source, in words a person can follow."""
    if not source.archives:
        where = f" See {source.homepage}." if source.homepage else ""
        return [f"{source.title}: no address of the data is known.{where}"]
    lines = [f"{source.title} -> {out} (licence: {source.licence})"]
    for a in source.archives:
        if a.fetchable:
            lines.append(f"- by program: rainrag download {source.name}   [{a.host}: {a.ref}]")
        else:
            code = f" (code {a.password})" if a.password else ""
            lines.append(f"- by hand: {_PERSON.get(a.host, 'open the page')}: {a.ref}{code}; unpack it below {out}")
    lines.append(f"- then: rainrag ingest {source.name} --root {out}")
    return lines


@dataclass(frozen=True)
class Download:
    """Archives that were fetched and unpacked below ``out``; ``files`` are their names."""

    source: str
    out: Path
    files: tuple[str, ...]


def fetch(source: Source, out: Path, advance: Callable[[int], None] | None = None) -> list[str]:
    """Fetch from the first host that answers, unpack safely.

    Args:
        advance: progress in bytes; called with -total when the total is known.

    Returns:
        Names of the fetched archives.

    Raises:
        MissingError: when no host could be reached, with the reasons of each; when none serves programs, with the steps.
    """
    if not mirrors(source):
        raise MissingError(f"'{source.name}' has to be downloaded by hand", hint="\n".join(steps(source, out)))
    recorded = Recorded(out / "checksums.json")
    problems = []
    for parts in mirrors(source):
        try:
            return [name for a in parts for name in _FETCH[a.host](a, out, recorded, _bytes(advance))]
        except MissingError as e:
            problems.append(f"{parts[0].host}: {e.what}")
    raise MissingError(
        f"'{source.name}' could not be fetched: {'; '.join(problems)}",
        hint="\n".join(steps(source, out)),
    )


def mirrors(source: Source) -> list[list[Archive]]:
    """The ways to get the whole source by program: each a list of archives that belong together."""
    groups: list[list[Archive]] = []
    for a in source.archives:
        if a.part and groups:
            groups[-1].append(a)
        else:
            groups.append([a])
    return [g for g in groups if all(a.fetchable for a in g)]


def _bytes(advance: Callable[[int], None] | None) -> Callable[[int, int | None], None]:
    state = {"done": 0, "total": 0}

    def report(done: int, total: int | None) -> None:
        if advance is None:
            return
        if total and total != state["total"]:
            state["total"] = total
            advance(-total)
        if done > state["done"]:
            advance(done - state["done"])
        state["done"] = done

    return report


def _keep(path: Path, out: Path, recorded: Recorded, published: str | None) -> None:
    """Check what came against what was published or recorded, and unpack it.

    Raises:
        MissingError: when the host sent something else than the archive, as many do for files that are gone; it is
            removed, and never becomes the recorded one.
        IntegrityError: when the checksum differs.
    """
    packed = path.name.lower().endswith(PACKED)
    if packed and not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        size, begins = path.stat().st_size, path.read_bytes()[:40]
        path.unlink()
        raise MissingError(f"the host sent no archive: {size} bytes that begin with {begins!r}", where=path.name)
    recorded.check(path.name, sha256_file(path), published)
    if packed:
        unpack(path, out)


def _direct(a: Archive, out: Path, recorded: Recorded, report: Callable[[int, int | None], None]) -> list[str]:
    name = a.name or a.ref.rstrip("/").rsplit("/", 1)[-1]
    path = out / "archives" / name
    if not path.exists():
        download(a.ref, path, a.sha256, report)
    _keep(path, out, recorded, a.sha256)
    return [name]


def _zenodo(a: Archive, out: Path, recorded: Recorded, report: Callable[[int, int | None], None]) -> list[str]:
    import httpx

    try:
        answer = httpx.get(f"{ZENODO}/api/records/{a.ref}", follow_redirects=True, timeout=60)
        answer.raise_for_status()
        files: list[dict[str, Any]] = answer.json()["files"]
    except (httpx.HTTPError, ValueError, KeyError) as e:
        raise MissingError(f"Zenodo record {a.ref} cannot be read: {e}", hint="try again later") from e
    names = []
    for f in files:
        if a.name and f["key"] != a.name:
            continue
        path = out / "archives" / f["key"]
        if not path.exists():
            download(f["links"]["self"], path, a.sha256, report)
        _keep(path, out, recorded, a.sha256)
        names.append(f["key"])
    return names


def _hub(a: Archive, out: Path, recorded: Recorded, report: Callable[[int, int | None], None]) -> list[str]:
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError

    key = f"hub:{a.ref}"
    try:
        info = hub.HfApi().dataset_info(a.ref, revision=recorded.get(key))
        folder = hub.snapshot_download(a.ref, repo_type="dataset", revision=info.sha, local_dir=out)
    except (HfHubHTTPError, OSError) as e:
        raise MissingError(f"the Hub repository {a.ref} cannot be fetched: {e}", hint="try again later") from e
    recorded.check(key, str(info.sha))
    return [folder]


def _gdrive(a: Archive, out: Path, recorded: Recorded, report: Callable[[int, int | None], None]) -> list[str]:
    try:
        import gdown
    except ImportError as e:
        raise MissingError("Google Drive needs the package gdown", hint="pip install 'rainrag[drive]'") from e
    path = out / "archives" / (a.name or a.ref)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if a.name:
            if not path.exists():
                gdown.download(id=a.ref, output=str(path), quiet=True, resume=True)
        else:
            got = gdown.download_folder(id=a.ref, output=str(out), quiet=True)
            return [str(g) for g in got or []]
    except Exception as e:  # gdown raises its own and requests' errors; all mean that Drive did not give the file
        raise MissingError(f"Google Drive did not give {a.ref}: {e}", hint="open the link in a browser") from e
    if not path.exists():
        raise MissingError(f"Google Drive did not give {a.ref}", hint="open the link in a browser")
    _keep(path, out, recorded, a.sha256)
    return [path.name]


_FETCH: dict[str, Callable[[Archive, Path, Recorded, Callable[[int, int | None], None]], list[str]]] = {
    "direct": _direct,
    "zenodo": _zenodo,
    "hub": _hub,
    "gdrive": _gdrive,
}
