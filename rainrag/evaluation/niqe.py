"""NIQE: distance of an image's natural scene statistics from those of pristine photographs; smaller is better.

Mittal, Soundararajan, Bovik: Making a "Completely Blind" Image Quality Analyzer (IEEE Signal Processing Letters, 2013).
Blocks of 96 x 96 on two scales, 18 features on each, a multivariate Gaussian, equation 10. The parameters are LIVE's (see
``params/NOTICE.md``). Luma is full range and rounded, as pyiqa's default and MATLAB's ``rgb2gray``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy import special

from rainrag.core.errors import InputError, MissingError
from rainrag.core.images import F64, U8
from rainrag.evaluation import natural_scenes as nss

BLOCK = 96
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Pristine:
    """The Gaussian of pristine photographs: ``mean`` (36,), ``covariance`` (36, 36)."""

    mean: F64
    covariance: F64


@cache
def pristine() -> Pristine:
    """LIVE's model, which comes with the package."""
    with files("rainrag.evaluation").joinpath("params/niqe.npz").open("rb") as f:
        found = np.load(f, allow_pickle=False)
        return Pristine(found["mean"], found["covariance"])


def read_pristine(path: Path) -> Pristine:
    """A model as MATLAB file with ``mu_prisparam`` and ``cov_prisparam``, as LIVE and pyiqa store it.

    Raises:
        MissingError: when the file is not there.
        InputError: when it is no such file.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise MissingError(f"parameters {path.name} are not available locally", where=path, hint="place the file there")
    try:
        found = loadmat(path)
        mean, covariance = np.ravel(found["mu_prisparam"]), np.asarray(found["cov_prisparam"])
    except (ValueError, KeyError, NotImplementedError, MatReadError) as e:
        raise InputError("not a model of NIQE", where=path, hint="mu_prisparam and cov_prisparam are expected") from e
    if mean.shape != (36,) or covariance.shape != (36, 36):
        raise InputError(f"a model of {mean.shape} and {covariance.shape}", where=path, hint="36 and 36 x 36")
    return Pristine(mean.astype(np.float64), covariance.astype(np.float64))


def features(blocks: F64, exact: bool = False) -> F64:
    """18 features of every block, (blocks, 18), of normalised luma (blocks, h, w)."""
    found: list[F64] = []
    shape, left, right = nss.asymmetric(blocks.reshape(len(blocks), -1), exact)
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    found += [shape, (left + right) * scale / 2]
    for product in nss.products(blocks, SHIFTS):
        shape, left, right = nss.asymmetric(product, exact)
        scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
        mean = (right - left) * scale * special.gamma(2 / shape) / special.gamma(1 / shape)
        found += [shape, mean, left * scale, right * scale]
    return np.stack(found, 1)


def _blocks(y: F64, size: int) -> F64:
    """Non-overlapping blocks, (blocks, size, size), row by row."""
    rows, columns = y.shape[0] // size, y.shape[1] // size
    return y.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


def niqe(image: U8, model: Pristine | None = None, exact: bool = False) -> float:
    """NIQE of an image; about 2 to 6 for photographs, more for damaged ones.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8 or in [0, 255].
        model: of pristine photographs; None takes LIVE's.
        exact: the reference: 2-D filters and a search of the whole table; differs by less than 1e-9 (tested).

    Raises:
        InputError: when fewer than two blocks of 96 x 96 have any texture, so that there is no covariance.
    """
    model = model or pristine()
    y = nss.luma(image)
    rows, columns = y.shape[0] // BLOCK, y.shape[1] // BLOCK
    if rows * columns < 2:
        raise InputError(
            f"an image of {y.shape[1]}x{y.shape[0]} is too small for NIQE", hint="two blocks of 96x96 are needed"
        )
    y = y[: rows * BLOCK, : columns * BLOCK]
    first = features(_blocks(nss.mscn(y, "replicate", exact), BLOCK), exact)
    second = features(_blocks(nss.mscn(nss.halve(y, exact), "replicate", exact), BLOCK // 2), exact)
    found = np.hstack([first, second])
    whole = found[~np.isnan(found).any(1)]  # a flat block has no distribution
    if len(whole) < 2:
        raise InputError("fewer than two blocks of 96x96 have texture: NIQE is not defined")
    mean, covariance = np.nanmean(found, 0), np.cov(whole, rowvar=False)
    apart = model.mean - mean
    return float(np.sqrt(apart @ np.linalg.pinv((model.covariance + covariance) / 2) @ apart))
