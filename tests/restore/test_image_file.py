"""Image files read and written with other pixels: format, bit depth, alpha, grey, EXIF, ICC. Inputs are made by Pillow and
OpenCV, results are read by them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.restore import image_file
from tests.conftest import picture

RGB = picture(1, 20, 12)
ALPHA = np.linspace(0, 255, 240).astype(np.uint8).reshape(12, 20)
DEEP = (picture(2, 20, 12).astype(np.uint16) << 8) + np.arange(240, dtype=np.uint16).reshape(12, 20, 1)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_ICC = ICC[:16] + b"GRAY" + ICC[20:]


def file(pixels: Any, fmt: str, **save: Any) -> bytes:
    """Encoded by Pillow."""
    out = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(out, fmt, **save)
    return out.getvalue()


def pil(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def exif(orientation: int) -> bytes:
    """EXIF with a camera, a place and a lens, and how the camera was held."""
    made = Image.Exif()
    made[0x010F], made[0x0110], made[0x0112] = "Maker", "Model 7", orientation
    made.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    made.get_ifd(0x8825)[1] = "N"
    return made.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return png[:33] + chunk(kind, body) + png[33:]


def again(data: bytes, change: int = 0) -> tuple[image_file.Photo, bytes]:
    """(photo, the file written with its pixels, each less by ``change``)."""
    photo = image_file.decode(data)
    return photo, image_file.encode(photo, photo.rgb - np.minimum(photo.rgb, change).astype(photo.rgb.dtype))


# ---------------------------------------------------------------- formats
@pytest.mark.parametrize(
    ("fmt", "save"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_formats_without_loss_keep_every_pixel(fmt: str, save: dict[str, Any]) -> None:
    photo, out = again(file(RGB, fmt, **save), 3)
    assert photo.format == fmt.lower()
    assert pil(out).format == fmt
    assert np.array_equal(pil(out).convert("RGB"), RGB - np.minimum(RGB, 3))


@pytest.mark.parametrize(("fmt", "save"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 90})])
def test_formats_with_loss_stay_close(fmt: str, save: dict[str, Any]) -> None:
    data = file(RGB, fmt, **save)
    photo, out = again(data)
    assert pil(out).format == fmt
    grey = [images.luma(p) for p in (np.asarray(pil(out).convert("RGB")), photo.rgb)]  # WebP always halves its colours
    assert np.abs(grey[0] - grey[1]).mean() < 4


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "WEBP"])
def test_alpha_is_kept(fmt: str) -> None:
    rgba = np.dstack([RGB, ALPHA])
    data = (
        bytes(cv2.imencode(".bmp", rgba[..., [2, 1, 0, 3]])[1].tobytes())
        if fmt == "BMP"
        else file(rgba, fmt, **({"lossless": True, "exact": True} if fmt == "WEBP" else {}))
    )
    photo, out = again(data, 9)
    assert np.array_equal(photo.alpha, ALPHA)
    if fmt == "BMP":  # Pillow reads no alpha here, and OpenCV multiplies it into a TIFF's colours
        back = cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    else:
        back = np.asarray(pil(out))
    assert np.array_equal(back[..., 3], ALPHA)
    assert np.array_equal(back[..., :3], RGB - np.minimum(RGB, 9))


def test_transparency_of_a_palette_becomes_alpha() -> None:
    image = Image.fromarray(RGB).quantize(8)
    photo, out = again(file(image, "PNG", transparency=bytes([0, 90, 255])))
    assert "palette" in photo.notes
    assert pil(out).mode == "RGBA"
    assert set(np.unique(photo.alpha)) <= {0, 90, 255}
    assert np.array_equal(pil(out).convert("RGB"), image.convert("RGB"))


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_stays_grey(fmt: str) -> None:
    photo, out = again(file(RGB[..., 0], fmt))
    assert photo.grey
    assert photo.rgb.shape == (12, 20, 3)
    assert pil(out).mode == "L"


def test_grey_and_alpha_stay_so() -> None:
    photo, out = again(file(Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA"), "PNG"))
    assert photo.grey
    assert pil(out).mode == "LA"
    assert np.array_equal(np.asarray(pil(out))[..., 1], ALPHA)


def test_cmyk_is_written_as_rgb_and_said() -> None:
    photo, out = again(file(Image.fromarray(RGB).convert("CMYK"), "JPEG", icc_profile=ICC[:16] + b"CMYK" + ICC[20:]))
    assert {"cmyk", "icc-dropped"} <= set(photo.notes)
    assert pil(out).mode == "RGB"
    assert "icc_profile" not in pil(out).info


def test_of_several_frames_the_first_is_written_and_said() -> None:
    data = file(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    photo, out = again(data)
    assert "frames: 1 of 2" in photo.notes
    assert np.array_equal(pil(out), RGB)


# ---------------------------------------------------------------- 16 bits
def sixteen(pixels: Any, ending: str) -> bytes:
    """Encoded by OpenCV; channels in RGB(A) order."""
    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2] if pixels.ndim == 3 else 2]
    stored = pixels if pixels.ndim == 2 else pixels[..., order]
    return bytes(cv2.imencode(ending, stored)[1].tobytes())


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_in_and_out(ending: str, channels: int) -> None:
    alpha = (ALPHA.astype(np.uint16) * 257)[..., None]
    pixels = {1: DEEP[..., 0], 3: DEEP, 4: np.concatenate([DEEP, alpha], 2)}[channels]
    photo, out = again(sixteen(pixels, ending), 7)
    assert (photo.bits, photo.grey, photo.alpha is not None) == (16, channels == 1, channels == 4)
    back = cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    wanted = np.asarray(pixels).copy()
    colours = wanted[..., :3] if channels > 1 else wanted
    colours -= np.minimum(colours, 7)
    assert np.array_equal(back if channels == 1 else back[..., [2, 1, 0, 3][:channels]], wanted)
    assert out[24] == 16 if ending == ".png" else set(pil(out).tag_v2[258]) == {16}  # type: ignore[attr-defined]


def test_sixteen_bit_grey_with_alpha() -> None:
    rows = np.dstack([DEEP[..., 0], ALPHA.astype(np.uint16) * 257]).astype(">u2")
    body = zlib.compress(b"".join(b"\0" + r.tobytes() for r in rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 12, 16, 4, 0, 0, 0))
    photo, out = again(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    assert photo.grey
    assert np.array_equal(photo.rgb[..., 1], DEEP[..., 0])
    assert out[24:26] == bytes([16, 4])
    back = image_file.decode(out)
    assert np.array_equal(back.rgb, photo.rgb)
    assert np.array_equal(back.alpha, photo.alpha)


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_any_sixteen_bit_pixels_survive(pixels: np.ndarray[Any, Any]) -> None:
    for ending in (".png", ".tiff"):
        photo = image_file.decode(sixteen(DEEP, ending))
        held = image_file.Photo(pixels, None, False, 1, photo.format, photo.kept)
        assert np.array_equal(image_file.decode(image_file.encode(held, pixels)).rgb, pixels)


# ---------------------------------------------------------------- metadata
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_kept_and_pixels_are_handed_out_upright(fmt: str, orientation: int) -> None:
    data = file(RGB, fmt, exif=exif(orientation), **({"lossless": True} if fmt == "WEBP" else {}))
    photo, out = again(data)
    assert photo.orientation == orientation
    assert np.array_equal(photo.rgb, np.asarray(ImageOps.exif_transpose(pil_lazy(data)).convert("RGB")))
    before, after = (Image.open(io.BytesIO(d)) for d in (data, out))
    assert after.size == before.size  # stored as it lay
    kept = after.getexif()
    assert (kept[0x010F], kept[0x0110], kept.get(0x0112)) == ("Maker", "Model 7", orientation)
    assert kept.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    assert kept.get_ifd(0x8825)[1] == "N"
    if fmt in ("JPEG", "PNG", "WEBP"):
        assert after.info["exif"] == before.info["exif"]  # to the byte
    if fmt != "JPEG":
        shown = np.asarray(ImageOps.exif_transpose(pil_lazy(out)).convert("RGB"))
        assert np.array_equal(shown, photo.rgb)


def pil_lazy(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_turning_and_turning_back_is_nothing() -> None:
    for orientation in range(1, 9):
        back = {6: 8, 8: 6}.get(orientation, orientation)
        assert np.array_equal(image_file.turn(image_file.turn(RGB, orientation), back), RGB)
    assert np.array_equal(image_file.turn(RGB, 6), np.rot90(RGB, -1))  # held so that its right side was up


def test_exif_orientation_of_sixteen_bit_files() -> None:
    png = with_chunk(sixteen(DEEP, ".png"), b"eXIf", exif(6)[6:])
    photo, out = again(png)
    assert (photo.bits, photo.orientation) == (16, 6)
    assert np.array_equal(photo.rgb, np.rot90(DEEP, -1))
    assert np.array_equal(cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1], DEEP)
    assert pil(out).getexif()[0x0112] == 6


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colour_profiles_are_kept_to_the_byte(fmt: str) -> None:
    photo, out = again(file(RGB, fmt, icc_profile=ICC))
    assert "icc-dropped" not in photo.notes
    assert pil(out).info["icc_profile"] == ICC


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF"])
def test_a_grey_files_profile_is_kept_and_one_of_other_colours_dropped(fmt: str) -> None:
    assert pil(again(file(RGB[..., 0], fmt, icc_profile=GREY_ICC))[1]).info["icc_profile"] == GREY_ICC
    photo, out = again(file(RGB, fmt, icc_profile=GREY_ICC))
    assert "icc-dropped" in photo.notes
    assert "icc_profile" not in pil(out).info


def test_sixteen_bit_files_keep_their_profile() -> None:
    out = again(with_chunk(sixteen(DEEP, ".png"), b"iCCP", b"name\0\0" + zlib.compress(ICC)))[1]
    assert pil(out).info["icc_profile"] == ICC


def test_text_resolution_and_comments_are_kept() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "rain")
    info.add_itxt("Author", "Zoë")
    back = pil(again(file(RGB, "PNG", pnginfo=info, dpi=(300, 300)))[1])
    assert back.info["Title"] == "rain"
    assert back.info["Author"] == "Zoë"
    assert back.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    jpeg = pil(again(file(RGB, "JPEG", comment=b"by hand", dpi=(72, 72)))[1])
    assert jpeg.info["comment"] == b"by hand"
    assert jpeg.info["dpi"] == (72, 72)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315] = "a street", "someone"
    tiff = pil(again(file(RGB, "TIFF", tiffinfo=tags, dpi=(150, 150)))[1])
    assert (tiff.tag_v2[270], tiff.tag_v2[315]) == ("a street", "someone")  # type: ignore[attr-defined]
    assert tiff.info["dpi"] == (150, 150)


# ---------------------------------------------------------------- bad files
GOOD = file(RGB, "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1", "lfs-pointer"),
        (b"tiny", "placeholder"),
        (b"this is no image, however long one looks at it", "not-an-image"),
        (GOOD[:-40], "truncated"),
        (sixteen(DEEP, ".png")[:-60], "truncated"),
        (again(sixteen(DEEP, ".tiff"))[1][:-60], "truncated"),
        (file(RGB, "JPEG")[:-200], "truncated"),
        (file(RGB, "GIF"), "not-an-image"),
        (file(RGB.astype(np.float32)[..., 0], "TIFF"), "mode"),
    ],
)
def test_bad_files_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as e:
        image_file.decode(data, "bad")
    assert e.value.reason == reason


def test_damage_within_a_png_is_found() -> None:
    at = sixteen(DEEP, ".png").index(b"IDAT") + 30
    for whole in (GOOD, sixteen(DEEP, ".png")):
        damaged = bytearray(whole)
        damaged[min(at, len(damaged) - 30)] ^= 0xFF
        with pytest.raises(DecodeError) as e:
            image_file.decode(bytes(damaged))
        assert e.value.reason == "truncated"


def test_sizes_beyond_reason_are_refused_before_they_are_decoded() -> None:
    for depth in (8, 16):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, depth, 2, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
        with pytest.raises(DecodeError) as e:
            image_file.decode(data)
        assert e.value.reason == "bomb"
