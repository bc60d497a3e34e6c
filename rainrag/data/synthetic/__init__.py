"""Synthetic rain from physical models, for four types, and planted faults with known names.

``render`` puts rain on a clean photograph; ``plant`` damages a pair in one named way; ``write`` makes a folder of
pairs that ``rainrag ingest rendered`` reads. Loaded on first use: the list of sources needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rainrag.data.synthetic.faults import FAULT_KIND, FAULTS, naive_overlay, plant
    from rainrag.data.synthetic.generate import write
    from rainrag.data.synthetic.scene import Rendered, render

__all__ = ["FAULTS", "FAULT_KIND", "Rendered", "naive_overlay", "plant", "render", "write"]

_HOME = {
    "FAULTS": "faults",
    "FAULT_KIND": "faults",
    "Rendered": "scene",
    "naive_overlay": "faults",
    "plant": "faults",
    "render": "scene",
    "write": "generate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
