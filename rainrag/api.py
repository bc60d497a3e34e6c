"""The verbs as functions: what the command line does, from Python.

    from rainrag import api as rain

    rain.ingest("folder", "my-pairs", "data", subset="DRS")
    rain.store("my-rainy-photos", "store")
    rain.distill("data", "store", "splits")
    rain.train("splits", "run", recipe="laptop")
    clean = rain.derain(image)
    print(rain.score("results", "targets").mean)
    rain.bench("unirain", "rain100l", limit=10)

Heavy libraries are loaded inside the calls. Errors are those of ``rainrag.core.errors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rainrag.core.types import Result
    from rainrag.data.ingest import Report
    from rainrag.distill.pipeline import Summary
    from rainrag.evaluation.score import Scores
    from rainrag.retrieval.store import Store

Where = str | Path
Picture = TypeVar("Picture")


def _paths(places: Where | Sequence[Where]) -> list[Path]:
    return [Path(p) for p in ([places] if isinstance(places, str | Path) else places)]


def ingest(
    name: str, root: Where, out: Where, *, subset: str | None = None, workers: int | None = None, **settings: Any
) -> Report:
    """A public set, or ``folder`` for pairs of your own, as one dataset.

    Args:
        name: of a source (``rainrag sources``).
        root: the unpacked set.
        out: where the dataset goes.
        subset: ``folder``: DRS, DRD, NRS or NRD for all pairs.
        workers: processes; default: one per core.
        settings: as ``rainrag.data.ingest.ingest`` takes them: splits, limit, per_scene, link …
    """
    from rainrag.core.jobs import create
    from rainrag.core.types import Subset
    from rainrag.data import sources
    from rainrag.data.ingest import ingest as run
    from rainrag.data.ingest import renamed

    source = sources.get(name)
    if subset is not None:
        source = renamed(source, None, **Subset[subset].flags)
    return run(source, Path(root), Path(out), create("local", workers=workers), **settings)


def store(photographs: Where | Sequence[Where], out: Where, *, workers: int | None = 1, **encoders: Any) -> Store:
    """A reference store of real rainy photographs.

    Args:
        photographs: folders of images, or datasets of unlabelled photographs.
        out: folder, or ``http://host:port`` of a Chroma server.
        encoders: as ``rainrag.retrieval.triplet.Triplets`` takes them: captioner, encoder, refine, settings.
    """
    from rainrag.core.jobs import create
    from rainrag.retrieval.build import build
    from rainrag.retrieval.triplet import Triplets

    return build(_paths(photographs), out, Triplets(**encoders), create("local", workers=workers))


def distill(
    data: Where | Sequence[Where], store: Where, out: Where, *, voters: str = "statistical", **request: Any
) -> Summary:
    """The RainRAG splits of some datasets.

    Args:
        data: datasets made by ``ingest``.
        store: folder or address of the reference store.
        out: where the splits go.
        voters: as ``rainrag distill --voters`` takes them.
        request: further fields of ``rainrag.distill.pipeline.Request``: settings, alpha, engine, workers …
    """
    from rainrag.distill import pipeline

    return pipeline.make(pipeline.Request(_paths(data), str(store), voters, **request), Path(out))


def train(
    data: Where | Sequence[Where], out: Where, *, model: str = "unirain", recipe: str = "laptop", **changes: Any
) -> dict[str, Any]:
    """A network trained on splits, datasets or folders of pairs.

    Args:
        data: as ``rainrag train --data`` takes it.
        out: run folder, with the weights below.
        model: ``unirain`` or a network of ``rainrag models``.
        recipe: a recipe's name, or a YAML file.
        changes: entries of the recipe: steps, batch, patch, network …

    Returns:
        What the run's ``result.json`` holds.
    """
    from rainrag import training

    chosen = training.load(recipe, **changes)
    request = training.Request(model, tuple(_paths(data)), chosen, Path(out), logger="none")
    return dict(training.train(request) or {})


def derain(image: Picture, **settings: Any) -> Picture:
    """A picture without its rain.

    Args:
        image: PIL image, or (H, W, 3) array, uint8, uint16 or float in [0, 1].
        settings: as ``rainrag.restore.python.derain`` takes them: weights, model, device, tile.
    """
    from rainrag.restore.python import derain as run

    return run(image, **settings)


def score(out: Where, gt: Where, protocol: str = "y", **settings: Any) -> Scores:
    """A folder of results against its targets, under a named protocol.

    Args:
        settings: as ``rainrag.evaluation.score.score_folders`` takes them: extra, allow_missing, exact, workers …
    """
    from rainrag.evaluation import metrics
    from rainrag.evaluation.score import score_folders

    return score_folders(Path(out), Path(gt), metrics.protocol(protocol), **settings)


def bench(
    model: str, testset: str, *, weights: str | None = None, out: Where | None = None, limit: int | None = None,
    **settings: Any,
) -> list[Result]:  # fmt: skip
    """A model on a test set. One result a protocol, written below ``out``.

    Args:
        model: ``unirain`` or a network of ``rainrag models``.
        testset: a name of ``rainrag.evaluation.testsets``, or ``folder:LQ,GT``.
        weights: as ``rainrag bench --weights`` takes them.
        out: folder of results; the workspace's if not given.
        limit: maximum number of images.
        settings: fields of ``rainrag.evaluation.run.Settings``.
    """
    from rainrag.core import workspace
    from rainrag.evaluation import results, run, submissions, testsets

    opened = testsets.open_set(testset, limit)
    entrant = submissions.find(model, weights, opened.testset.kin)
    place = workspace.place("results") if out is None else Path(out)
    return [results.load(p) for p in run.run(entrant, opened, run.Settings(**settings), place)]
