"""The store's matrices, and SSIM with the references' local statistics computed once (equation 3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from rainrag import images
from rainrag.encoders.triplet import STRUCTURE
from rainrag.images import F32, U8

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
KEEP = 384  # references whose local statistics stay in memory (1 MB each)

#: (4, H, W) float32: an image, its local mean m, m^2 + C1 / 2, its local variance + C2 / 2.
Stats = F32


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
        self._texts, self._text_of = _distinct(self.texts)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        self.features = np.ascontiguousarray(features / np.maximum(lengths, 1e-8), np.float32)
        self.structures = structures
        self.scenes = np.array(list(scenes)) if scenes is not None else None
        self.search = search
        self._by_sha256 = _rows_of(sha256)
        self._by_scene = _rows_of(scenes or ())
        self.structural = Structural()
        self._stats: OrderedDict[int, Stats] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    def nearness(self, texts: F32) -> F32:
        """(Q, N) products of captions, each distinct caption multiplied once.

        Equal captions get equal values: in one product over all rows they would differ in their last bits by their
        place, and ties would not be broken by key.
        """
        return np.asarray((texts @ self._texts.T)[:, self._text_of])

    def near(self, phash: str, rows: Any = None) -> Any:
        """Which references (or which of some rows) show the picture with this perceptual hash: a mask."""
        bits, hashed = (self.bits, self.hashed) if rows is None else (self.bits[rows], self.hashed[rows])
        if not phash:
            return np.zeros(len(bits), bool)
        distance = images.hamming(images.hash_bits([phash]), bits)[0]
        return (distance <= images.NEAR_BITS) & hashed

    def same(self, sha256: str, scene: str | None) -> list[int]:
        """Rows with these bytes, or of this scene."""
        return [*self._by_sha256.get(sha256, ()), *(self._by_scene.get(scene, ()) if scene else ())]

    def stats(self, i: int) -> Stats:
        """Local statistics of a reference's structure, from a bounded cache: valid until ``KEEP`` others were asked for."""
        if i in self._stats:
            self._stats.move_to_end(i)
            return self._stats[i]
        spare = self._stats.popitem(last=False)[1] if len(self._stats) >= KEEP else None
        made = self.structural.measure(np.asarray(self.structures[i]), spare)
        self._stats[i] = made
        return made


def _distinct(vectors: F32) -> tuple[F32, Any]:
    """Distinct rows, and which of them each row is."""
    at: dict[bytes, int] = {}
    which = np.array([at.setdefault(v.tobytes(), len(at)) for v in vectors], int)
    first = np.unique(which, return_index=True)[1]
    return np.ascontiguousarray(vectors[first]), which


def _rows_of(values: Sequence[str]) -> dict[str, list[int]]:
    """Rows of each value."""
    found: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        found.setdefault(str(value), []).append(i)
    return found


# ---------------------------------------------------------------- SSIM with statistics computed once
_KERNEL = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
_KERNEL /= _KERNEL.sum()
EDGE = 5  # half a window: SSIM is averaged where the window lies within the image


def _smooth(x: F32, out: F32) -> None:
    """Windowed mean."""
    cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL, out, borderType=cv2.BORDER_REFLECT_101)


def local(y: U8) -> Stats:
    """Local statistics of an image."""
    return Structural(y.shape).measure(y)


class Structural:
    """SSIM (eq. 3) of images whose local statistics are known: one filter is left to do, for their product.

    Wang et al. (TIP 2004): Gaussian window of 11 x 11, sigma 1.5, range 255, averaged over the valid region. In float32,
    whose rounding comes to some 1e-6 in the end. It keeps its arrays between calls:
    allocating them anew took ten times as long as the arithmetic.
    """

    def __init__(self, shape: tuple[int, ...] = (STRUCTURE, STRUCTURE)) -> None:
        self._shape = shape
        self._arrays = [np.empty(shape, np.float32) for _ in range(4)]

    def measure(self, y: U8, out: Stats | None = None) -> Stats:
        """Local statistics of an image.

        Args:
            out: where to write them; a new array if not given.
        """
        made = np.empty((4, *self._shape), np.float32) if out is None else out
        x, mean, square, var = made
        np.copyto(x, y)
        _smooth(x, mean)
        cv2.multiply(x, x, self._arrays[0])
        _smooth(self._arrays[0], var)
        cv2.multiply(mean, mean, square)
        cv2.addWeighted(var, 1, square, -1, C2 / 2, var)
        cv2.addWeighted(square, 1, square, 0, C1 / 2, square)
        return made

    def __call__(self, a: Stats, b: Stats) -> float:
        """SSIM in [-1, 1]; both of this object's shape, at least 11 pixels a side."""
        x, mean_x, square_x, var_x = a
        y, mean_y, square_y, var_y = b
        top, means, low, work = self._arrays
        cv2.multiply(x, y, work)
        _smooth(work, top)
        cv2.multiply(mean_x, mean_y, means)
        cv2.addWeighted(top, 2, means, -2, C2, top)  # 2 cov + C2
        cv2.addWeighted(means, 2, means, 0, C1, means)
        cv2.multiply(top, means, top)
        cv2.add(square_x, square_y, low)
        cv2.add(var_x, var_y, work)
        cv2.multiply(low, work, low)
        cv2.divide(top, low, top)
        return float(cv2.mean(top[EDGE:-EDGE, EDGE:-EDGE])[0])
