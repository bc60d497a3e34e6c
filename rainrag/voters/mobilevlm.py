"""MobileVLM and MobileVLM V2 as voters. They take one image, so references come in a montage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from rainrag.core.errors import InputError
from rainrag.core.types import Voter
from rainrag.voters.answers import Reply, read_out, variants
from rainrag.voters.base import Kind, label
from rainrag.voters.local import Local, Pin, batches, memory
from rainrag.voters.prompt import WORDS, Parts
from rainrag.voters.vlm import VlmVoter

DEFAULTS = {"mobilevlm": "mtgv/MobileVLM-3B", "mobilevlm-v2": "mtgv/MobileVLM_V2-3B"}

#: The Vicuna v1 form that the published models were tuned with.
BEFORE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
)
AFTER = " ASSISTANT:"


@dataclass(frozen=True)
class MobileSettings(Local):
    """Settings of the MobileVLM voters.

    Args:
        vision_tower: folder or repository of the CLIP vision tower; None takes what the checkpoint names.
    """

    vision_tower: str | None = None

    NEUTRAL: ClassVar[frozenset[str]] = Local.NEUTRAL | {"vision_tower"}  # the ballot's revision tells it


class MobileVlm:
    """A ``rainrag.voters.vlm.Model`` over ``rainrag.voters.mobilevlm_net``.

    Args:
        pin: MobileVLM's folder or repository.
        settings: precision, place, vision tower.
    """

    layout = "montage"

    def __init__(self, pin: Pin, settings: MobileSettings) -> None:
        self.pin = pin
        self.settings = settings
        self.chunk = settings.batch
        self._net: Any = None

    @cached_property
    def _vision(self) -> Pin:
        """The vision tower: the user's, a folder within the checkpoint, or the repository that it names."""
        named = self.settings.vision_tower or self.pin.config.get("mm_vision_tower")
        if not named:
            raise InputError("config.json names no mm_vision_tower: no MobileVLM", where=self.pin.source)
        within = Path(self.pin.weights.path) / str(named)
        return Pin(str(within if within.is_dir() else named))

    @property
    def revision(self) -> str:
        """Revisions of the checkpoint and of its vision tower."""
        return f"{self.pin.revision}+{self._vision.revision}"

    def load(self) -> None:
        """Load tokenizer, vision tower, projector and language model.

        Raises:
            InputError: when the folder holds no MobileVLM.
            MissingError: when files are not available locally.
        """
        from rainrag.voters.mobilevlm_net import MobileVlmNet

        self._net = MobileVlmNet(self.pin, self._vision, self.settings)
        vocabulary = self._net.tokenizer.get_vocab()
        self._yes, self._no = (variants(vocabulary, word) for word in WORDS[self.settings.words])

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One forward pass a batch; no token is generated."""
        import torch

        replies: list[Reply] = []
        head = self._net.language.get_output_embeddings()
        for part in batches(len(prompts), self.settings.batch):
            with memory(), torch.inference_mode():
                hidden = self._net.last_hidden([in_chat(p) for p in prompts[part]])
                replies += read_out(hidden, head, self._yes, self._no)
        return replies


def in_chat(parts: Parts) -> Parts:
    """The prompt as one user's turn, neighbouring texts joined (a tokenizer sees words across the seam)."""
    out: list[Any] = []
    for part in (BEFORE, *parts, AFTER):
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def build(name: str, source: str | None, settings: MobileSettings) -> Voter:
    """The voter; loads nothing."""
    return VlmVoter(label(name, source), MobileVlm(Pin(source or DEFAULTS[name]), settings), settings)


MOBILEVLM = MOBILEVLM_V2 = Kind(MobileSettings, build)
