"""PSNR and SSIM under a Protocol, and the perceptual metrics of pyiqa. Numbers that can be trusted: each is signed.

Images are (H, W, 3) uint8, or float in [0, 1] which the protocol quantises. PSNR is in dB, larger is better; SSIM in
[-1, 1], larger is better (Wang et al., TIP 2004: 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, L 255).
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core.errors import InputError, UsageError, did_you_mean
from rainrag.core.images import F64, U8
from rainrag.core.types import Protocol

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]

PRESETS: dict[str, Protocol] = {
    "y": Protocol("y"),
    "y-trunc": Protocol("y-trunc", quantise="u8trunc"),
    "matlab-y": Protocol("matlab-y", "y601-studio-u8", "y601-studio-u8"),
    "unirain": Protocol("unirain", "rgb", "yiq", multiple=16, lpips=True),
    "rgb": Protocol("rgb", "rgb", "rgb"),
    "y-full": Protocol("y-full", "y601-full", "y601-full"),
    "pyiqa-y": Protocol("pyiqa-y", "yiq", "yiq"),
    "weatherbench": Protocol("weatherbench", border=4),
    "ntire-raindrop": Protocol("ntire-raindrop", lpips=True),
}

ABOUT = {
    "y": "BT.601 studio-range luma in float, as BasicSR; the field's usual figure",
    "y-trunc": "as y, of outputs truncated to 8 bits, as PReNet's, RLP's and WGWS-Net's scripts save them",
    "matlab-y": "as y, the luma rounded to 8 bit, as MATLAB's rgb2ycbcr: the field's .m scripts",
    "unirain": "UniRain's own script: PSNR on RGB, SSIM on luma as pyiqa, LPIPS AlexNet, centre crop to 16",
    "rgb": "all three channels",
    "y-full": "full-range luma",
    "pyiqa-y": "luma as pyiqa computes it by default",
    "weatherbench": "as y, with a border of 4 pixels cut: WeatherBench's evaluation",
    "ntire-raindrop": "as y, with LPIPS AlexNet and the score of NTIRE's raindrop challenge, PSNR + 10 SSIM - 5 LPIPS",
}

#: protocol -> (name of its score, weight of every metric in it).
COMBINED = {"ntire-raindrop": ("ntire", {"psnr": 1.0, "ssim": 10.0, "lpips": -5.0})}


def combined(p: Protocol, row: dict[str, float]) -> dict[str, float]:
    """The protocol's score of one image from its metrics; empty where there is none, or a metric is missing."""
    name, weights = COMBINED.get(p.name, ("", {}))
    if not weights or not weights.keys() <= row.keys():
        return {}
    return {name: sum(w * row[n] for n, w in weights.items())}


_FULL, _STUDIO = np.array([[0.299, 0.587, 0.114]]), np.array([[65.481, 128.553, 24.966]]) / 255
#: space -> (weights of R, G and B, offset)
_WEIGHTS = {
    "y601-full": (_FULL, 0.0),
    "yiq": (_FULL, 0.0),
    "y601-studio": (_STUDIO, 16.0),
    "y601-studio-u8": (_STUDIO, 16.0),
}
SPACES = ("rgb", "y601-studio", "y601-studio-u8", "y601-full", "yiq")
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def protocol(name: str, **changes: Any) -> Protocol:
    """A preset, with single settings changed.

    Raises:
        UsageError: for an unknown preset or colour space.
    """
    if name not in PRESETS:
        raise UsageError(f"no protocol '{name}'", hint=did_you_mean(name, list(PRESETS)))
    given = {k: v for k, v in changes.items() if v is not None}
    made = replace(PRESETS[name], **given)
    for space in (made.psnr_space, made.ssim_space):
        if space not in SPACES:
            raise UsageError(f"no colour space '{space}'", hint=did_you_mean(space, list(SPACES)))
    if made.quantise not in ("u8round", "u8trunc", "float"):
        raise UsageError(f"no quantisation '{made.quantise}'", hint="u8round, u8trunc or float")
    return made


# ---------------------------------------------------------------- preparation
def quantise(image: Pixels, how: str = "u8round") -> U8 | F64:
    """A float image in [0, 1] as the protocol wants it: 8 bit rounded, 8 bit truncated, or float in [0, 255].

    8-bit images pass unchanged. Values outside [0, 1] are clamped first.
    """
    if image.dtype == np.uint8:
        return image  # type: ignore[return-value]
    scaled = np.clip(np.asarray(image, np.float64), 0, 1) * 255
    if how == "float":
        return scaled
    return np.asarray(np.round(scaled) if how == "u8round" else np.floor(scaled), np.uint8)


