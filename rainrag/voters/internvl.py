"""InternVL as a voter: native checkpoints by transformers, the paper's InternVL2.5 by its authors' remote code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import UsageError
from rainrag.core.types import Voter
from rainrag.voters.answers import Reply
from rainrag.voters.base import Kind, label
from rainrag.voters.chat import ChatModel
from rainrag.voters.internvl_remote import NATIVE, TILE
from rainrag.voters.local import Local, Pin, read_config
from rainrag.voters.prompt import Parts
from rainrag.voters.vlm import VlmVoter

if TYPE_CHECKING:
    from rainrag.voters.vlm import Model

DEFAULT = "OpenGVLab/InternVL2_5-8B"  # the Hub's spelling of InternVL2.5-8B


def needs_remote_code(where: str) -> UsageError:
    """The error for a checkpoint that only its authors' code can run."""
    return UsageError(
        "this InternVL (model type 'internvl_chat') runs only by code of its repository, which is not run unasked",
        where=where,
        hint=f"--trust-remote-code to allow it; or a native checkpoint: internvl={NATIVE}; or a server that has it: "
        f"endpoint:{DEFAULT}@http://host:port/v1",
    )


def layout_of(found: Mapping[str, Any]) -> str:
    """InternVL 2 and later were trained on several images in one prompt.

    Raises:
        UsageError: for a model of another family.
    """
    kind = found.get("model_type")
    if kind not in ("internvl", "internvl_chat"):
        raise UsageError(f"a model of type '{kind}' is no InternVL", hint=f"internvl={NATIVE}, or an endpoint")
    return "images"


class InternVL:
    """A ``rainrag.voters.vlm.Model`` that picks native or remote code by the checkpoint's model type.

    Args:
        pin: folder or repository.
        settings: precision, device, batch, and whether the repository's code may run.
    """

    def __init__(self, pin: Pin, settings: Local) -> None:
        self.pin = pin
        self.settings = settings
        self.chunk = settings.batch
        self.layout = "images"

    @property
    def revision(self) -> str:
        """Commit, or fingerprint of the folder."""
        return self.pin.revision

    @cached_property
    def _inner(self) -> Model:
        layout_of(self.pin.config)
        tiles = max(1, round(self.settings.max_pixels / TILE**2))
        if self.pin.config["model_type"] == "internvl":
            return ChatModel(self.pin, self.settings, layout_of, {"images_kwargs": {"max_patches": tiles}})
        if not self.settings.trust_remote_code:
            raise needs_remote_code(self.pin.source)
        from rainrag.voters.internvl_remote import RemoteInternVL

        return RemoteInternVL(self.pin, self.settings, tiles)

    def load(self) -> None:
        """Load by the one way or the other.

        Raises:
            UsageError: when the checkpoint needs remote code that was not allowed.
        """
        self._inner.load()

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One reply a prompt."""
        return self._inner.ask(prompts)


def build(name: str, source: str | None, settings: Local) -> Voter:
    """The voter; loads nothing, but refuses at once what would be refused later."""
    where = source or DEFAULT
    folder = Path(where)
    remote = (
        read_config(folder / "config.json").get("model_type") == "internvl_chat"
        if folder.is_dir()
        else where == DEFAULT
    )
    if remote and not settings.trust_remote_code:
        raise needs_remote_code(where)
    return VlmVoter(label(name, source), InternVL(Pin(where), settings), settings)


INTERNVL = Kind(Local, build)
