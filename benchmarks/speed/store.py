"""The cascade's first stage: exact products against Chroma's index, at some thousand caption vectors.

    python -m rainrag.benchmarks.speed.store [--references 1000 10000 100000] [--queries 64]

Vectors are clustered as captions are: few meanings, many wordings. Both answer the same queries in one run, on one
thread; recall is the share of the exact K1 that the index finds. The store measures the same when its index is built and
takes what is faster with a recall of 0.99 (``Store.rebuild``); below ``INDEX_FROM`` references it is exact in any case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rainrag.retrieval.chroma import Index
from rainrag.retrieval.references import References
from rainrag.retrieval.search import Query, Sizes, retrieve
from rainrag.retrieval.store import INDEX_FROM

TEXT, K1 = 384, 100


def vectors(n: int, rng: np.random.Generator, meanings: Any) -> Any:
    """n unit vectors around the meanings."""
    made = meanings[rng.integers(0, len(meanings), n)] + rng.standard_normal((n, TEXT)) * 0.5 / np.sqrt(TEXT)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def compare(n: int, queries: int, folder: Path) -> dict[str, Any]:
    """Times, recall and building time at one size."""
    rng = np.random.default_rng(n)
    meanings = rng.standard_normal((500, TEXT))
    meanings /= np.linalg.norm(meanings, axis=1, keepdims=True)
    texts, asked = vectors(n, rng, meanings), vectors(queries, rng, meanings)
    keys = [f"r/{i:07d}" for i in range(n)]
    index = Index(folder, None, "benchmark", n)
    started = time.perf_counter()
    index.make(
        [
            {"key": keys[i], "caption": "", "text": texts[i].tolist(), "stratum": "day"}
            for i in range(at, min(at + 1000, n))
        ]
        for at in range(0, n, 1000)
    )
    built = time.perf_counter() - started
    hashes = [rng.bytes(32).hex() for _ in range(n)]
    nothing = np.zeros((n, 1), np.float32)
    refs = References(keys, [f"{i:064x}" for i in range(n)], hashes, texts, nothing, None)
    ask = [
        Query(f"q/{i}", "f" * 64, "", t, np.ones(1, np.float32), np.zeros((1, 1), np.uint8))
        for i, t in enumerate(asked)
    ]
    sizes = Sizes(K1, K1, 1)
    by = {
        "exact": refs,
        "index": References(refs.keys, list(refs.sha256), hashes, texts, nothing, None, search=index.searcher(keys)),
    }
    found, seconds = {}, {}
    for name, source in by.items():
        retrieve(ask[:1], source, sizes, structural=False)
        best = []
        for _ in range(3):
            started = time.perf_counter()
            found[name] = retrieve(ask, source, sizes, structural=False)
            best.append(time.perf_counter() - started)
        seconds[name] = min(best)
    recall = [
        len(set(a.neighbours) & set(b.neighbours)) / len(a.neighbours)
        for a, b in zip(found["exact"], found["index"], strict=True)
    ]
    return {
        "references": n, "exact_ms_a_query": round(seconds["exact"] / queries * 1e3, 3),
        "index_ms_a_query": round(seconds["index"] / queries * 1e3, 3), "recall": round(float(np.mean(recall)), 4),
        "index_built_s": round(built, 1), "index_is_used": seconds["index"] < seconds["exact"] and n >= INDEX_FROM,
    }  # fmt: skip


def main() -> None:
    """Run and print one JSON line a size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--references", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--queries", type=int, default=64)
    args = parser.parse_args()
    with threadpool_limits(1):
        for n in args.references:
            with tempfile.TemporaryDirectory() as folder:
                print(json.dumps(compare(n, args.queries, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
