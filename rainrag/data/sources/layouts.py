"""Layouts: how the files of a set pair up. Names only; pixels are looked at just where a layout needs them.

A layout is a few regular expressions (``Rule``) or, where names are not enough, a function. Pairing is by key, never by
sorted order. What a layout cannot place is reported with a reason; a folder that no layout fits is refused with a
picture of what was found and what was expected.
"""

from __future__ import annotations

import os
import posixpath
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rainrag.core.errors import LayoutError
from rainrag.core.files import FOLDER_TROUBLE, listing, natural, tree
from rainrag.core.images import SUFFIXES
from rainrag.core.names import printable, unread
from rainrag.core.types import PairFiles, Reject, Source

#: Why a file did not become part of a pair.
REASONS = {
    "missing-gt": "a rainy image without its clean side",
    "missing-lq": "a clean image without a rainy side",
    "unknown-file": "an image that the layout does not know",
    "case-clash": "names that differ in upper and lower case only",
    "ambiguous-gt": "several files could be the clean side",
    "duplicate-key": "a second file for a key that is taken",
    "unreadable-folder": "a folder that cannot be listed",
    "unreadable-list": "a list file that cannot be read",
    "not-there": "a list names files that are not there",
    "not-a-file": "a link that leads nowhere, a pipe, a socket or a device",
    "not-a-pair": "side-by-side halves that are not a rainy image and its clean side",
}

