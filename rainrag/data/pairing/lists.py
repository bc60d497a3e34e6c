"""Pairing of two lists of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from rainrag.core.names import composed, ending, stem
from rainrag.data.pairing.marks import bare, folded, unmarked
from rainrag.data.pairing.patterns import by_pattern, suggestion
from rainrag.data.pairing.records import Left, Pair, Pairing
from rainrag.data.pairing.rules import (
    RULES,
    Outcome,
    affixes,
    apply,
    by_key,
    equal_keys,
    last_part,
    longer_clean,
    versions,
)


def pair_lists(
    lq: Iterable[str], gt: Iterable[str], *, pattern: str | None = None, suffix: str | None = None
) -> Pairing:
    """Pair two lists of names.

    Args:
        lq: rainy images or results, as relative paths.
        gt: clean images.
        pattern: ``'{}_*_net={}'``: rainy name = clean name, both without ending; ``{}`` is what they share and ``*`` is
            anything. Without ``=`` the clean name is ``{}``.
        suffix: what each rainy name ends with, taken off first.

    Raises:
        UsageError: for a pattern that is none.
    """
    lq, gt = sorted(set(lq)), sorted(set(gt))
    clashes, rest, clean = _clashes(lq, gt)
    if pattern is not None:
        best = by_pattern(rest, clean, pattern)
    elif suffix is not None:
        best = _by_suffix(rest, clean, suffix)
    else:
        best = best_rule(rest, clean)
    left = [*clashes, *best.left]
    told = best.rule.told if best.pairs else "no names that belong together"
    return Pairing(told, _named(best), tuple(left), suggestion(left))


def _clashes(lq: Sequence[str], gt: Sequence[str]) -> tuple[list[Left], list[str], list[str]]:
    """Names that differ in upper and lower case alone are taken out, with the rainy names that they would pair with."""
    left: tuple[dict[str, Left], dict[str, Left]] = ({}, {})
    lost: dict[str, tuple[str, ...]] = {}
    for side, names in enumerate((lq, gt)):
        for clash in by_key(names, str.lower).values():
            if len(clash) > 1:
                rivals = {n: tuple(o for o in clash if o != n) for n in clash}
                left[side].update({n: Left(n, "case-clash", rivals[n], clean=side == 1) for n in clash})
                lost[folded(clash[0])] = tuple(clash)
    for side, names in enumerate((lq, gt)):
        for name in names:
            if folded(name) in lost:
                left[side].setdefault(name, Left(name, "case-clash", lost[folded(name)], clean=side == 1))
    rest = [[n for n in names if n not in left[side]] for side, names in enumerate((lq, gt))]
    return [*left[0].values(), *left[1].values()], rest[0], rest[1]


def best_rule(lq: Sequence[str], gt: Sequence[str]) -> Outcome:
    """The first rule that leaves the fewest names over."""
    best: Outcome | None = None
    for outcome in _tried(lq, gt):
        if best is None or (outcome.pairs and len(outcome.left) < len(best.left)):
            best = outcome
        if not best.left:
            break
    assert best is not None  # RULES is not empty
    return best


def _tried(lq: Sequence[str], gt: Sequence[str]) -> Iterator[Outcome]:
    for rule in RULES[:6]:
        yield apply(rule, lq, gt)
    told = "several rainy names of one clean name, as 901_1 and 901_2 of 901"
    others: list[Callable[[], Outcome | None]] = [
        lambda: versions(lq, gt, bare, False, told),
        lambda: versions(
            lq, gt, bare, True, "several rainy names of one clean name, as light_901 and heavy_901 of 901"
        ),
        lambda: longer_clean(lq, gt),
        lambda: affixes(lq, gt),
    ]
    for make in others:
        if outcome := make():
            yield outcome
    for rule in RULES[6:]:
        yield apply(rule, lq, gt)
    if outcome := versions(lq, gt, last_part(bare), False, f"{told}, in different folders"):
        yield outcome


def _named(best: Outcome) -> tuple[Pair, ...]:
    """Pairs with keys: the rainy name without marks where that is unique, else the name itself."""
    plain = best.rule.told.startswith("equal")
    short = {lq: composed(stem(lq)) if plain else unmarked(composed(stem(lq))) for lq, _ in best.pairs}
    counts = by_key(list(short), lambda lq: short[lq])
    made = []
    for lq, gt in best.pairs:
        key = short[lq] if short[lq].strip("/") and len(counts[short[lq]]) == 1 else stem(lq)
        made.append((re.sub("//+", "/", key).strip("/"), lq, gt))
    made = [(key, lq, gt) for key, (lq, gt) in zip(unique_keys([m[:2] for m in made]), best.pairs, strict=True)]
    clean = {gt: key for key, _, gt in made} if plain else {gt: unmarked(composed(stem(gt))) for _, _, gt in made}
    scenes = by_key(list(clean), lambda gt: clean[gt])
    return tuple(
        Pair(key, lq, gt, clean[gt].strip("/") if clean[gt].strip("/") and len(scenes[clean[gt]]) == 1 else stem(gt))
        for key, lq, gt in made
    )


def unique_keys(made: Sequence[tuple[str, str]]) -> list[str]:
    """Keys of (key, rainy name): where several names have one key, their own names without and then with ending."""
    for alternative in (stem, str):
        taken = Counter(key for key, _ in made)
        made = [(key if taken[key] == 1 else alternative(lq), lq) for key, lq in made]
    return [key for key, _ in made]


def _by_suffix(lq: Sequence[str], gt: Sequence[str], suffix: str) -> Outcome:
    """Rainy names without ``suffix``; those that lack it are left over."""
    has = [n for n in lq if stem(n).endswith(suffix) and len(stem(n)) > len(suffix)]
    cut = {n: stem(n)[: -len(suffix)] + ending(n) if suffix else n for n in has}
    inside = best_rule(sorted(set(cut.values())), gt)
    back: dict[str, list[str]] = by_key(has, lambda n: cut[n])
    rule = equal_keys(f"rainy names end with '{suffix}'; {inside.rule.told}", stem)
    out = Outcome(rule, [(n, g) for c, g in inside.pairs for n in back[c]], [])
    out.left = [Left(n, x.reason, x.others) for x in inside.left for n in back.get(x.name, [x.name])]
    out.left += [Left(n, "missing-gt") for n in lq if n not in cut]
    return out
