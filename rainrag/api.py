"""The public API: one function per step, from the list of the public sets to a table of scores.

    import rainrag

    rainrag.ingest_folder("my-pairs", "data", subset="DRS")
    rainrag.build_store("my-rainy-photos", "store")
    rainrag.distill("data", "store", "splits")
    rainrag.train("splits", "run", recipe="laptop")
    clean = rainrag.derain(image)
    print(rainrag.score("results", "targets").mean)
    rainrag.evaluate(["unirain", "input"], ["rain100l"], limit=10)

``rainrag.distill`` is this module's ``distill``, and so on. Heavy libraries are loaded inside the calls. Errors are those of
``rainrag.core.errors``. ``progress`` is called as ``progress(stage, done, total)``; messages go to the logger ``rainrag``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rainrag.core import workspace
from rainrag.core.progress import Progress, Steps

if TYPE_CHECKING:
    from rainrag.core.types import Result, Source
    from rainrag.data.audit import AuditReport
    from rainrag.data.download import Download
    from rainrag.data.ingest import IngestReport
    from rainrag.data.sources.layouts import Found, Layout
    from rainrag.distill.pipeline import DistillSummary
    from rainrag.evaluation.score import Scores
    from rainrag.restore.python import LoadedModel
    from rainrag.retrieval.store import StoreReport
    from rainrag.training.run import TrainingRun

Where = str | Path
Picture = TypeVar("Picture")
log = logging.getLogger("rainrag")


def _paths(places: Where | Sequence[Where]) -> list[Path]:
    return [Path(p) for p in ([places] if isinstance(places, str | Path) else places)]


def _log_layout(layout: Layout, found: Found) -> None:
    """How the files of a folder were paired, and what was not read: before the work starts."""
    from rainrag.core.names import grouped, printable

    log.info("%s", printable(found.described(layout)))
    for line in grouped(found.unread):
        log.info("not read: %s", line)


# ---------------------------------------------------------------- data
def list_sources() -> list[Source]:
    """The public sets: what they hold, their licence, where to get them, in the order of the table."""
    from rainrag.data import sources

    return [sources.get(name) for name in (*sources.names(), *sources.SOURCES.installed())]


def download(name: str, out: Where | None = None, *, progress: Progress | None = None) -> Download:
    """Fetch a public set and unpack it. Checksums are recorded at first use and checked after.

    Args:
        name: of a source (``list_sources``).
        out: folder; default: in the workspace.
        progress: stage ``download``, in bytes.

    Raises:
        MissingError: where no host can be reached, or the set has to be downloaded by hand; the hint holds the steps.
    """
    from rainrag.data import download as fetcher
    from rainrag.data import sources

    source = sources.find(name)
    target = workspace.place("raw", source.name) if out is None else Path(out)
    files = fetcher.fetch(source, target, Steps(progress).of("download"))
    return fetcher.Download(source.name, target, tuple(files))


def ingest(
    name: str,
    root: Where | None = None,
    out: Where | None = None,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    per_scene: int | None = None,
    link: bool = False,
    keep_test_scenes: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Turn an unpacked public set into a verified dataset. A killed call continues where it stopped.

    Args:
        name: of a source (``list_sources``), or ``package.module:SOURCE``; for pairs of your own see ``ingest_folder``.
        root: the unpacked set; default: in the workspace, where ``download`` puts it.
        out: folder of the dataset; default: in the workspace.
        splits: of the set: ``train``, ``test``, ``validation``; default: all.
        limit: maximum number of pairs.
        per_scene: maximum number of pairs per scene.
        link: store absolute paths instead of image bytes.
        keep_test_scenes: keep scenes of known test sets in training parts.
        overwrite: discard an existing dataset at ``out``.
        workers: processes; default: one per core.
        progress: stage ``ingest``, in pairs.

    Raises:
        LayoutError: when no known layout fits.
        InputError: when no pair could be ingested.
        IntegrityError: when ``out`` was made with other settings.
    """
    from rainrag.data import sources

    source = sources.find(name)
    return _ingest(
        source, workspace.place("raw", source.name) if root is None else Path(root), out, None, splits, limit,
        per_scene, link, keep_test_scenes, overwrite, workers, progress,
    )  # fmt: skip


