"""Captions from a vision-language model behind an OpenAI-compatible server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rainrag.core import images
from rainrag.core.errors import InputError, RainRAGError, UsageError
from rainrag.core.files import fingerprint
from rainrag.core.http import Client, ClientSettings, image_part, model_at, text_of, without_thinking
from rainrag.core.images import U8

VERSION = 2  # of how an answer becomes a caption
PROMPT = (
    "Describe this photograph in one plain sentence of at most 25 words: the kind of scene and the main things in it, "
    "day or night, and the rain if there is any (streaks or drops on glass, how heavy, mist, wet ground). Answer with "
    "the sentence alone, without an opening such as 'a photo of'."
)

#: How models begin that will not or cannot describe a picture.
REFUSAL = re.compile(
    r"(?:i(?:'m| am)\s+(?:very |so |really )?(?:sorry|afraid|unable|not able)|sorry\b|unfortunately\b|apologies\b|"
    r"i (?:can(?:'t|not| not)|could(?:n't| not)|do(?:n't| not) (?:see|have)|won't|will not)\b|"
    r"as an? (?:ai|language|large)\b|(?:there is|i see) no image\b|no image (?:was|is|has)\b|"
    r"please (?:provide|upload|share)\b)",
    re.IGNORECASE,
)
OPENING = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok)[,.!:]?\s+)?(?:here(?:'s| is) (?:the|a|one) [^:.]{0,60}:)\s*", re.I
)


class Endpoint:
    """Captioner. The key comes from ``$RAINRAG_API_KEY`` alone.

    The server's address is no part of the identity: the same model may be served elsewhere. Temperature is 0 and the
    seed fixed, but whether the same picture gives the same words is up to the server.

    Args:
        source: ``MODEL@URL``, the address up to and with /v1.
        caption_tokens: most tokens of a caption.
        side: longer sides are shrunk to so many pixels before they are sent.
        timeout, retries, rpm, concurrency: see ``rainrag.core.http.ClientSettings``.

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
        rpm: float | None = None,
        concurrency: int = 4,
    ) -> None:
        if caption_tokens < 1 or side < 1:
            raise UsageError("caption_tokens and side must be at least 1")
        self.model, url = model_at(source)
        settings = ClientSettings(timeout=timeout, retries=retries, rpm=rpm, concurrency=concurrency)
        self.client = Client(url, settings)
        self.caption_tokens = caption_tokens
        self.side = side

    def identity(self) -> dict[str, Any]:
        """Model's name, prompt, and how pictures are sent."""
        return {
            "name": "endpoint",
            "model": self.model,
            "prompt": fingerprint([VERSION, PROMPT]),
            "caption_tokens": self.caption_tokens,
            "side": self.side,
        }

    def setup(self) -> None:
        """Nothing to load: the connection opens with the first request."""

    def caption(self, pictures: Sequence[U8]) -> list[str]:
        """One sentence for each (H, W, 3) uint8 picture, asked for concurrently.

        Raises:
            InputError: when one has no caption (an odd answer, a refusal, only thinking): a triplet needs one.
            MissingError: when the server fails for good.
        """
        found = dict(self.client.chat_each([self._ask(p) for p in pictures]))
        return [self._sentence(found[i]) for i in range(len(pictures))]

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
        said = text_of(answer)
        caption = " ".join(OPENING.sub("", without_thinking(said)).strip(' "*`').split())
        if not caption:
            hint = "raise caption_tokens: a model that thinks first may have spent them all"
            raise InputError("the model gave an empty caption", where=self.model, hint=hint)
        if REFUSAL.match(caption.replace("\u2019", "'")):
            raise InputError(f"the model refused to describe a picture: {caption[:80]}", where=self.model)
        return caption
