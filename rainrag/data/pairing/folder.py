"""Pairing within one folder: which files are the rainy and the clean side, from folder names and marks in file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rainrag.core.names import composed, stem
from rainrag.data.pairing.lists import pair_lists, unique_keys
from rainrag.data.pairing.marks import GT_FOLDERS, LQ_FOLDERS, PARTS, side_of, unmarked
from rainrag.data.pairing.patterns import fits, pattern_of, sides, suggestion
from rainrag.data.pairing.records import Left, Pair, Pairing

#: Share of a folder's names that have to pair before a folder without a mark counts as a side.
ENOUGH = 0.5
#: Folders beside each other that are compared for equal names, at most.
COMPARED = 12


def pair_folder(names: Iterable[str], *, pattern: str | None = None, suffix: str | None = None) -> Pairing:
    """Pair the images of one folder.

    Sides are told by folders (``wet/`` and ``dry/``, in any depth, the innermost decides), then by marks in file names
    (``1_rainy``, ``1_clean``). Where nothing tells the sides and yet names could pair, the result is a refusal.

    Args:
        names: relative paths of images.
        pattern, suffix: as for ``pair_lists``; with a pattern, its halves alone tell the sides.
    """
    names = sorted(set(names))
    if pattern is not None:
        return _patterned(names, pattern)
    work = _Work(suffix)
    work.folders(names)
    work.marks([n for n in names if n not in work.seen])
    if not work.pairs:
        return Pairing("no pairs", refused=_refusal(work, names), pattern=_hint(work, names))
    pairs, torn = _settled(work.pairs)
    if not pairs:
        return Pairing("no pairs", left=tuple(torn), refused=_refusal(work, names), pattern=_hint(work, names))
    placed = {n for p in pairs for n in (p.lq, p.gt)}
    left = [x for x in (*work.left, *torn) if x.name not in placed]
    named = {x.name for x in left} | {o for x in left if x.reason == "ambiguous-gt" for o in x.others} | placed
    left += [Left(n, "unknown-file") for n in names if n not in named]
    return Pairing(work.layout(), pairs, tuple(left), suggestion(left))


def _settled(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], list[Left]]:
    """Pairs of several pairs of folders together: a rainy image with several partners is in none, and keys are unique."""
    partners: dict[str, list[str]] = {}
    for p in pairs:
        partners.setdefault(p.lq, []).append(p.gt)
    kept = [p for p in pairs if len(partners[p.lq]) == 1]
    keys = unique_keys([(p.key, p.lq) for p in kept])
    torn = [Left(lq, "ambiguous-gt", tuple(sorted(gts))) for lq, gts in partners.items() if len(gts) > 1]
    return tuple(replace(p, key=key) for p, key in zip(kept, keys, strict=True)), torn


def _patterned(names: Sequence[str], pattern: str) -> Pairing:
    """Sides by the halves of a pattern; a name that fits both belongs to the half that says more."""
    rainy, clean = sides(pattern)
    in_rainy, in_clean = [{n for n in names if fits(half, n)} for half in (rainy, clean)]
    if len(rainy) >= len(clean):
        in_clean -= in_rainy
    else:
        in_rainy -= in_clean
    found = pair_lists(in_rainy, in_clean, pattern=pattern)
    rest = [Left(n, "unknown-file") for n in names if n not in in_rainy | in_clean]
    refused = None if found.pairs else f"no two names fit the pattern '{pattern}'"
    return Pairing(found.layout, found.pairs, (*found.left, *rest), found.pattern, refused)


@dataclass
class _Work:
    """What is known so far of one folder."""

    suffix: str | None
    pairs: list[Pair] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    placed: set[str] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    #: (rainy, clean) names of sides of which no name met
    apart: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def layout(self) -> str:
        """One line: the sides and how names were joined."""
        more = f" and {len(self.examples) - 1} more" if len(self.examples) > 1 else ""
        how = "; ".join(told for told, _ in self.told.most_common(3))
        return f"{self.examples[0]}{more}, {how}"

    def join(self, lq: dict[str, str], gt: dict[str, str], where: str, shown: str, least: float = 0.0) -> bool:
        """Pair two sides, given as short name -> path; False where fewer than ``least`` of the smaller one pair."""
        found = pair_lists(lq, gt, suffix=self.suffix)
        used = min(len({p.lq for p in found.pairs}) / len(lq), 1.0), len({p.gt for p in found.pairs}) / len(gt)
        if not found.pairs or max(used) < least:
            if not least:
                self.apart.append((sorted(lq.values()), sorted(gt.values())))
            return False
        self.pairs += [Pair(f"{where}{p.key}", lq[p.lq], gt[p.gt], f"{where}{p.scene}") for p in found.pairs]
        for x in found.left:
            own, other = (gt, lq) if x.clean else (lq, gt)
            rivals = other if x.reason == "ambiguous-gt" else own
            others = tuple(rivals.get(o) or other.get(o) or own[o] for o in x.others)
            self.left.append(Left(own[x.name], x.reason, others, x.clean))
        self.placed |= {n for p in found.pairs for n in (lq[p.lq], gt[p.gt])}
        self.seen |= {*lq.values(), *gt.values()}
        self.told[found.layout] += len(found.pairs)
        self.examples.append(shown)
        return True

    # ---------------------------------------------------------------- folders
    def folders(self, names: Sequence[str]) -> None:
        """Folders that are sides of each other: the innermost such folder of a file has it."""
        parents = _marked_folders(names)
        both = {p for p, found in parents.items() if "lq" in found.values() and {"gt", "out"} & set(found.values())}
        members: dict[tuple[str, str], dict[str, str]] = {}
        for name in names:
            for parent, folder, rest in reversed(list(_steps(name))):
                if parent in both and parents[parent][folder]:
                    members.setdefault((parent, folder), {})[rest] = name
                    break
        for parent in sorted(both):
            self._siblings(parent, {f: s for f, s in parents[parent].items() if s and (parent, f) in members}, members)
        self._one_marked(names, {p: found for p, found in parents.items() if p not in both})

    def _siblings(self, parent: str, found: dict[str, str], members: dict[tuple[str, str], dict[str, str]]) -> None:
        clean = [f for f, side in found.items() if side == "gt"] or [f for f, side in found.items() if side == "out"]
        for rainy in sorted(f for f, side in found.items() if side == "lq"):
            same = [c for c in clean if _core(c) == _core(rainy)] or (clean if len(clean) == 1 else [])
            for one in same[:1] if len(same) == 1 else _fullest(same, members, parent):
                alone = len([f for f, s in found.items() if s == "lq"]) == 1
                where = parent if alone else f"{parent}{_core(rainy) or rainy}/"
                shown = f"rainy in {parent}{rainy}/, clean in {parent}{one}/"
                self.join(members[parent, rainy], members[parent, one], where, shown)

    def _one_marked(self, names: Sequence[str], parents: dict[str, dict[str, str]]) -> None:
        """A folder of clean images beside folders without a mark, or beside the images themselves."""
        for parent, found in sorted(parents.items()):
            for one in sorted(f for f, side in found.items() if side == "gt"):
                clean = _below(names, f"{parent}{one}/")
                others = [f for f, side in found.items() if not side and f.lower() not in PARTS]
                for other in sorted(others):
                    rainy = _below(names, f"{parent}{other}/")
                    shown = f"rainy in {parent}{other}/, clean in {parent}{one}/"
                    self.join(rainy, clean, f"{parent}{other}/", shown, ENOUGH)
                here = {n[len(parent) :]: n for n in names if n.startswith(parent) and "/" not in n[len(parent) :]}
                if here:
                    self.join(here, clean, parent, f"rainy in {parent or './'}, clean in {parent}{one}/", ENOUGH)

    # ---------------------------------------------------------------- marks in file names
    def marks(self, names: Sequence[str]) -> None:
        """Rainy and clean files in one folder, told by their names; in different folders where none holds both."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(name[: name.rfind("/") + 1], []).append(name)
        for where, members in folders.items():
            self._marked({n[len(where) :]: n for n in members}, where)
        if not self.pairs and len(folders) > 1:
            self._marked({n: n for n in names}, "")

    def _marked(self, short: dict[str, str], where: str) -> None:
        told = {n: _path_side(n) for n in short}
        lq, gt, out, bare = ({n: short[n] for n in short if told[n] == side} for side in ("lq", "gt", "out", ""))
        gt = gt or out
        shown = f"marks in file names in {where or './'}"
        if lq and gt:
            self.join(lq, gt, where, shown)
        elif gt and bare:
            self.join(bare, gt, where, shown, ENOUGH)
        elif lq and bare:
            self.join(lq, bare, where, shown, ENOUGH)


