"""Images: safe decoding, luma, resizing, perceptual hash. Arrays are RGB uint8 of shape (H, W, 3) unless said."""

from __future__ import annotations

import io
import os
import stat
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from rainrag.core import headers
from rainrag.core.errors import DecodeError
from rainrag.core.names import SUFFIXES as SUFFIXES

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Importing a plugin registers its format; no other format is ever opened.
PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)

#: Why bytes are not a usable image: the closed list of DecodeError.reason.
REASONS = {
    "empty": "the file has no bytes",
    "lfs-pointer": "the file is a Git LFS pointer, not an image",
    "placeholder": "the file is too small to be an image",
    "not-an-image": "the bytes are not an image in a known format",
    "truncated": "the image data end early or are damaged",
    "bomb": "the image would take too much memory or time: too many pixels, scans, or pixels a byte",
    "heic": "the file is HEIC, which needs the package pillow-heif",
    "mode": "a pixel format that cannot be shown as 8-bit RGB without a choice (16-bit grey, 32-bit, float)",
    "unreadable": "the file cannot be read",
}


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Args:
        picture: Pillow's RGB image after EXIF rotation.
        format: as the bytes say, lower case: png, jpeg, bmp, tiff, webp.
        notes: what a careful reader should know: ``16-bit``, ``palette``, ``cmyk``, ``alpha``, ``exif-rotated``,
            ``grey``, ``extension:jpg is png``.
    """

    picture: Image.Image
    format: str
    notes: tuple[str, ...]

    @cached_property
    def rgb(self) -> U8:
        """(H, W, 3) uint8, copied out when first asked for: ingest hashes and sizes most pictures without it."""
        return np.asarray(self.picture)

    @cached_property
    def luma(self) -> Image.Image:
        """Pillow's 8-bit BT.601 luma; ``phash`` and ``is_night`` take it, and share it."""
        return self.picture.convert("L")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.picture.size


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes.

    Raises:
        DecodeError: ``unreadable``.
    """
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as f:
            if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):  # a pipe would never end, a device neither
                raise DecodeError("unreadable", "not a file: a folder, pipe, socket or device", where=path)
            return f.read()
    except OSError as e:
        raise DecodeError("unreadable", f"the file cannot be read: {e.strerror}", where=path) from e


def decode(data: bytes, name: str = "") -> Decoded:
    """Decode bytes to 8-bit RGB, whole or not at all.

    Args:
        data: encoded image.
        name: file name, for messages and for the check of its extension.

    Raises:
        DecodeError: with a reason of ``REASONS``.
    """
    _refuse_no_image(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image, more = opened(data, name)
            fmt = (image.format or "").lower()
            if image.mode.startswith(("I", "F")):
                raise DecodeError("mode", f"{REASONS['mode']}: mode {image.mode}", where=name)
            turn = orientation(image)
            notes = (*_notes(image, data, name, turn > 1), *more)
            if sixteen(image, data):
                picture = _eight_of_sixteen(data, turn if fmt == "png" else 1)
            else:
                image.load()
                turned = ImageOps.exif_transpose(image) if turn > 1 else image
                picture = turned if turned.mode == "RGB" else turned.convert("RGB")
    except DecodeError:
        raise
    except UnidentifiedImageError as e:
        raise not_an_image(data, name) from e
    except Exception as e:  # Pillow's decoders raise many kinds on damaged bytes: all mean the same here
        raise DecodeError("truncated", f"{REASONS['truncated']}: {e}", where=name) from e
    return Decoded(picture, {"mpo": "jpeg", "dib": "bmp"}.get(fmt, fmt), notes)


def opened(data: bytes, name: str = "") -> tuple[Image.Image, list[str]]:
    """Pillow's image of encoded bytes, no pixel decoded yet, within the bounds of ``headers``; and notes of damaged metadata.

    Raises:
        DecodeError: ``bomb``, ``heic``, ``truncated``.
        UnidentifiedImageError: for bytes in none of the formats that are read.
    """
    headers.check(data, name)
    notes: list[str] = []
    formats: tuple[str, ...] = headers.FORMATS
    plain = data
    if data.startswith(headers.PNG):
        plain, notes = headers.png_pixels(data)
    elif headers.kind(data) == "HEIC":
        _register_heif(name)
        formats = ("HEIF",)
    image = Image.open(io.BytesIO(plain), formats=formats)
    headers.check_size(image.width, image.height, len(data), name)
    return image, notes


def _register_heif(name: str) -> None:
    try:
        import pillow_heif
    except ImportError as e:
        hint = "pip install 'rainrag[heic]', or convert it to JPEG or PNG"
        raise DecodeError("heic", REASONS["heic"], where=name, hint=hint) from e
    pillow_heif.register_heif_opener()


def not_an_image(data: bytes, name: str = "") -> DecodeError:
    """The error of bytes that are in no format which is read, with what they are where that is known."""
    kind = headers.kind(data)
    return DecodeError("not-an-image", REASONS["not-an-image"] + (f", but {kind}" if kind else ""), where=name)


def sixteen(image: Image.Image, data: bytes) -> bool:
    """Whether an opened file holds 16-bit grey or RGB: Pillow has no 16-bit RGB and would drop the low byte."""
    if image.format == "PNG":
        return data[24:25] == b"\x10"
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        return set(tags.get(258, ())) == {16} and tags.get(262) in (1, 2) and set(tags.get(339, (1,))) == {1}
    return False


def decode_sixteen(data: bytes) -> npt.NDArray[Any]:
    """Stored pixels of a 16-bit PNG or TIFF by OpenCV: (H, W) or (H, W, 3 or 4), BGR; TIFFs come upright, PNGs as stored.

    Raises:
        DecodeError: ``truncated``.
    """
    import cv2

    plain = headers.png_pixels(data)[0] if data.startswith(headers.PNG) else data
    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)  # its own words on damaged files do not name the file
    try:
        stored: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    finally:
        log.setLogLevel(before)
    if stored is None or stored.dtype != np.uint16:
        raise DecodeError("truncated", REASONS["truncated"])
    return stored


def _eight_of_sixteen(data: bytes, turn: int) -> Image.Image:
    """16-bit colour as 8-bit RGB: v / 257 rounded to the nearest, as the protocols' ``u8round``."""
    stored = decode_sixteen(data)
    if stored.ndim != 3 or stored.shape[2] < 3:
        raise DecodeError("mode", f"{REASONS['mode']}: {stored.shape[2:] or 'grey'}")
    eight = ((stored[..., 2::-1].astype(np.uint32) + 128) // 257).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(eight))
    how = TURNS.get(turn)
    return image if how is None else image.transpose(how)


#: EXIF orientation -> what shows the stored pixels upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # decode() checks before a pixel is decoded, and names the size


def _refuse_no_image(data: bytes, name: str) -> None:
    if not data:
        raise DecodeError("empty", REASONS["empty"], where=name)
    if data.startswith(b"version https://git-lfs"):
        raise DecodeError(
            "lfs-pointer", REASONS["lfs-pointer"], where=name, hint="run 'git lfs pull' where it came from"
        )
    if len(data) < 32:
        raise DecodeError("placeholder", f"{REASONS['placeholder']}: {len(data)} bytes", where=name)


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 of an image that is not loaded yet (Pillow turns TIFFs by itself when it loads them)."""
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # unreadable EXIF turns nothing
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


_KIND = {"jpg": "jpeg", "jfif": "jpeg", "jpe": "jpeg", "tif": "tiff", "heic": "heif"}


def _notes(image: Image.Image, data: bytes, name: str, rotated: bool) -> tuple[str, ...]:
    notes = []
    fmt = {"mpo": "jpeg", "dib": "bmp"}.get((image.format or "").lower(), (image.format or "").lower())
    ext = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if ext and _KIND.get(ext, ext) != fmt:
        notes.append(f"extension:{ext} is {fmt}")
    if sixteen(image, data):
        notes.append("16-bit")
    if image.mode == "P":
        notes.append("palette")
    if image.mode == "CMYK":
        notes.append("cmyk")
    if image.mode in ("L", "1"):
        notes.append("grey")
    if "A" in image.mode or "transparency" in image.info:
        notes.append("alpha")
    if rotated:
        notes.append("exif-rotated")
    return tuple(notes)


def size_of(path: str | Path) -> tuple[int, int] | None:
    """(width, height) as stored, from a file's header alone; None where it cannot be told."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as f:
            head = f.read(64)
            if head[:4] == b"RIFF":  # Pillow would decode it
                return headers.webp_size(head)
            f.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Image.open(f, formats=headers.FORMATS).size
    except Exception:  # what is wrong with it is said when it is read
        return None


def read(path: str | Path) -> Decoded:
    """Read and decode a file.

    Raises:
        DecodeError: with a reason of ``REASONS``.
    """
    return decode(read_bytes(path), str(path))


def encode_png(rgb: U8) -> bytes:
    """Lossless PNG, the same bytes for the same pixels."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, format="PNG", compress_level=6)
    return out.getvalue()


def encode_jpeg(rgb: U8, quality: int = 90) -> bytes:
    """JPEG without chroma subsampling, the same bytes for the same pixels."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, format="JPEG", quality=quality, subsampling=0)
    return out.getvalue()


# ---------------------------------------------------------------- luma, sizes
def luma(rgb: npt.NDArray[Any]) -> F32:
    """BT.601 full-range luma of (..., 3) values, float32 in the range of the input."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(rgb.astype(np.float32) @ weights, np.float32)


def grey(rgb: U8 | Image.Image, size: tuple[int, int]) -> F32:
    """Luma resized to (width, height) with area averaging, float32 in [0, 255]."""
    picture = rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)
    small = (picture if picture.mode == "L" else picture.convert("L")).resize(size, Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def resize(rgb: U8, size: tuple[int, int], how: Literal["area", "lanczos", "bicubic"] = "area") -> U8:
    """Resize to (width, height)."""
    method = {
        "area": Image.Resampling.BOX,
        "lanczos": Image.Resampling.LANCZOS,
        "bicubic": Image.Resampling.BICUBIC,
    }[how]
    return np.asarray(Image.fromarray(rgb).resize(size, method))


def fit(rgb: U8, most: int) -> U8:
    """Shrink so that the longer side is at most ``most``; never enlarges."""
    h, w = rgb.shape[:2]
    scale = most / max(h, w)
    if scale >= 1:
        return rgb
    return resize(rgb, (max(1, round(w * scale)), max(1, round(h * scale))))


# ---------------------------------------------------------------- what an image is, in short
HASH_SIDE = 16  # 16 x 16 low frequencies: 256 bits
NEAR_BITS = 32  # Hamming distance up to which two images show the same picture; see docs/audit.md for the measurement


def magnitude(x: F32, y: F32) -> F32:
    """Length of two-dimensional vectors, element by element.

    In numpy and not by ``cv2.magnitude``: OpenCV hands that to Intel's IPP, whose last bits depend on where in memory
    the operands lie, so that one picture would get two descriptors.

    Args:
        x, y: components, float32 of one shape.
    """
    return np.sqrt(x * x + y * y)


def phash(rgb: U8 | Image.Image) -> str:
    """256-bit perceptual hash: signs of the 16 x 16 lowest DCT coefficients of 64 x 64 luma against their median.

    Zauner's DCT hash at four times the usual length. On 1,570 photographs of the field, copies that were cropped by
    one pixel, re-encoded or halved stay within 24 bits; different photographs are at least 70 apart.

    Returns:
        64 hex digits; "" for a picture without structure (a flat field), whose hash would mean nothing.
    """
    from scipy.fft import dctn

    small = grey(rgb, (64, 64))
    if float(small.std()) < 1.0:
        return ""
    low = np.asarray(dctn(small, norm="ortho"))[:HASH_SIDE, :HASH_SIDE].ravel()
    low[0] = 0.0  # brightness says nothing of the picture
    middle = np.sort(low)[HASH_SIDE * HASH_SIDE // 2 - 1 : HASH_SIDE * HASH_SIDE // 2 + 1]
    bits = low > middle.mean()  # the median, in a tenth of np.median's time
    return np.packbits(bits).tobytes().hex()


def hash_bits(hashes: list[str]) -> U8:
    """(N, 32) packed bits of N perceptual hashes; an empty hash becomes all zeros (compare with ``known`` in mind)."""
    return np.array([list(bytes.fromhex(h or "0" * 64)) for h in hashes], np.uint8).reshape(len(hashes), 32)


def hamming(a: U8, b: U8) -> npt.NDArray[np.int32]:
    """(N, M) bits that differ between packed hashes (N, 32) and (M, 32)."""
    x = np.unpackbits(a, axis=1).astype(np.float32) * 2 - 1
    y = np.unpackbits(b, axis=1).astype(np.float32) * 2 - 1
    return np.asarray((x.shape[1] - x @ y.T) / 2, np.int32)


NIGHT_LUMA = 84.0  # mean luma (0..255) below which a photograph counts as night
NIGHT_RIGHT = "154 of 169 day and 303 of 322 night photographs"  # measured by rainrag.benchmarks.tables.audit


def is_night(rgb: U8 | Image.Image) -> bool:
    """Whether the lighting is night, from mean luma alone.

    How often it is right: ``NIGHT_RIGHT``. It is wrong for footage whose blacks were lifted afterwards, and at dusk it
    has to be wrong half the time.
    """
    return float(grey(rgb, (32, 32)).mean()) < NIGHT_LUMA


def psnr8(a: U8, b: U8) -> float:
    """Plain RGB PSNR in dB of two 8-bit images, infinite when equal. For checks; scores come from evaluation.metrics."""
    mse = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2))
    return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))
