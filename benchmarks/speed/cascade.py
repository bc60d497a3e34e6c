"""The cascade against a plain loop of the same equations (numpy and scikit-image), at some thousand references.

    python -m rainrag.benchmarks.speed.cascade --references 10000

Both do the same queries on the same random store in one run, on one thread, turn by turn, and must find the same
references with the same scores. As in a store on disk, the references' local statistics are there when the first query
comes; what making them took is printed too. The ratio is the result; milliseconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from rainrag.retrieval.references import References, Structural
from rainrag.retrieval.search import Query, Sizes, retrieve
from rainrag.retrieval.store import STATISTICS_UP_TO

TEXT, FEATURE, SIDE = 384, 1315, 256  # as the embedded encoders have


def store(n: int, seed: int) -> References:
    """A random store: unit captions of which some are equal, features, smooth structures."""
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((n, TEXT)).astype(np.float32)
    texts[n // 2 :: 7] = texts[0]
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    features = rng.standard_normal((n, FEATURE)).astype(np.float32)
    structures = np.stack([structure(rng) for _ in range(n)])
    return References(
        [f"r/{i:06d}" for i in range(n)],
        [f"{i:064x}" for i in range(n)],
        [rng.bytes(32).hex() for _ in range(n)],
        texts,
        features,
        structures,
        scenes=[f"r/{i:06d}" for i in range(n)],
        statistics=statistics(structures) if n <= STATISTICS_UP_TO else None,
    )


def statistics(structures: Any) -> Any:
    """What a store's writer keeps of each structure, once for all queries."""
    measure = Structural()
    made = np.empty((len(structures), 2, SIDE, SIDE), np.uint16)
    for y, out in zip(structures, made, strict=True):
        measure.measure(y, out)
    return made


def structure(rng: np.random.Generator) -> Any:
    """A smooth random picture of 256 x 256."""
    return cv2.resize(rng.integers(0, 256, (24, 24)).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def queries(n: int, seed: int) -> list[Query]:
    """Random queries, none of them in the store."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        text = rng.standard_normal(TEXT).astype(np.float32)
        text /= np.linalg.norm(text)
        feature = rng.standard_normal(FEATURE).astype(np.float32)
        found.append(Query(f"q/{i}", f"q{i:063x}", rng.bytes(32).hex(), text, feature, structure(rng)))
    return found


def plain(q: Query, refs: References, sizes: Sizes) -> list[tuple[str, float, float, float]]:
    """Equations (1) to (3) as they are written, one query at a time."""
    from skimage.metrics import structural_similarity

    far = np.linalg.norm(refs.texts - q.text, axis=1)
    c1 = np.argsort(far, kind="stable")[: sizes.k1]
    looks = [
        float(q.feature @ refs.features[r] / np.linalg.norm(q.feature) / np.linalg.norm(refs.features[r])) for r in c1
    ]
    order = np.argsort(-np.array(looks), kind="stable")[: sizes.k2]
    scored = [
        structural_similarity(
            q.structure, refs.structures[c1[o]], gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=255,
        )
        for o in order
    ]  # fmt: skip
    best = np.argsort(-np.array(scored), kind="stable")[: sizes.k3]
    return [(refs.keys[c1[order[b]]], float(far[c1[order[b]]]), looks[order[b]], float(scored[b])) for b in best]


def differs(found: Any, plain_found: list[tuple[str, float, float, float]]) -> bool:
    """Whether the two found other references, or other scores to 1e-4."""
    if [m.key for m in found.matches] != [p[0] for p in plain_found]:
        return True
    ours = [(m.semantic, m.visual, m.structural) for m in found.matches]
    return not np.allclose(ours, [p[1:] for p in plain_found], atol=1e-4)


def main() -> None:
    """Run and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--references", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=512, help="for the cascade")
    parser.add_argument("--plain", type=int, default=2, help="of them, for the plain loop, a turn")
    parser.add_argument("--turns", type=int, default=16, help="the best of each counts")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        refs, asked, sizes = store(args.references, args.seed), queries(args.queries, args.seed + 1), Sizes()
        measuring, _ = cost(lambda: statistics(refs.structures[:200]))
        plain(asked[0], refs, sizes)  # imports and first touches are nobody's time
        retrieve(asked[:1], refs, sizes)
        ours, theirs, wrong = [], [], 0
        for turn in range(args.turns):
            some = asked[turn :: args.turns]
            spent, found = cost(partial(retrieve, some, refs, sizes))
            ours.append(spent / len(some))
            few = some[: args.plain]
            spent, by_loop = cost(partial(list, (plain(q, refs, sizes) for q in few)))
            theirs.append(spent / len(few))
            wrong += sum(differs(f, p) for f, p in zip(found, by_loop, strict=False))
    print(
        json.dumps({
            "references": args.references, "queries": len(asked), "plain_queries": args.plain * args.turns,
            "cascade_ms_a_query": round(min(ours) * 1e3, 2), "plain_ms_a_query": round(min(theirs) * 1e3, 2),
            "statistics_ms_a_reference": round(measuring / min(200, len(refs)) * 1e3, 2),
            "times_faster": round(min(theirs) / min(ours), 1), "disagreements": wrong,
        })
    )  # fmt: skip


def cost(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, which neighbours on the machine stretch less than the clock's, and the result."""
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


if __name__ == "__main__":
    main()
