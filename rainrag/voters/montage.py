"""One picture out of several, labelled, for models that take a single image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rainrag.core.images import U8, resize

GREY = (127, 127, 127)
LABEL_SHARE = 24  # label height: this part of the side, readable still when the model shrinks the montage to 336 px


def capped(rgb: U8, max_pixels: int) -> U8:
    """Shrink to at most ``max_pixels`` pixels, keeping the aspect; never enlarges.

    Args:
        rgb: (H, W, 3) uint8.
    """
    h, w = rgb.shape[:2]
    scale = math.sqrt(max_pixels / (h * w))
    if scale >= 1:
        return rgb
    return resize(rgb, (max(1, int(w * scale)), max(1, int(h * scale))))


def montage(query: U8, references: Sequence[U8], max_pixels: int) -> U8:
    """The candidate large on the left, the references in columns of up to three on the right, each under its label.

    A square, as models of one image see squares. Panels shrink to fit and are never enlarged: that would change how
    the rain looks.

    Args:
        query: (H, W, 3) uint8.
        references: at least one, (H, W, 3) uint8 each.
        max_pixels: of the whole.

    Returns:
        (S, S, 3) uint8 with S * S <= max_pixels, the same for the same input.
    """
    side = math.isqrt(max_pixels)
    columns = math.ceil(len(references) / 3)
    rows = math.ceil(len(references) / columns)
    width = side // max(3, 2 * columns)
    height = side // rows
    left = side - columns * width
    canvas = Image.new("RGB", (side, side), GREY)
    _panel(canvas, query, "CANDIDATE", (0, 0, left, side), side)
    for i, image in enumerate(references):
        x, y = left + (i // rows) * width, (i % rows) * height
        _panel(canvas, image, f"REAL {i + 1}", (x, y, width, height), side)
    return np.asarray(canvas)


def _panel(canvas: Image.Image, rgb: U8, text: str, box: tuple[int, int, int, int], side: int) -> None:
    """Draw one image, centred in its box (x, y, width, height) below a strip with its label."""
    x, y, width, height = box
    strip = max(8, side // LABEL_SHARE)
    room = (max(1, width - 2), max(1, height - strip - 2))  # one pixel of grey keeps panels apart
    scale = min(1.0, room[0] / rgb.shape[1], room[1] / rgb.shape[0])
    size = (max(1, int(rgb.shape[1] * scale)), max(1, int(rgb.shape[0] * scale)))
    image = rgb if scale == 1.0 else resize(rgb, size)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((x, y, x + width - 1, y + strip - 1), fill=(0, 0, 0))
    draw.text(
        (x + 2, y + strip // 2), text, fill=(255, 255, 255), font=ImageFont.load_default(strip * 0.8), anchor="lm"
    )
    canvas.paste(Image.fromarray(image), (x + (width - size[0]) // 2, y + strip + (height - strip - size[1]) // 2))
