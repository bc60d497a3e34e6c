"""One entrant on one test set: decode, restore and score at once, and write a result for each protocol.

Images are decoded ahead and scored behind the network in other threads. Every scored image is kept in a log, so that a
run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rainrag.core import images
from rainrag.core.errors import DecodeError, InputError, MissingError, UsageError
from rainrag.core.files import canonical, fingerprint, write_bytes
from rainrag.core.types import Protocol, Result
from rainrag.evaluation import metrics, results, score
from rainrag.evaluation.submissions import Entrant, Folder, Network, crop_of
from rainrag.evaluation.testsets import Item, Opened, TestSet, seen

#: What is computed where there are no targets.
NO_REFERENCE = ("niqe", "musiq", "clip-iqa")
WORKERS = 2


@dataclass(frozen=True)
class BenchSettings:
    """How a benchmark is run.

    Args:
        protocols: presets; empty for those that the test set is usually quoted under.
        extra: further metrics of pyiqa.
        tile, device, precision: as for ``rainrag.restore.Restorer``.
        save: keep restored images, inputs and targets beside the results.
        download: let pyiqa fetch weights of its metrics.
    """

    protocols: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    tile: str = "auto"
    device: str = "auto"
    precision: str = "fp32"
    save: bool = False
    download: bool = False

    def of(self, testset: TestSet) -> list[Protocol]:
        """The protocols for a test set.

        Raises:
            UsageError: for an unknown one, or one that needs targets which the set does not have.
        """
        names = self.protocols or testset.protocols
        if testset.paired == ("no-reference" in names):
            lacks = "has targets: 'no-reference' is for sets without" if testset.paired else "has no targets"
            raise UsageError(
                f"'{testset.name}' {lacks}",
                hint=f"leave --protocol out, or: --protocol {testset.protocols[0]}",
            )
        return [Protocol(n) if n == "no-reference" else metrics.protocol(n) for n in dict.fromkeys(names)]


# ---------------------------------------------------------------- scoring
class Scorer:
    """All scores of one image under several protocols.

    Raises:
        MissingError: when not a single metric can be had.
    """

    def __init__(self, protocols: Sequence[Protocol], extra: Sequence[str], download: bool) -> None:
        self.protocols = list(protocols)
        self.models: dict[str, list[Any]] = {}
        self.unavailable: dict[str, dict[str, str]] = {}
        known: dict[str, Any] = {}
        for p in protocols:
            reference = p.name != "no-reference"
            wanted = dict.fromkeys([*(NO_REFERENCE if not reference else ["lpips"] if p.lpips else []), *extra])
            fresh, why = score.perceptual([n for n in wanted if n not in known], download)
            known |= {m.name: m for m in fresh} | dict.fromkeys(why)
            blind = {n for n in wanted if known[n] is not None and known[n].needs_target and not reference}
            self.models[p.name] = [known[n] for n in wanted if known[n] is not None and n not in blind]
            self.unavailable[p.name] = {**why, **dict.fromkeys(blind, "it needs targets, which this set does not have")}
            if not reference and not self.models[p.name]:
                reasons = "; ".join(f"{n}: {w}" for n, w in self.unavailable[p.name].items())
                raise MissingError(f"no metric can be had without targets ({reasons})", hint="--download, or --metric")

    def __call__(self, out: Any, gt: images.U8 | None) -> dict[str, dict[str, float]]:
        """protocol -> metric -> value.

        Args:
            out: (H, W, 3) uint8, or float in [0, 1].
            gt: None where there is no target.
        """
        found: dict[str, dict[str, float]] = {}
        for p in self.protocols:
            row = {} if gt is None else metrics.score(out, gt, p)
            models = self.models[p.name]
            if models:
                eight = metrics.quantise(out, p.quantise if p.quantise != "float" else "u8round")
                cut = [None if x is None else metrics.region(x, p.border, p.multiple) for x in (eight, gt)]
                row |= {m.name: m(cut[0], cut[1]) for m in models}
                row |= metrics.combined(p, row)
            found[p.name] = row
        return found


# ---------------------------------------------------------------- what a killed run leaves
class Log:
    """Scored images, one JSON line each, as they are done.

    Args:
        folder: of the test set's results.
        identity: everything that changes a score; a log of another identity is another file.
    """

    def __init__(self, folder: Path, identity: Any) -> None:
        self.path = folder / f".{fingerprint(identity)}.partial.jsonl"
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:  # the line that was being written when the run was killed
                    break
                self.rows[row["key"]] = row
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(canonical(r) + "\n" for r in self.rows.values()))

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows[row["key"]] = row
        with open(self.path, "a") as f:
            f.write(canonical(row) + "\n")


class Peak:
    """Peak memory in MB: of the GPU where one is used, else of this process since ``start`` (Linux); else None."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        self.device = device
        self.known = self.cuda
        if self.cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
            self.known = True
        except OSError:
            self.known = False

    def read(self) -> float | None:
        """The peak since then."""
        if not self.known:
            return None
        if self.cuda:
            import torch

            return torch.cuda.max_memory_allocated(self.device) / 2**20
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None


