"""The three-stage retrieval (paper, equations 1 to 3): by meaning, then by look, then by structure.

Batches of queries against matrices; SSIM with the references' local statistics computed once. All in float32; ties are
broken by key, so results do not depend on order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rainrag import images
from rainrag.errors import UsageError
from rainrag.images import F32, U8
from rainrag.matrices import References, local, ssim
from rainrag.records import Match


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


# ---------------------------------------------------------------- the cascade
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
    for at in range(0, len(queries), 256):
        out += _batch(queries[at : at + 256], refs, sizes, structural)
    return out


def _batch(queries: Sequence[Query], refs: References, sizes: Sizes, structural: bool) -> list[Retrieved]:
    hidden = _hidden(queries, refs)
    rows = _first(np.stack([q.text for q in queries]), refs, sizes.k1, hidden)
    features = np.stack([q.feature for q in queries])
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)
    found = []
    for i, q in enumerate(queries):
        c1 = rows[i]
        visual = refs.features[c1] @ features[i]
        order = np.lexsort((c1, -visual))[: sizes.k2]
        c2, looks = c1[order], visual[order]
        matches = _last(q, refs, c2, looks, sizes.k3) if structural else ()
        found.append(Retrieved(matches, tuple(refs.keys[int(r)] for r in c2)))
    return found


def _last(q: Query, refs: References, c2: Any, looks: Any, k3: int) -> tuple[Match, ...]:
    """S(q) from C2(q) by SSIM (eq. 3), with the scores of all stages."""
    mine = local(q.structure)
    structural = np.array([ssim(mine, refs.stats(int(r))) for r in c2])
    best = np.lexsort((c2, -structural))[:k3]
    far = np.sqrt(np.maximum(0, ((refs.texts[c2[best]] - q.text) ** 2).sum(1)))
    return tuple(
        Match(refs.keys[int(c2[b])], float(far[n]), float(looks[b]), float(structural[b]), n)
        for n, b in enumerate(best)
    )


def _hidden(queries: Sequence[Query], refs: References) -> Any:
    """(Q, N) mask of references that a query must not see."""
    same = np.array([q.sha256 for q in queries])[:, None] == refs.sha256[None]
    near = images.hamming(images.hash_bits([q.phash for q in queries]), refs.bits) <= images.NEAR_BITS
    near &= refs.hashed[None] & np.array([bool(q.phash) for q in queries])[:, None]
    hidden = same | near
    if refs.scenes is not None:
        hidden |= np.array([q.scene or "\0" for q in queries])[:, None] == refs.scenes[None]
    return hidden


def _first(texts: F32, refs: References, k: int, hidden: Any) -> list[Any]:
    """C1(q): the k nearest captions (eq. 1), row numbers in order of distance, ties by row (rows are in key order)."""
    if refs.search is not None:
        spare = int(hidden.sum(1).max(initial=0))
        near = refs.search(texts, min(len(refs), k + spare))
        return [np.asarray([r for r in row if not hidden[i, r]][:k], int) for i, row in enumerate(near)]
    # Unit vectors: ranking by distance is ranking by the product, |a - b|^2 = 2 - 2ab.
    product = texts @ refs.texts.T
    product[hidden] = -np.inf
    rows = []
    for i in range(len(texts)):
        p = product[i]
        n = int((~hidden[i]).sum())
        take = min(k, n)
        if take < n:
            edge = np.partition(p, len(p) - take)[len(p) - take]
            candidates = np.flatnonzero(p >= edge)  # with all ties of the edge
        else:
            candidates = np.flatnonzero(~hidden[i])
        rows.append(candidates[np.lexsort((candidates, -p[candidates]))][:take])
    return rows
