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
def retrieve(queries: Sequence[Query], refs: References, sizes: Sizes) -> list[list[Match]]:
    """The retrieved set S(q) of each query, best first.

    A query's own image (equal bytes), its near-duplicates and its scene are left out. Sizes are clamped to the store's.

    Args:
        queries: any number; matrices are made in batches.
    """
    if not len(refs) or not queries:
        return [[] for _ in queries]
    out: list[list[Match]] = []
    for at in range(0, len(queries), 256):
        part = queries[at : at + 256]
        out += _batch(part, refs, sizes)
    return out


def _batch(queries: Sequence[Query], refs: References, sizes: Sizes) -> list[list[Match]]:
    texts = np.stack([q.text for q in queries])
    hidden = _hidden(queries, refs)
    rows = _first(texts, refs, sizes.k1, hidden)
    features = np.stack([q.feature for q in queries])
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)
    found: list[list[Match]] = []
    for i, q in enumerate(queries):
        c1 = rows[i]
        if not len(c1):
            found.append([])
            continue
        visual = refs.features[c1] @ features[i]
        order = np.lexsort((c1, -visual))[: sizes.k2]
        c2, looks = c1[order], visual[order]
        mine = local(q.structure)
        structural = np.array([ssim(mine, refs.stats(int(r))) for r in c2])
        best = np.lexsort((c2, -structural))[: sizes.k3]
        far = np.sqrt(np.maximum(0, ((refs.texts[c2[best]] - q.text) ** 2).sum(1)))
        found.append(
            [
                Match(refs.keys[int(c2[b])], float(far[n]), float(looks[b]), float(structural[b]), n)
                for n, b in enumerate(best)
            ]
        )
    return found


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
