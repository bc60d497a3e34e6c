"""Image-text-to-text models with a chat template, by transformers' own classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from rainrag.core.errors import InputError
from rainrag.voters.answers import Reply, read_out, variants
from rainrag.voters.local import Local, Pin, batches, memory, pretrained, reaching
from rainrag.voters.prompt import WORDS, Parts, images_of


class ChatModel:
    """A ``rainrag.voters.vlm.Model`` by ``AutoModelForImageTextToText`` and its processor.

    Args:
        pin: folder or repository.
        settings: precision, device, batch.
        layout_of: tells from config.json which layout the model was trained on; raises for one it cannot run.
        processing: further arguments for the processor's call.
    """

    def __init__(
        self,
        pin: Pin,
        settings: Local,
        layout_of: Callable[[Mapping[str, Any]], str],
        processing: Mapping[str, Any] | None = None,
    ) -> None:
        self.pin = pin
        self.settings = settings
        self.chunk = settings.batch
        self._layout_of = layout_of
        self._processing = dict(processing or {})
        self._model: Any = None

    @property
    def revision(self) -> str:
        """Commit, or fingerprint of the folder."""
        return self.pin.revision

    @cached_property
    def layout(self) -> str:
        """As config.json tells."""
        return self._layout_of(self.pin.config)

    def load(self) -> None:
        """Load processor and model.

        Raises:
            InputError: for an incomplete folder, or one without a chat template.
            MissingError: when the Hub cannot be reached, or 4 bit is not to be had.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor

        _ = self.layout  # an unsuitable model is refused before gigabytes are read
        weights = self.pin.weights
        with reaching(weights.name):
            self._processor = AutoProcessor.from_pretrained(weights.path, **weights.kwargs)
        if not self._processor.chat_template:
            raise InputError(
                "the model has no chat template", where=weights.name, hint="use an instruction-tuned version"
            )
        self._processor.tokenizer.padding_side = "left"  # the last position is then every question's
        vocabulary = self._processor.tokenizer.get_vocab()
        self._yes, self._no = (variants(vocabulary, word) for word in WORDS[self.settings.words])
        self._model = pretrained(AutoModelForImageTextToText, weights, self.settings)

    def ask(self, prompts: Sequence[Parts]) -> list[Reply]:
        """One forward pass a batch; no token is generated."""
        replies: list[Reply] = []
        for part in batches(len(prompts), self.settings.batch):
            with memory():
                replies += self._forward(prompts[part])
        return replies

    def _forward(self, prompts: Sequence[Parts]) -> list[Reply]:
        import torch

        inputs = self._inputs(prompts)
        # Left padding shifts positions; counted from each question's first token they are those of a batch of one.
        positions = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        with torch.inference_mode():
            hidden = self._model.model(**inputs, position_ids=positions, use_cache=False).last_hidden_state[:, -1]
            return read_out(hidden, self._model.get_output_embeddings(), self._yes, self._no)

    def _inputs(self, prompts: Sequence[Parts]) -> dict[str, Any]:
        """Token ids, mask and pixels of a batch, on the model's device and in its precision."""
        from PIL import Image

        images = [[Image.fromarray(rgb) for rgb in images_of(parts)] for parts in prompts]
        texts = [self._text(parts) for parts in prompts]
        begin = self._processor.tokenizer.bos_token
        made = self._processor(
            images=images,
            text=texts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not (begin and texts[0].startswith(begin)),  # the template may have begun it already
            **self._processing,
        )
        device, dtype = self._model.device, self._model.dtype
        return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in made.items()}

    def _text(self, parts: Parts) -> str:
        """The prompt in the model's chat form.

        Images stand as the processor's own token within one text: several published templates would gather all
        images in front and tear them from their labels.
        """
        inline = "".join(p if isinstance(p, str) else self._processor.image_token for p in parts)
        turn = [{"role": "user", "content": [{"type": "text", "text": inline}]}]
        return str(self._processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))