SPLIT_NAMES = {
    "train": "train", "training": "train", "train_set": "train", "train_vid": "train", "trainset": "train",
    "raintrainl": "train", "raintrainh": "train", "did-mdn-training": "train",
    "test": "test", "testing": "test", "test_set": "test", "test_a": "test", "test_b": "test", "testset": "test",
    "test_syn": "test", "test1": "test", "did-mdn-test": "test", "testa": "test", "testb": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One pairing rule.

    Patterns see the path behind the last two names of the root's own path, so that a set, one of its parts and one of
    its splits can all be the root. Templates are those of ``str.format``, with ``{x!l}`` and ``{x!u}`` for lower and
    upper case; they know the pattern's named groups and

    - ``pre``: the leading folders, empty or with a final slash (for ``gt``);
    - ``where``: those of them that lie below the root and name no split (for ``stem`` and ``scene``);
    - ``split``: the split that was found (for ``scene``).

    Args:
        lq: regular expression of the rainy file's path, case-insensitive, matched to the end, behind any leading
            folders. Without the extension.
        gt: templates of the clean file's path without extension, the first that exists counts; empty for unlabelled
            photographs.
        stem: template of the key's last part; must not depend on where the user put --root.
        scene: template of the scene.
        split: fixed split; None takes group ``split``, or the nearest folder named like a split, or the layout's.
        streak, drop, night, accumulation, weather: where the rule knows better than the source.
    """

    lq: str
    gt: tuple[str, ...]
    stem: str
    scene: str
    split: str | None = None
    streak: bool | None = None
    drop: bool | None = None
    night: bool | None = None
    accumulation: bool | None = None
    weather: str | None = None


@dataclass
class Found:
    """What a layout made of a folder.

    Args:
        passed: images that the layout passes over (masks, other sets); neither used nor reported one by one.
        unread: (name, reason) of files that are no images by their names.
        told: what was found, with the number of pairs, in one line; ``described`` makes one where it is empty.
    """

    pairs: list[PairFiles] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    passed: list[str] = field(default_factory=list)
    told: str = ""
    unread: list[tuple[str, str]] = field(default_factory=list)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, pair: PairFiles) -> None:
        """Take a pair, unless its key is taken: then its rainy file is left out."""
        key = (pair.split, pair.stem)
        if key in self.keys:
            self.reject(pair.lq, "duplicate-key", f"{pair.split}/{pair.stem} is {self.keys[key]}")
        else:
            self.keys[key] = pair.lq
            self.pairs.append(pair)
            self.used.add(pair.lq)
        self.used.update([pair.gt] if pair.gt else [])

    def described(self, layout: Layout) -> str:
        """The layout taken and the number of pairs, or of images without a clean side: one line."""
        if self.told:
            return self.told
        pairs = sum(p.gt is not None for p in self.pairs)
        single = len(self.pairs) - pairs
        counts = [f"{pairs} pair{'s' * (pairs != 1)}"] * bool(pairs or not single)
        counts += [f"{single} image{'s' * (single != 1)} without a clean side"] * bool(single)
        return f"{layout.told or layout.expected}: {', '.join(counts)}"

    def reject(self, path: str, reason: str, detail: str = "") -> None:
        """Note a file that is left out."""
        self.rejects.append(Reject(path, reason, detail or REASONS[reason]))
        self.used.add(path)


class Tree:
    """The files below a root, with an index that forgives case and extension.

    Args:
        root: the folder.
        files: relative paths, sorted.
    """

    def __init__(self, root: Path, files: list[str]) -> None:
        names = [p for p in Path(os.path.abspath(root)).parts if p != os.sep]
        self.root = root
        self.context = "".join(f"{name}/" for name in names[-2:])
        self.files = files
        self.images = [f for f in files if f.lower().endswith(SUFFIXES)]
        self.by_stem: dict[str, list[str]] = {}
        for f in self.images:
            self.by_stem.setdefault(_stem(f).lower(), []).append(f)

    def find(self, stem: str, like: str = "") -> list[str]:
        """Images at a path given without extension; the one with the extension of ``like`` alone where there is one."""
        hits = self.by_stem.get(stem.lower(), [])
        if len(hits) < 2:
            return hits
        same = [h for h in hits if _suffix(h) == _suffix(like)]
        return same if len(same) == 1 else hits

    def split(self, path: str, default: str) -> str:
        """The split that the nearest folder names, the root's own two names included."""
        return split_of(self.context + path, default)

    def clash(self, path: str) -> list[str]:
        """Other files whose whole name differs from this one's in case only."""
        return [p for p in self.by_stem[_stem(path).lower()] if p != path and p.lower() == path.lower()]


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def split_of(path: str, default: str) -> str:
    """The split that the nearest folder names, else the default."""
    for part in reversed(path.lower().split("/")[:-1]):
        if part in SPLIT_NAMES:
            return SPLIT_NAMES[part]
    return default


def unsplit(path: str) -> str:
    """A path without the folders that name a split."""
    *folders, name = path.split("/")
    return "".join(f"{f}/" for f in folders if f.lower() not in SPLIT_NAMES) + name


@dataclass(frozen=True)
class Layout:
    """A known layout.

    Args:
        expected: one line for people: what the folder should look like.
        rules: tried in order; the first that matches a file has it.
        find: for layouts that need more than names; returns what it found.
        check: sees what was found; takes pairs back, changes them, or raises LayoutError with the reason.
        default_split: where nothing in the path names a split.
        ignore: regular expression of images to pass over (masks, previews, other sets), searched in the path.
        last_resort: considered only when no other layout pairs anything.
        told: what the images are called where this layout is taken; ``expected`` if empty.
    """

    name: str
    expected: str
    rules: tuple[Rule, ...] = ()
    find: Callable[[Tree], Found] | None = None
    check: Callable[[Tree, Found], None] | None = None
    default_split: str = "train"
    ignore: str = ""
    last_resort: bool = False
    told: str = ""

    def apply(self, tree: Tree) -> Found:
        """Pair the files of a tree."""
        found = self.find(tree) if self.find else _Pairing(self, tree).run()
        _report_rest(tree, found)
        if self.check:
            self.check(tree, found)
        return found


class _Template:
    """A template of ``str.format``, read once, that can change case."""

    _CASE: ClassVar[dict[str | None, Callable[[str], str]]] = {"l": str.lower, "u": str.upper, None: str}

    def __init__(self, text: str) -> None:
        self.parts = [(plain, name, self._CASE[how]) for plain, name, _, how in string.Formatter().parse(text)]

    def fill(self, groups: dict[str, str]) -> str:
        return "".join(plain + (case(groups[name]) if name else "") for plain, name, case in self.parts)


class _Reader:
    """A rule, made ready to be applied to many paths."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.pattern = re.compile(rf"(?P<pre>(?:.*/)?){rule.lq}", re.IGNORECASE)
        self.gt = [_Template(t) for t in rule.gt]
        self.stem, self.scene = _Template(rule.stem), _Template(rule.scene)


class _Pairing:
    """One run of a layout's rules over a tree."""

    def __init__(self, layout: Layout, tree: Tree) -> None:
        self.layout = layout
        self.tree = tree
        self.found = Found()
        self.readers = [_Reader(rule) for rule in layout.rules]
        self.taken: dict[tuple[str, str], str] = {}

    def run(self) -> Found:
        ignore = re.compile(self.layout.ignore, re.IGNORECASE) if self.layout.ignore else None
        for path in self.tree.images:
            if ignore and ignore.search(self.tree.context + path):
                self.found.passed.append(path)
            else:
                self._place(path)
        return self.found

    def _place(self, path: str) -> None:
        """Give an image to the first rule that has it."""
        full = self.tree.context + _stem(path)
        for reader in self.readers:
            m = reader.pattern.fullmatch(full)
            if m is None:
                continue
            groups = {k: v or "" for k, v in m.groupdict().items()}
            tried, hits = self._candidates(reader, groups, path)
            if reader.gt and not tried:  # the folder that matched is one of the root's own: its sibling is out of reach
                continue
            if clash := self.tree.clash(path):
                self.found.reject(path, "case-clash", f"also: {', '.join(clash)}")
                self.found.used.update(hits)
            elif not reader.gt or len(hits) == 1:
                self._add(reader, groups, path, hits[0] if hits else None)
            elif hits:
                reason = "case-clash" if self.tree.clash(hits[0]) else "ambiguous-gt"
                self.found.reject(path, reason, f"candidates: {', '.join(hits)}")
                self.found.used.update(hits)
            else:
                more = f" (or {len(tried) - 1} other spellings)" if len(tried) > 1 else ""
                self.found.reject(path, "missing-gt", f"expected {tried[0]}.*{more}")
            return

    def _candidates(self, reader: _Reader, groups: dict[str, str], path: str) -> tuple[list[str], list[str]]:
        """Paths below the root where the clean file was looked for, and the files at the first that exists."""
        context, tried = self.tree.context, []
        for template in reader.gt:
            wanted = template.fill(groups)
            if wanted.lower().startswith(context.lower()):
                tried.append(wanted[len(context) :])
                if hits := [f for f in self.tree.find(tried[-1], path) if f != path]:
                    return tried, hits
        return tried, []

    def _add(self, reader: _Reader, groups: dict[str, str], path: str, gt: str | None) -> None:
        rule = reader.rule
        named = SPLIT_NAMES.get(groups.get("split", "").lower())
        split = rule.split or named or self.tree.split(path, self.layout.default_split)
        names = {**groups, "split": split, "where": unsplit(groups["pre"][len(self.tree.context) :])}
        stem = reader.stem.fill(names)
        if (split, stem) in self.taken:
            self.found.reject(path, "duplicate-key", f"{split}/{stem} is {self.taken[split, stem]}")
            return
        self.taken[split, stem] = path
        self.found.pairs.append(
            PairFiles(
                stem, path, gt, split, reader.scene.fill(names), None,
                rule.streak, rule.drop, rule.night, rule.accumulation, rule.weather,
            )
        )  # fmt: skip
        self.found.used.update([path, gt] if gt else [path])


def _report_rest(tree: Tree, found: Found) -> None:
    """Name every image that became neither side of a pair."""
    clean_folders = {posixpath.dirname(p.gt) for p in found.pairs if p.gt and p.gt != p.lq}
    passed = set(found.passed)
    for path in tree.images:
        if path not in found.used and path not in passed:
            known = posixpath.dirname(path) in clean_folders
            found.reject(path, "missing-lq" if known else "unknown-file")


def match(source: Source, root: Path, layouts: Iterable[Layout] | None = None) -> tuple[Layout, Found]:
    """Find the layout of a folder: the one that places the most files, the earlier one of equals.

    Args:
        layouts: tried instead of the source's.

    Raises:
        LayoutError: when none pairs a single file; the message shows what was found and what was expected.
        MissingError: when the folder is not there.
    """
    unreadable: list[Reject] = []

    def note(name: str, why: str) -> None:
        unreadable.append(Reject(name, "unreadable-folder" if why.startswith(FOLDER_TROUBLE) else "not-a-file", why))

    files = listing(root, note)
    files_tree = Tree(root, files)
    best: tuple[Layout, Found] | None = None
    placed = 0
    tried: list[tuple[Layout, Found]] = []
    for layout in tuple(layouts or source.layouts):
        if layout.last_resort and best:
            continue
        found = layout.apply(files_tree)
        tried.append((layout, found))
        files_placed = len({side for p in found.pairs for side in (p.lq, p.gt)})
        if files_placed > placed:
            best, placed = (layout, found), files_placed
    if best is None:
        raise _refusal(source, root, files, tried, unreadable)
    best[1].rejects.extend(unreadable)
    best[1].unread = [(name, why) for name, why in unread(files) if name not in best[1].used]
    best[1].pairs.sort(key=lambda p: (p.split, natural(p.stem)))
    return best


def _refusal(
    source: Source, root: Path, files: list[str], tried: list[tuple[Layout, Found]], unreadable: list[Reject]
) -> LayoutError:
    """What was found, what was expected, and why files that came close were turned down."""
    lines = [f"no known layout of '{source.name}' fits.", f"Found:\n{tree(files)}", "Expected one of:"]
    lines += [f"  {layout.expected}" for layout, _ in tried]
    turned: dict[str, list[Reject]] = {}
    turned_down = [r for _, found in tried for r in found.rejects if r.reason != "unknown-file"]
    for r in turned_down + unreadable:
        turned.setdefault(r.reason, []).append(r)
    if turned:
        lines.append("Turned down:")
        lines += [
            f"  {reason}: {len(rs)}, e.g. {printable(rs[0].key)} ({rs[0].detail})" for reason, rs in turned.items()
        ]
    passed = sorted({p for _, found in tried for p in found.passed})
    if passed:
        lines.append(f"Passed over as part of another set, masks or previews: {len(passed)}, e.g. {passed[0]}")
    return LayoutError(
        "\n".join(lines),
        where=root,
        hint="point --root at the unpacked set; for your own pairs use: rainrag ingest folder --lq-glob … --gt-glob …",
    )


# ---------------------------------------------------------------- two folders, the same names
LQ_DIRS = ("input", "inputs", "lq", "rain", "rainy", "rainy_image", "in", "data", "inputcrop", "rain_image")
GT_DIRS = (
    "target", "targets", "gt", "norain", "clean", "clear", "ground_truth", "cleancrop", "clean_image", "groundtruth",
)  # fmt: skip
LQ_DIR = rf"(?:{'|'.join(LQ_DIRS)})"
#: A file name, in sub-folders or not, that passes no further side folder: the innermost one decides.
NAME = rf"(?:(?!(?:{'|'.join(LQ_DIRS + GT_DIRS)})/)[^/]+/)*[^/]+"


def same_names(
    below: str = "", *, lq: str = LQ_DIR, gts: tuple[str, ...] = GT_DIRS, name: str = NAME, stem: str = "{name}",
    scene: str = "{split}/{name}", **known: Any,
) -> Rule:  # fmt: skip
    """The commonest rule: two sibling folders, the same file names in both.

    Args:
        below: regular expression of the folders right above the two, with a final slash; its named groups can be used.
        lq: regular expression of the rainy folder's name.
        gts: possible names of the clean folder, first found first.
        name: regular expression of the file names.
        known: split and flags of the Rule.
    """
    pattern = rf"(?P<below>{below}){lq}/(?P<name>{name})"
    return Rule(pattern, tuple(f"{{pre}}{{below}}{g}/{{name}}" for g in gts), stem, scene, **known)


def equal_name(expected: str, *rules: Rule, default_split: str = "train", ignore: str = "", **one: Any) -> Layout:
    """A layout of ``same_names`` rules; of a single one, made from ``one``, where none is given."""
    return Layout(
        "equal-name", expected, rules=rules or (same_names(**one),), default_split=default_split, ignore=ignore
    )
