"""Any network on any image: padding, tiles with blended seams, precision, memory; files in and out.

``derain(image)`` is the short way. ``Restorer(network, Contract.of(card))`` takes any network; ``restore_files`` takes
whole folders. See docs/derain.md.
"""

from __future__ import annotations

from rainrag.models.input_spec import Contract, quantise
from rainrag.models.networks import Model, find
from rainrag.restore.folder import Done, Failed, restore_files
from rainrag.restore.paths import Job, jobs
from rainrag.restore.python import derain
from rainrag.restore.restorer import PRECISIONS, Restored, Restorer
from rainrag.restore.tiles import Tiling

__all__ = [
    "PRECISIONS",
    "Contract",
    "Done",
    "Failed",
    "Job",
    "Model",
    "Restored",
    "Restorer",
    "Tiling",
    "derain",
    "find",
    "jobs",
    "quantise",
    "restore_files",
]
