"""Explicit patterns of names, as a user gives them and as a refusal shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from rainrag.core.errors import UsageError
from rainrag.core.names import composed, ending, stem
from rainrag.data.pairing.records import Left
from rainrag.data.pairing.rules import Outcome, equal_keys, unused


def sides(pattern: str) -> tuple[str, str]:
    """The rainy and the clean half of a pattern.

    Raises:
        UsageError: when a half lacks its one ``{}``.
    """
    lq, sign, gt = pattern.partition("=")
    halves = (composed(lq), composed(gt) if sign else "{}")
    if any(half.count("{}") != 1 for half in halves):
        raise UsageError(
            f"'{pattern}' is no pattern of names",
            hint="'RAINY=CLEAN' with one {} on each side, such as '{}_rain={}_clean' or 'wet/{}_*=dry/{}'",
        )
    return halves


def _template(half: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What stands before and after ``{}``, as expressions that have to match wholly."""
    before, after = (re.compile(".*".join(re.escape(p) for p in part.split("*"))) for part in half.split("{}"))
    return before, after


def _shared(half: str, name: str) -> Iterator[str]:
    """All texts that ``{}`` can stand for in a name."""
    before, after = _template(half)
    text = composed(stem(name))
    for i in range(len(text)):
        if before.fullmatch(text, 0, i):
            for j in range(len(text), i, -1):
                if after.fullmatch(text, j):
                    yield text[i:j]


def fits(half: str, name: str) -> bool:
    """Whether a name fits one half of a pattern."""
    return next(_shared(half, name), None) is not None


def by_pattern(lq: Sequence[str], gt: Sequence[str], pattern: str) -> Outcome:
    """Names that fit a pattern; each rainy one needs exactly one clean partner."""
    rainy, clean = sides(pattern)
    known: dict[str, list[str]] = {}
    for name in gt:
        for text in _shared(clean, name):
            known.setdefault(text, []).append(name)
    out = Outcome(equal_keys(f"the pattern '{pattern}'", stem), [], [])
    for name in lq:
        hits = list(dict.fromkeys(h for text in _shared(rainy, name) for h in known.get(text, []) if h != name))
        same = [h for h in hits if ending(h) == ending(name)]
        hits = same if len(same) == 1 else hits
        if len(hits) == 1:
            out.pairs.append((name, hits[0]))
        else:
            out.left.append(Left(name, "ambiguous-gt" if hits else "missing-gt", tuple(hits)))
    return unused(out, gt)


def suggestion(left: Sequence[Left]) -> str | None:
    """A pattern made from a rainy and a clean name that are left over and have most in common; None without both."""
    rainy = next((x.name for x in left if x.reason in ("missing-gt", "ambiguous-gt", "duplicate-key")), None)
    clean = [x.name for x in left if x.reason == "missing-lq"][:64] or [o for x in left for o in x.others][:64]
    if rainy is None or not clean:
        return None
    return pattern_of(rainy, clean)


def pattern_of(rainy: str, clean: Sequence[str]) -> str:
    """``wet/{}_*=dry/gt-{}`` from ``wet/901_1`` and ``dry/gt-901``: what the last parts have in common becomes ``{}``."""
    heads, tails = zip(*(_split(composed(stem(name))) for name in (rainy, *clean)), strict=True)
    found = [SequenceMatcher(None, tails[0], tail, autojunk=False).find_longest_match() for tail in tails[1:]]
    i = max(range(len(found)), key=lambda n: found[n].size)
    halves = []
    for n, at in ((0, found[i].a), (i + 1, found[i].b)):
        before, same, after = tails[n][:at], tails[n][at : at + found[i].size], tails[n][at + found[i].size :]
        inside = same.strip("-_. ")
        if not inside:
            halves.append(f"{heads[n]}{{}}")
            continue
        first = same.index(inside)
        before, after = before + same[:first], same[first + len(inside) :] + after
        halves.append(heads[n] + re.sub(r"\d+", "*", before) + "{}" + re.sub(r"\d+", "*", after))
    return "=".join(halves)


def _split(path: str) -> tuple[str, str]:
    head, slash, tail = path.rpartition("/")
    return head + slash, tail
