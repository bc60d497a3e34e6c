"""The store's matrices, and SSIM with the references' local statistics computed once (equation 3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from rainrag import images
from rainrag.images import F32, U8

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
KEEP = 2048  # references whose local statistics stay in memory (0.5 MB each)


class References:
    """The store's matrices, rows in key order.

    Args:
        keys: sorted.
        texts: (N, E) unit vectors; ``features``: (N, D).
        structures: (N, 256, 256) uint8, may be a memory map.
        scenes: one a reference; queries of the same scene do not see it.
        search: optional index for stage 1: (texts (Q, E), k) -> (Q, k) row numbers.
    """

    def __init__(
        self,
        keys: Sequence[str],
        sha256: Sequence[str],
        phash: Sequence[str],
        texts: F32,
        features: F32,
        structures: Any,
        scenes: Sequence[str] | None = None,
        search: Callable[[F32, int], Any] | None = None,
    ) -> None:
        self.keys = list(keys)
        self.sha256 = np.array(list(sha256))
        self.bits = images.hash_bits(list(phash))
        self.hashed = np.array([bool(p) for p in phash])
        self.texts = np.ascontiguousarray(texts, np.float32)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        self.features = np.ascontiguousarray(features / np.maximum(lengths, 1e-8), np.float32)
        self.structures = structures
        self.scenes = np.array(list(scenes)) if scenes is not None else None
        self.search = search
        self._stats: OrderedDict[int, tuple[F32, F32, F32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    def stats(self, i: int) -> tuple[F32, F32, F32]:
        """(image, local mean, local variance) of a reference's structure, from a bounded cache."""
        if i in self._stats:
            self._stats.move_to_end(i)
            return self._stats[i]
        made = local(np.asarray(self.structures[i]))
        self._stats[i] = made
        if len(self._stats) > KEEP:
            self._stats.popitem(last=False)
        return made


# ---------------------------------------------------------------- SSIM with statistics computed once
_KERNEL = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
_KERNEL /= _KERNEL.sum()


def _smooth(x: F32) -> F32:
    return np.asarray(cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL, borderType=cv2.BORDER_REFLECT_101)[5:-5, 5:-5])


def local(y: U8) -> tuple[F32, F32, F32]:
    """(image - 128, local mean of it, local variance) for SSIM's valid region."""
    x = y.astype(np.float32) - 128
    mean = _smooth(x)
    return x, mean, _smooth(x * x) - mean * mean


def ssim(a: tuple[F32, F32, F32], b: tuple[F32, F32, F32]) -> float:
    """SSIM of two images from their local statistics: one filter is left to do, for the product."""
    x, mean_x, var_x = a
    y, mean_y, var_y = b
    cross = cv2.multiply(mean_x, mean_y)
    covariance = _smooth(cv2.multiply(x, y))
    covariance -= cross
    total = cv2.add(mean_x, mean_y)
    # With the means taken from 128: ab = cross + 128 total + 128^2, and a^2 + b^2 = total^2 - 2 cross + the same twice.
    shift = cv2.addWeighted(total, 256.0, total, 0, 2 * 128.0**2 + C1)
    squares = cv2.multiply(total, total)
    squares -= 2 * cross
    top = (2 * cross + shift) * (2 * covariance + C2)
    return float(cv2.mean(cv2.divide(top, (squares + shift) * (var_x + var_y + C2)))[0])
