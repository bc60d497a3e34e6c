"""Score a folder of results against a folder of targets: pairing by key, every image's score kept, numbers signed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from rainrag.core import images, stats
from rainrag.core.errors import DecodeError, InputError, MissingError, RainRAGError
from rainrag.core.files import listing, natural
from rainrag.core.names import SUFFIXES, grouped, is_image, printable, stem, unread
from rainrag.core.types import Protocol
from rainrag.data.pairing import Pairing, pair_lists
from rainrag.evaluation import metrics, mistakes

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Scores:
    """Scores of one folder under one protocol.

    Args:
        mean: metric -> mean over images; None where it is infinite or unavailable.
        images: per image {"key", metric: value or None}; PSNR None means equal to the target.
        unavailable: metric -> why.
        layout: how results and targets were joined, with the number of pairs.
        left_out: {"name", "reason"} of the files that were met and not scored.
    """

    protocol: str
    signature: dict[str, str]
    mean: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]
    images: list[dict[str, Any]]
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    layout: str = ""
    left_out: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``rainrag score``."""
        return {
            "n": len(self.images),
            **self.mean,
            "protocol": self.protocol,
            "signature": self.signature,
            "interval": self.interval,
            "unavailable": self.unavailable,
            "notes": self.notes,
            "layout": self.layout,
            "left_out": self.left_out,
            "images": self.images,
        }


