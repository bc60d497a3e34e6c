"""Training of UniRain and of every baseline alike; ``rainrag train`` is the way in. docs/train.md explains it.

Several GPUs or machines: ``torchrun --nproc-per-node 4 --no-python rainrag train …``.
"""

from __future__ import annotations

from benchmarks.training.recipe import Recipe, load, names
from benchmarks.training.run import Prepared, Request, plan, prepare, train

__all__ = ["Prepared", "Recipe", "Request", "load", "names", "plan", "prepare", "train"]
