"""Decoding: what is refused with which reason, what is noted, and the perceptual hash."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rainrag.core import images
from rainrag.core.errors import DecodeError
from tests.conftest import picture


def encode(image: Image.Image, fmt: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


PNG = images.encode_png(picture(0))
JPEG = images.encode_jpeg(picture(0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x00", "placeholder"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "lfs-pointer"),
        (b"this is text, and more than thirty-two bytes of it", "not-an-image"),
        (PNG[: len(PNG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[:60] + b"\xff\xff\xff\xff" + PNG[64:], "truncated"),
    ],
)
def test_bad_bytes_have_their_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as e:
        images.decode(data, "x.png")
    assert e.value.reason == reason
    assert reason in images.REASONS


def test_decompression_bombs_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError) as e:
        images.decode(data, "bomb.png")
    assert e.value.reason == "bomb"


def test_odd_kinds_decode_to_rgb_and_are_noted() -> None:
    base = Image.fromarray(picture(1))
    palette = images.decode(encode(base.quantize(16), "PNG"), "a.png")
    assert palette.notes == ("palette",)
    assert palette.rgb.shape == (32, 48, 3)
    assert images.decode(encode(base.convert("CMYK"), "JPEG"), "a.jpg").notes == ("cmyk",)
    assert images.decode(encode(base.convert("L"), "PNG"), "a.png").notes == ("grey",)
    rgba = base.convert("RGBA")
    rgba.putalpha(100)
    alpha = images.decode(encode(rgba, "PNG"), "a.png")
    assert alpha.notes == ("alpha",)
    np.testing.assert_array_equal(alpha.rgb, picture(1))
    assert images.decode(PNG, "a.jpg").notes == ("extension:jpg is png",)
    assert images.decode(encode(base, "TIFF"), "a.tif").notes == ()


def test_sixteen_bit() -> None:
    import cv2

    deep = (picture(2).astype(np.uint16) * 257)[..., ::-1]
    got = images.decode(cv2.imencode(".png", deep)[1].tobytes(), "a.png")
    assert got.notes == ("16-bit",)
    assert np.abs(got.rgb.astype(int) - picture(2)).max() <= 1
    with pytest.raises(DecodeError) as e:
        images.decode(cv2.imencode(".png", deep[..., 0])[1].tobytes(), "grey.png")
    assert e.value.reason == "mode"


def test_exif_rotation_is_applied_and_noted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    data = encode(Image.fromarray(picture(3)), "JPEG", exif=exif, quality=95)
    got = images.decode(data, "a.jpg")
    assert got.size == (32, 48)
    assert got.notes == ("exif-rotated",)
    plain = images.decode(encode(Image.fromarray(picture(3)), "JPEG", quality=95), "a.jpg")
    np.testing.assert_array_equal(got.rgb, np.rot90(plain.rgb, -1))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=0, max_size=200), st.integers(0, len(PNG) - 1))
def test_no_bytes_escape_as_another_error(junk: bytes, at: int) -> None:
    for data in (junk, PNG[:at] + junk + PNG[at:], PNG[:at]):
        try:
            assert images.decode(data, "x").rgb.dtype == np.uint8
        except DecodeError as e:
            reason = e.reason
        else:
            continue
        assert reason in images.REASONS


def distance(a: images.U8, b: images.U8) -> int:
    return int(images.hamming(images.hash_bits([images.phash(a)]), images.hash_bits([images.phash(b)]))[0, 0])


def test_hash_survives_what_copies_go_through() -> None:
    a = images.resize(picture(7, 60, 40), (480, 320), "bicubic")
    jpeg = images.decode(images.encode_jpeg(a, 40)).rgb
    for copy in (a[:-1, :-1], a[1:, 1:], jpeg, images.resize(a, (240, 160)), np.clip(a * 1.1, 0, 255).astype(np.uint8)):
        assert distance(a, copy) <= images.NEAR_BITS
    others = [distance(a, images.resize(picture(s, 60, 40), (480, 320), "bicubic")) for s in range(20, 30)]
    assert min(others) > 2 * images.NEAR_BITS


def test_flat_pictures_have_no_hash() -> None:
    assert images.phash(np.full((40, 40, 3), 90, np.uint8)) == ""


def test_lighting_rule_on_photographs_of_known_lighting(real_data: Path) -> None:
    right = {"day": [], "night": []}
    for kind, folder in (("day", "Pexels-day"), ("night", "Pexels-night")):
        for path in sorted((real_data / "clean-more" / folder).rglob("*.jp*g"))[::3]:
            right[kind].append(images.is_night(images.read(path).rgb) == (kind == "night"))
    assert np.mean(right["day"]) > 0.85
    assert np.mean(right["night"]) > 0.85


def test_fit_only_shrinks() -> None:
    assert images.fit(picture(0, 40, 20), 100).shape == (20, 40, 3)
    assert images.fit(picture(0, 40, 20), 10).shape == (5, 10, 3)
