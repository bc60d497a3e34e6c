"""The store's matrices, and SSIM with the references' local statistics computed once (equation 3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rainrag.core import images
from rainrag.core.images import F32, U8
from rainrag.retrieval.triplet import STRUCTURE

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
KEEP = 1024  # references whose local statistics stay in memory (256 KB each) where no file has them

#: (2, 256, 256) uint16: local means in 1/257 levels, local standard deviations in 1/514: SSIM is right to some 1e-5.
Stats = npt.NDArray[np.uint16]
MEAN, DEVIATION = 257.0, 514.0  # both of a byte's whole range fill 16 bits


class References:
    """The store's matrices, rows in key order.

    Args:
        keys: sorted.
        texts: (N, E) unit vectors; ``features``: (N, D).
        structures: (N, 256, 256) uint8, may be a memory map.
        statistics: (N, 2, 256, 256) uint16, each structure's ``Stats``, may be a memory map; without it they are
            computed when they are needed.
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
        statistics: Any = None,
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
        self.statistics = statistics
        self.scenes = np.array(list(scenes)) if scenes is not None else None
        self.search = search
        self._by_sha256 = _rows_of(sha256)
        self._by_scene = _rows_of(scenes or ())
        self.structural = Structural()
        self._stats: OrderedDict[int, Stats] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    def nearest(self, texts: F32, k: int) -> list[Any]:
        """For each caption vector the rows of the k nearest captions (eq. 1), nearest first, ties by row.

        By the store's index if there is one, else exactly. Each distinct caption is multiplied once, so that equal
        captions are equally near: in one product over all rows they would differ in their last bits by their place,
        and ties would not be broken by key.
        """
        if self.search is not None:
            return list(self.search(texts, k))
        # Unit vectors: ranking by distance is ranking by the product, |a - b|^2 = 2 - 2ab.
        return [_largest(p, k) for p in (texts @ self._texts.T)[:, self._text_of]]

    def near(self, phash: str, rows: Any) -> Any:
        """Which of some rows show the picture with this perceptual hash: a mask."""
        if not phash:
            return np.zeros(len(rows), bool)
        distance = images.hamming(images.hash_bits([phash]), self.bits[rows])[0]
        return (distance <= images.NEAR_BITS) & self.hashed[rows]

    def same(self, sha256: str, scene: str | None) -> list[int]:
        """Rows with these bytes, or of this scene."""
        return [*self._by_sha256.get(sha256, ()), *(self._by_scene.get(scene, ()) if scene else ())]

    def ssim(self, y: U8, rows: Any) -> F32:
        """SSIM (eq. 3) of a structure with those of some references, in [-1, 1]."""
        mine = self.structural.measure(y)
        theirs = ((np.asarray(self.structures[int(i)]), self.stats(int(i))) for i in rows)
        return np.array(self.structural(y, mine, theirs), np.float32)

    def stats(self, i: int) -> Stats:
        """Local statistics of a reference's structure: those made with the store, else from a bounded cache.

        A cached array is valid until ``KEEP`` others were asked for.
        """
        if self.statistics is not None:
            return np.asarray(self.statistics[i])
        if i in self._stats:
            self._stats.move_to_end(i)
            return self._stats[i]
        spare = self._stats.popitem(last=False)[1] if len(self._stats) >= KEEP else None
        made = self.structural.measure(np.asarray(self.structures[i]), spare)
        self._stats[i] = made
        return made


def _largest(p: F32, k: int) -> Any:
    """Rows of the k largest values, largest first, ties by row."""
    edge = np.partition(p, len(p) - k)[len(p) - k] if k < len(p) else -np.inf
    seen = np.flatnonzero(p >= edge)  # with all ties of the edge
    return seen[np.lexsort((seen, -p[seen]))][:k]


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
_IN = slice(EDGE, -EDGE)


class Structural:
    """SSIM (eq. 3) of images whose local statistics are known: one filter is left to do, for their product.

    Wang et al. (TIP 2004): Gaussian window of 11 x 11, sigma 1.5, range 255, averaged over the valid region. Statistics
    are held in 16 bits, sums are float32. Reading and writing arrays takes longer than the arithmetic, so there are few
    of them, used again from call to call, and small enough for a processor's own cache.
    """

    def __init__(self) -> None:
        self._arrays = [np.empty((STRUCTURE, STRUCTURE), np.float32) for _ in range(3)]
        self._inner = [a[_IN] for a in self._arrays]
        self._sums = [np.empty_like(self._inner[0]) for _ in range(2)]
        self._weights = np.zeros(STRUCTURE, np.float32)
        self._weights[_IN] = 2 * DEVIATION**2 / (STRUCTURE - 2 * EDGE) ** 2

    def measure(self, y: U8, out: Stats | None = None) -> Stats:
        """Local statistics of an image.

        Args:
            y: (256, 256) uint8.
            out: where to write them; a new array if not given.
        """
        made = np.empty((2, STRUCTURE, STRUCTURE), np.uint16) if out is None else out
        x, mean, var = self._arrays
        np.copyto(x, y)
        _smooth(x, mean)
        cv2.multiply(x, x, x)
        _smooth(x, var)
        cv2.multiply(mean, mean, x)
        np.maximum(cv2.subtract(var, x, var), 0, out=var)
        np.multiply(mean, MEAN, out=mean)
        np.multiply(np.sqrt(var, out=var), DEVIATION, out=var)
        for kept, exact in zip(made, (mean, var), strict=True):
            np.copyto(kept, np.rint(exact, out=exact), casting="unsafe")  # at most 65535: both fill 16 bits
        return made

    def __call__(self, x: U8, of_x: Stats, others: Iterable[tuple[U8, Stats]]) -> list[float]:
        """SSIM in [-1, 1] of an image with each of some others, all with their statistics."""
        inner = of_x[:, _IN]
        for sums, unit, constant, a in zip(self._sums, (MEAN, DEVIATION), (C1, C2), inner, strict=True):
            sums.fill(constant * unit**2)
            cv2.accumulateSquare(a, sums)  # the query's part of both denominators
        return [self._compare(x, inner[0], y, of_y[:, _IN]) for y, of_y in others]

    def _compare(self, x: U8, mean_x: Any, y: U8, of_y: Any) -> float:
        product, smooth, _ = self._arrays
        means, top, low = self._inner
        cv2.multiply(x, y, product, dtype=cv2.CV_32F)
        _smooth(product, smooth)
        means.fill(C1 * MEAN**2 / 2)
        cv2.accumulateProduct(mean_x, of_y[0], means)  # (2 m_x m_y + C1) in half the squared unit of means
        cv2.addWeighted(top, 2, means, -2 / MEAN**2, C1 + C2, top)  # 2 cov + C2
        cv2.multiply(top, means, top)
        for sums, a in zip(self._sums, of_y, strict=True):
            np.copyto(low, sums)
            cv2.accumulateSquare(a, low)
            cv2.divide(top, low, top)
        return max(-1.0, min(1.0, float((top @ self._weights).sum())))  # 16 bits can overshoot


def _smooth(x: F32, out: F32) -> None:
    """Windowed mean."""
    cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL, out, borderType=cv2.BORDER_REFLECT_101)
