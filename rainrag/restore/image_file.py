"""Image files for restoring: read with all that must survive, written in the same format with other pixels.

Pixels are handed out upright, as a viewer shows them, and stored again as they lay in the file, so that its EXIF
orientation stays true and its metadata can be kept to the byte. Bit depth, alpha, greyscale and ICC profile are kept.

Sources: PNG specification (W3C, third edition), section 11; TIFF 6.0 and its Adobe supplements; ICC.1 section 7.2.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin

from rainrag.core import headers, images
from rainrag.core.errors import DecodeError
from rainrag.core.images import REASONS

Pixels = npt.NDArray[Any]
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Photo:
    """An image file's pixels and what must survive.

    Args:
        rgb: (H, W, 3) uint8 or uint16, upright; three equal channels for a grey image.
        alpha: (H, W) of the same type, upright; None without transparency.
        grey: the file holds one colour channel.
        orientation: EXIF orientation 1..8 that the stored pixels have.
        format: as the bytes say: png, jpeg, webp, tiff, bmp.
        kept: metadata in the form that the format's writer takes.
        notes: what changes or would surprise: ``palette`` and ``cmyk`` (written as RGB), ``frames`` (only the first is
            written), ``icc-dropped`` (a profile for other colours than those written), ``reduced to 8 bits`` (16-bit TIFFs in
            other colours than grey and RGB), and those of rainrag.core.images.
    """

    rgb: Pixels
    alpha: Pixels | None
    grey: bool
    orientation: int
    format: str
    kept: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """8 or 16 a channel."""
        return self.rgb.dtype.itemsize * 8

    def channels(self, rgb: Pixels) -> Pixels:
        """Upright (H, W, 3) pixels of this photo's type as they are stored: (h, w, 1..4), turned back, grey and alpha as
        they were."""
        colour = _luma(rgb)[..., None] if self.grey else rgb
        whole = colour if self.alpha is None else np.concatenate([colour, self.alpha[..., None]], 2)
        return np.ascontiguousarray(turn(whole, {6: 8, 8: 6}.get(self.orientation, self.orientation)))


def _luma(rgb: Pixels) -> Pixels:
    return np.rint(images.luma(rgb)).astype(rgb.dtype)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels (H, W, …) as EXIF ``orientation`` says they are to be shown; 6 and 8 undo each other, the others
    themselves."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


# ---------------------------------------------------------------- reading
def read(path: str | Path) -> Photo:
    """Read a file.

    Raises:
        DecodeError: with a reason of ``images.REASONS``.
    """
    return decode(images.read_bytes(path), str(path))


def decode(data: bytes, name: str = "") -> Photo:
    """Decode bytes, whole or not at all.

    Raises:
        DecodeError: with a reason of ``images.REASONS``.
    """
    head, more = _open(data, name)
    if head is not None and images.sixteen(head, data):
        return _decode16(head, data, name, more)
    decoded = images.decode(data, name)
    if decoded.format not in WRITERS:
        raise DecodeError(
            "not-an-image", f"{decoded.format} files are not written here", where=name, hint="convert it to PNG first"
        )
    with _damage(name):
        alpha = _alpha8(data) if "alpha" in decoded.notes else None
        head = images.opened(data, name)[0]
        notes = [*decoded.notes, *_frames(head), *_reduced(head)]
        grey = head.mode in ("1", "L", "LA", "La")
        kept = KEEPERS[decoded.format](head, data, grey, notes)
        turned = 1 if decoded.format == "heif" else images.orientation(head)  # libheif hands out upright pixels
        return Photo(decoded.rgb, alpha, grey, turned, decoded.format, kept, tuple(notes))


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever Pillow raises on damaged bytes, as one kind."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as e:
        raise DecodeError("truncated", f"{REASONS['truncated']}: {e}", where=name) from e


def _open(data: bytes, name: str) -> tuple[Image.Image | None, list[str]]:
    """The image with its header read and notes, or None where it cannot be (``images.decode`` then says why)."""
    try:
        return images.opened(data, name)
    except Exception:
        return None, []


def _frames(head: Image.Image) -> list[str]:
    n = int(getattr(head, "n_frames", 1))
    return [f"frames: 1 of {n}"] if n > 1 else []


def _reduced(head: Image.Image) -> list[str]:
    deep = isinstance(head, TiffImagePlugin.TiffImageFile) and max(head.tag_v2.get(258, (8,))) > 8
    return ["reduced to 8 bits"] if deep else []


def _alpha8(data: bytes) -> Pixels:
    image = images.opened(data)[0]
    image.load()
    return np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))


def _decode16(head: Image.Image, data: bytes, name: str, more: list[str]) -> Photo:
    """16-bit PNG or TIFF by OpenCV, which reads no metadata and turns TIFFs, not PNGs, upright."""
    fmt = (head.format or "").lower()
    with _damage(name):
        notes = ["16-bit", *_frames(head), *more]
        orientation = images.orientation(head)
        grey = data[25] in (0, 4) if fmt == "png" else head.tag_v2[262] == 1  # type: ignore[attr-defined]
        if fmt == "tiff" and head.tag_v2.get(277, 1) == 2:  # type: ignore[attr-defined]
            raise DecodeError("mode", "16-bit grey TIFF with alpha", where=name, hint="convert it to a 16-bit PNG")
        kept = KEEPERS[fmt](head, data, grey, notes)
        stored = images.decode_sixteen(data)
    upright = turn(stored, orientation) if fmt == "png" else stored
    upright = upright if upright.ndim == 3 else upright[..., None]
    alpha = np.ascontiguousarray(upright[..., 3]) if upright.shape[2] == 4 else None
    rgb = upright[..., 2::-1] if upright.shape[2] >= 3 else np.repeat(upright, 3, 2)
    notes += [*["grey"] * grey, *["alpha"] * (alpha is not None), *["exif-rotated"] * (orientation > 1)]
    return Photo(np.ascontiguousarray(rgb), alpha, grey, orientation, fmt, kept, tuple(notes))


# ---------------------------------------------------------------- metadata that is kept
def _fitting(icc: bytes | None, grey: bool, notes: list[str]) -> bytes | None:
    """An ICC profile if its colour space (bytes 16..19) is that of the pixels that are written."""
    if icc and icc[16:20] != (b"GRAY" if grey else b"RGB "):
        notes.append("icc-dropped")
        return None
    return icc


def _keep_info(head: Image.Image, data: bytes, grey: bool, notes: list[str]) -> dict[str, Any]:
    """JPEG, WebP, BMP and HEIC: what Pillow's writers take, EXIF and XMP to the byte, where they fit the format."""
    kept = {k: head.info[k] for k in ("exif", "xmp", "dpi", "comment") if head.info.get(k)}
    if head.format in ("JPEG", "MPO"):
        for name, most in JPEG_ROOM.items():
            if len(kept.get(name, b"")) > most:
                del kept[name]
                notes.append(f"{name}-dropped")
        if "exif-dropped" in notes:
            kept["exif"] = _short_exif(head)
    icc = _fitting(head.info.get("icc_profile"), grey, notes)
    if icc:
        kept["icc_profile"] = icc
    if head.format == "WEBP":
        kept["lossless"] = b"VP8L" in set(_riff(data))
    return kept