# ---------------------------------------------------------------- pairing
def folder_images(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Relative paths of the images below a folder, and (name, reason) of what is met there and not read.

    Raises:
        InputError: when there is no image.
    """
    left_out: list[tuple[str, str]] = []
    files = listing(root, lambda name, why: left_out.append((name, why)))
    found = [name for name in files if is_image(name)]
    left_out += unread(files)
    if not found:
        raise InputError(
            "no images here" + "".join(f"; {line}" for line in grouped(left_out)),
            where=root,
            hint=f"files that end in {', '.join(SUFFIXES)}",
        )
    return found, left_out


def keys(root: Path) -> dict[str, str]:
    """key -> relative path of the images below a folder; the key is the path without extension.

    Raises:
        InputError: when two files have one key, or there is no image.
    """
    found: dict[str, str] = {}
    for name in folder_images(root)[0]:
        key = printable(stem(name))
        if key in found:
            raise InputError(f"two files with one name: {found[key]} and {name}", where=root, hint="keep one of them")
        found[key] = name
    return found


@dataclass(frozen=True)
class Matched:
    """Results and their targets.

    Args:
        pairs: (key, result, target) sorted by key.
        scenes: one for each pair; results of one target share it.
        layout: how they were joined, with the number of pairs: one line.
        notes: what a reader should know: names that were joined by more than equality, files that were left out.
        left_out: (name, reason) of every file that is scored with none.
    """

    pairs: list[tuple[str, Path, Path]]
    scenes: list[str]
    layout: str
    notes: list[str]
    left_out: list[tuple[str, str]]


def match(
    out: Path, gt: Path, allow_missing: bool = False, pattern: str | None = None, suffix: str | None = None
) -> Matched:
    """Join two folders by name, never by order (``rainrag.data.pairing.pair_lists``).

    Args:
        allow_missing: leave out what has no partner, with a note.
        pattern, suffix: as for ``pair_lists``; results are the rainy side.

    Raises:
        InputError: when names are left over, unless ``allow_missing``.
    """
    (results, other_out), (targets, other_gt) = folder_images(out), folder_images(gt)
    found = pair_lists(results, targets, pattern=pattern, suffix=suffix)
    if not found.pairs or (found.left and not allow_missing):
        raise _refusal(out, gt, found)
    notes = [] if found.layout.startswith("equal names") else [found.layout]
    left_out = [(x.name, PARTNERS[x.reason]) for x in found.left]
    if left_out:
        lost = sum(x.clean for x in found.left)
        notes.insert(0, f"{len(left_out) - lost} outputs and {lost} targets had no partner and were left out")
    left_out += [*other_out, *other_gt]
    notes += [f"not read: {line}" for line in grouped([*other_out, *other_gt])]
    pairs = sorted(found.pairs, key=lambda p: natural(printable(p.key)))
    return Matched(
        [(printable(p.key), out / p.lq, gt / p.gt) for p in pairs],
        [printable(p.scene) for p in pairs],
        found.describe(),
        notes,
        left_out,
    )


def pair(out: Path, gt: Path, allow_missing: bool = False) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """(key, output, target) sorted by key, and notes: see ``match``."""
    found = match(out, gt, allow_missing)
    return found.pairs, found.notes


#: Why a name has no partner, in words.
PARTNERS = {
    "missing-gt": "no target of this name",
    "missing-lq": "no output of this name",
    "ambiguous-gt": "several targets could belong to it",
    "duplicate-key": "two files with one name",
    "case-clash": "names that differ in upper and lower case only",
}


def _refusal(out: Path, gt: Path, found: Pairing) -> InputError:
    """What is left over on either side, and what would help."""
    lines: dict[str, list[str]] = {}
    for x in found.left:
        side = gt if x.clean else out
        what = f"only in {side}" if x.reason.startswith("missing") else f"{PARTNERS[x.reason]} in {side}"
        more = f" (and {', '.join(x.others)})" if x.others else ""
        lines.setdefault(what, []).append(printable(f"{stem(x.name) if not more else x.name}{more}"))
    shown = [f"{what}: {len(n)} ({', '.join(n[:5])}{' …' if len(n) > 5 else ''})" for what, n in lines.items()]
    hint = f"name them alike, or say how they belong together: --pattern '{found.pattern or '{}_rain={}_clean'}'"
    if found.pairs:
        hint += f"; {len(found.pairs)} pairs alone: --allow-missing"
    return InputError(f"the two folders do not hold the same images; {'; '.join(shown)}", hint=hint)


# ---------------------------------------------------------------- scoring
@dataclass(frozen=True)
class BadImage:
    """A pair that cannot be scored: ``reason`` as of DecodeError, ``size`` or ``metric``."""

    key: str
    reason: str
    what: str
    where: str
    hint: str | None


class BadImagesError(InputError):
    """Pairs that cannot be scored, all of them: ``bad``."""

    def __init__(self, bad: Sequence[BadImage], of: int) -> None:
        first = bad[0]
        if len(bad) == 1:
            super().__init__(f"{first.key}: {first.what}", where=first.where, hint=first.hint)
        else:
            lines = [f"- {b.key}: {b.what} [{printable(b.where)}]" for b in bad]
            hint = first.hint or "mend or remove them, or score the others with --allow-missing"
            super().__init__(f"{len(bad)} of {of} images cannot be scored:\n" + "\n".join(lines), hint=hint)
        self.bad = tuple(bad)


def score_pairs(
    pairs: Sequence[tuple[str, Path, Path]],
    protocol: Protocol,
    extra: Sequence[str] = (),
    *,
    exact: bool = False,
    download: bool = False,
    workers: int = 2,
    scenes: Sequence[str] | None = None,
    inference: str = "full",
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Score files.

    Args:
        extra: perceptual metrics besides PSNR and SSIM.
        scenes: one for each pair, for the intervals; None takes every image for its own.
        skip_bad: leave out images that cannot be scored, with a note each, if any other can.
        progress: called with -total first, then with 1 an image.

    Raises:
        InputError: when images cannot be read or sizes differ; the message names every key, and ``bad`` has them all.
    """
    wanted = list(dict.fromkeys([*(["lpips"] if protocol.lpips else []), *extra]))
    models, unavailable = perceptual(wanted, download)
    if progress:
        progress(-len(pairs))

    def one(item: tuple[str, Path, Path]) -> tuple[dict[str, Any], Any, Any] | BadImage:
        key, a, b = item
        try:
            out, gt = metrics.alike(images.read(a).rgb, images.read(b).rgb, protocol)
            return {"key": key, **metrics.score(out, gt, protocol, exact)}, out, gt
        except (DecodeError, InputError) as e:
            return BadImage(key, getattr(e, "reason", "size"), e.what, e.where or str(a), e.hint)

    rows, bad, kept = [], [], []
    for n, answer in enumerate(ahead(one, pairs, workers)):
        if isinstance(answer, BadImage):
            bad.append(answer)
        else:
            row, out, gt = answer
            cut = [metrics.region(x, protocol.border, protocol.multiple) for x in (out, gt)]
            try:
                row |= {model.name: model(cut[0], cut[1]) for model in models}
                row |= metrics.combined(protocol, row)
            except InputError as e:  # a metric that is not defined for this image
                bad.append(BadImage(row["key"], "metric", e.what, str(pairs[n][1]), e.hint))
            else:
                rows.append(row)
                kept.append(n)
        if progress:
            progress(1)
    if bad and not (skip_bad and rows):
        raise BadImagesError(bad, len(pairs))
    scores = summarise(rows, protocol, models, unavailable, scenes and [scenes[n] for n in kept], inference)
    scores.notes.extend(f"left out: {b.key} ({b.what})" for b in bad)
    return scores


def perceptual(wanted: Sequence[str], download: bool) -> tuple[list[Any], dict[str, str]]:
    """Metrics that can be had, and why the others cannot."""
    models, unavailable = [], {}
    for name in wanted:
        from rainrag.evaluation.perceptual import create

        try:
            models.append(create(name, download))
        except MissingError as e:
            unavailable[name] = e.what
    return models, unavailable


def ahead(work: Callable[[A], B], items: Sequence[A], workers: int) -> Iterator[B]:
    """Results in order, computed a few items ahead: decoding releases the interpreter lock."""
    if workers <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[B]] = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for f in waiting:
            yield f.result()