def ingest_folder(
    root: Where,
    out: Where | None = None,
    *,
    name: str = "folder",
    subset: str | None = None,
    licence: str | None = None,
    pattern: str | None = None,
    suffix: str | None = None,
    lq_glob: str | None = None,
    gt_glob: str | None = None,
    unlabelled: bool = False,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    per_scene: int | None = None,
    link: bool = False,
    keep_test_scenes: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Turn a folder of your own pairs or photographs into a verified dataset. See ``ingest`` for what is not listed.

    Args:
        root: the folder.
        out: folder of the dataset; default: in the workspace.
        name: of the dataset; the first part of its keys.
        subset: DRS, DRD, NRS or NRD for all pairs.
        licence: of the images.
        pattern: names that pair: ``RAINY=CLEAN``, for example ``wet/{}_*=dry/{}``.
        suffix: what the rainy files' names end with.
        lq_glob, gt_glob: globs of both sides, relative to ``root``.
        unlabelled: photographs without clean sides.

    Raises:
        UsageError: for an unknown subset, and for ways of pairing that exclude each other.
    """
    from rainrag.data import sources
    from rainrag.data.sources.folder import own_folder, own_layout

    layout = own_layout(pattern, suffix, unlabelled, lq_glob, gt_glob)
    source = own_folder(sources.get("folder"), name, subset, licence)
    return _ingest(
        source, Path(root), out, layout, splits, limit, per_scene, link, keep_test_scenes, overwrite, workers, progress
    )


def _ingest(
    source: Source, root: Path, out: Where | None, layout: Layout | None, splits: Sequence[str] | None,
    limit: int | None, per_scene: int | None, link: bool, keep_test_scenes: bool, overwrite: bool,
    workers: int | None, progress: Progress | None,
) -> IngestReport:  # fmt: skip
    from rainrag.core.errors import MissingError
    from rainrag.core.jobs import create
    from rainrag.data import ingest as work
    from rainrag.data.sources import layouts

    if not root.is_dir():
        raise MissingError(f"'{source.name}' is not available locally", where=root, hint="root: the unpacked set")
    matched = layouts.match(source, root, (layout,) if layout else None)
    _log_layout(*matched)
    steps = Steps(progress).of("ingest")
    return work.ingest(
        source, root, workspace.place("datasets", source.name) if out is None else Path(out),
        create("local", workers=workers), splits=splits, limit=limit, per_scene=per_scene, link=link,
        overwrite=overwrite, keep_ledger_scenes=keep_test_scenes, matched=matched,
        progress=lambda _, n: steps(n), planned=lambda n: steps(-n),
    )  # fmt: skip


def audit(
    data: Where | Sequence[Where],
    against: Where | Sequence[Where] = (),
    *,
    check_pairs: bool = True,
    pattern: str | None = None,
    suffix: str | None = None,
    unlabelled: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Find undecodable files, unsound pairs, duplicates, and scenes shared between training and test sets.

    Args:
        data: datasets, or plain folders of pairs or photographs.
        against: test sets that must not be trained on.
        check_pairs: look for faults of pairs (misalignment, a target with rain …).
        pattern, suffix, unlabelled: how plain folders pair, as for ``ingest_folder``.
        workers: processes; default: one per core.
        progress: stage ``audit``, in images or pairs.

    Raises:
        InputError: when no image can be used.
    """
    from rainrag.core.jobs import create
    from rainrag.data import audit as work
    from rainrag.data.sources.folder import own_layout

    report, _ = work.audit(
        _paths(data), create("local", workers=workers), _paths(against), gates=check_pairs,
        layout=own_layout(pattern, suffix, unlabelled), say=_log_layout, progress=Steps(progress).of("audit"),
    )  # fmt: skip
    return report


# ---------------------------------------------------------------- distillation
def build_store(
    photographs: Where | Sequence[Where],
    out: Where | None = None,
    *,
    captioner: str = "embedded",
    encoder: str = "embedded",
    refine: Sequence[str] = (),
    encoder_settings: Mapping[str, Any] | None = None,
    add: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> StoreReport:
    """Build the reference store of real rainy photographs (paper, section 3.1).

    Args:
        photographs: folders, files, or datasets of unlabelled photographs.
        out: folder, or ``http://host:port`` of a Chroma server; default: the workspace's.
        captioner, encoder, refine: specs, as ``rainrag.retrieval.encoders.create`` takes them.
        encoder_settings: of these: ``device``, ``batch_size`` …
        add: add to an existing store, which has to be of the same encoders.
        overwrite: discard an existing store.
        workers: processes; default: one per core.
        progress: stage ``measure``, in photographs.

    Raises:
        IntegrityError: when the store exists with other encoders.
        InputError: when no photograph can be used.
    """
    from rainrag.core.jobs import create
    from rainrag.core.names import grouped
    from rainrag.retrieval.build import build
    from rainrag.retrieval.triplet import Triplets

    def unread(files: list[dict[str, str]]) -> None:
        for line in grouped((x["key"], x["detail"] or x["reason"]) for x in files):
            log.info("not read: %s", line)

    steps = Steps(progress).of("measure")
    triplets = Triplets(captioner, encoder, tuple(refine), dict(encoder_settings or {}))
    store = build(
        _paths(photographs), workspace.place("store") if out is None else out, triplets,
        create("local", workers=workers), add=add, overwrite=overwrite, progress=steps, planned=lambda n: steps(-n),
        say=unread,
    )  # fmt: skip
    return store.report()


def distill(
    data: Where | Sequence[Where] = (),
    store: Where | None = None,
    out: Where | None = None,
    *,
    voters: str | Sequence[str] = "statistical",
    k: tuple[int, int, int] = (100, 20, 3),
    quorum: int | None = None,
    seed: int = 0,
    alpha: float = 0.05,
    decide: str | None = None,
    keep_share: float | None = None,
    correct_exposure: bool = False,
    all_voters: bool = False,
    audit_share: float = 0.05,
    ablate: str | None = None,
    per_scene: int | None = None,
    quota: int | None = None,
    voter_settings: Mapping[str, Any] | None = None,
    allow_abstentions: bool = False,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DistillSummary:
    """Keep the pairs that look like real rain: the RainRAG splits (paper, section 3.1). A killed call can be resumed.

    Args:
        data: datasets; default: all of the workspace.
        store: folder or address of the reference store; default: the workspace's.
        out: folder of the splits; default: in the workspace.
        voters: specs, or one comma-separated string (``rainrag.voters.create``).
        k: K1, K2, K3: nearest captions, features among them, structures among those.
        quorum: yes votes needed; default: a strict majority.
        seed: of the test part, the audit sample and random references.
        alpha: share of photographs like the store's that a calibrated panel rejects; by majority: each voter.
        decide: ``calibrated`` or ``majority``; default: the former where every voter gives p-values.
        keep_share: keep this share of each subset, the best by rank.
        correct_exposure: correct a target of another exposure where one curve explains it.
        all_voters: every voter votes on every pair.
        audit_share: share of pairs on which all vote, for the statistics of agreement.
        ablate: ``vlm-only``, ``no-retrieval`` or ``no-generation``.
        per_scene, quota: maximum number of training pairs per scene, per subset.
        voter_settings: of the voters: ``device``, ``load_4bit`` …
        allow_abstentions: continue when a voter abstains on more than a fifth of its first hundred questions.
        engine, workers, address: ``local`` or ``ray``, processes or actors, and a Ray cluster.
        overwrite: discard existing splits at ``out``.
        progress: one stage after another, in pairs.

    Raises:
        MissingError: listing all that is missing and how to get it.
        IntegrityError: when ``out`` was made with other settings.
    """
    from rainrag.distill import pipeline
    from rainrag.distill.stages import DistillSettings
    from rainrag.retrieval.search import Sizes

    settings = DistillSettings(
        Sizes(*k), quorum, all_voters, audit_share, ablate, seed, per_scene, quota, decide, keep_share, correct_exposure
    )
    named = voters if isinstance(voters, str) else ",".join(voters)
    request = pipeline.Request(
        _paths(data), None if store is None else str(store), named, settings, dict(voter_settings or {}), alpha, engine,
        workers, address, allow_abstentions,
    )  # fmt: skip
    return pipeline.make(request, workspace.place("splits") if out is None else Path(out), overwrite, Steps(progress))


def verify(
    splits: Where | None = None,
    data: Where | Sequence[Where] = (),
    store: Where | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Rebuild splits from data and store, and list what differs from their lock file; empty when nothing does.

    Args:
        splits: folder that ``distill`` wrote; default: the workspace's.
        data, store: what they were made of; default: the workspace's.
        engine, workers, address: as for ``distill``.
        progress: one stage after another, in pairs.

    Raises:
        MissingError: without a lock file, data or store.
    """
    from rainrag.distill import pipeline

    request = pipeline.Request(
        data=_paths(data), store=None if store is None else str(store), engine=engine, workers=workers, address=address
    )
    return pipeline.verify(workspace.place("splits") if splits is None else Path(splits), request, Steps(progress))


# ---------------------------------------------------------------- networks
def train(
    data: Where | Sequence[Where],
    out: Where | None = None,
    *,
    model: str = "unirain",
    recipe: str = "laptop",
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    resume: bool = False,
    device: str = "auto",
    logger: str = "none",
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train a network on splits, datasets or folders of pairs. Scenes of known test sets are left out.

    Args:
        data: folders.
        out: run folder; default: in the workspace, named by model, recipe and data.
        model: ``unirain``, or a network of ``rainrag models``.
        recipe: a recipe's name, or a YAML file.
        overrides: fields of the recipe; ``network.preset`` reaches into a mapping.
        weights: to begin with; default: fresh ones.
        resume: continue from the last checkpoint in ``out``.
        device: ``auto``, ``cpu`` or ``gpu``.
        logger: ``none``, ``tensorboard`` or ``wandb``.
        workers: processes that decode; default: one per core.
        progress: stages ``decode`` (images) and ``train`` (optimiser steps).

    Raises:
        UsageError: for an unknown recipe field, network or option.
        InputError: when there is nothing to train on.
    """
    import json

    from rainrag import training

    chosen = training.load(recipe, [f"{k}={json.dumps(v)}" for k, v in (overrides or {}).items()])
    request = training.Request(
        model.lower(), tuple(_paths(data)), chosen, None if out is None else Path(out), resume, logger, device=device,
        weights=weights,
    )  # fmt: skip
    steps = Steps(progress)
    training.prepare(request.roots, chosen, workers, steps.of("decode"))
    steps("train", -chosen.steps)

    def told(figures: dict[str, Any]) -> None:
        log.info("step %d of %d: probe %.3f dB", figures["step"], chosen.steps, figures["mean"])

    return training.TrainingRun.of(training.train(request, workers, advance=steps.of("train"), report=told))


def load_model(
    name: str = "unirain",
    weights: Where | None = None,
    *,
    device: str = "auto",
    precision: str = "fp32",
    tile: str = "auto",
    strength: float = 1.0,
    ensemble: bool = False,
) -> LoadedModel:
    """A network with weights that can be called with images of any size.

        model = rainrag.load_model("unirain")
        clean = model(image)

    Args:
        name: ``unirain``, a network of ``rainrag models``, or ``package.module:BASELINE``.
        weights: file, folder, Hub repository, or tag of published weights; default: the shipped or the first published
            ones.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        tile: ``auto``, ``full``, ``256``, or ``256,32`` for tiles that overlap by 32.
        strength: from 0 (the input) to 1 (the restored image).
        ensemble: mean over the eight flips and quarter turns.

    Returns:
        A callable: (H, W, 3) array, PIL image, or (3, H, W) or (B, 3, H, W) tensor in; the same type and size out.

    Raises:
        UsageError: for an unknown name.
        MissingError: when the weights are not available locally, with the command that fetches them.
    """
    from rainrag.evaluation import submissions
    from rainrag.restore.python import LoadedModel

    found = submissions.find(name, None if weights is None else str(weights))
    return LoadedModel(
        found.network, found.contract, name=found.name, weights=found.weights, origin=found, tile=tile, device=device,
        precision=precision, strength=strength, ensemble=ensemble,
    )  # fmt: skip


def derain(
    image: Picture,
    weights: Where | None = None,
    model: str | LoadedModel | None = None,
    device: str = "auto",
    tile: str = "auto",
) -> Picture:
    """Remove the rain from an image. The network is kept for the next call.

    Args:
        image: PIL image; (H, W, 3) array, uint8, uint16 or float in [0, 1]; (3, H, W) or (B, 3, H, W) tensor, uint8 or
            float in [0, 1]. RGB.
        weights: as for ``load_model``; for a published network its file.
        model: default: UniRain; a name, or what ``load_model`` returned.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        tile: ``auto``, ``full``, ``256`` or ``256,32``.

    Returns:
        The same type, size and range.

    Raises:
        InputError: for other shapes and types.
        MissingError: when the weights are not available locally.
    """
    from rainrag.restore.python import derain as run

    return run(image, weights, model, device, tile)


# ---------------------------------------------------------------- scores
def score(
    out: Where,
    gt: Where,
    protocol: str = "y",
    *,
    metrics: Sequence[str] = (),
    pattern: str | None = None,
    suffix: str | None = None,
    allow_missing: bool = False,
    exact: bool = False,
    download: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> Scores:
    """Score a folder of results against its targets under a named protocol.

    Args:
        out, gt: folders of results and of targets, paired by name.
        protocol: ``y``, ``matlab-y``, ``unirain``, ``rgb`` … (``rainrag.evaluation.metrics.PRESETS``).
        metrics: besides PSNR and SSIM: ``lpips``, ``niqe`` …, or ``package.module:METRIC``.
        pattern, suffix: how the names of results and targets pair.
        allow_missing: leave out what has no partner or cannot be read, with a note.
        exact: SSIM in float64 throughout.
        download: let pyiqa fetch weights of its metrics.
        workers: threads.
        progress: stage ``score``, in images.

    Raises:
        InputError: naming every image that cannot be scored.
    """
    from rainrag.evaluation.metrics import protocol as preset
    from rainrag.evaluation.score import score_folders

    return score_folders(
        Path(out), Path(gt), preset(protocol), metrics, allow_missing, pattern=pattern, suffix=suffix, exact=exact,
        download=download, workers=workers, progress=Steps(progress).of("score"),
    )  # fmt: skip


def evaluate(
    models: str | LoadedModel | Sequence[str | LoadedModel],
    testsets: str | Sequence[str],
    *,
    weights: Mapping[str, str] | None = None,
    protocols: Sequence[str] = (),
    metrics: Sequence[str] = (),
    limit: int | None = None,
    out: Where | None = None,
    save_images: bool = False,
    tile: str = "auto",
    device: str = "auto",
    precision: str = "fp32",
    download: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Run models on test sets: one result per model, test set and protocol, also written below ``out``.

    Args:
        models: names as for ``load_model``, or what it returned.
        testsets: names, ``NAME=FOLDER``, or ``folder:INPUTS,TARGETS``.
        weights: model -> weights; default: for each test set those that suit it.
        protocols: default: those that each test set is usually reported under.
        metrics: besides those of the protocol: ``lpips``, ``niqe`` …, or ``package.module:METRIC``.
        limit: number of images, from the first.
        out: folder of results; default: in the workspace.
        save_images: keep restored images, inputs and targets beside the results.
        tile, device, precision: as for ``load_model``, whose own device is used where it made the model.
        download: let pyiqa fetch weights of its metrics.
        progress: stage ``MODEL on TESTSET``, in images.

    Raises:
        UsageError: for an unknown model, test set or protocol.
        MissingError: for weights or images that are not available locally.
        InputError: when no image could be scored.
    """
    from rainrag.evaluation import results, run, submissions
    from rainrag.evaluation import testsets as sets

    place = workspace.place("results") if out is None else Path(out)
    steps, found = Steps(progress), []
    for name in [testsets] if isinstance(testsets, str) else testsets:
        opened = sets.open_set(name, limit)
        for model in [models] if not isinstance(models, Sequence) or isinstance(models, str) else models:
            own = None if isinstance(model, str) else str(model.device)
            entrant = (
                submissions.find(model, (weights or {}).get(model), opened.testset.kin)
                if isinstance(model, str)
                else model.origin
            )
            settings = run.BenchSettings(
                tuple(protocols), tuple(metrics), tile, own or device, precision, save_images, download
            )
            stage = f"{entrant.name} on {opened.name}"
            found += [results.load(p) for p in run.run(entrant, opened, settings, place, steps.of(stage))]
    return found
