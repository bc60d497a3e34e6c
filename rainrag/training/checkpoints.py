"""Checkpoints of a run: written aside, the last two kept, and the newest sound one found again."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, IntegrityError, RainRAGError
from rainrag.core.files import atomic

log = logging.getLogger("rainrag.train")

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
NEEDED = ("state_dict", "loops", "rainrag", "global_step")


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write; what was the last checkpoint becomes the previous one.

    Raises:
        RainRAGError: when the disk is full or the folder cannot be written; the earlier checkpoints stay.
    """
    import torch

    try:
        with atomic(path) as tmp:
            with open(tmp, "wb") as f:  # by name, the archive would hold the temporary name
                torch.save(checkpoint, f)
            if path.name == LAST and path.exists():
                _keep(path, path.with_name(PREVIOUS))
    except RuntimeError as e:  # torch's writer wraps what the system says of a full disk
        raise RainRAGError(
            f"the checkpoint cannot be written: {str(e).splitlines()[0]}",
            where=path,
            hint="free some space, then go on with --resume: the earlier checkpoint is sound",
        ) from e


def storage() -> Any:
    """How Lightning stores checkpoints: by ``save``, so that a full disk or a kill leaves those that were there."""
    from lightning.fabric.plugins import TorchCheckpointIO

    class Storage(TorchCheckpointIO):  # type: ignore[misc]
        def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
            save(checkpoint, Path(path))

    return Storage()


def _keep(path: Path, under: Path) -> None:
    """The same file under a second name, which may have been another's."""
    tmp = under.with_name(f".{under.name}.{os.getpid()}.tmp")
    tmp.unlink(missing_ok=True)
    try:
        os.link(path, tmp)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, tmp)
    os.replace(tmp, under)


def there(folder: Path) -> bool:
    """Whether a run has left any checkpoint."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS, BEST))


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content.

    Raises:
        InputError: when it is damaged, or is not one of ours.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # zip, pickle and torch have errors of their own for damaged bytes
        raise InputError(
            f"the checkpoint is damaged: {(str(e) or type(e).__name__).splitlines()[0]}", where=path
        ) from e
    if not isinstance(content, dict) or any(k not in content for k in NEEDED):
        raise InputError("not a checkpoint of a training run", where=path)
    return content


def newest(folder: Path) -> Path | None:
    """The sound checkpoint with the most steps; None where there is none at all. Says which are damaged.

    Raises:
        IntegrityError: when there are checkpoints and none is sound.
    """
    steps: dict[Path, int] = {}
    damaged: list[str] = []
    for name in (LAST, PREVIOUS, BEST):
        path = folder / name
        if not path.exists():
            continue
        try:
            steps[path] = int(read(path)["global_step"])
        except InputError as e:
            damaged.append(f"{name}: {e.what}")
    if not steps:
        if not damaged:
            return None
        raise IntegrityError(
            f"no checkpoint is sound: {'; '.join(damaged)}",
            where=folder,
            hint="begin again with another --out, or without --resume after removing this folder",
        )
    chosen = max(steps, key=lambda p: steps[p])
    if damaged:
        log.warning("going on from %s, step %d: %s", chosen.name, steps[chosen], "; ".join(damaged))
    return chosen
