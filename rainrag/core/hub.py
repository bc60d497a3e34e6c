"""Models by name: a local folder, or a Hub repository whose revision is recorded at first use and checked after.

No model runs code of its repository unless the user asks for it with ``--trust-remote-code``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rainrag.core import workspace
from rainrag.core.errors import MissingError
from rainrag.core.files import fingerprint, sha256_file
from rainrag.core.recorded import Recorded


@dataclass(frozen=True)
class Model:
    """Where a model is and which one exactly.

    Args:
        name: as the user gave it.
        path: what ``from_pretrained`` takes: a local folder, or the repository's name.
        revision: commit of the repository; for a folder "local-" and a fingerprint of its files.
    """

    name: str
    path: str
    revision: str

    @property
    def kwargs(self) -> dict[str, str]:
        """Keyword arguments for ``from_pretrained``."""
        return {} if self.revision.startswith("local-") else {"revision": self.revision}


def resolve(name: str, revision: str | None = None) -> Model:
    """Find a model and pin its revision.

    Args:
        name: folder, or Hub repository.
        revision: branch or commit to use at first; later calls use the commit that was recorded.

    Raises:
        MissingError: when the Hub cannot be reached and nothing is cached, with the way to give a local folder.
        IntegrityError: when a given revision is not the recorded one.
    """
    folder = Path(name)
    if folder.is_dir():
        return Model(name, str(folder), f"local-{_folder_print(folder)}")
    recorded = Recorded(workspace.place("revisions.json"))
    known = recorded.get(f"model:{name}")
    commit = _commit(name, revision or known)
    recorded.check(f"model:{name}", commit)
    return Model(name, name, commit)


def _folder_print(folder: Path) -> str:
    """Identity of a local model: hash of its small files and of the ends of its large ones."""
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        size = path.stat().st_size
        digest = sha256_file(path) if size < 64 << 20 else _ends(path)
        parts.append([str(path.relative_to(folder)), size, digest])
    return fingerprint(parts)


def _ends(path: Path) -> str:
    with open(path, "rb") as f:
        head = f.read(1 << 20)
        f.seek(-(1 << 20), 2)
        return fingerprint([head.hex(), f.read().hex()])


def _commit(name: str, revision: str | None) -> str:
    """Commit hash of a repository's revision: from the Hub, or from the local cache when it cannot be reached."""
    import huggingface_hub as hub
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    if revision and len(revision) == 40:
        return revision
    try:
        return str(hub.HfApi().model_info(name, revision=revision).sha)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as e:
        try:
            cached = hub.snapshot_download(name, revision=revision, local_files_only=True)
        except (LocalEntryNotFoundError, HFValidationError, OSError):
            raise MissingError(
                f"the model '{name}' is not available locally and the Hub gave none: {str(e).splitlines()[0]}",
                hint="run where the Hub can be reached, or give a local folder in place of the name",
            ) from e
        return Path(cached).name
