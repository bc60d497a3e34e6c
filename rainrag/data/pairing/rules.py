"""Rules that join two lists of names by equal keys, and the rules for several rainy versions of one clean image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rainrag.core.names import composed, ending, stem
from rainrag.data.pairing.marks import bare, bare_anywhere, folded, numbers, without_marks
from rainrag.data.pairing.records import Left

Key = Callable[[str], str]


@dataclass(frozen=True)
class Rule:
    """How names of the two sides become keys; ``versions``: several marked rainy names may share one clean name."""

    told: str
    lq: Key
    gt: Key
    versions: bool = False


@dataclass
class Outcome:
    """Pairs (rainy, clean) of one rule, and the rest."""

    rule: Rule
    pairs: list[tuple[str, str]]
    left: list[Left]


def last_part(key: Key) -> Key:
    """A key of file names alone, whatever their folder."""
    return lambda name: key(name.rsplit("/", 1)[-1])


def equal_keys(told: str, key: Key, versions: bool = False) -> Rule:
    """A rule that makes keys of both sides in one way."""
    return Rule(told, key, key, versions)


RULES = (
    equal_keys("equal names", stem),
    equal_keys("equal names, Unicode forms composed", lambda name: composed(stem(name))),
    equal_keys("equal names but for upper and lower case", folded),
    equal_keys("names without the marks of their side (rain, norain, _gt …)", without_marks, versions=True),
    equal_keys("names without marks, leading zeros and xN", bare, versions=True),
    equal_keys("names without marks in any place, leading zeros and xN", bare_anywhere, versions=True),
    equal_keys("equal file names in different folders", last_part(folded)),
    equal_keys("file names in different folders without marks, leading zeros and xN", last_part(bare)),
)


def by_key(names: Sequence[str], key: Key) -> dict[str, list[str]]:
    """Names grouped by their key."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return found


def apply(rule: Rule, lq: Sequence[str], gt: Sequence[str]) -> Outcome:
    """Join two lists by equal keys."""
    left, right = by_key(lq, rule.lq), by_key(gt, rule.gt)
    out = Outcome(rule, [], [])
    for key, names in left.items():
        hits = right.get(key, [])
        if not hits:
            out.left += [Left(n, "missing-gt") for n in names]
        elif len(hits) == 1 and (len(names) == 1 or (rule.versions and _are_versions(names, rule.lq))):
            out.pairs += [(n, hits[0]) for n in names]
        else:
            _by_ending(out, names, hits)
    return unused(out, gt)


def _are_versions(names: Sequence[str], key: Key) -> bool:
    """Whether each of several names of one key has marks of its own: ``rd-1``, ``rain-1``, ``rd-rain-1``."""
    whole = [folded(n) for n in names]
    return len(set(whole)) == len(whole) and all(numbers(w) != key(n) for w, n in zip(whole, names, strict=True))


def _by_ending(out: Outcome, names: Sequence[str], hits: Sequence[str]) -> None:
    """Several names or several partners of one key: equal endings decide, or nothing does."""
    for name in names:
        same = [h for h in hits if ending(h) == ending(name)]
        rivals = [n for n in names if ending(n) == ending(name)]
        if len(same) == 1 and len(rivals) == 1:
            out.pairs.append((name, same[0]))
        elif len(hits) > 1:
            out.left.append(Left(name, "ambiguous-gt", tuple(hits)))
        else:
            out.left.append(Left(name, "duplicate-key", tuple(n for n in names if n != name)))


def unused(out: Outcome, gt: Sequence[str]) -> Outcome:
    """The outcome with the clean names that nothing wanted."""
    named = {g for _, g in out.pairs} | {o for x in out.left if x.reason == "ambiguous-gt" for o in x.others}
    out.left += [Left(g, "missing-lq", clean=True) for g in gt if g not in named]
    return out


# ---------------------------------------------------------------- many rainy versions of one clean image
def _cuts(key: str, end: bool) -> Iterator[tuple[str, str]]:
    """(part, rest) of a key at every border of a word or number; the part stands first, or last with ``end``."""
    for i in range(1, len(key)):
        before, after = key[i - 1], key[i]
        border = not before.isalnum() or not after.isalnum() or before.isdigit() != after.isdigit()
        if not border:
            continue
        part, rest = (key[i:], key[:i]) if end else (key[:i], key[i:])
        if part[0].isalnum() and part[-1].isalnum():
            yield part, rest


def _shape(rest: str) -> str:
    return re.sub(r"[^\W_]+", "*", rest)


def versions(lq: Sequence[str], gt: Sequence[str], key: Key, end: bool, told: str) -> Outcome | None:
    """Rainy names that are a clean name and more: ``901_1`` to ``901``. None where what is more has several forms."""
    clean = by_key(gt, key)
    out = Outcome(equal_keys(told, key), [], [])
    shapes = set()
    for name in lq:
        found = [(part, rest) for part, rest in _cuts(key(name), end) if part in clean]
        if end:
            found = [(part, rest) for part, rest in found if _word(rest) and "/" not in rest]
        if not found and clean.keys() == {""}:  # 'clean.png' beside 'rain-1.png' and 'rain-2.png'
            found = [("", key(name))]
        hits = [h for part, _ in found for h in clean[part]]
        if len(hits) == 1:
            shapes.add(_shape(found[0][1]))
            out.pairs.append((name, hits[0]))
        else:
            out.left.append(Left(name, "ambiguous-gt" if hits else "missing-gt", tuple(hits)))
    return unused(out, gt) if len(shapes) == 1 else None


def longer_clean(lq: Sequence[str], gt: Sequence[str]) -> Outcome | None:
    """Clean names that are a rainy name and more, one to one: ``1`` to ``1_groundtruthimage``."""
    turned = versions(gt, lq, bare, False, "clean names that add a suffix to the rainy ones")
    if turned is None or len({g for _, g in turned.pairs}) < len(turned.pairs):
        return None
    out = Outcome(turned.rule, [(b, a) for a, b in turned.pairs], [])
    placed = {n for pair in out.pairs for n in pair}
    out.left = [Left(n, "missing-gt") for n in lq if n not in placed]
    return unused(out, gt)


def affixes(lq: Sequence[str], gt: Sequence[str]) -> Outcome | None:
    """Names without what all names of their side have in common: ``1_MyNet_Rain100L`` and ``1_ref``."""
    cuts = [_common(names) for names in (lq, gt)]
    if not any(before or after for before, after in cuts):
        return None

    def without(before: str, after: str) -> Key:
        return lambda name: bare(folded(name)[len(before) : len(folded(name)) - len(after)])

    shown = " and ".join(f"{b}{{}}{a}" for b, a in cuts)
    told = f"names without what each side's have in common: {shown}"
    return apply(Rule(told, without(*cuts[0]), without(*cuts[1])), lq, gt)


def _common(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, as whole words with a letter in them; never a whole name."""
    if len(names) < 2:
        return "", ""
    whole = sorted({folded(n) for n in names}, key=len)
    if len(whole) < 2:
        return "", ""
    shortest = whole[0]
    after = next(
        (r for _, r in _cuts(shortest, False) if _word(r) and all(f.endswith(r) and len(f) > len(r) for f in whole)),
        "",
    )
    rest = [f[: len(f) - len(after)] for f in whole]
    heads = [r for _, r in _cuts(min(rest, key=len), True)]
    before = next(
        (r for r in reversed(heads) if _word(r) and all(f.startswith(r) and len(f) > len(r) for f in rest)), ""
    )
    return before, after


def _word(text: str) -> bool:
    return any(c.isalpha() for c in text)
