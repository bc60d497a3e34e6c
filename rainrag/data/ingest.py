"""Ingest: a public set in whatever layout becomes one verified dataset.

Each image is read once, hashed, decoded once (so that damage is found now) and stored with the bytes it came with.
What cannot be used is reported with a reason from a closed list; nothing is lost in silence.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from rainrag.core import images, workspace
from rainrag.core.errors import DecodeError, InputError
from rainrag.core.files import fingerprint, natural, sha256_bytes, write_json
from rainrag.core.jobs.stage import Engine, Job, Shard, shards_by_size
from rainrag.core.names import printable
from rainrag.core.types import PairFiles, RainPair, Reject, Source, subset_of
from rainrag.data import dataset
from rainrag.data.contamination import Ledger
from rainrag.data.sources import layouts

VERSION = 1

#: Why a pair was left out: the closed list.
REASONS = {
    **images.REASONS,
    **layouts.REASONS,
    "size-mismatch": "the two sides differ in size",
    "identical": "the two sides are the same image",
    "ledger": "the clean side is a scene of a known test set",
    "side-by-side": "the width is odd, so the file has no halves",
}


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Args:
        counts: rows by subset (or ``other``) and split.
        rejects: what was left out, and why.
        notes: how many rows carry each note (alpha, palette, wrong extension …).
        expected: published counts that disagree, as sentences.
        pairs: rows, those without a clean side (``unlabelled``) included.
        taken: the layout taken and what it found, one line.
        not_read: (name, reason) of files that are no images by their names.
    """

    source: str
    out: str
    layout: str
    pairs: int
    counts: dict[str, dict[str, int]]
    rejects: tuple[Reject, ...]
    notes: dict[str, int]
    expected: tuple[str, ...]
    night_judged: int
    bytes: int = 0
    unlabelled: int = 0
    taken: str = ""
    not_read: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        return {
            **asdict(self),
            "rejects": [asdict(r) for r in self.rejects],
            "not_read": [{"name": name, "reason": why} for name, why in self.not_read],
        }


