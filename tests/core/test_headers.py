"""Bounds before decoding, PNG chunks, and what a file is that is no image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rainrag.core import headers, images
from rainrag.core.errors import DecodeError
from rainrag.restore import image_file
from tests.conftest import picture


def encode(image: Image.Image, fmt: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes, damage: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ damage)


def with_chunk(png: bytes, *extra: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    return png[:33] + b"".join(extra) + png[33:]


def reason_of(data: bytes, name: str = "") -> tuple[str, str]:
    with pytest.raises(DecodeError) as e:
        images.decode(data, name)
    with pytest.raises(DecodeError) as again:
        image_file.decode(data, name)
    assert again.value.reason == e.value.reason
    return e.value.reason, e.value.what


PNG = images.encode_png(picture(0))
RGB = Image.fromarray(picture(0))


# ---------------------------------------------------------------- bounds
@pytest.mark.parametrize(
    ("fmt", "options"), [("WEBP", {"lossless": True}), ("WEBP", {}), ("WEBP", {"exif": b"x" * 40})]
)
def test_a_webp_s_size_is_read_from_its_header(fmt: str, options: dict[str, object]) -> None:
    assert headers.webp_size(encode(RGB, fmt, **options)) == (48, 32)


def test_a_few_bytes_cannot_ask_for_gigabytes() -> None:
    bits = (16383 - 1) | (16383 - 1) << 14
    body = b"\x2f" + bits.to_bytes(4, "little") + bytes(9)
    data = b"RIFF" + (12 + len(body)).to_bytes(4, "little") + b"WEBPVP8L" + len(body).to_bytes(4, "little") + body
    assert reason_of(data)[0] == "bomb"
    assert "16383x16383" in reason_of(data)[1]


def test_many_pixels_from_few_bytes_are_refused_and_many_from_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    headers.check_size(8000, 8000, 64_000)
    headers.check_size(4000, 4000, 1)
    for size, bytes_ in (((8000, 8000), 63_999), ((10_001, 10_000), 10**8)):
        with pytest.raises(DecodeError) as e:
            headers.check_size(*size, bytes_, "x.png")
        assert e.value.reason == "bomb"
    assert "RAINRAG_MAX_MEGAPIXELS=101" in str(e.value)
    monkeypatch.setenv("RAINRAG_MAX_MEGAPIXELS", "101")
    headers.check_size(10_001, 10_000, 10**8)


def test_scans_of_a_jpeg_are_counted_before_it_is_decoded() -> None:
    plain, progressive = encode(RGB, "JPEG"), encode(RGB, "JPEG", progressive=True)
    assert headers.jpeg_scans(plain, 100) == 1
    n = headers.jpeg_scans(progressive, 100)
    assert 5 < n < 20
    at = progressive.rindex(b"\xff\xda")
    scan = progressive[at:-2]
    many = progressive[:-2] + scan * 200 + b"\xff\xd9"
    assert headers.jpeg_scans(many, 1000) == n + 200
    assert reason_of(many) == ("bomb", "a JPEG of more than 100 scans: 101 or more")
    assert headers.jpeg_scans(encode(RGB, "JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 300), 100) == 1, "not within EXIF"


@given(st.binary(max_size=300))
def test_any_bytes_can_be_asked(data: bytes) -> None:
    for begin in (b"", b"\xff\xd8", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0"):
        assert headers.jpeg_scans(begin + data, 50) <= 51
        headers.webp_size(begin + data)
        headers.kind(begin + data)


# ---------------------------------------------------------------- formats
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n" + bytes(64), "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(64), "PostScript"),
        (b"%PDF-1.7\n" + bytes(64), "PDF"),
        (b"\0\0\0\x20ftypisom" + bytes(64), "a video"),
        (b"P6 1 1 255\n" + bytes(64), ""),
        (b"\x0a\x05\x01\x08" + bytes(140), ""),
    ],
)
def test_other_formats_never_reach_a_decoder(data: bytes, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def ghostscript(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    for name in ("x.png", "x.jpg", "x.eps", ""):
        reason, said = reason_of(data, name)
        assert reason == "not-an-image"
        assert what in said


def test_heic_is_read_with_its_package_or_named_without(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    data = b"\0\0\0\x18ftypheic" + bytes(64)
    with monkeypatch.context() as m:
        m.setitem(sys.modules, "pillow_heif", None)
        assert reason_of(data, "x.heic")[0] == "heic"
    heif = pytest.importorskip("pillow_heif", reason="the extra 'heic' is not installed")
    heif.register_heif_opener()
    photo = image_file.decode(encode(RGB, "HEIF", quality=95), "x.heic")
    assert (photo.format, photo.rgb.shape) == ("heif", (32, 48, 3))
    assert image_file.decode(image_file.encode(photo, photo.rgb), "x.heic").rgb.shape == (32, 48, 3)


# ---------------------------------------------------------------- PNG
BIG = zlib.compress(bytes(3 << 20))


@pytest.mark.parametrize("extra", [chunk(b"zTXt", b"Comment\0\0" + BIG), chunk(b"iCCP", b"profile\0\0" + BIG)])
def test_metadata_that_inflates_is_no_reason_against_the_pixels(extra: bytes) -> None:
    data = with_chunk(PNG, extra)
    np.testing.assert_array_equal(images.decode(data, "a.png").rgb, picture(0))
    photo = image_file.decode(data, "a.png")
    again = image_file.encode(photo, photo.rgb)
    np.testing.assert_array_equal(images.decode(again).rgb, picture(0))
    assert (extra in again) == (extra[4:8] == b"zTXt"), "text is kept to the byte; a profile of no colour space is not"
    assert ("icc-dropped" in photo.notes) == (extra[4:8] == b"iCCP")


@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"tIME", b"eXIf"])
def test_a_wrong_checksum_of_metadata_is_noted(kind: bytes) -> None:
    data = with_chunk(PNG, chunk(kind, b"some\0thing else", damage=1))
    got = images.decode(data, "a.png")
    np.testing.assert_array_equal(got.rgb, picture(0))
    assert got.notes == (f"damaged-metadata: {kind.decode()}",)
    photo = image_file.decode(data, "a.png")
    assert photo.notes == got.notes
    assert kind not in image_file.encode(photo, photo.rgb)


def test_a_wrong_checksum_of_pixels_is_damage() -> None:
    at = PNG.index(b"IDAT")
    size = int.from_bytes(PNG[at - 4 : at], "big")
    data = PNG[: at + 4 + size] + b"\0\0\0\0" + PNG[at + 8 + size :]
    assert reason_of(data)[0] == "truncated"


def test_a_good_profile_is_kept() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(RGB, "PNG", icc_profile=profile)
    body = next(c.body for c in headers.chunks(data) if c.type == b"iCCP")
    assert headers.profile_space(body) == b"RGB "
    photo = image_file.decode(data)
    assert Image.open(io.BytesIO(image_file.encode(photo, photo.rgb))).info["icc_profile"] == profile


# ---------------------------------------------------------------- 16 bits, EXIF
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bits_become_eight_by_rounding(ending: str) -> None:
    import cv2

    deep = np.array([0, 127, 128, 129, 255, 256, 257, 385, 386, 65406, 65407, 65535], np.uint16)
    stored = np.stack([deep, deep[::-1], deep], 1)[None].repeat(16, 0)
    got = images.decode(cv2.imencode(ending, stored[..., ::-1])[1].tobytes(), f"a{ending}")
    assert "16-bit" in got.notes
    np.testing.assert_array_equal(got.rgb, np.rint(stored / 257.0).astype(np.uint8))


def test_sixteen_bit_png_is_turned_upright() -> None:
    import cv2

    deep = (picture(2).astype(np.uint16) * 257)[..., ::-1]
    exif = Image.Exif()
    exif[0x0112] = 6
    data = with_chunk(cv2.imencode(".png", deep)[1].tobytes(), chunk(b"eXIf", exif.tobytes()[6:]))
    got = images.decode(data, "a.png")
    np.testing.assert_array_equal(got.rgb, np.rot90(picture(2), -1))


@pytest.mark.parametrize("value", [0, 1, 9, 99])
def test_an_orientation_that_turns_nothing_is_not_noted(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert images.decode(encode(RGB, "JPEG", exif=exif), "a.jpg").notes == ()


def test_exif_over_two_segments_is_cut_to_what_fits() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    exif[0x927C] = b"\x55" * 70_000
    whole = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    first, rest = whole[:65_000], whole[65_000:]
    segments = b"".join(
        b"\xff\xe1" + (2 + len(part)).to_bytes(2, "big") + part for part in (first, b"Exif\0\0" + rest)
    )  # fmt: skip
    plain = encode(RGB, "JPEG", quality=95)
    photo = image_file.decode(plain[:2] + segments + plain[2:], "a.jpg")
    assert "exif-dropped" in photo.notes
    again = Image.open(io.BytesIO(image_file.encode(photo, photo.rgb)))
    assert (again.getexif()[0x0112], again.getexif()[0x010F]) == (6, "Camera")
    assert again.size == (48, 32), "stored as it lay in the file"


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DecodeError, match="not a file") as e:
        images.read(tmp_path / "x.png")
    assert e.value.reason == "unreadable"