def region(image: Any, border: int = 0, multiple: int = 1) -> Any:
    """Cut the border, then centre-crop to multiples.

    Raises:
        InputError: when nothing is left.
    """
    h, w = image.shape[:2]
    top, left = border, border
    hh, ww = h - 2 * border, w - 2 * border
    top += hh % multiple // 2
    left += ww % multiple // 2
    hh -= hh % multiple
    ww -= ww % multiple
    if min(hh, ww) <= 0:
        raise InputError(f"an image of {w}x{h} is too small for border {border} and multiples of {multiple}")
    return image[top : top + hh, left : left + ww]


def alike(out: Pixels, gt: Pixels, p: Protocol) -> tuple[Pixels, Pixels]:
    """Both sides of one size: a target is cut where the output was cropped around its centre to the protocol's multiples.

    Raises:
        InputError: when sizes differ in another way; the hint names the crop that would make them equal.
    """
    if out.shape == gt.shape:
        return out, gt
    if p.multiple > 1 and min(gt.shape[:2]) >= p.multiple:
        cut = region(gt, multiple=p.multiple)
        if cut.shape == out.shape:
            return out, cut
    crop = cropped_to(out.shape, gt.shape)
    raise InputError(
        f"sizes differ: output {out.shape[1]}x{out.shape[0]}, target {gt.shape[1]}x{gt.shape[0]}",
        hint=f"the output is the target cropped to multiples of {crop}: --multiple {crop} cuts the target alike"
        if crop
        else "score the whole image; a protocol with crops cuts both sides alike",
    )


def cropped_to(out: tuple[int, ...], gt: tuple[int, ...]) -> int | None:
    """The multiple to which a target of shape ``gt`` is cropped to have shape ``out``; None where there is none."""
    for multiple in (2, 4, 8, 16, 32, 64, 128):
        if out[2:] == gt[2:] and out != gt and all(n - n % multiple == m for n, m in zip(gt[:2], out[:2], strict=True)):
            return multiple
    return None


def to_space(image: Pixels, space: str) -> F64:
    """Pixels in a colour space, float64 in the range 0..255: (H, W, 3) for rgb, else (H, W).

    Args:
        image: uint8, or float in [0, 255].
    """
    x = np.asarray(image, np.float64)
    if space == "rgb":
        return x
    weights, offset = _WEIGHTS[space]
    y = cv2.transform(x, weights * 1000) / 1000 + offset  # whole thousandths: ties of the rounding stay ties
    return np.asarray(np.round(y) if space == "y601-studio-u8" else y)


def _prepare(out: Pixels, gt: Pixels, p: Protocol) -> tuple[Any, Any]:
    out, gt = alike(out, gt, p)
    cut = [region(quantise(x, p.quantise), p.border, p.multiple) for x in (out, gt)]
    return cut[0], cut[1]


def _planes(image: Any, space: str, exact: bool) -> list[Any]:
    """The planes that are compared: three for rgb, else one; float64 when exact, else float32."""
    if exact:
        x = to_space(image, space)
        return [x] if x.ndim == 2 else [x[..., c] for c in range(3)]
    if space == "yiq":  # SSIM rounds this luma: float32 would round ties the other way
        return [to_space(image, space).astype(np.float32)]
    x32 = image.astype(np.float32)
    if space == "rgb":
        return list(cv2.split(x32))
    weights, offset = _WEIGHTS[space]
    y = cv2.transform(x32, weights.astype(np.float32))
    y += np.float32(offset)
    return [np.round(y, out=y) if space == "y601-studio-u8" else y]


# ---------------------------------------------------------------- scores
def psnr(out: Pixels, gt: Pixels, p: Protocol = PRESETS["y"], exact: bool = True) -> float:
    """Peak signal-to-noise ratio in dB (peak 255); infinite for equal images."""
    a, b = _prepare(out, gt, p)
    return _psnr(_planes(a, p.psnr_space, exact), _planes(b, p.psnr_space, exact))


def _psnr(x: list[Any], y: list[Any]) -> float:
    total = 0.0
    for u, v in zip(x, y, strict=True):
        if u.dtype == np.float32:
            total += cv2.norm(u, v, cv2.NORM_L2SQR)  # summed in double precision
            continue
        d = u - v
        total += float(np.einsum("ij,ij->", d, d, dtype=np.float64))
    mse = total / sum(u.size for u in x)
    return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def ssim(out: Pixels, gt: Pixels, p: Protocol = PRESETS["y"], exact: bool = False) -> float:
    """Structural similarity, the mean over the map (and over channels for rgb).

    Args:
        exact: float64 throughout; otherwise float32 filters on values shifted to their mean, which differ from it by
            less than 1e-6 (tested; benchmarks/speed/score.py prints the difference).

    Raises:
        InputError: when the image is smaller than the window.
    """
    a, b = _prepare(out, gt, p)
    return _ssim(_planes(a, p.ssim_space, exact), _planes(b, p.ssim_space, exact), p)


