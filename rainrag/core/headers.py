"""What an encoded image says before a pixel is decoded: its kind, its size, what it would cost; and PNG chunks.

Bounds (docs/ingest.md#bounds): an image has at most ``MAX_PIXELS`` pixels, at most ``MAX_DENSITY`` of them a byte once it
is large, and a JPEG at most ``MAX_SCANS`` scans. Decoding then takes at most about 16 bytes a pixel and some seconds.

Sources: PNG specification (W3C, third edition), sections 5 and 11; JPEG, ITU-T T.81, annex B; RFC 9649 (WebP);
ISO/IEC 14496-12 (file type box).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from rainrag.core.errors import DecodeError

#: Pixels of an image at most, in millions; the environment can raise it.
MEGAPIXELS = 100
MAX_DENSITY = 1000  # pixels a byte: a flat PNG in RGB has 344, a photograph below 20
DENSE_FROM = 16_000_000  # pixels, below which density costs nothing
MAX_SCANS = 100  # a progressive JPEG has about ten; each scan visits every pixel again

#: Formats that Pillow may open, and no others: EPS would start Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")

_MAGIC = (
    (b"%!PS", "PostScript"), (b"\xc5\xd0\xd3\xc6", "PostScript"), (b"%PDF", "PDF"), (b"\x1aE\xdf\xa3", "a video"),
    (b"PK\x03\x04", "a zip archive"), (b"<svg", "SVG"), (b"<?xml", "XML"), (b"<!DOC", "a web page"),
    (b"<html", "a web page"), (b"8BPS", "Photoshop"), (b"\0\0\0\x0cjP", "JPEG 2000"), (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL", "JPEG XL"), (b"v/1\x01", "OpenEXR"), (b"#?RADIANCE", "Radiance HDR"),
)  # fmt: skip
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def max_pixels() -> int:
    """Pixels of an image at most: ``$RAINRAG_MAX_MEGAPIXELS`` millions, or 100 millions."""
    try:
        return int(float(os.environ.get("RAINRAG_MAX_MEGAPIXELS", MEGAPIXELS)) * 1_000_000)
    except ValueError:
        return MEGAPIXELS * 1_000_000


def kind(data: bytes) -> str | None:
    """What the first bytes say of data that are no image which is read here; None where they say nothing."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in _HEIC:
            return "HEIC"
        return "AVIF" if brand in (b"avif", b"avis") else "a video"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "a video"
    begin = data[:16].lstrip()
    return next((name for magic, name in _MAGIC if begin.startswith(magic) or data.startswith(magic)), None)


def check_size(width: int, height: int, size: int, name: str = "") -> None:
    """Refuse what is too large to decode.

    Args:
        size: of the encoded image, in bytes.

    Raises:
        DecodeError: ``bomb``.
    """
    pixels, most = width * height, max_pixels()
    if pixels > most:
        raise DecodeError(
            "bomb",
            f"the image has more than {most / 1e6:g} million pixels: {width}x{height}",
            where=name,
            hint=f"RAINRAG_MAX_MEGAPIXELS={-(-pixels // 1_000_000)} raises the bound (about 16 bytes of memory a pixel)",
        )
    if pixels > DENSE_FROM and pixels > MAX_DENSITY * size:
        raise DecodeError(
            "bomb", f"{width}x{height} pixels from {size} bytes: more than {MAX_DENSITY} pixels a byte", where=name
        )


def check(data: bytes, name: str = "") -> None:
    """Refuse what would cost too much, where that must be known before Pillow opens it: WebP sizes and JPEG scans.

    Raises:
        DecodeError: ``bomb``.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if size := webp_size(data):
            check_size(*size, len(data), name)
    elif data[:2] == b"\xff\xd8" and (scans := jpeg_scans(data, MAX_SCANS)) > MAX_SCANS:
        raise DecodeError("bomb", f"a JPEG of more than {MAX_SCANS} scans: {scans} or more", where=name)


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP's canvas, from the header of its first chunk."""
    first, body = data[12:16], data[20:30]
    if first == b"VP8X" and len(body) == 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if first == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if first == b"VP8 " and len(body) == 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


#: The next marker within coded data: not a stuffed byte, not a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def jpeg_scans(data: bytes, most: int) -> int:
    """Scans of a JPEG's first image; counting ends above ``most``."""
    at, scans = 2, 0
    while at + 4 <= len(data):
        found = _MARKER.search(data, at)
        if found is None or data[found.start() + 1] == 0xD9:
            break
        marker, at = data[found.start() + 1], found.end()
        if marker != 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
        scans += marker == 0xDA
        if scans > most:
            break
    return scans


# ---------------------------------------------------------------- PNG
PNG = b"\x89PNG\r\n\x1a\n"
_RAW_EXIF = b"Raw profile type exif\0"  # keyword of a text chunk that ImageMagick writes: it holds the orientation
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"}


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG: its type, its body, its bytes from length to checksum, and whether the checksum is right."""

    type: bytes
    body: bytes
    whole: bytes
    sound: bool

    @property
    def critical(self) -> bool:
        """Whether pixels depend on it."""
        return not self.type[0] & 0x20


def chunks(data: bytes) -> Iterator[Chunk]:
    """Chunks of a PNG up to its end; damage of one that describes the picture, not its pixels, is only noted.

    Raises:
        DecodeError: ``truncated``, where a critical chunk is damaged or the end is missing.
    """
    at = len(PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        whole = data[at : at + 12 + size]
        if len(whole) < 12 + size:
            break
        chunk = Chunk(whole[4:8], whole[8:-4], whole, zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big"))
        if chunk.critical and not chunk.sound:
            break
        yield chunk
        if chunk.type == b"IEND":
            return
        at += len(whole)
    raise DecodeError("truncated", "the image data end early or are damaged")


def png_pixels(data: bytes) -> tuple[bytes, list[str]]:
    """A PNG with what its pixels need alone, and a note of each damaged chunk that was left out.

    Text and profiles can be damaged, or inflate to gigabytes; pixels do not depend on them.

    Raises:
        DecodeError: ``truncated``.
    """
    kept, notes = [PNG], []
    for chunk in chunks(data):
        if not chunk.sound:
            notes.append(f"damaged-metadata: {chunk.type.decode('latin-1')}")
        elif chunk.type in _PIXELS or (
            chunk.type in (b"tEXt", b"zTXt") and chunk.body.startswith(b"Raw profile type exif\0")
        ):
            kept.append(chunk.whole)
    return b"".join(kept), notes


def profile_space(iccp: bytes) -> bytes | None:
    """The colour space (``RGB ``, ``GRAY``) of the profile in an iCCP chunk's body, without inflating more than its head."""
    _, sign, packed = iccp.partition(b"\0")
    if not sign:
        return None
    try:
        head = zlib.decompressobj().decompress(packed[1:], 20)
    except zlib.error:
        return None
    return head[16:20] if len(head) == 20 else None
