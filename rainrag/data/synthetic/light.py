"""Linear light: the sRGB transfer curve, luminance, and fast wide blurs.

Rain adds, hides and bends light, so every layer is composited on values proportional to radiance (1.0 is display
white; more is allowed) and encoded once at the end.
"""

from __future__ import annotations

import cv2
import numpy as np

from rainrag.core.images import F32, U8

_CODES = np.arange(256, dtype=np.float64) / 255
_DECODE = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
_STEPS = 1 << 16  # fine enough that the table never misses the nearest code by more than 0.03
_GRID = np.arange(_STEPS, dtype=np.float64) / (_STEPS - 1)
_SRGB = np.where(_GRID <= 0.0031308, 12.92 * _GRID, 1.055 * _GRID ** (1 / 2.4) - 0.055)
_ENCODE = np.round(_SRGB * 255).astype(np.uint8)
_WEIGHTS = np.array([[0.2126, 0.7152, 0.0722]], np.float32)


def decode(rgb: U8) -> F32:
    """sRGB codes to linear light in [0, 1] (IEC 61966-2-1)."""
    return _DECODE[rgb]


def encode(linear: F32) -> U8:
    """Linear light to the nearest sRGB code; values beyond [0, 1] clip, as a sensor does."""
    index = np.clip(linear, 0, 1) * np.float32(_STEPS - 1) + np.float32(0.5)
    return _ENCODE[index.astype(np.uint16)]


def luminance(linear: F32) -> F32:
    """(H, W) relative luminance of (H, W, 3) linear light (Rec. 709 weights)."""
    return np.asarray(cv2.transform(linear, _WEIGHTS), np.float32)


def brightest(linear: F32) -> F32:
    """(3,) mean of the brightest tenth of (H, W, 3) linear light, by luminance: what is nearest to the sky."""
    luma = luminance(linear)
    return np.asarray(linear[luma >= np.quantile(luma, 0.9)].mean(0), np.float32)


def blur(layer: F32, sigma: float) -> F32:
    """Gaussian blur of (H, W) or (H, W, C), ``sigma`` in pixels; wide blurs are done on a smaller grid."""
    if sigma <= 0:
        return layer
    h, w = layer.shape[:2]
    factor = 1
    while sigma / factor > 4 and min(h, w) / (2 * factor) >= 8:
        factor *= 2
    if factor == 1:
        return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
    size = (max(1, round(w / factor)), max(1, round(h / factor)))
    small = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def mix(base: F32, layer: F32, alpha: F32 | float) -> F32:
    """``base`` under ``layer`` with opacity ``alpha``, (H, W) or a number, in [0, 1]."""
    weight = alpha[..., None] if isinstance(alpha, np.ndarray) else np.float32(alpha)
    return np.asarray(base + weight * (layer - base), np.float32)
