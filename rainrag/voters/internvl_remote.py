"""InternVL by its authors' remote code (model type ``internvl_chat``), through the interface of its model card.

The interface: ``model.chat(tokenizer, pixel_values, question, generation_config, num_patches_list=…)`` with one
``<image>`` in the question for every image, images cut into 448-pixel tiles and normalised as ImageNet's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rainrag.core.errors import InputError, RainRAGError
from rainrag.core.images import F32, U8, resize
from rainrag.voters.answers import Reply, from_text, read_out, variants
from rainrag.voters.local import Local, Pin, memory, pretrained, reaching
from rainrag.voters.prompt import WORDS, Parts, images_of

NATIVE = "OpenGVLab/InternVL3-8B-hf"
TILE = 448  # side of InternVL's tiles in pixels

if TYPE_CHECKING:
    import torch

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def shape_of_tiles(width: int, height: int, most: int) -> tuple[int, int]:
    """(columns, rows) with at most ``most`` tiles whose aspect is nearest to the image's.

    Dynamic resolution of InternVL 1.5 (Chen et al. 2024, section 3.3). Of equally near shapes, the larger one only
    where the image has pixels for half of it.
    """
    shapes = sorted(
        ((c, r) for c in range(1, most + 1) for r in range(1, most + 1) if c * r <= most),
        key=lambda s: (s[0] * s[1], s),
    )
    best = shapes[0]
    for shape in shapes:
        near, nearest = (abs(width / height - s[0] / s[1]) for s in (shape, best))
        enough = width * height > 0.5 * TILE**2 * shape[0] * shape[1]
        if near < nearest or (near == nearest and enough):
            best = shape
    return best


def tiles(rgb: U8, most: int) -> F32:
    """The image as normalised tiles, and as a whole besides where there are several.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (T, 3, 448, 448) float32.
    """
    columns, rows = shape_of_tiles(rgb.shape[1], rgb.shape[0], most)
    large = resize(rgb, (columns * TILE, rows * TILE), "bicubic")
    cut = [large[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] for y in range(rows) for x in range(columns)]
    if len(cut) > 1:
        cut.append(resize(rgb, (TILE, TILE), "bicubic"))
    stacked = (np.stack(cut).astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2), np.float32)


@contextlib.contextmanager
def foreign(name: str) -> Iterator[None]:
    """Names the culprit when code of a repository fails, with whatever it raises."""
    try:
        yield
    except RainRAGError:
        raise
    except Exception as e:  # code of others raises anything: the message must say whose it is
        import transformers

        raise InputError(
            f"the repository's own code failed under transformers {transformers.__version__}: {type(e).__name__}: {e}",
            where=name,
            hint=f"a native checkpoint: internvl={NATIVE}; or a server that has it: endpoint:{name}@http://host:port/v1",
        ) from e


class RemoteInternVL:
    """A ``rainrag.voters.vlm.Model`` over the repository's ``chat``; questions go one by one.

    Args:
        pin: folder or repository.
        settings: precision and place; ``trust_remote_code`` was given.
        most: tiles an image.
    """

    layout = "images"
    chunk = 1

    def __init__(self, pin: Pin, settings: Local, most: int) -> None:
        self.pin = pin
        self.settings = settings
        self.most = most
        self._model: Any = None
        self._seen: list[torch.Tensor] = []

    @property
    def revision(self) -> str:
        """Commit, or fingerprint of the folder."""
        return self.pin.revision

    def load(self) -> None:
        """Load tokenizer and model, and listen at the output layer.

        Raises:
            InputError: when the repository's code does not run under the installed transformers.
            MissingError: when the files are not available locally.
        """
        from transformers import AutoModel, AutoTokenizer

        weights = self.pin.weights
        with foreign(weights.name), reaching(weights.name):
            self._tokenizer = AutoTokenizer.from_pretrained(weights.path, trust_remote_code=True, **weights.kwargs)
            self._model = pretrained(AutoModel, weights, self.settings, trust_remote_code=True)
            self._head = self._model.language_model.get_output_embeddings()
        self._yes, self._no = (variants(self._tokenizer.get_vocab(), word) for word in WORDS[self.settings.words])
        self._head.register_forward_pre_hook(lambda _, args: self._seen.append(args[0]))

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One reply a prompt: from the probabilities of the one token generated, or from its text where none passed."""
        return [self._one(parts) for parts in prompts]

    def _one(self, parts: Parts) -> Reply:
        import torch

        cut = [tiles(rgb, self.most) for rgb in images_of(parts)]
        pixels = torch.from_numpy(np.concatenate(cut)).to(self._model.device, self._model.dtype)
        question = "".join(p if isinstance(p, str) else "<image>" for p in parts)
        once = {"max_new_tokens": 1, "do_sample": False}
        self._seen.clear()
        with foreign(self.pin.source), memory(), torch.inference_mode():
            said = self._model.chat(self._tokenizer, pixels, question, once, num_patches_list=[len(c) for c in cut])
        if not self._seen:
            return from_text(str(said))
        # The first pass is the prompt's; its last position foretells the first token.
        hidden = self._seen[0][:, -1]
        self._seen.clear()  # read_out calls the layer, and so the hook, again
        with torch.inference_mode():
            reply = read_out(hidden, self._head, self._yes, self._no)[0]
        self._seen.clear()
        return reply
