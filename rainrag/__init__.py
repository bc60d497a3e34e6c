"""RainRAG: distil the public deraining sets with retrieval-augmented voters, train one model for four rain types.

The public API: ``rainrag.list_sources`` … ``rainrag.evaluate``, one function per step (``rainrag.api``), the records
that they return, and the parts of the paper that are of use on their own. Everything is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rainrag.core.version import __version__

if TYPE_CHECKING:
    from rainrag.api import (
        audit,
        build_store,
        derain,
        distill,
        download,
        evaluate,
        ingest,
        ingest_folder,
        list_sources,
        load_model,
        score,
        train,
        verify,
    )
    from rainrag.core.progress import Progress
    from rainrag.core.types import Result, Source
    from rainrag.data.audit import AuditReport
    from rainrag.data.download import Download
    from rainrag.data.ingest import IngestReport
    from rainrag.distill.pipeline import DistillSummary
    from rainrag.evaluation.score import Scores
    from rainrag.models.unirain.network import UniRain
    from rainrag.restore.python import LoadedModel
    from rainrag.retrieval.store import StoreReport
    from rainrag.training.reweight import Reweighter
    from rainrag.training.run import TrainingRun

__all__ = [
    "AuditReport",
    "DistillSummary",
    "Download",
    "IngestReport",
    "LoadedModel",
    "Progress",
    "Result",
    "Reweighter",
    "Scores",
    "Source",
    "StoreReport",
    "TrainingRun",
    "UniRain",
    "__version__",
    "audit",
    "build_store",
    "derain",
    "distill",
    "download",
    "evaluate",
    "ingest",
    "ingest_folder",
    "list_sources",
    "load_model",
    "score",
    "train",
    "verify",
]

#: Classes by the module that defines them; the functions are all in ``rainrag.api``.
_CLASSES = {
    "AuditReport": "rainrag.data.audit",
    "DistillSummary": "rainrag.distill.pipeline",
    "Download": "rainrag.data.download",
    "IngestReport": "rainrag.data.ingest",
    "LoadedModel": "rainrag.restore.python",
    "Progress": "rainrag.core.progress",
    "Result": "rainrag.core.types",
    "Reweighter": "rainrag.training.reweight",
    "Scores": "rainrag.evaluation.score",
    "Source": "rainrag.core.types",
    "StoreReport": "rainrag.retrieval.store",
    "TrainingRun": "rainrag.training.run",
    "UniRain": "rainrag.models.unirain.network",
}


def __getattr__(name: str) -> Any:
    """Names of the API are looked up when they are asked for: torch and others load then (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'rainrag' has no attribute '{name}'")
    return getattr(import_module(_CLASSES.get(name, "rainrag.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
