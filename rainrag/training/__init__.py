"""Training of UniRain and of every baseline alike; ``rainrag train`` is the way in. docs/train.md explains it.

Several GPUs or machines: ``torchrun --nproc-per-node 4 --no-python rainrag train …``. Loaded on first use: recipes are
listed without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rainrag.training.recipe import Recipe, load, names
    from rainrag.training.run import Prepared, Request, TrainingRun, plan, prepare, train

__all__ = ["Prepared", "Recipe", "Request", "TrainingRun", "load", "names", "plan", "prepare", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'recipe' if name in ('Recipe', 'load', 'names') else 'run'}"), name)
