"""A folder of rendered pairs, as if it were a public set: the source ``rendered``.

Layout: ``{DRS,DRD,NRS,NRD}/{input,target}/NAME.png`` and ``rendered.jsonl``, one line a pair with every number that was
drawn and the planted fault. The bytes depend on the seed, the backgrounds and the settings alone; samples have seeds of
their own, so the number of workers changes nothing.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import jobs
from rainrag.core.errors import InputError, UsageError
from rainrag.core.files import canonical, fingerprint, sha256_bytes, write_bytes, write_text
from rainrag.core.images import U8, encode_png, psnr8
from rainrag.core.jobs.stage import Job, Shard
from rainrag.core.types import Reject, Subset
from rainrag.data.synthetic import backgrounds as scenery
from rainrag.data.synthetic import faults as planting
from rainrag.data.synthetic.backgrounds import Background
from rainrag.data.synthetic.scene import SMALLEST, Rendered, render
from rainrag.data.synthetic.source import MANIFEST

VERSION = 1
TRAIN_SHARE = 0.8  # of each type's scenes
VISIBLE = 38.0  # dB: rain that changes less than this is rendered again, stronger, lest it count as a clean input
_SHARD = 16


@dataclass(frozen=True)
class Sample:
    """What is to be rendered.

    Args:
        index: place in the plan; with the seed it gives the sample's own chance.
        subset: type of rain rendered.
        name: file name without extension.
        fault: planted fault, or None.
        donor: another scene, for a wrong target.
    """

    index: int
    name: str
    subset: Subset
    split: str
    background: Background
    fault: str | None
    donor: Background | None


@dataclass(frozen=True)
class RenderReport:
    """What was written.

    Args:
        counts: pairs by label and split.
        faults: pairs by planted fault.
        rejects: photographs left out, with a reason.
        notes: what a user should know.
    """

    pairs: int
    counts: dict[str, dict[str, int]]
    faults: dict[str, int]
    rejects: tuple[Reject, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass
class Render:
    """The stage: samples in, pairs of PNG files out."""

    seed: int
    size: tuple[int, int]
    name: str = "render"
    version: int = VERSION

    def settings(self) -> dict[str, Any]:
        """What changes the output, beside the plan."""
        return {"seed": self.seed, "size": list(self.size)}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Render one shard; its record holds the lines of the manifest."""
        written, lines = {}, []
        for sample in shard.rows:
            pair = self.pair(sample)
            for side, rgb in (("input", pair.lq), ("target", pair.gt)):
                path = f"{pair.subset.value}/{side}/{sample.name}.png"
                data = encode_png(rgb)
                write_bytes(out / path, data)
                written[path] = sha256_bytes(data)
            lines.append(self._line(sample, pair))
        return {"files": written, "lines": lines}

    def pair(self, sample: Sample) -> Rendered:
        """Render one sample and plant its fault."""
        rng = np.random.default_rng([self.seed, 3, sample.index])
        clean = scenery.crop(sample.background.load(), self.size, rng)
        pair = visible(clean, sample.subset, rng, relight=not sample.background.night)
        if sample.fault is None:
            return pair
        donors = [scenery.crop(sample.donor.load(), self.size, rng)] if sample.donor else []
        return planting.plant(pair, sample.fault, rng, donors)

    def _line(self, sample: Sample, pair: Rendered) -> dict[str, Any]:
        return {
            "stem": f"{pair.subset.value}/{sample.name}",
            "subset": pair.subset.value,
            "rendered_as": sample.subset.value,
            "split": sample.split,
            "scene": sample.background.scene,
            "background": asdict(sample.background) | {"path": Path(sample.background.path).name},
            "seed": self.seed,
            "index": sample.index,
            "streak": pair.streak,
            "drop": pair.drop,
            "night": pair.night,
            "accumulation": pair.accumulation,
            "fault": sample.fault,
            "params": pair.params,
        }


def visible(clean: U8, subset: Subset, rng: np.random.Generator, relight: bool | None = None) -> Rendered:
    """A pair whose rain can be seen: drawn again with more strength while it changes the picture less than VISIBLE."""
    strength = float(rng.uniform(0.1, 1.0))
    while True:
        pair = render(clean, subset, rng, strength, relight=relight)
        if strength >= 1 or psnr8(pair.lq, pair.gt) < VISIBLE:
            return pair
        strength = min(1.0, strength + 0.2)


def plan(dealt: list[tuple[Background, Subset]], seed: int, per_scene: int, fault_share: float) -> list[Sample]:
    """Samples in order: the first 80 % of each type's scenes for training; faults dealt evenly over their kinds.

    Args:
        fault_share: exact share of samples (rounded) that carry a fault.
    """
    splits = _splits(dealt)
    samples = [
        (f"{number:06d}-{k}", subset, split, background)
        for number, ((background, subset), split) in enumerate(zip(dealt, splits, strict=True))
        for k in range(per_scene)
    ]
    rng = np.random.default_rng([seed, 4])
    faulty = _deal_faults([s[1] for s in samples], round(fault_share * len(samples)), rng)
    peers = {s: [d for d, part in zip(dealt, splits, strict=True) if part == s] for s in ("train", "test")}
    planned = []
    for i, (name, subset, split, background) in enumerate(samples):
        fault = faulty.get(i)
        donor = _donor(peers[split], background, subset) if fault == "wrong-target" else None
        planned.append(Sample(i, name, subset, split, background, fault, donor))
    return planned


