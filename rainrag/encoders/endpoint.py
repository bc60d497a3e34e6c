"""Captions from a vision-language model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rainrag import images
from rainrag.errors import RainRAGError, UsageError
from rainrag.files import fingerprint
from rainrag.images import U8
from rainrag.openai_client import Client, image_part, model_at, text_of

PROMPT = (
    "Describe this photograph in one plain sentence of at most 25 words: the kind of scene and the main things in it, "
    "day or night, and the rain if there is any (streaks or drops on glass, how heavy, mist, wet ground). Answer with "
    "the sentence alone, without an opening such as 'a photo of'."
)


class Endpoint:
    """Captioner. The key comes from ``$RAINRAG_API_KEY`` alone.

    The server's address is no part of the identity: the same model may be served elsewhere. Temperature is 0 and the
    seed fixed, but whether the same picture gives the same words is up to the server.

    Args:
        source: ``MODEL@URL``, the address up to and with /v1.
        caption_tokens: most tokens of a caption.
        side: longer sides are shrunk to so many pixels before they are sent.
        timeout, retries, per_minute, concurrency: see ``rainrag.openai_client.Client``.

    Raises:
        UsageError: for a malformed source or settings out of range.
    """

    def __init__(
        self,
        source: str,
        caption_tokens: int = 60,
        side: int = 768,
        timeout: float = 60.0,
        retries: int = 5,
        per_minute: float | None = None,
        concurrency: int = 4,
    ) -> None:
        if caption_tokens < 1 or side < 1:
            raise UsageError("caption_tokens and side must be at least 1")
        self.model, url = model_at(source)
        self.client = Client(url, timeout=timeout, retries=retries, per_minute=per_minute, concurrency=concurrency)
        self.caption_tokens = caption_tokens
        self.side = side

    def identity(self) -> dict[str, Any]:
        """Model's name, prompt, and how pictures are sent."""
        return {
            "name": "endpoint",
            "model": self.model,
            "prompt": fingerprint(PROMPT),
            "caption_tokens": self.caption_tokens,
            "side": self.side,
        }

    def setup(self) -> None:
        """Nothing to load: the connection opens with the first request."""

    def caption(self, pictures: Sequence[U8]) -> list[str]:
        """One sentence for each (H, W, 3) uint8 picture, asked for concurrently.

        Raises:
            RainRAGError: when one has no caption: a triplet without one is none.
        """
        return [self._sentence(a) for a in self.client.chat_many([self._ask(p) for p in pictures])]

    def _ask(self, picture: U8) -> dict[str, Any]:
        seen = image_part(images.encode_jpeg(images.fit(picture, self.side)))
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}, seen]}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.caption_tokens,
        }

    def _sentence(self, answer: dict[str, Any] | RainRAGError) -> str:
        if isinstance(answer, RainRAGError):
            raise answer
        caption = " ".join(text_of(answer).split())
        if not caption:
            hint = "raise caption_tokens: a model that thinks first may have spent them all"
            raise RainRAGError("the model gave an empty caption", where=self.model, hint=hint)
        return caption
