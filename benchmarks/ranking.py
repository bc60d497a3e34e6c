"""Results of one test set side by side: ranks as intervals, what cannot be told apart, what was published."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rainrag import baselines
from rainrag.benchmarks import tables
from rainrag.core import stats
from rainrag.core.types import Result
from rainrag.evaluation import results

#: Metrics of which less is better.
SMALLER = frozenset({"lpips", "lpips-alex", "st-lpips", "dists", "niqe", "brisque", "pieapp"})


@dataclass(frozen=True)
class Published:
    """A figure from a paper or repository."""

    psnr: float
    ssim: float | None
    source: str
    sure: bool = True


@dataclass(frozen=True)
class Standing:
    """One result among the others of its test set and protocol.

    Args:
        rank: (best, worst) that the images allow; None for a result on other images or under another signature.
        group: letters; two results that share one cannot be told apart.
        published: figures of the same model (and weights, where they are said) on the set of this name.
    """

    path: Path
    result: Result
    rank: tuple[int, int] | None = None
    group: str = ""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Table:
    """All results of one test set under one protocol, best first.

    Args:
        compared: pairwise paired tests, Holm-corrected together.
        left_out: images that some result has no finite value of the metric for.
    """

    testset: str
    protocol: str
    metric: str
    standings: tuple[Standing, ...]
    compared: tuple[stats.Comparison, ...] = ()
    left_out: int = 0
    notes: tuple[str, ...] = field(default=())


def label(result: Result) -> str:
    """``prenet (rain100l)``."""
    return result.model if result.weights is None else f"{result.model} ({result.weights})"


def table(
    paths: Sequence[Path],
    metric: str = "psnr",
    published: Callable[[Result], tuple[Published, ...]] | None = None,
) -> Table:
    """Rank results of one test set and protocol by paired tests over scenes.

    Args:
        paths: JSON files of one test set and one protocol.
        published: figures of a result's model on its test set; from the networks' cards if not given (needs torch).
    """
    loaded = [(p, results.load(p)) for p in paths]
    metric = metric if any(metric in r.signature for _, r in loaded) else next(iter(loaded[0][1].signature))
    kinds = Counter(_kind(r, metric) for _, r in loaded)
    usual = kinds.most_common(1)[0][0]
    same = [(p, r) for p, r in loaded if _kind(r, metric) == usual]
    scores, scenes, left_out = _common([(str(p), results.scores(p)) for p, _ in same], metric)
    larger = metric not in SMALLER
    compared = stats.compare(scores, scenes) if scenes else []
    ranks = stats.ranks(scores, scenes, larger, compared=compared) if scenes else {}
    groups = stats.groups(scores, scenes, larger, compared=compared) if scenes else []
    letters = {p: "".join(_letter(i) for i, g in enumerate(groups) if p in g) for p in scores}
    standings = [
        Standing(p, r, ranks.get(str(p)), letters.get(str(p), ""), (published or published_of)(r)) for p, r in loaded
    ]
    standings.sort(key=lambda s: _order(s.result.mean.get(metric), larger))
    others = len(loaded) - len(same)
    note = f"{others} results are on other images or of another signature: not ranked with the rest"
    first = loaded[0][1]
    return Table(first.testset, first.protocol, metric, tuple(standings), tuple(compared), left_out,
                 (note,) if others else ())  # fmt: skip


def _kind(result: Result, metric: str) -> tuple[str, str]:
    """What has to agree for two results to be ranked: the images and the metric. Tiles are the entrant's own affair."""
    return result.testset_sha256, re.sub(r"\|tile[^|]*", "", result.signature.get(metric, ""))


def _common(
    rows: Sequence[tuple[str, list[dict[str, Any]]]], metric: str
) -> tuple[dict[str, list[float]], list[str], int]:
    """Scores on the images that every result has a finite value for, and their scenes."""
    by_key = {name: {r["key"]: r for r in listed} for name, listed in rows}
    keys = list(next(iter(by_key.values())))
    good = [k for k in keys if all(k in found and found[k][metric] is not None for found in by_key.values())]
    scores = {name: [float(found[k][metric]) for k in good] for name, found in by_key.items()}
    first = by_key[rows[0][0]]
    return scores, [first[k]["scene"] for k in good], len(keys) - len(good)


def _letter(i: int) -> str:
    return string.ascii_lowercase[i] if i < 26 else f"[{i + 1}]"


def _order(value: float | None, larger: bool) -> float:
    return float("inf") if value is None else -value if larger else value


def published_of(result: Result, claims: Sequence[Any] | None = None) -> tuple[Published, ...]:
    """Figures of the result's model on its test set.

    Args:
        claims: of the model's card, where they are available locally; read from the card if not given (needs torch).
    """
    if claims is None:
        claims = baselines.card_of(result.model).claims if result.model in baselines.TABLE else ()
    found = [
        Published(c.psnr, c.ssim, f"{c.source or 'its authors'}, {c.protocol}", c.verified)
        for c in claims
        if c.testset == result.testset and c.weights in (None, result.weights)
    ]
    for r in tables.published():
        if r["model"] == result.model and r["testset"] == result.testset:
            ssim = float(r["ssim"]) if r.get("ssim") else None
            found.append(Published(float(r["psnr_db"]), ssim, r["source"], r["inferred"] == "no"))
    return tuple(found)
