"""Score a folder of results against a folder of targets: pairing by key, every image's score kept, numbers signed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from rainrag import images, metrics, stats
from rainrag.errors import DecodeError, InputError, MissingError, RainRAGError
from rainrag.files import listing, natural
from rainrag.records import Protocol

A = TypeVar("A")
B = TypeVar("B")
#: What the field adds to a name to say which side it is; taken off where plain names do not meet.
_SIDES = re.compile(
    r"(^|/)(?:norain|rain|clean|gt|lq)[-_]|[-_](?:norain|rainy|rain|clean|gt|lq|out|derained|restored|dr)$", re.I
)


@dataclass(frozen=True)
class Scores:
    """Scores of one folder under one protocol.

    Args:
        mean: metric -> mean over images; None where it is infinite or unavailable.
        images: per image {"key", metric: value or None}; PSNR None means equal to the target.
        unavailable: metric -> why.
    """

    protocol: str
    signature: dict[str, str]
    mean: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]
    images: list[dict[str, Any]]
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

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
            "images": self.images,
        }


# ---------------------------------------------------------------- pairing
def keys(root: Path) -> dict[str, str]:
    """key -> relative path of the images below a folder; the key is the path without extension.

    Raises:
        InputError: when two files have one key, or there is no image.
    """
    found: dict[str, str] = {}
    for name in listing(root):
        if not name.lower().endswith(images.SUFFIXES):
            continue
        key = str(PurePosixPath(name).with_suffix(""))
        if key in found:
            raise InputError(f"two files with one name: {found[key]} and {name}", where=root, hint="keep one of them")
        found[key] = name
    if not found:
        raise InputError("no images here", where=root)
    return found


def pair(out: Path, gt: Path, allow_missing: bool = False) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Join two folders by key, never by order.

    Names are joined as they are; where not one meets, the field's marks of the two sides (``norain-3`` and ``3``,
    ``3_GT`` and ``3_DR``) are taken off, if that leaves every name of its own.

    Returns:
        (key, output, target) sorted by key, and notes.

    Raises:
        InputError: when keys are left over, unless ``allow_missing``.
    """
    left, right, notes = meet(keys(out), keys(gt))
    common = sorted(set(left) & set(right), key=natural)
    only_out, only_gt = sorted(set(left) - set(right), key=natural), sorted(set(right) - set(left), key=natural)
    if not common or ((only_out or only_gt) and not allow_missing):
        shown = []
        for what, rest in ((f"only in {out}", only_out), (f"only in {gt}", only_gt)):
            if rest:
                shown.append(f"{what}: {len(rest)} ({', '.join(rest[:5])}{' …' if len(rest) > 5 else ''})")
        raise InputError(
            f"the two folders do not hold the same images; {'; '.join(shown)}",
            hint="give both sides equal names"
            + ("" if not common else ", or score the common ones with --allow-missing"),
        )
    if only_out or only_gt:
        notes.append(f"{len(only_out)} outputs and {len(only_gt)} targets had no partner and were left out")
    return [(k, out / left[k], gt / right[k]) for k in common], notes


def meet(left: dict[str, str], right: dict[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Two sides' names by key, without the marks of the sides where no plain names are equal; and what was done."""
    if not set(left) & set(right):
        bare_left, bare_right = _bare(left), _bare(right)
        if bare_left and bare_right and set(bare_left) & set(bare_right):
            return bare_left, bare_right, ["names joined without the marks of their side (norain-, _gt …)"]
    return left, right, []


def _bare(found: dict[str, str]) -> dict[str, str] | None:
    bare: dict[str, str] = {}
    for key, name in found.items():
        plain = _SIDES.sub(lambda m: m.group(1) or "", key)
        if plain in bare:
            return None
        bare[plain] = name
    return bare


# ---------------------------------------------------------------- scoring
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
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Score files.

    Args:
        extra: perceptual metrics besides PSNR and SSIM.
        scenes: one a pair, for the intervals; None takes every image for its own.
        progress: called with -total first, then with 1 an image.

    Raises:
        InputError: when an image cannot be read or sizes differ; the message names the key.
    """
    wanted = list(dict.fromkeys([*(["lpips"] if protocol.lpips else []), *extra]))
    models, unavailable = perceptual(wanted, download)
    if progress:
        progress(-len(pairs))

    def one(item: tuple[str, Path, Path]) -> tuple[dict[str, Any], images.U8, images.U8]:
        key, a, b = item
        try:
            out, gt = images.read(a).rgb, images.read(b).rgb
            return {"key": key, **metrics.score(out, gt, protocol, exact)}, out, gt
        except (DecodeError, InputError) as e:
            raise InputError(f"{key}: {e.what}", where=e.where or a, hint=e.hint) from e

    rows = []
    for row, out, gt in ahead(one, pairs, workers):
        for model in models:
            cut = [metrics.region(x, protocol.border, protocol.multiple) for x in (out, gt)]
            row[model.name] = model(cut[0], cut[1])
        rows.append(row)
        if progress:
            progress(1)
    return summarise(rows, protocol, models, unavailable, scenes, inference)


def perceptual(wanted: Sequence[str], download: bool) -> tuple[list[Any], dict[str, str]]:
    """Metrics that can be had, and why the others cannot."""
    models, unavailable = [], {}
    for name in wanted:
        from rainrag.perceptual import Metric

        try:
            models.append(Metric(name, download))
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
    for name in unavailable or {}:
        mean[name] = None
    return Scores(protocol.name, signature, mean, spans, rows, dict(unavailable or {}), notes)


def score_folders(
    out: Path, gt: Path, protocol: Protocol, extra: Sequence[str] = (), allow_missing: bool = False, **settings: Any
) -> Scores:
    """Score a folder of results against a folder of targets (``rainrag score``)."""
    pairs, notes = pair(out, gt, allow_missing)
    scores = score_pairs(pairs, protocol, extra, **settings)
    scores.notes.extend(notes)
    return scores


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
        for p in ways:
            if p.multiple > 1 and any(side % p.multiple for side in gt.shape[:2]):
                cuts.add(p)
            try:
                totals[p] += metrics.psnr(out, gt, p) if metric == "psnr" else metrics.ssim(out, gt, p)
            except RainRAGError as e:
                raise InputError(f"{key}: {e.what}", where=a, hint=e.hint) from e
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