def _splits(dealt: list[tuple[Background, Subset]]) -> list[str]:
    """Split of each scene: the first 80 % of each type's train, at least one."""
    of_type = Counter(subset for _, subset in dealt)
    seen: Counter[Subset] = Counter()
    splits = []
    for _, subset in dealt:
        splits.append("train" if seen[subset] < max(1, round(TRAIN_SHARE * of_type[subset])) else "test")
        seen[subset] += 1
    return splits


def _deal_faults(subsets: list[Subset], count: int, rng: np.random.Generator) -> dict[int, str]:
    """Which samples carry which fault: ``count`` of them by chance, each the fault dealt least so far that fits."""
    dealt = Counter(dict.fromkeys(rng.permutation(list(planting.FAULTS)).tolist(), 0))
    chosen: dict[int, str] = {}
    for i in rng.permutation(len(subsets))[:count].tolist():
        fits = planting.possible(subsets[i])
        fault = min((f for f in dealt if f in fits), key=lambda f: dealt[f])
        dealt[fault] += 1
        chosen[i] = fault
    return chosen


def _donor(peers: list[tuple[Background, Subset]], own: Background, subset: Subset) -> Background | None:
    """Another scene of the same split, of the same type where there is one."""
    others = [b for b, t in peers if b.scene != own.scene and t == subset]
    others = others or [b for b, _ in peers if b.scene != own.scene]
    after = [b for b in others if b.scene > own.scene]
    return min(after or others, key=lambda b: b.scene, default=None)


def write(
    out: Path,
    scenes: int,
    backgrounds: Path | None = None,
    seed: int = 0,
    *,
    faults: bool = False,
    fault_share: float = 0.3,
    types: tuple[Subset, ...] = tuple(Subset),
    per_scene: int = 1,
    size: tuple[int, int] = (480, 320),
    workers: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> RenderReport:
    """Render a folder of pairs; run again after a break, it goes on where it stopped.

    Args:
        out: folder to write.
        scenes: clean scenes, dealt evenly to the types.
        backgrounds: folder of clean photographs, each one scene; None takes bundled photographs and made-up streets.
        faults: plant faults in ``fault_share`` of the samples.
        per_scene: rainy versions of each scene (crops, rain and strength differ).
        size: (width, height) of the pairs.
        workers: processes; None for one per core. They do not change the bytes.
        progress: called with minus the number of samples once, then with each number of samples done.

    Raises:
        UsageError: for numbers out of range.
        InputError: when no photograph can be used.
        IntegrityError: when ``out`` was made with other settings.
    """
    _check(scenes, fault_share, types, per_scene, size)
    out = Path(out)
    rejects: list[Reject] = []
    if backgrounds is None:
        dealt = scenery.bundled(types, scenes, seed)
    else:
        dealt, rejects = scenery.from_folder(Path(backgrounds), types, scenes, seed)
    if not dealt:
        reasons = ", ".join(f"{r.key}: {r.reason}" for r in rejects[:3])
        raise InputError(f"no usable photograph for these types{': ' if reasons else ''}{reasons}", where=backgrounds)
    samples = plan(dealt, seed, per_scene, fault_share if faults else 0.0)
    if progress:
        progress(-len(samples))
    shards = [Shard(f"{i // _SHARD:05d}", tuple(samples[i : i + _SHARD])) for i in range(0, len(samples), _SHARD)]
    job = Job(Render(seed, size), out, fingerprint([_identity(s) for s in samples]))
    records = job.run(shards, jobs.create("local", workers=workers), lambda _, n: progress(n) if progress else None)
    lines = [line for record in records.values() for line in record["lines"]]
    write_text(out / MANIFEST, "".join(canonical(line) + "\n" for line in lines))
    return _report(lines, rejects, scenes, len(dealt))


def clear(out: Path) -> None:
    """Remove what earlier runs rendered into a folder, and nothing else."""
    for name in (".rainrag/render", *(f"{t.value}/{side}" for t in Subset for side in ("input", "target"))):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / MANIFEST).unlink(missing_ok=True)


def _identity(sample: Sample) -> dict[str, Any]:
    """A sample as the fingerprint sees it: photographs by name and size in bytes, wherever they lie."""
    plain = asdict(sample)
    for name in ("background", "donor"):
        if plain[name] and plain[name]["path"]:
            path = Path(plain[name]["path"])
            plain[name]["path"] = [path.name, path.stat().st_size]
    return plain


def _check(scenes: int, fault_share: float, types: tuple[Subset, ...], per_scene: int, size: tuple[int, int]) -> None:
    if scenes < 1 or per_scene < 1:
        raise UsageError("at least one scene and one sample a scene", where=f"{scenes} scenes, {per_scene} a scene")
    if not 0 <= fault_share <= 1:
        raise UsageError("the share of faults runs from 0 to 1", where=fault_share)
    if not types:
        raise UsageError("no type of rain named", hint=f"known: {', '.join(Subset)}")
    if min(size) < SMALLEST:
        raise UsageError(f"pairs have at least {SMALLEST} pixels a side", where=f"{size[0]}x{size[1]}")


def _report(lines: list[dict[str, Any]], rejects: list[Reject], asked: int, scenes: int) -> RenderReport:
    counts: dict[str, dict[str, int]] = {}
    for line in lines:
        part = counts.setdefault(line["subset"], {})
        part[line["split"]] = part.get(line["split"], 0) + 1
    notes = []
    if scenes < asked:
        notes.append(f"{asked} scenes asked for, {scenes} photographs could be used")
    relit = sum(line["params"]["relit"] for line in lines)
    if relit:
        notes.append(f"{relit} night pairs were made from day photographs")
    faults = Counter(line["fault"] for line in lines if line["fault"])
    return RenderReport(len(lines), counts, dict(sorted(faults.items())), tuple(rejects), tuple(notes))
