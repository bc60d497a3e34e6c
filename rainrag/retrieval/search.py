"""The three-stage retrieval (paper, equations 1 to 3): by meaning, then by look, then by structure.

Batches of queries against matrices; SSIM with the references' local statistics computed once. All in float32; ties are
broken by key, so results do not depend on order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.errors import InputError, UsageError
from rainrag.core.files import sha256_bytes
from rainrag.core.images import F32, U8
from rainrag.core.types import Match
from rainrag.retrieval.references import References
from rainrag.retrieval.store import SMALLEST
from rainrag.retrieval.triplet import Triplet, Triplets


@dataclass(frozen=True)
class Sizes:
    """How many candidates each stage keeps. The paper gives none; 100/20/3 is our default (METHOD, 1.2).

    Raises:
        UsageError: unless k1 >= k2 >= k3 >= 1.
    """

    k1: int = 100
    k2: int = 20
    k3: int = 3

    def __post_init__(self) -> None:
        if not self.k1 >= self.k2 >= self.k3 >= 1:
            raise UsageError(f"K1 >= K2 >= K3 >= 1 is needed, not {self.k1}, {self.k2}, {self.k3}")


@dataclass(frozen=True)
class Retrieved:
    """What the cascade found for a query: S(q), best first, and the keys of C2(q), nearest first."""

    matches: tuple[Match, ...]
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A query triplet and what tells its own copies in the store."""

    key: str
    sha256: str
    phash: str
    text: F32
    feature: F32
    structure: U8
    scene: str | None = None


@dataclass(frozen=True)
class Asked:
    """A photograph as a query: its triplet with all that was measured, and its pixels."""

    query: Query
    triplet: Triplet
    rgb: U8

    @classmethod
    def read(cls, path: Path, triplets: Triplets) -> Asked:
        """From a file.

        Raises:
            DecodeError: when it is no usable image.
            InputError: when it is too small.
        """
        data = images.read_bytes(path)
        rgb = images.decode(data, str(path)).rgb
        if min(rgb.shape[:2]) < SMALLEST:
            raise InputError(
                f"{rgb.shape[1]}x{rgb.shape[0]} is too small", where=path, hint=f"at least {SMALLEST} pixels a side"
            )
        t = triplets([rgb])[0]
        query = Query(path.name, sha256_bytes(data), images.phash(rgb), t.text, t.feature, t.structure)
        return cls(query, t, rgb)


@dataclass(frozen=True)
class Trace:
    """What every stage found for a query, best first: (key, score) and the retrieved set with all scores.

    Args:
        meaning: C1(q) with caption distances, in [0, 2].
        look: C2(q) with cosines of features, in [-1, 1].
        structure: S(q).
    """

    meaning: tuple[tuple[str, float], ...]
    look: tuple[tuple[str, float], ...]
    structure: tuple[Match, ...]


# ---------------------------------------------------------------- the cascade
AT_ONCE = 256  # queries
CELLS = 1 << 23  # query-reference products in memory together


def retrieve(queries: Sequence[Query], refs: References, sizes: Sizes, structural: bool = True) -> list[Retrieved]:
    """The retrieved sets of each query.

    A query's own image (equal bytes), its near-duplicates and its scene are left out. Sizes are clamped to the store's.

    Args:
        queries: any number; matrices are made in batches.
        structural: do the third stage; without it only C2(q) is filled.
    """
    if not len(refs):
        return [Retrieved((), ()) for _ in queries]
    out: list[Retrieved] = []
    step = max(1, min(AT_ONCE, CELLS // len(refs)))
    for at in range(0, len(queries), step):
        part = queries[at : at + step]
        found = _narrow(part, refs, sizes)
        for q, c in zip(part, found, strict=True):
            matches = _compare(q, refs, c, sizes.k3) if structural else ()
            out.append(Retrieved(matches, tuple(refs.keys[int(r)] for r in c.look)))
    return out


def trace(query: Query, refs: References, sizes: Sizes) -> Trace:
    """One query with the hits and scores of every stage, for people to look at."""
    if not len(refs):
        return Trace((), (), ())
    (found,) = _narrow([query], refs, sizes)
    far = _distance(query.text, refs.texts[found.meaning])
    return Trace(
        tuple((refs.keys[int(r)], float(d)) for r, d in zip(found.meaning, far, strict=True)),
        tuple((refs.keys[int(r)], float(c)) for r, c in zip(found.look, found.cosines, strict=True)),
        _compare(query, refs, found, sizes.k3),
    )


@dataclass(frozen=True)
class _Found:
    """Rows of C1(q) and C2(q), best first, and the cosines of C2(q)."""

    meaning: Any
    look: Any
    cosines: Any


def _narrow(queries: Sequence[Query], refs: References, sizes: Sizes) -> list[_Found]:
    """The first two stages of a batch."""
    features = np.stack([q.feature for q in queries])
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)
    found = []
    for c1, feature in zip(_meaning(queries, refs, sizes.k1), features, strict=True):
        cosines = refs.features[c1] @ feature
        order = np.lexsort((c1, -cosines))[: sizes.k2]
        found.append(_Found(c1, c1[order], cosines[order]))
    return found


def _compare(q: Query, refs: References, c: _Found, k3: int) -> tuple[Match, ...]:
    """S(q) from C2(q) by SSIM (eq. 3), with the scores of all stages."""
    structural = refs.ssim(q.structure, c.look)
    best = np.lexsort((c.look, -structural))[:k3]
    far = _distance(q.text, refs.texts[c.look[best]])
    return tuple(
        Match(refs.keys[int(c.look[b])], float(far[n]), float(c.cosines[b]), float(structural[b]), n)
        for n, b in enumerate(best)
    )


def _distance(text: F32, others: F32) -> F32:
    """Caption distances (eq. 1)."""
    return np.asarray(np.sqrt(np.maximum(0, ((others - text) ** 2).sum(1))))


# ---------------------------------------------------------------- the first stage
def _meaning(queries: Sequence[Query], refs: References, k: int) -> list[Any]:
    """C1(q): row numbers of the k nearest captions (eq. 1) in order of distance, ties by row (rows are in key order).

    What a query must not see is looked for among the nearest alone; more are asked for where too few are left.
    """
    found: list[Any] = [None] * len(queries)
    waiting, ask = list(range(len(queries))), k + 16
    while waiting:
        ask = min(ask, len(refs))
        hits = refs.nearest(np.stack([queries[i].text for i in waiting]), ask)
        for i, row in zip(list(waiting), hits, strict=True):
            left = _visible(queries[i], refs, np.asarray(row, int))
            if len(left) >= k or ask == len(refs):
                found[i] = left[:k]
                waiting.remove(i)
        ask *= 2
    return found


def _visible(q: Query, refs: References, rows: Any) -> Any:
    """Rows without the query's own image, its near-duplicates and its scene."""
    own = np.isin(rows, refs.same(q.sha256, q.scene))
    return rows[~(own | refs.near(q.phash, rows))]
