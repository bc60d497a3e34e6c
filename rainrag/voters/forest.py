"""A small classifier in plain numbers: a logistic regression and extremely randomised trees on the same values.

Fitted by ``benchmarks.distillation.fit_evidence`` with scikit-learn (Geurts et al., "Extremely randomized trees", 2006),
kept as arrays, and applied with numpy alone: no pickle, no other library at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rainrag.core.images import F32

CLIP = 6.0  # robust deviations beyond which a value counts no further
FLOOR = 0.01  # probability that the trees cannot fall below
TREES = 2.0  # weight of the trees' logit beside the regression's


@dataclass(frozen=True)
class Forest:
    """The classifier.

    Args:
        middle, spread: (D,) robust centre and deviation of each value over sound examples.
        weights: (2 * D + 1,) of the standardised values, of their sizes, and the constant.
        feature: (T, N) number of the value that a node compares, among 2 * D; -1 at a leaf.
        threshold: (T, N); left where the value is at most this.
        left, right: (T, N) numbers of the children.
        leaf: (T, N) probability of sound in a leaf.
    """

    middle: F32
    spread: F32
    weights: F32
    feature: npt.NDArray[np.int16]
    threshold: F32
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    leaf: F32

    def standard(self, values: Any) -> F32:
        """(N, D) values as (N, 2 * D): robust deviations, clipped, and their sizes."""
        z = np.clip((np.asarray(values, np.float32) - self.middle) / self.spread, -CLIP, CLIP)
        return np.concatenate([z, np.abs(z)], axis=1).astype(np.float32)

    def score(self, values: Any) -> npt.NDArray[np.float64]:
        """Logit of sound, (N, D) -> (N,): higher is more like real rain."""
        x = self.standard(values)
        linear = x.astype(np.float64) @ self.weights[:-1].astype(np.float64) + float(self.weights[-1])
        p = np.array([self._trees(row) for row in x])
        return np.asarray(linear + TREES * np.log((p + FLOOR) / (1 + FLOOR - p)))

    def _trees(self, row: F32) -> float:
        """Mean over the trees of the leaf that one row falls into."""
        tree = np.arange(len(self.feature))
        node = np.zeros(len(tree), np.int64)
        while True:
            f = self.feature[tree, node]
            inner = f >= 0
            if not inner.any():
                return float(self.leaf[tree, node].mean(dtype=np.float64))
            down = row[np.maximum(f, 0)] <= self.threshold[tree, node]
            node = np.where(inner, np.where(down, self.left[tree, node], self.right[tree, node]), node)

    def arrays(self, prefix: str) -> dict[str, Any]:
        """For a file of arrays."""
        return {f"{prefix}.{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, arrays: Mapping[str, Any], prefix: str) -> Forest:
        """From a file of arrays."""
        return cls(**{name: np.asarray(arrays[f"{prefix}.{name}"]) for name in cls.__dataclass_fields__})
