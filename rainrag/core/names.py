"""File names: which are images, why others are not read, and how any name is printed. Standard library only."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Iterable

#: Endings of files that are taken for images. HEIC needs the extra ``heic``: without it the decoder says so by name.
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".heif")

_KINDS = {
    "video": "mp4 mov avi mkv webm m4v mpg mpeg wmv flv 3gp ts mts",
    "animated image": "gif apng mng",
    "camera raw file": "dng cr2 cr3 nef arw raf orf rw2 pef srw raw",
    "image format that is not read": "avif jp2 j2k jxl psd exr hdr tga ico svg eps ps pdf ppm pgm pbm pnm pcx dds xcf",
    "archive": "zip tar gz tgz bz2 xz 7z rar",
    "data file": "npy npz mat h5 hdf5 lmdb mdb parquet pkl pth pt safetensors",
    "text or table": "txt md json jsonl csv tsv xml yaml yml html log py m ini db lnk",
}
_KIND_OF = {f".{ending}": kind for kind, endings in _KINDS.items() for ending in endings.split()}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """A relative path without an image's ending; other endings stay, since they may be part of a name."""
    return posixpath.splitext(name)[0] if is_image(name) else name


def ending(name: str) -> str:
    """The ending of an image's name, in lower case; empty for other names."""
    return posixpath.splitext(name)[1].lower() if is_image(name) else ""


def why_not(name: str) -> str:
    """Why a file that is no image by its name is not read, in a few words."""
    kind = _KIND_OF.get(posixpath.splitext(name)[1].lower())
    return kind or "no ending of an image"


def unread(names: Iterable[str]) -> list[tuple[str, str]]:
    """(name, reason) of the files whose names do not end like an image's."""
    return [(name, why_not(name)) for name in names if not is_image(name)]


def grouped(left_out: Iterable[tuple[str, str]], examples: int = 3) -> list[str]:
    """One line a reason, the most frequent first: ``12 video: a.mp4, b.mp4, c.mp4 …``."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out:
        reasons.setdefault(reason, []).append(printable(name))
    ordered = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"{len(found)} {reason}: {', '.join(found[:examples])}{' …' if len(found) > examples else ''}"
        for reason, found in ordered
    ]


def printable(name: str) -> str:
    """A name as valid text: bytes that are not UTF-8 and control characters become escapes; other names are unchanged."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda m: m.group().encode("unicode_escape").decode(), text)


def short(name: str, most: int = 200) -> str:
    """A file's name in at most so many bytes: its beginning and a hash of the whole, where it is longer."""
    raw = name.encode(errors="surrogateescape")
    if len(raw) <= most:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return f"{raw[: most - 17].decode(errors='ignore')}-{digest}"


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS hands out decomposed names, other systems keep what they got."""
    return unicodedata.normalize("NFC", name)