@dataclass
class Build:
    """The stage: rows of files in, parquet shards out. Settings that change its output are its fields."""

    source: Source
    root: str
    link: bool = False
    ledger: Ledger | None = None
    name: str = "ingest"
    version: int = VERSION
    licence: str = field(init=False)

    def __post_init__(self) -> None:
        self.licence = self.source.licence

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        source = self.source
        flags = [source.streak, source.drop, source.night, source.accumulation, source.weather, source.real]
        return {
            "source": source.name,
            "flags": flags,
            "licence": self.licence,
            "link": self.link,
            "root": self.root if self.link else None,
            "ledger": self.ledger.identity if self.ledger else None,
        }

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """One shard: read, check, write one parquet file a subset."""
        rejects: list[Reject] = []
        notes: Counter[str] = Counter()
        rows: Counter[str] = Counter()
        judged = size = unlabelled = 0
        split, number = shard.name.split("-", 1)
        adders: dict[str, Callable[[dict[str, Any]], None]] = {}
        with contextlib.ExitStack() as writers:
            for files in shard.rows:
                made = self.row(files)
                if isinstance(made, Reject):
                    rejects.append(made)
                    continue
                unlabelled += made["gt"] is None
                judged += files.night is None and self.source.night is None
                size += sum(len(made[s]["bytes"] or b"") for s in dataset.IMAGES if made[s])
                notes.update(n for n in made["notes"].split("; ") if n)
                path = dataset.shard_path(made["subset"], split, number)
                if path not in adders:
                    adders[path] = writers.enter_context(dataset.shard_writer(out / path))
                adders[path](made)
                rows[path] += 1
        return {
            "files": dict(sorted(rows.items())),
            "rows": rows.total(),
            "rejects": [asdict(r) for r in rejects],
            "notes": dict(notes),
            "night_judged": judged,
            "bytes": size,
            "unlabelled": unlabelled,
        }

    def row(self, files: PairFiles) -> dict[str, Any] | Reject:
        """One pair: a dataset row, or why not."""
        key = printable(f"{self.source.name}/{files.split}/{files.stem}")
        try:
            gt: Side | None
            parent: str | None
            if files.half:
                lq, gt, parent = self._halves(files)
            else:
                lq, gt, parent = self._side(files.lq), self._side(files.gt) if files.gt else None, None
        except DecodeError as e:
            return Reject(key, e.reason, printable(f"{e.where}: {e.what}" if e.where else e.what))
        if gt and lq.image.size != gt.image.size:
            return Reject(
                key, "size-mismatch", printable(f"{files.lq} is {_by(lq.image)}, {files.gt} is {_by(gt.image)}")
            )
        if gt and (lq.sha256 == gt.sha256 or (lq.phash == gt.phash and (lq.image.rgb == gt.image.rgb).all())):
            return Reject(key, "identical", printable(f"{files.lq} and {files.gt}"))
        hit = self.ledger.find((gt or lq).phash) if self.ledger and files.split != "test" else None
        if hit and hit.key != key:
            return Reject(key, "ledger", f"shows {hit.key} ({hit.distance} of 256 bits differ)")
        pair = self._record(key, files, lq, gt, parent)
        return dataset.row(pair, lq.cell, gt.cell if gt else None)

    def _side(self, name: str) -> Side:
        path = Path(self.root) / name
        if self.link and printable(str(path.resolve())) != str(path.resolve()):
            raise DecodeError("unreadable", "the path is no valid text, so that it cannot be linked", where=name)
        data = images.read_bytes(path)
        image = images.decode(data, name)
        cell = {
            "bytes": None if self.link else data,
            "path": str(path.resolve()) if self.link else printable(PurePosixPath(name).name),
        }
        return Side(image, sha256_bytes(data), images.phash(image.luma), cell)

    def _halves(self, files: PairFiles) -> tuple[Side, Side, str]:
        """Two sides out of one side-by-side file, as lossless PNG with the parent's sha256."""
        data = images.read_bytes(Path(self.root) / files.lq)
        whole = images.decode(data, files.lq)
        width = whole.rgb.shape[1]
        if width % 2:
            raise DecodeError("side-by-side", f"{REASONS['side-by-side']}: {width} pixels", where=files.lq)
        left, right = whole.rgb[:, : width // 2], whole.rgb[:, width // 2 :]
        sides = []
        for rgb in (left, right) if files.half == "left" else (right, left):
            png = images.encode_png(rgb)
            notes = (*whole.notes, "half of a side-by-side file")
            image = images.Decoded(Image.fromarray(np.ascontiguousarray(rgb)), "png", notes)
            cell = {"bytes": png, "path": printable(f"{PurePosixPath(files.lq).stem}.png")}
            sides.append(Side(image, sha256_bytes(png), images.phash(rgb), cell))
        return sides[0], sides[1], sha256_bytes(data)

    def _record(self, key: str, files: PairFiles, lq: Side, gt: Side | None, parent: str | None) -> RainPair:
        def flag(name: str) -> bool | None:
            own = getattr(files, name)
            value: bool | None = own if own is not None else getattr(self.source, name)
            return value

        night = flag("night")
        if night is None:
            night = images.is_night((gt or lq).image.luma)
        weather = files.weather or self.source.weather
        subset = subset_of(flag("streak"), flag("drop"), night) if weather == "rain" else None
        notes = [*(f"lq {n}" for n in lq.image.notes), *(f"gt {n}" for n in (gt.image.notes if gt else ()))]
        return RainPair(
            key=key,
            source=self.source.name,
            split=files.split,
            scene=printable(f"{self.source.name}/{files.scene}"),
            subset=subset,
            streak=flag("streak"),
            drop=flag("drop"),
            night=night,
            accumulation=flag("accumulation"),
            weather=weather,
            real=self.source.real,
            licence=self.licence,
            lq_sha256=lq.sha256,
            gt_sha256=gt.sha256 if gt else None,
            lq_phash=lq.phash,
            gt_phash=gt.phash if gt else None,
            lq_width=lq.image.size[0],
            lq_height=lq.image.size[1],
            gt_width=gt.image.size[0] if gt else None,
            gt_height=gt.image.size[1] if gt else None,
            lq_format=lq.image.format,
            gt_format=gt.image.format if gt else None,
            parent_sha256=parent,
            fault=files.fault,
            notes=tuple(notes),
        )


@dataclass(frozen=True)
class Side:
    """One decoded side of a pair."""

    image: images.Decoded
    sha256: str
    phash: str
    cell: dict[str, Any]


def _by(image: images.Decoded) -> str:
    return f"{image.size[0]}x{image.size[1]}"


def select(
    pairs: Sequence[PairFiles],
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    per_scene: int | None = None,
) -> list[PairFiles]:
    """Choose pairs: of some splits, so many a scene (evenly spread over it), so many in all (train before test)."""
    chosen = [p for p in pairs if not splits or p.split in splits]
    if per_scene:
        scenes: dict[tuple[str, str], list[PairFiles]] = {}
        for p in chosen:
            scenes.setdefault((p.split, p.scene), []).append(p)
        kept: set[str] = set()
        for members in scenes.values():
            n = min(per_scene, len(members))
            kept.update(members[i * len(members) // n].stem + "\0" + members[0].split for i in range(n))
        chosen = [p for p in chosen if p.stem + "\0" + p.split in kept]
    order = {s: i for i, s in enumerate(dataset.SPLITS)}
    chosen.sort(key=lambda p: (order[p.split], natural(p.stem)))
    return chosen[:limit] if limit else chosen


def plan(root: Path, pairs: Sequence[PairFiles]) -> list[Shard]:
    """Shards of the chosen pairs: one split each, bounded bytes, cut by the files alone."""
    shards = []
    for split in dataset.SPLITS:
        part = [p for p in pairs if p.split == split]
        sizes = [file_size(root / p.lq) + (file_size(root / p.gt) if p.gt and p.gt != p.lq else 0) for p in part]
        shards += shards_by_size(part, sizes, f"{split}-x")
    return [Shard(s.name.replace("-x-", "-"), s.rows) for s in shards]


def file_size(path: Path) -> int:
    """Bytes of a file; 0 for one that cannot be seen."""
    try:
        return path.stat().st_size
    except OSError:  # reported when it is read
        return 0


def ingest(
    source: Source,
    root: Path,
    out: Path,
    engine: Engine,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    per_scene: int | None = None,
    link: bool = False,
    overwrite: bool = False,
    keep_ledger_scenes: bool = False,
    layout: layouts.Layout | None = None,
    matched: tuple[layouts.Layout, layouts.Found] | None = None,
    progress: Callable[[str, int], None] | None = None,
    planned: Callable[[int], None] | None = None,
) -> IngestReport:
    """Turn a folder into a dataset.

    Args:
        source: which set it is (``rainrag.data.sources.get``).
        root: the unpacked set.
        out: where the dataset goes; a killed run goes on here with equal bytes.
        link: keep absolute paths instead of bytes.
        keep_ledger_scenes: do not leave known test scenes out of training parts.
        layout: try this one alone.
        matched: what ``layouts.match`` gave for this source and root before.
        planned: called with the number of pairs before work starts.

    Raises:
        LayoutError: when no known layout fits.
        InputError: when not one pair could be ingested.
        IntegrityError: when ``out`` was made with other settings.
    """
    found_layout, found = matched or layouts.match(source, root, (layout,) if layout else None)
    pairs = select(found.pairs, splits, limit, per_scene)
    if overwrite and out.exists():
        clear(out)
    ledger = None if keep_ledger_scenes else Ledger.load(workspace.place("ledger.jsonl"))
    stage = Build(source, str(root), link, ledger)
    shards = plan(root, pairs)
    inputs = fingerprint(
        [[p.lq, p.gt, p.split, p.stem, file_size(root / p.lq), file_size(root / p.gt) if p.gt else 0] for p in pairs]
    )
    if planned:
        planned(len(pairs))
    records = Job(stage, out, inputs).run(shards, engine, progress)
    report = _report(source, out, found_layout, found, records, bool(splits or limit or per_scene))
    if not report.pairs:
        reasons = Counter(r.reason for r in report.rejects)
        listed = ", ".join(f"{n} {reason} ({REASONS[reason]})" for reason, n in reasons.most_common())
        hint = (
            "test sets stay out of training parts; to keep them in: --keep-ledger-scenes" if reasons["ledger"] else None
        )
        clear(out)  # not a dataset that opens and is empty
        raise InputError(f"nothing could be ingested: {listed or 'no pairs chosen'}", where=root, hint=hint)
    finish(source, out, report)
    return report


def clear(out: Path) -> None:
    """Remove what earlier runs of ours wrote to a folder, and nothing else."""
    for name in ("data", ".rainrag", "README.md", "report.json"):
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def _report(
    source: Source,
    out: Path,
    layout: layouts.Layout,
    found: layouts.Found,
    records: dict[str, dict[str, Any]],
    partial: bool,
) -> IngestReport:
    rejects = [Reject(printable(r.key), r.reason, printable(r.detail)) for r in found.rejects]
    notes: Counter[str] = Counter()
    for record in records.values():
        rejects += [Reject(**r) for r in record["rejects"]]
        notes.update(record["notes"])
    dataset.fill_empty(out)
    table = dataset.counts(out)
    by_split: Counter[str] = Counter()
    for parts in table.values():
        by_split.update(parts)
    expected = [] if partial else [
        f"{split}: {by_split[split]} pairs, published {n}"
        for split, n in source.counts.items()
        if n is not None and by_split[split] != n
    ]  # fmt: skip
    return IngestReport(
        source=source.name,
        out=str(out),
        layout=layout.expected,
        pairs=sum(by_split.values()),
        counts=table,
        rejects=tuple(rejects),
        notes=dict(sorted(notes.items())),
        expected=tuple(expected),
        night_judged=sum(r["night_judged"] for r in records.values()),
        bytes=sum(r["bytes"] for r in records.values()),
        unlabelled=sum(r.get("unlabelled", 0) for r in records.values()),
        taken=printable(found.described(layout)),
        not_read=tuple((printable(name), why) for name, why in found.unread),
    )


def finish(source: Source, out: Path, report: IngestReport) -> None:
    """Write the report and the dataset card."""
    body = [f"Made by `rainrag ingest {source.name}` from {source.title}.", ""]
    if source.paper:
        body += [f"Paper: {source.paper}", ""]
    if source.homepage:
        body += [f"Home: {source.homepage}", ""]
    body += [f"Licence of the images: {source.licence}. Check it before you pass them on.", ""]
    body += [f"Layout found: {report.layout}.", ""]
    kinds = Counter(r.reason for r in report.rejects)
    if kinds:
        body += ["Left out, each with its reason in report.json:", ""]
        body += [f"- {n} {reason}: {REASONS[reason]}" for reason, n in sorted(kinds.items())]
        body.append("")
    if report.night_judged:
        body += [
            f"Day or night was judged from mean luma (below {images.NIGHT_LUMA:g} of 255) for "
            f"{report.night_judged} pairs. On photographs of known lighting that rule was right for {images.NIGHT_RIGHT}; "
            "lifted blacks and dusk mislead it (docs/audit.md).",
            "",
        ]
    if report.expected:
        body += ["Counts that differ from the published ones: " + "; ".join(report.expected) + ".", ""]
    body += [f"Note: {n}" for n in source.notes]
    if source.citation:
        body += ["", "## Citation", "", "```bibtex", source.citation.strip(), "```"]
    dataset.write_card(out, f"{source.title} (RainRAG ingest)", "\n".join(body), source.licence)
    write_json(out / "report.json", {**report.to_dict(), "out": None})


def renamed(source: Source, name: str | None, **flags: Any) -> Source:
    """A source under another name or with other flags (for ``folder``)."""
    given = {k: v for k, v in flags.items() if v is not None}
    return replace(source, name=name or source.name, **given)
