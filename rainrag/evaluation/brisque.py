"""BRISQUE: quality learned from natural scene statistics; about 0 to 100, smaller is better.

Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain (TIP 2012). 18 features on each of
two scales, scaled to [-1, 1], and a support vector regression with an RBF kernel. The parameters are LIVE's (see
``params/NOTICE.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from scipy import special

from rainrag.core.errors import InputError
from rainrag.core.images import F64, U8
from rainrag.evaluation import natural_scenes as nss

SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))


@dataclass(frozen=True)
class Regression:
    """A support vector regression.

    Args:
        vectors: (n, 36), of scaled features.
        weights: (n,).
        gamma: of the kernel ``exp(-gamma |x - v|^2)``.
        rho: subtracted from the sum.
        low, high: (36,): the features that are scaled to -1 and 1.
    """

    vectors: F64
    weights: F64
    gamma: float
    rho: float
    low: F64
    high: F64

    def __call__(self, features: F64) -> float:
        """The score of 36 features."""
        x = 2 * (features - self.low) / (self.high - self.low) - 1
        kernel = np.exp(-self.gamma * ((self.vectors - x) ** 2).sum(1))
        return float(kernel @ self.weights - self.rho)


@cache
def regression() -> Regression:
    """LIVE's regression, which comes with the package."""
    with files("rainrag.evaluation").joinpath("params/brisque.npz").open("rb") as f:
        z = np.load(f, allow_pickle=False)
        return Regression(z["vectors"], z["weights"], float(z["gamma"]), float(z["rho"]), z["low"], z["high"])


def features(y: F64, exact: bool = False) -> F64:
    """18 features of one scale, of luma (H, W) in [0, 255] (TIP 2012, table I)."""
    x = nss.mscn(y, "zero", exact)
    found: list[float] = list(nss.symmetric(x, exact))
    for product in nss.products(x[None], SHIFTS):
        shape, left, right = (float(v[0]) for v in nss.asymmetric(product, exact))
        one, two, three = (special.gamma(k / shape) for k in (1, 2, 3))
        found += [shape, (right - left) * two / np.sqrt(one * three), left**2, right**2]
    return np.array(found)


def brisque(image: U8, model: Regression | None = None, exact: bool = False) -> float:
    """BRISQUE of an image.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8 or in [0, 255].
        model: None takes LIVE's.
        exact: the reference: 2-D filters and a search of the whole table; differs by less than 1e-9 (tested).

    Raises:
        InputError: when the image is flat, or smaller than 16 pixels.
    """
    y = nss.luma(image)
    if min(y.shape) < 16:
        raise InputError(f"an image of {y.shape[1]}x{y.shape[0]} is too small for BRISQUE", hint="16x16 is the least")
    found = np.concatenate([features(y, exact), features(nss.halve(y, exact), exact)])
    if not np.isfinite(found).all():
        raise InputError("the image has no texture: BRISQUE is not defined")
    return (model or regression())(found)
