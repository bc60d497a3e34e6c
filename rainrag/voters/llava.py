"""LLaVA-NeXT as a voter: the multi-image Interleave model that the paper cites by default, its relatives by folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rainrag.core.errors import UsageError
from rainrag.core.types import Voter
from rainrag.voters.base import Kind, label
from rainrag.voters.chat import ChatModel
from rainrag.voters.local import Local, Pin
from rainrag.voters.vlm import VlmVoter

DEFAULT = "llava-hf/llava-interleave-qwen-7b-hf"


def layout_of(config: Mapping[str, Any]) -> str:
    """The layout that a model of the family was trained on.

    Raises:
        UsageError: for a model of another family.
    """
    kind = config.get("model_type")
    if kind == "llava_onevision":
        return "images"
    if kind == "llava":  # one model type for LLaVA-1.5 (one image, on LLaMA) and Interleave (several, on Qwen)
        return "images" if str(config.get("text_config", {}).get("model_type", "")).startswith("qwen") else "montage"
    if kind == "llava_next":
        return "montage"
    raise UsageError(
        f"a model of type '{kind}' is no LLaVA",
        hint="llava=… takes llava, llava_next and llava_onevision; others: an endpoint",
    )


def build(name: str, source: str | None, settings: Local) -> Voter:
    """The voter; loads nothing."""
    return VlmVoter(label(name, source), ChatModel(Pin(source or DEFAULT), settings, layout_of), settings)


LLAVA = Kind(Local, build)
