"""BLIP captions (Li et al., ICML 2022), the paper's captioner, by transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rainrag.core.devices import Compute
from rainrag.core.errors import UsageError
from rainrag.core.images import U8
from rainrag.retrieval.encoders import pretrained

BASE = "Salesforce/blip-image-captioning-base"
LARGE = "Salesforce/blip-image-captioning-large"


class Blip:
    """Captioner. The paper says BLIP and no more; the base model, without a text prompt, is our reading.

    Args:
        source: folder or repository of a BLIP captioner; ``base`` and ``large`` are the published ones.
        compute: where and how.
        caption_tokens: most new tokens of a caption.
        beams: 1 is greedy decoding. There is no sampling in either case.

    Raises:
        UsageError: for less than one token or beam.
    """

    def __init__(
        self, source: str = BASE, compute: Compute | None = None, caption_tokens: int = 30, beams: int = 1
    ) -> None:
        if caption_tokens < 1 or beams < 1:
            raise UsageError("caption_tokens and beams must be at least 1")
        self.source = {"base": BASE, "large": LARGE}.get(source, source)
        self.compute = compute or Compute()
        self.caption_tokens = caption_tokens
        self.beams = beams
        self._net: Any = None
        self._processor: Any = None

    def identity(self) -> dict[str, Any]:
        """Weights and decoding."""
        return {
            "name": "blip",
            "weights": pretrained.origin(pretrained.find(self.source)),
            "caption_tokens": self.caption_tokens,
            "beams": self.beams,
            "dtype": self.compute.dtype,
        }

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            MissingError, InputError: see ``rainrag.retrieval.encoders.pretrained``.
        """
        if self._net is not None:
            return
        from transformers import BlipForConditionalGeneration, BlipProcessor

        found = pretrained.find(self.source)
        self._processor = pretrained.load(BlipProcessor, found)
        net = pretrained.load_model(BlipForConditionalGeneration, found, self.compute)
        pretrained.check_words(self._processor.tokenizer, net.text_decoder, found)
        pretrained.decode_greedily(net.text_decoder, self.caption_tokens, self.beams)
        self._net = net

    def caption(self, pictures: Sequence[U8]) -> list[str]:
        """One sentence for each (H, W, 3) uint8 picture.

        Pictures have one size in the network and no prompt, so there is no padding: a caption does not depend on its
        neighbours in the batch, but where two words are as likely to the last bits.
        """
        self.setup()
        import torch
        from PIL import Image

        captions: list[str] = []
        for batch in self.compute.batches(pictures):
            seen = self._processor(images=[Image.fromarray(p) for p in batch], return_tensors="pt")
            pixels = seen["pixel_values"].to(self._net.device, self._net.dtype)
            with torch.inference_mode():
                words = self._net.generate(pixel_values=pixels)
            captions += self._processor.batch_decode(words[:, 1:], skip_special_tokens=True)  # the first is the start
        return [" ".join(c.split()) for c in captions]
