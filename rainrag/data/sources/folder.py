"""Anybody's own pairs or unlabelled photographs."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from rainrag.core.errors import LayoutError, UsageError
from rainrag.core.images import SUFFIXES
from rainrag.core.names import printable
from rainrag.core.types import PairFiles, Source, Subset
from rainrag.data.pairing import pair_folder, sides
from rainrag.data.sources.layouts import Found, Layout, Rule, Tree, split_of, unsplit


def own(pattern: str | None = None, suffix: str | None = None) -> Layout:
    """Pairs in whatever way people name them (``rainrag.data.pairing.pair_folder``).

    Args:
        pattern, suffix: how names belong together, where a user says so.
    """
    shown = (
        "pairs told by folders (rain/ and norain/, input/ and target/, wet/ and dry/ …) or by marks in file names "
        "(X_rainy and X_clean …), in any depth"
    )
    find = partial(_own_pairs, pattern, suffix)
    return Layout("own", f"names that fit '{pattern}'" if pattern else shown, find=find)


def _own_pairs(pattern: str | None, suffix: str | None, tree: Tree) -> Found:
    """Pairs of a tree.

    Raises:
        LayoutError: where names could pair and nothing tells how, with the pattern that would.
    """
    made = pair_folder(tree.images, pattern=pattern, suffix=suffix)
    if made.refused:
        raise LayoutError(
            f"{printable(made.refused)}; nothing was taken for a photograph without a clean side",
            where=tree.root,
            hint=f"--pattern '{printable(made.pattern or 'RAINY=CLEAN, each with one {}')}' says which belong together "
            "(rainy side first); --unlabelled takes all as photographs",
        )
    found = Found(told=made.describe() if made.pairs else "")
    for p in made.pairs:
        split = split_of(p.key, "") or tree.split(p.lq, "train")
        stem, scene = unsplit(p.key) or p.key, unsplit(p.scene) or p.scene
        found.add(PairFiles(stem, p.lq, p.gt, split, f"{split}/{scene}"))
    for x in made.left:
        found.reject(x.name, x.reason, f"also: {', '.join(x.others)}" if x.others else "")
        found.used.update(x.others if x.reason == "ambiguous-gt" else ())
    return found


PAIRS = own()


PHOTOGRAPHS = Layout(
    "photographs",
    "a folder of photographs, in any depth",
    (Rule(r"(?P<name>[^/]+)", (), "{where}{name}", "{split}/{where}{name}"),),
    last_resort=True,
    told="photographs without a clean side",
)


def globs(lq_glob: str, gt_glob: str | None) -> Layout:
    """Pairs by two globs relative to the root, joined on the part that each file's ``*`` stands for.

    ``--lq-glob 'rain/*_rain.png' --gt-glob 'clean/*_clean.png'`` pairs ``rain/7_rain.png`` with ``clean/7_clean.png``.
    With ``**`` or several ``*``, all the parts they stand for have to be equal; an image's extension may differ.
    """
    lq_re, gt_re = _captures(lq_glob), _captures(gt_glob) if gt_glob else None

    def find(tree: Tree) -> Found:
        found = Found()
        clean = _by_key(gt_re, tree.images) if gt_re else {}
        targets = {path for paths in clean.values() for path in paths}
        for key, paths in _by_key(lq_re, [p for p in tree.images if p not in targets]).items():
            for path in paths:
                _join(tree, found, path, key, paths, clean.get(key, []) if gt_re else None)
        return found

    shown = lq_glob + (f" with {gt_glob}" if gt_glob else "")
    return Layout("globs", shown, find=find)


def _join(tree: Tree, found: Found, path: str, key: tuple[str, ...], rivals: list[str], hits: list[str] | None) -> None:
    """Pair one rainy file; ``hits`` are the clean files of its key, None where no targets are asked for."""
    if len(rivals) > 1:
        found.reject(path, "duplicate-key", f"the wildcards stand for the same in {', '.join(rivals)}")
    elif hits is not None and len(hits) != 1:
        found.reject(path, "ambiguous-gt" if hits else "missing-gt", ", ".join(hits))
    else:
        stem = unsplit("/".join(part for k in key if (part := k.strip("/")))) or PurePosixPath(path).stem
        split = tree.split(path, "train")
        found.pairs.append(PairFiles(stem, path, hits[0] if hits else None, split, f"{split}/{stem}"))
        found.used.update([path, *(hits or [])])


def _by_key(pattern: re.Pattern[str], paths: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Paths that match, by what the wildcards stand for, without an image's extension."""
    keyed: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        if m := pattern.fullmatch(path):
            key = tuple(g[: -len(PurePosixPath(g).suffix)] if g.lower().endswith(SUFFIXES) else g for g in m.groups())
            keyed.setdefault(key, []).append(path)
    return keyed


def _captures(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression whose groups are what its wildcards stand for."""
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "((?:.*/)?)", i + 3
        elif glob[i] == "*":
            out, i = out + "([^/]*)", i + 1
        elif glob[i] == "?":
            out, i = out + "([^/])", i + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return re.compile(out)


FOLDER = Source(
    name="folder",
    title="Your own folder",
    paper="",
    homepage="",
    licence="unstated",
    layouts=(PAIRS, PHOTOGRAPHS),
    streak=None,
    drop=None,
    night=None,
    accumulation=None,
    real=True,
    notes=(
        "Pairs by the names of folders and files, by --pattern, --suffix, or --lq-glob and --gt-glob; photographs without "
        "a target with --unlabelled, or where no two names could pair.",
    ),
)


def own_layout(
    pattern: str | None, suffix: str | None, unlabelled: bool, lq_glob: str | None = None, gt_glob: str | None = None
) -> Layout | None:
    """How the files of a user's own folder pair, where the options say so.

    Raises:
        UsageError: for options that exclude each other, or a pattern that is none.
    """
    given = {
        "--pattern": pattern, "--suffix": suffix, "--unlabelled": unlabelled, "--lq-glob": lq_glob,
    }  # fmt: skip
    said = [option for option, value in given.items() if value]
    if gt_glob and not lq_glob:
        raise UsageError("--gt-glob needs --lq-glob")
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} exclude each other", hint="one of them")
    if pattern:
        sides(pattern)
    if unlabelled:
        return PHOTOGRAPHS
    if lq_glob:
        return globs(lq_glob, gt_glob)
    return own(pattern, suffix) if pattern or suffix else None


def own_folder(source: Source, name: str | None, subset: str | None, licence: str | None) -> Source:
    """The 'folder' source with what the user says of it.

    Raises:
        UsageError: for an unknown subset.
    """
    flags: dict[str, Any] = {"licence": licence}
    if subset:
        if subset.upper() not in Subset.__members__:
            raise UsageError(f"no subset '{subset}'", hint="one of DRS, DRD, NRS, NRD")
        flags |= Subset[subset.upper()].flags
    return replace(source, name=name or source.name, **{k: v for k, v in flags.items() if v is not None})
