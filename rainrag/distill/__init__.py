"""Data distillation: which pairs of the public sets look like real rain.

``rainrag.distill(...)`` is also a function of the public API. Python binds a package's name in its parent when it is
imported, so the package itself can be called, and does what ``rainrag.api.distill`` does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

#: Lies to the right of this package (docs/architecture.md), so it is named by a string.
FUNCTION = "rainrag.api:distill"


def _function() -> Any:
    module, attr = FUNCTION.split(":")
    return getattr(import_module(module), attr)


class _Package(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _function()(*args, **kwargs)

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(_function())


sys.modules[__name__].__class__ = _Package