def _ssim(x: list[Any], y: list[Any], p: Protocol) -> float:
    h, w = x[0].shape
    if min(h, w) < 11:
        raise InputError(f"an image of {w}x{h} is smaller than SSIM's window of 11")
    if p.ssim_space == "yiq":
        x, y = [np.round(u) for u in x], [np.round(v) for v in y]
    return float(np.mean([_ssim_plane(u, v, p) for u, v in zip(x, y, strict=True)]))


def gaussian(size: int = 11, sigma: float = 1.5) -> F64:
    """Normalised Gaussian window, 1-D."""
    k = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return np.asarray(k / k.sum())


_KERNEL = gaussian()


class _Scratch(threading.local):
    """Planes that are used again from image to image, one set a thread: fresh memory costs more than the arithmetic."""

    N = 8
    MOST = 4 << 20  # pixels; beyond that a set is too large to keep

    def __init__(self) -> None:
        self.planes: list[Any] = []

    def of(self, like: Any) -> list[Any]:
        """``N`` planes of the same shape and type, with anything in them."""
        if self.planes and (self.planes[0].shape, self.planes[0].dtype) == (like.shape, like.dtype):
            return self.planes
        planes = [np.empty_like(like) for _ in range(self.N)]
        self.planes = planes if like.size <= self.MOST else []
        return planes


_SCRATCH = _Scratch()


def _ssim_plane(x: Any, y: Any, p: Protocol) -> float:
    """Mean SSIM of two planes in 0..255.

    The window sums to one, so subtracting a constant from both planes changes no variance; it keeps float32 accurate
    where E[x^2] - E[x]^2 would cancel. The two variances only occur as their sum: four filters do, not five.
    """
    u, v, a, b, mu_u, mu_v, both, cross = _SCRATCH.of(x)
    centre = float(cv2.mean(y)[0])
    cv2.subtract(x, centre, u)
    cv2.subtract(y, centre, v)

    def smooth(z: Any, out: Any) -> None:
        cv2.sepFilter2D(z, -1, _KERNEL, _KERNEL, out, borderType=cv2.BORDER_REFLECT_101)

    smooth(u, mu_u)
    smooth(v, mu_v)
    cv2.multiply(u, v, a)
    smooth(a, cross)
    cv2.multiply(u, u, a)
    cv2.multiply(v, v, b)
    cv2.add(a, b, a)
    smooth(a, both)
    # With a = mu_u + c, b = mu_v + c and s = mu_u + mu_v: 2ab = 2 mu_u mu_v + L' and a^2 + b^2 = mu_u^2 + mu_v^2 + L',
    # L' = 2cs + 2c^2. One division at the end; every line is one pass over the plane.
    s, mu_cross, mu_both, shift = u, v, a, b
    cv2.add(mu_u, mu_v, s)
    cv2.multiply(mu_u, mu_v, mu_cross, 2)
    cv2.multiply(s, s, mu_both)
    cv2.subtract(mu_both, mu_cross, mu_both)
    cv2.addWeighted(s, 2 * centre, s, 0, 2 * centre * centre + _C1, shift)
    covariance, variance = cross, both
    cv2.addWeighted(cross, 2, mu_cross, -1, _C2, covariance)
    if p.ssim_space == "yiq":
        cv2.max(covariance, 0, covariance)  # the denominator is positive, so this clips the contrast term
    cv2.addWeighted(both, 1, mu_both, -1, _C2, variance)
    cv2.add(mu_both, shift, mu_both)
    cv2.add(mu_cross, shift, mu_cross)
    cv2.multiply(variance, mu_both, variance)
    cv2.multiply(covariance, mu_cross, covariance)
    cv2.divide(covariance, variance, u)
    return float(cv2.mean(u[5:-5, 5:-5] if p.window == "valid" else u)[0])


def score(out: Pixels, gt: Pixels, p: Protocol = PRESETS["y"], exact: bool = False) -> dict[str, float]:
    """PSNR and SSIM of one image, prepared once."""
    a, b = _prepare(out, gt, p)
    x, y = _planes(a, p.psnr_space, exact), _planes(b, p.psnr_space, exact)
    value = _psnr(x, y)
    if p.ssim_space != p.psnr_space:
        x, y = _planes(a, p.ssim_space, exact), _planes(b, p.ssim_space, exact)
    return {"psnr": value, "ssim": _ssim(x, y, p)}