def summarise(
    rows: list[dict[str, Any]],
    protocol: Protocol,
    models: Sequence[Any] = (),
    unavailable: dict[str, str] | None = None,
    scenes: Sequence[str] | None = None,
    inference: str = "full",
) -> Scores:
    """Means, intervals and signatures of per-image scores; infinite PSNR becomes None, with a note.

    Args:
        rows: {"key", metric: value}; without ``psnr`` and ``ssim`` where there are no targets.
        scenes: one a row, for the intervals; None takes every image for its own.
    """
    names = [n for n in ("psnr", "ssim") if rows and n in rows[0]] + [m.name for m in models]
    score, weights = metrics.COMBINED.get(protocol.name, ("", {}))
    unavailable = dict(unavailable or {})
    if rows and score in rows[0]:
        names.append(score)
    elif weights:
        unavailable[score] = f"it needs {', '.join(n for n in weights if n not in names)}"
    groups = list(scenes) if scenes is not None else [r["key"] for r in rows]
    mean: dict[str, float | None] = {}
    spans: dict[str, tuple[float, float] | None] = {}
    notes = []
    for name in names:
        values = [float(r[name]) for r in rows]
        finite = all(map(math.isfinite, values))
        mean[name] = sum(values) / len(values) if finite and values else None
        spans[name] = stats.interval(values, groups)
        if not finite:
            equal = sum(not math.isfinite(v) for v in values)
            notes.append(
                f"{equal} of {len(values)} images equal their target: their {name} is infinite, and so is the mean"
            )
    for r in rows:
        for name in names:
            r[name] = r[name] if math.isfinite(r[name]) else None
    signature = {n: protocol.signature(n, inference) for n in names if n in ("psnr", "ssim")}
    signature |= {m.name: f"{protocol.signature(m.name, inference)}|{m.version}" for m in models}
    if score in names:
        formula = "".join(f"{w:+g}*{n}" for n, w in weights.items())
        signature[score] = protocol.signature(score, inference).replace("|rgb|", f"|{formula}|", 1)
    for name in unavailable:
        mean[name] = None
    return Scores(protocol.name, signature, mean, spans, rows, unavailable, notes)


