"""Anybody's own pairs or unlabelled photographs."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from rainrag.images import SUFFIXES
from rainrag.records import PairFiles, Source
from rainrag.sources.layouts import Found, Layout, Rule, Tree, equal_name, unsplit

PAIRS = equal_name(
    "FOLDER/{input|lq|rain|rainy|data …}/NAME.* with FOLDER/{target|gt|clean|norain …}/NAME.*, in any depth",
    stem="{where}{name}", scene="{split}/{where}{name}",
)  # fmt: skip


PHOTOGRAPHS = Layout(
    "photographs",
    "a folder of photographs, in any depth",
    (Rule(r"(?P<name>[^/]+)", (), "{where}{name}", "{split}/{where}{name}"),),
    last_resort=True,
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
    notes=("Pairs by equal names in sibling folders, by --lq-glob and --gt-glob, or photographs without a target.",),
)