#: Bytes that one segment of a JPEG has for each; EXIF is spread over several by some cameras, and no writer does so.
JPEG_ROOM = {"exif": 65_527, "xmp": 65_500, "comment": 65_533}
#: Tags that are kept of an EXIF block that is too large: maker, model, orientation, software, time, artist, copyright.
SHORT_EXIF = (0x010F, 0x0110, ORIENTATION, 0x0131, 0x0132, 0x013B, 0x8298)


def _short_exif(head: Image.Image) -> bytes:
    """The few EXIF tags that a viewer needs, of a block that does not fit."""
    found, short = head.getexif(), Image.Exif()
    for tag in SHORT_EXIF:
        value = found.get(tag)
        if isinstance(value, int) or (isinstance(value, str) and len(value) < 1000):
            short[tag] = value
    return short.tobytes()


def _riff(data: bytes) -> Iterator[bytes]:
    """Chunk types of a WebP file."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


#: Chunks that describe the picture, not its encoding; those about colours come before the pixels.
PNG_KEPT = {
    b"cHRM",
    b"gAMA",
    b"iCCP",
    b"sRGB",
    b"cICP",
    b"mDCV",
    b"cLLI",
    b"pHYs",
    b"eXIf",
    b"tIME",
    b"tEXt",
    b"zTXt",
    b"iTXt",
}


def _keep_png(head: Image.Image, data: bytes, grey: bool, notes: list[str]) -> dict[str, Any]:
    """Chunks to the byte, without damaged ones and a profile for other colours."""
    kept = []
    for chunk in headers.chunks(data):
        if chunk.type not in PNG_KEPT or not chunk.sound:
            continue
        if chunk.type == b"iCCP" and headers.profile_space(chunk.body) != (b"GRAY" if grey else b"RGB "):
            notes.append("icc-dropped")
        else:
            kept.append(chunk.whole)
    return {"chunks": b"".join(kept)}


#: TIFF tags that describe the picture, not its encoding.
TIFF_KEPT = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 700, 33432, 33723, 34377)
TIFF_ICC, TIFF_EXIF, TIFF_GPS = 34675, 34665, 34853


def _keep_tiff(head: Image.Image, data: bytes, grey: bool, notes: list[str]) -> dict[str, Any]:
    """Tags as (number, type, value), and the EXIF and GPS directories."""
    assert isinstance(head, TiffImagePlugin.TiffImageFile)
    tags = head.tag_v2
    kept = [(t, tags.tagtype[t], tags[t]) for t in TIFF_KEPT if t in tags]
    icc = _fitting(tags.get(TIFF_ICC), grey, notes)
    if icc:
        kept.append((TIFF_ICC, 7, icc))
    exif = head.getexif()
    folders = {t: exif.get_ifd(t) for t in (TIFF_EXIF, TIFF_GPS) if t in tags}
    return {"tags": kept, "folders": folders, "extra": tags.get(338)}


KEEPERS: dict[str, Callable[[Image.Image, bytes, bool, list[str]], dict[str, Any]]] = {
    "png": _keep_png,
    "tiff": _keep_tiff,
    "jpeg": _keep_info,
    "webp": _keep_info,
    "bmp": _keep_info,
    "heif": _keep_info,
}


# ---------------------------------------------------------------- writing
def encode(photo: Photo, rgb: Pixels) -> bytes:
    """A file like the one the photo came from, with other pixels.

    JPEG at quality 95 without chroma subsampling; WebP lossless where it was, else at quality 95; PNG, TIFF (deflate)
    and BMP are lossless.

    Args:
        photo: as read.
        rgb: (H, W, 3) upright, of the photo's type and size.
    """
    return WRITERS[photo.format](photo, photo.channels(rgb))


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _write_jpeg(photo: Photo, pixels: Pixels) -> bytes:
    out = io.BytesIO()
    _image(pixels).save(out, "JPEG", quality=95, subsampling=0, **photo.kept)
    return out.getvalue()


def _write_webp(photo: Photo, pixels: Pixels) -> bytes:
    out = io.BytesIO()
    known = {k: v for k, v in photo.kept.items() if k in ("exif", "xmp", "icc_profile", "lossless")}
    _image(pixels).save(out, "WEBP", quality=95, exact=True, **known)
    return out.getvalue()


def _write_bmp(photo: Photo, pixels: Pixels) -> bytes:
    import cv2

    if pixels.shape[2] == 4:  # Pillow's BMPs lose their alpha on the way back
        return bytes(cv2.imencode(".bmp", pixels[..., [2, 1, 0, 3]])[1].tobytes())
    out = io.BytesIO()
    _image(pixels).save(out, "BMP", **{k: v for k, v in photo.kept.items() if k == "dpi"})
    return out.getvalue()


def _write_png(photo: Photo, pixels: Pixels) -> bytes:
    if pixels.dtype == np.uint16:
        plain = _png16(pixels)
    else:
        out = io.BytesIO()
        _image(pixels).save(out, "PNG", compress_level=6)
        plain = out.getvalue()
    chunks: bytes = photo.kept["chunks"]
    return plain[:33] + chunks + plain[33:]  # after the signature and IHDR


def _png16(pixels: Pixels) -> bytes:
    """16-bit PNG of (H, W, 1..4): grey, grey and alpha, RGB, RGBA. Rows are filtered by the row above (type 2)."""
    h, w, n = pixels.shape
    rows = pixels.astype(">u2").reshape(h, w * n).view(np.uint8)
    filtered = np.full((h, 1 + rows.shape[1]), 2, np.uint8)
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    head = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    body = [(b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in body)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _write_tiff(photo: Photo, pixels: Pixels) -> bytes:
    """One strip, deflated; the directory by Pillow, which has no 16-bit RGB of its own."""
    h, w, n = pixels.shape
    strip = zlib.compress(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(), 6)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number, kind, value in photo.kept["tags"]:
        tags.tagtype[number] = kind
        tags[number] = value
    for number, folder in photo.kept["folders"].items():
        tags[number] = folder
    tags[256], tags[257], tags[258], tags[259] = w, h, (photo.bits,) * n, 8
    tags[262], tags[277], tags[278], tags[284] = (1 if photo.grey else 2), n, h, 1
    tags[273], tags[279] = 0, len(strip)
    if photo.alpha is not None:
        tags[338] = photo.kept["extra"] if photo.bits == 16 and photo.kept["extra"] else (2,)
    out = io.BytesIO()
    tags.save(out)
    out.write(strip)
    return out.getvalue()


def _write_heif(photo: Photo, pixels: Pixels) -> bytes:
    kept = {k: v for k, v in photo.kept.items() if k in ("exif", "xmp", "icc_profile")}
    out = io.BytesIO()
    _image(pixels).save(out, "HEIF", quality=95, **kept)
    return out.getvalue()


WRITERS: dict[str, Callable[[Photo, Pixels], bytes]] = {
    "png": _write_png,
    "tiff": _write_tiff,
    "jpeg": _write_jpeg,
    "webp": _write_webp,
    "bmp": _write_bmp,
    "heif": _write_heif,
}