def score_folders(
    out: Path,
    gt: Path,
    protocol: Protocol,
    extra: Sequence[str] = (),
    allow_missing: bool = False,
    *,
    pattern: str | None = None,
    suffix: str | None = None,
    matched: Matched | None = None,
    **settings: Any,
) -> Scores:
    """Score a folder of results against a folder of targets (``rainrag score``).

    Args:
        allow_missing: leave out what has no partner or cannot be read, with a note.
        pattern, suffix: how names belong together: see ``rainrag.data.pairing.pair_lists``.
        matched: what ``match`` gave before.
    """
    found = matched or match(out, gt, allow_missing, pattern, suffix)
    scenes = found.scenes if len(set(found.scenes)) < len(found.scenes) else None
    scores = score_pairs(found.pairs, protocol, extra, scenes=scenes, skip_bad=allow_missing, **settings)
    scores.notes.extend(found.notes)
    mistake = mistakes.find(_some(found.pairs, {r["key"] for r in scores.images}, protocol), protocol)
    if mistake:
        scores.notes.insert(0, str(mistake))
    return replace(
        scores, layout=found.layout, left_out=[{"name": printable(n), "reason": why} for n, why in found.left_out]
    )


def _some(pairs: Sequence[tuple[str, Path, Path]], scored: set[str], p: Protocol, n: int = 4) -> list[tuple[Any, Any]]:
    """The pixels of a few scored pairs, spread over the folder."""
    good = [pair for pair in pairs if pair[0] in scored]
    some = good[:: max(1, len(good) // n)][:n]
    return [metrics.alike(images.read(out).rgb, images.read(gt).rgb, p) for _, out, gt in some]


# ---------------------------------------------------------------- explain
@dataclass(frozen=True)
class Explanation:
    """How near one convention comes to a published number."""

    protocol: str
    metric: str
    value: float
    gap: float
    signature: str
    about: str


def variants(base: Sequence[str] = ("y", "matlab-y", "rgb", "y-full", "unirain", "weatherbench")) -> list[Protocol]:
    """The conventions that ``explain`` tries: presets, and borders and crops that scripts of the field use."""
    made = [metrics.PRESETS[n] for n in base]
    for name in ("y", "rgb"):
        for border in (4, 8):
            made.append(metrics.protocol(name, border=border))
        for multiple in (4, 8, 16):
            made.append(metrics.protocol(name, multiple=multiple))
    return list(dict.fromkeys(made))


def explain(
    number: float, pairs: Sequence[tuple[str, Path, Path]], progress: Callable[[int], None] | None = None
) -> list[Explanation]:
    """Which protocol a published number is consistent with, nearest first.

    Args:
        number: above 1 it is taken for PSNR in dB, else for SSIM.
    """
    metric = "psnr" if number > 1 else "ssim"
    ways = variants()
    totals = dict.fromkeys(ways, 0.0)
    cuts: set[Protocol] = set()  # ways whose crop took something off at least one image
    for key, a, b in pairs:
        out, gt = images.read(a).rgb, images.read(b).rgb
        for p in tuple(ways):
            if p.multiple > 1 and any(side % p.multiple for side in gt.shape[:2]):
                cuts.add(p)
            try:
                totals[p] += metrics.psnr(out, gt, p) if metric == "psnr" else metrics.ssim(out, gt, p)
            except RainRAGError as e:
                if len(ways) == 1:
                    raise InputError(f"{key}: {e.what}", where=a, hint=e.hint) from e
                ways = [w for w in ways if w != p]
                del totals[p]
        if progress:
            progress(1)
    found = []
    for p, total in totals.items():
        preset = metrics.PRESETS[p.name]
        if p.multiple > 1 and p != preset and p not in cuts:
            continue  # the same pixels as without the crop
        value = total / len(pairs)
        about = metrics.ABOUT[p.name]
        if p.border != preset.border:
            about += f"; {p.border} pixels cut from each side"
        if p.multiple != preset.multiple:
            about += f"; centre-cropped to multiples of {p.multiple}"
        found.append(Explanation(p.name, metric, value, value - number, p.signature(metric), about))
    unique: dict[tuple[str, float], Explanation] = {}
    for way in found:
        unique.setdefault((way.signature, round(way.value, 6)), way)
    return sorted(unique.values(), key=lambda way: abs(way.gap))
