"""MobileVLM as a network: CLIP vision tower, LDP projector, LLaMA; loads the published checkpoints.

Chu et al., "MobileVLM" (2023) and "MobileVLM V2" (2024). transformers has no class for it; vision tower and language
model are transformers' own, the projector is ours (``rainrag.voters.ldp``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

from rainrag.core.errors import InputError
from rainrag.core.images import U8
from rainrag.voters.ldp import projector
from rainrag.voters.local import DTYPES, Local, Pin, pretrained, reaching
from rainrag.voters.prompt import Parts

PROJECTOR, VISION = "model.mm_projector.", "model.vision_tower."


class Language(LlamaForCausalLM):  # type: ignore[misc]  # transformers is untyped here
    """LLaMA that leaves the projector's and the vision tower's weights in the checkpoint alone."""

    _keys_to_ignore_on_load_unexpected = (r"^model\.mm_projector\.", r"^model\.vision_tower\.")


class MobileVlmNet:
    """The three parts with their tokenizer and image processor, ready for prompts.

    Args:
        pin: MobileVLM's folder or repository.
        vision_pin: the vision tower's.
        settings: precision and place.

    Raises:
        InputError: when a configuration or weights are not those of a MobileVLM.
        MissingError: when files are not available locally.
    """

    def __init__(self, pin: Pin, vision_pin: Pin, settings: Local) -> None:
        folder, vision_weights = pin.folder(), vision_pin.weights
        self.config = pin.config
        dtype = getattr(torch, DTYPES[settings.dtype])
        with reaching(pin.source):
            self.tokenizer = LlamaTokenizer.from_pretrained(folder)
        with reaching(vision_weights.name):
            self.processor = CLIPImageProcessor.from_pretrained(vision_weights.path, **vision_weights.kwargs)
        self.language: Any = pretrained(Language, pin.weights, settings, config=language_config(self.config))
        device = self.language.get_input_embeddings().weight.device
        self.vision: Any = vision_tower(folder, vision_pin, settings).to(device, dtype).eval()
        self.projector = projector(
            self.config["mm_projector_type"],
            self.vision.config.hidden_size,
            self.language.config.hidden_size,
            tensors(folder, PROJECTOR),
        )
        self.projector.to(device, dtype).eval()

    def image_tokens(self, images: Sequence[U8]) -> Tensor:
        """(B, M, D) tokens of B images in the language model's width."""
        padded = [square(rgb, self.processor.image_mean) if self._pads else rgb for rgb in images]
        pixels = self.processor(images=[Image.fromarray(p) for p in padded], return_tensors="pt")["pixel_values"]
        seen = self.vision(pixels.to(self.vision.device, self.vision.dtype), output_hidden_states=True)
        patches = seen.hidden_states[self.config.get("mm_vision_select_layer", -2)][:, 1:]  # without the class token
        out: Tensor = self.projector(patches)
        return out

    @property
    def _pads(self) -> bool:
        return bool(self.config.get("image_aspect_ratio") == "pad")

    def last_hidden(self, prompts: Sequence[Parts]) -> Tensor:
        """(B, D) hidden state at the end of each prompt, after the final normalisation.

        Args:
            prompts: texts and images; each image takes the place of one token.
        """
        rows = [self._embed(parts) for parts in prompts]
        longest = max(len(r) for r in rows)
        embeds = torch.stack([F.pad(r, (0, 0, longest - len(r), 0)) for r in rows])  # left padding
        mask = torch.stack([F.pad(torch.ones(len(r), dtype=torch.long), (longest - len(r), 0)) for r in rows])
        mask = mask.to(embeds.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.language.model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        last: Tensor = out[:, -1]
        return last

    def _embed(self, parts: Parts) -> Tensor:
        """(L, D) embeddings of one prompt; the first text carries the sign of a beginning."""
        table = self.language.get_input_embeddings()
        rows = []
        for i, part in enumerate(parts):
            if isinstance(part, str):
                ids = self.tokenizer(part, add_special_tokens=i == 0, return_tensors="pt")["input_ids"][0]
                rows.append(table(ids.long().to(table.weight.device)))
            else:
                rows.append(self.image_tokens([part])[0])
        return torch.cat(rows)


def language_config(found: dict[str, Any]) -> Any:
    """LLaMA's part of a MobileVLM ``config.json``."""
    foreign = {"model_type", "architectures", "auto_map"}
    ours = {k: v for k, v in found.items() if k not in foreign and not k.startswith(("mm_", "vision_", "image_"))}
    return LlamaConfig.from_dict(ours)


def vision_tower(folder: Path, pin: Pin, settings: Local) -> Any:
    """The CLIP vision tower: from the checkpoint where it holds one, else from the repository that it names."""
    inside = tensors(folder, VISION)
    if not inside:
        plain = Local(dtype=settings.dtype, device=settings.device)  # never quantised or spread: it is small
        return pretrained(CLIPVisionModel, pin.weights, plain)
    weights = pin.weights
    with reaching(weights.name):
        made = CLIPVisionModel(CLIPVisionConfig.from_pretrained(weights.path, **weights.kwargs))
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in made.state_dict()) else ""
    state = {prefix + k.split("vision_model.", 1)[-1]: v for k, v in inside.items() if not k.endswith("position_ids")}
    try:
        made.load_state_dict(state)
    except RuntimeError as e:
        raise InputError(f"the checkpoint's vision tower is not the one of its configuration: {e}", where=folder) from e
    return made


def tensors(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Weights of a checkpoint whose names begin with ``prefix``, without it; pickles load as tensors only."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as f:
            found |= {k.removeprefix(prefix): f.get_tensor(k) for k in f.keys() if k.startswith(prefix)}  # noqa: SIM118
    if not found:
        for path in sorted(folder.glob("pytorch_model*.bin")):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            found |= {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return found


def square(rgb: U8, mean: Sequence[float]) -> U8:
    """The image in the middle of a square of the processor's mean colour, as the model was trained on.

    Args:
        rgb: (H, W, 3) uint8.
        mean: of each channel, in [0, 1].
    """
    h, w = rgb.shape[:2]
    side = max(h, w)
    out = np.empty((side, side, 3), np.uint8)
    out[:] = [int(255 * m) for m in mean]
    top, left = (side - h) // 2, (side - w) // 2
    out[top : top + h, left : left + w] = rgb
    return out