def _steps(name: str) -> Iterable[tuple[str, str, str]]:
    """(parent, folder, rest) of every folder of a path, outermost first; the parent ends with a slash or is empty."""
    at = 0
    while (end := name.find("/", at)) >= 0:
        yield name[:at], name[at:end], name[end + 1 :]
        at = end + 1


def _marked_folders(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """parent -> folder -> side."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        for parent, folder, _ in _steps(name):
            known = found.setdefault(parent, {})
            if folder not in known:
                known[folder] = _folder_side(folder)
    return found


def _folder_side(folder: str) -> str:
    plain = folder.lower()
    if plain in PARTS:
        return ""
    if plain in LQ_FOLDERS | GT_FOLDERS:
        return "lq" if plain in LQ_FOLDERS else "gt"
    return side_of(composed(folder))


def _path_side(name: str) -> str:
    """The side that a file's name tells, or else the nearest of its folders."""
    *folders, last = name.split("/")
    told = side_of(composed(stem(last)), middle=True)
    return told or next((s for f in reversed(folders) if (s := _folder_side(f))), "")


def _core(folder: str) -> str:
    """A folder's name without marks: what a rainy and a clean folder of one part share."""
    plain = composed(folder).casefold()
    return "" if plain in LQ_FOLDERS | GT_FOLDERS else unmarked(plain)


def _fullest(clean: Sequence[str], members: dict[tuple[str, str], dict[str, str]], parent: str) -> list[str]:
    """Of several clean folders the one with most files; the earlier name of equals."""
    return sorted(clean, key=lambda c: (-len(members[parent, c]), c))[:1]


def _below(names: Sequence[str], folder: str) -> dict[str, str]:
    return {n[len(folder) :]: n for n in names if n.startswith(folder)}


# ---------------------------------------------------------------- refusals
def _refusal(work: _Work, names: Sequence[str]) -> str | None:
    """Why files without a pair are not simply photographs: their names say that they are sides, or could be."""
    if work.apart:
        rainy, clean = max(work.apart, key=lambda sides: len(sides[0]) + len(sides[1]))
        if "/" in rainy[0] or 2 * (len(rainy) + len(clean)) > len(names):
            return f"{len(rainy)} rainy and {len(clean)} clean images, as {rainy[0]} and {clean[0]}, share no names"
    if twins := _twins(names):
        return f"names could pair, but nothing tells which side is rainy: {twins[0]} and {twins[1]}"
    return None


def _hint(work: _Work, names: Sequence[str]) -> str | None:
    if work.apart:
        rainy, clean = max(work.apart, key=lambda sides: len(sides[0]) + len(sides[1]))
        return pattern_of(rainy[0], clean[:64])
    twins = _twins(names)
    return pattern_of(twins[0], [twins[1]]) if twins else None


def _twins(names: Sequence[str]) -> tuple[str, str] | None:
    """Two files that could be a pair: equal names in sibling folders, or two words after (before) the same names."""
    folders: dict[str, dict[str, dict[str, str]]] = {}
    for name in names:
        for parent, folder, rest in _steps(name):
            folders.setdefault(parent, {}).setdefault(folder, {})[unmarked(composed(stem(rest))).casefold()] = name
    for found in folders.values():
        kinds = {re.sub(r"\d+", "#", f): f for f in sorted(found) if f.lower() not in PARTS}
        for a, b in _couples(sorted(kinds.values())[:COMPARED]):
            small, large = sorted((found[a], found[b]), key=len)
            if small.keys() <= large.keys():
                key = min(small)
                return tuple(sorted((small[key], large[key])))  # type: ignore[return-value]
    return _two_words(names)


def _couples(items: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((a, b) for i, a in enumerate(items) for b in items[i + 1 :])


def _two_words(names: Sequence[str]) -> tuple[str, str] | None:
    for take in (r"(?P<rest>.+?)[-_. ](?P<word>[^\W\d_]+)$", r"(?P<word>[^\W\d_]+)[-_. ](?P<rest>[^/]+)$"):
        words: dict[str, dict[str, str]] = {}
        for name in names:
            where, _, last = composed(stem(name)).rpartition("/")
            if m := re.match(take, last):
                words.setdefault(f"{where}/{m['word'].casefold()}", {})[m["rest"]] = name
        if len(words) == 2 and sum(map(len, words.values())) == len(names) > 1:
            a, b = words.values()
            if a.keys() == b.keys():
                key = min(a)
                return a[key], b[key]
    return None