# ---------------------------------------------------------------- running
def run(
    entrant: Entrant,
    opened: Opened,
    settings: BenchSettings,
    root: Path,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Run an entrant on a test set, and write a result for each protocol below ``root``.

    Args:
        progress: called with -total first, then with the number of images done.

    Returns:
        The JSON files.

    Raises:
        InputError: when not one image could be scored.
    """
    protocols = settings.of(opened.testset)
    worker = (
        Network(entrant, settings.tile, settings.device, settings.precision)
        if entrant.folder is None
        else Folder(entrant, opened)
    )
    scorer = Scorer(protocols, settings.extra, settings.download)
    log = Log(root / opened.name, _identity(entrant, opened, settings, scorer, worker.device))
    todo = [i for i in opened.items if i.key not in log.rows]
    if progress:
        progress(-len(opened.items))
        progress(len(log.rows))
    peak = Peak(worker.device)
    keep = _Keeper(root / opened.name, entrant, protocols, settings.tile) if settings.save else None
    for row in _rows(todo, worker, scorer, keep):
        log.add(row)
        if progress:
            progress(1)
    busy = _busy()
    made = [_write(entrant, opened, settings, worker, scorer, p, log, peak.read(), busy, root) for p in protocols]
    log.path.unlink()
    return made


def _identity(entrant: Entrant, opened: Opened, settings: BenchSettings, scorer: Scorer, device: str) -> list[Any]:
    """Everything that changes a score."""
    signed = [
        [p.signature("psnr"), p.signature("ssim"), *(m.name for m in scorer.models[p.name])] for p in scorer.protocols
    ]
    files = None if entrant.folder is None else str(entrant.folder)
    return [entrant.name, entrant.weights_sha256, files, opened.sha256, signed, settings.tile, device,
            settings.precision, settings.save]  # fmt: skip


def _rows(items: Sequence[Item], worker: Network | Folder, scorer: Scorer, keep: _Keeper | None) -> Iterator[Any]:
    """One row an image, in order: decoded ahead, scored behind."""

    def decode(item: Item) -> Any:
        try:
            return item, *(side and side.rgb for side in item.read())
        except DecodeError as e:
            return item, e, None

    def finish(item: Item, out: Any, gt: images.U8 | None, inference: str, seconds: float) -> dict[str, Any]:
        try:
            crop = crop_of(out, gt) if gt is not None and isinstance(worker, Folder) else None
            if crop:
                gt = metrics.region(gt, multiple=crop)
            scores = scorer(out, gt)
        except InputError as e:
            return {"key": item.key, "skipped": e.what}
        if keep:
            keep(item, out)
        row = {"key": item.key, "scores": scores, "inference": inference, "seconds": seconds}
        return {**row, "crop": crop} if crop else row

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        for item, lq, gt in score.ahead(decode, items, WORKERS):
            try:
                if isinstance(lq, DecodeError):
                    raise lq
                start = time.perf_counter()
                out, inference = worker(item, lq)
                seconds = time.perf_counter() - start
            except InputError as e:
                waiting.append(pool.submit(dict[str, Any], key=item.key, skipped=e.what))
            else:
                waiting.append(pool.submit(finish, item, out, gt, inference, seconds))
            while waiting and (waiting[0].done() or len(waiting) > 2 * WORKERS):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Keeper:
    """Writes restored images, and both sides once a test set."""

    def __init__(self, folder: Path, entrant: Entrant, protocols: Sequence[Protocol], tile: str) -> None:
        self.folder = folder
        self.outs = {
            folder / results.stem(entrant.name, entrant.weights_sha256, p.name, tile): (
                p.quantise if p.quantise != "float" else "u8round"
            )
            for p in protocols
        }

    def __call__(self, item: Item, out: Any) -> None:
        for place, how in self.outs.items():
            write_bytes(place / f"{item.key}.png", images.encode_png(cast(images.U8, metrics.quantise(out, how))))
        for side, data in zip(("inputs", "targets"), item.data(), strict=True):
            if data is None:
                continue
            path = self.folder / side / f"{item.key}{_suffix(data)}"
            if not path.exists():
                write_bytes(path, data)


def _suffix(data: bytes) -> str:
    known = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"BM": ".bmp", b"RIFF": ".webp"}
    return next((suffix for begin, suffix in known.items() if data.startswith(begin)), ".tif")


# ---------------------------------------------------------------- results
def _write(
    entrant: Entrant,
    opened: Opened,
    settings: BenchSettings,
    worker: Network | Folder,
    scorer: Scorer,
    protocol: Protocol,
    log: Log,
    peak: float | None,
    busy: bool,
    root: Path,
) -> Path:
    """The result under one protocol."""
    good = [i for i in opened.items if "scores" in log.rows[i.key]]
    bad = {i.key: log.rows[i.key]["skipped"] for i in opened.items if "skipped" in log.rows[i.key]}
    if not good:
        raise InputError(f"not one image of {opened.name} could be scored: {next(iter(bad.values()))}")
    inference = "+".join(sorted({_inference(log.rows[i.key], protocol) for i in good}))
    rows = [{"key": i.key, **log.rows[i.key]["scores"][protocol.name]} for i in good]
    scenes = [i.scene for i in good]
    marks = dict(zip((i.key for i in opened.items), seen(opened, entrant.trained_on, entrant.hashes), strict=True))
    unavailable = scorer.unavailable[protocol.name]
    scored = score.summarise(rows, protocol, scorer.models[protocol.name], unavailable, scenes, inference)
    for item, row in zip(good, scored.images, strict=True):
        row |= {"scene": item.scene, "seen": marks[item.key], "seconds": log.rows[item.key]["seconds"]}
    notes = [*opened.notes, *entrant.notes, *scored.notes, *(worker.notes if isinstance(worker, Folder) else ())]
    notes += [f"{name} is unavailable: {why}" for name, why in unavailable.items()]
    notes += [f"left out: {key} ({why})" for key, why in bad.items()]
    notes += [results.BUSY] if busy else []
    result = Result(
        model=entrant.name,
        weights=entrant.weights,
        weights_sha256=entrant.weights_sha256,
        testset=opened.name,
        testset_sha256=Opened(opened.testset, opened.name, tuple(good), {}).sha256,
        protocol=protocol.name,
        signature=scored.signature,
        inference=inference,
        n=len(good),
        mean=scored.mean,
        interval=scored.interval,
        environment=environment(worker.device, settings.precision),
        seconds=sum(r["seconds"] for r in scored.images),
        peak_memory_mb=peak,
        trained_on=entrant.trained_on,
        clean=clean(scored.images, list(scored.signature)),
        notes=tuple(notes),
    )
    return results.save(root, result, scored.images, settings.tile)


def _inference(row: dict[str, Any], protocol: Protocol) -> str:
    """How the network saw an image, and that its target was cut like a cropped result where the protocol does not say so."""
    if "crop" in row and protocol.multiple % row["crop"]:
        return f"target-crop{row['crop']}"
    return str(row["inference"])


def clean(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any] | None:
    """Scores on the images whose scene is not known to have been trained on; None where nothing at all is known.

    ``complete`` says whether every image's scene is known: if not, further ones may have been trained on.
    """
    if all(r["seen"] is None for r in rows):
        return None
    from rainrag.core import stats

    left = [r for r in rows if r["seen"] is not True]
    scenes = [r["scene"] for r in left]
    means: dict[str, float | None] = {}
    spans: dict[str, list[float] | None] = {}
    for name in names:
        values = [r[name] for r in left]
        finite = bool(values) and None not in values
        means[name] = sum(values) / len(values) if finite else None
        span = stats.interval(values, scenes) if finite else None
        spans[name] = None if span is None else list(span)
    return {"n": len(left), "mean": means, "interval": spans, "complete": all(r["seen"] is not None for r in rows)}


def environment(device: str, precision: str) -> dict[str, str]:
    """What a number may depend on; no names of machines or people."""
    import cv2
    import numpy
    import torch

    from rainrag.core.version import __version__

    found = {
        "rainrag": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "torch": torch.__version__.split("+")[0],
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "precision": precision,
        "threads": str(torch.get_num_threads()),
        "processor": _processor(),
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _busy() -> bool:
    """Whether more than twice as much wanted to run in the last minute as there are cores: other work, beside ours."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or f"{os.cpu_count()} cores"


def is_there(path: Path, opened: Opened) -> bool:
    """Whether a whole, unedited result of exactly these images is there."""
    return path.is_file() and not results.problems(path) and results.load(path).testset_sha256 == opened.sha256
