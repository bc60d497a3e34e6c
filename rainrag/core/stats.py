"""Intervals and paired tests over scenes: scenes are the resampling unit (cluster bootstrap).

References: Efron and Tibshirani 1993 (bootstrap), Pitman 1937 (sign-flip permutation test), Holm 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def by_scene(values: Sequence[float], scenes: Sequence[str]) -> tuple[F64, F64]:
    """Sum of the values and number of images of each scene, scenes in sorted order."""
    names = sorted(set(scenes))
    at = {s: i for i, s in enumerate(names)}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for v, s in zip(values, scenes, strict=True):
        sums[at[s]] += v
        counts[at[s]] += 1
    return sums, counts


def interval(
    values: Sequence[float], scenes: Sequence[str], level: float = 0.95, rounds: int = 4000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over images, resampling scenes.

    Returns:
        (low, high); None with fewer than two scenes or with infinite values, where no interval can be had.
    """
    if not len(values) or not np.isfinite(values).all():
        return None
    sums, counts = by_scene(values, scenes)
    n = len(sums)
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=rounds)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_interval(
    hits: Sequence[float], scenes: Sequence[str], level: float = 0.95, rounds: int = 4000, seed: int = 0
) -> tuple[float, float] | None:
    """Interval of a share (values 0 and 1), resampling scenes; exact where all or none hit.

    There the bootstrap has no width, and the binomial bound over scenes (Clopper and Pearson 1934) is given: of 8 of 8
    scenes, 63 % to 100 %.

    Returns:
        (low, high) in [0, 1]; None without values, and with one scene that hits in part.
    """
    if not len(hits):
        return None
    least = float(((1 - level) / 2) ** (1 / len(set(scenes))))
    if min(hits) == 1:
        return least, 1.0
    if max(hits) == 0:
        return 0.0, 1 - least
    return interval(hits, scenes, level, rounds, seed)


def paired_p(
    a: Sequence[float], b: Sequence[float], scenes: Sequence[str], rounds: int = 20000, seed: int = 0
) -> float:
    """Two-sided sign-flip permutation test of equal means on the same images, flipping whole scenes.

    Exact where there are at most 14 scenes (all sign patterns), else Monte Carlo with the observed pattern counted in.

    Returns:
        p-value in (0, 1].
    """
    sums, _ = by_scene(np.subtract(a, b).tolist(), scenes)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    seen = abs(float(sums.sum()))
    if len(sums) <= 14:
        patterns = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        totals = np.abs(patterns @ sums)
        return float((totals >= seen * (1 - 1e-12)).mean())
    rng = np.random.default_rng(seed)
    hits = 1
    for at in range(0, rounds, 2000):
        size = min(2000, rounds - at)
        signs = rng.integers(0, 2, (size, len(sums))) * 2 - 1
        hits += int((np.abs(signs @ sums) >= seen * (1 - 1e-12)).sum())
    return hits / (rounds + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return [float(x) for x in adjusted]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same images.

    Args:
        difference: mean of a minus mean of b.
        interval: 95 % bootstrap interval of it.
        p: Holm-adjusted.
        scenes_needed: scenes that would separate them at 80 % power if the difference is real (normal approximation).
    """

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    p: float
    scenes_needed: int | None


def compare(scores: Mapping[str, Sequence[float]], scenes: Sequence[str], seed: int = 0) -> list[Comparison]:
    """All pairs of methods scored on the same images, Holm-corrected together."""
    names = list(scores)
    pairs = [(x, y) for i, x in enumerate(names) for y in names[i + 1 :]]
    raw = [paired_p(scores[x], scores[y], scenes, seed=seed) for x, y in pairs]
    out = []
    for (x, y), p in zip(pairs, holm(raw), strict=True):
        gap = np.subtract(scores[x], scores[y])
        out.append(
            Comparison(x, y, float(gap.mean()), interval(gap.tolist(), scenes, seed=seed), p, _needed(gap, scenes))
        )
    return out


def _needed(gap: F64, scenes: Sequence[str]) -> int | None:
    sums, counts = by_scene(gap.tolist(), scenes)
    per = sums / counts
    if len(per) < 2 or per.mean() == 0:
        return None
    return int(np.ceil(((1.96 + 0.8416) * per.std(ddof=1) / per.mean()) ** 2))


def ranks(
    scores: Mapping[str, Sequence[float]],
    scenes: Sequence[str],
    larger_is_better: bool = True,
    alpha: float = 0.05,
    compared: Sequence[Comparison] | None = None,
) -> dict[str, tuple[int, int]]:
    """Rank of each method as an interval: 1 + those surely better, to the number of methods minus those surely worse.

    "Surely" is a Holm-adjusted paired test below ``alpha``. Methods whose intervals overlap may differ all the same:
    ``groups`` tells which ones these images cannot tell apart.

    Args:
        compared: what ``compare`` gave for these scores, where it is available locally.
    """
    better = dict.fromkeys(scores, 0)
    worse = dict.fromkeys(scores, 0)
    for c in compare(scores, scenes) if compared is None else compared:
        if c.p >= alpha:
            continue
        first = (c.difference > 0) == larger_is_better
        win, lose = (c.a, c.b) if first else (c.b, c.a)
        worse[win] += 1
        better[lose] += 1
    n = len(scores)
    return {m: (1 + better[m], n - worse[m]) for m in scores}


def groups(
    scores: Mapping[str, Sequence[float]],
    scenes: Sequence[str],
    larger_is_better: bool = True,
    alpha: float = 0.05,
    compared: Sequence[Comparison] | None = None,
) -> list[tuple[str, ...]]:
    """Methods that cannot be told apart: the largest sets in which no pair differs at ``alpha``, best first.

    Two methods share a set if and only if their Holm-adjusted paired test finds no difference; a method may be in
    several sets (the letters of a compact letter display).
    """
    near: dict[str, set[str]] = {m: set() for m in scores}
    for c in compare(scores, scenes) if compared is None else compared:
        if c.p >= alpha:
            near[c.a].add(c.b)
            near[c.b].add(c.a)
    sign = -1 if larger_is_better else 1
    place = {m: i for i, m in enumerate(sorted(scores, key=lambda m: sign * float(np.mean(scores[m]))))}
    found = [tuple(sorted(g, key=place.__getitem__)) for g in _cliques(set(), set(scores), set(), near)]
    return sorted(found, key=lambda g: [place[m] for m in g])


def _cliques(
    chosen: set[str], open_: set[str], done: set[str], near: Mapping[str, set[str]]
) -> Iterator[frozenset[str]]:
    """Maximal sets of mutual neighbours (Bron and Kerbosch 1973)."""
    if not open_ and not done:
        yield frozenset(chosen)
        return
    for m in sorted(open_):
        yield from _cliques(chosen | {m}, open_ & near[m], done & near[m], near)
        open_, done = open_ - {m}, done | {m}
