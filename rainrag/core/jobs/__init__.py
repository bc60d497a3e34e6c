"""Where stages run: on this machine, or on a Ray cluster. The stage does not know which."""

from __future__ import annotations

from collections.abc import Callable

from rainrag.core.jobs.stage import Engine
from rainrag.core.registry import Registry

#: name -> "module:attr"
ENGINES = {"local": "rainrag.core.jobs.local:Local", "ray": "rainrag.core.jobs.ray:Ray"}
_REGISTRY: Registry[Callable[..., Engine]] = Registry("engine", ENGINES, group="rainrag.engines")


def create(name: str = "local", *, workers: int | None = None, address: str | None = None) -> Engine:
    """An engine by name.

    Args:
        workers: processes or actors; None for one per core.
        address: of a Ray cluster; None starts one here.

    Raises:
        UsageError: for an unknown name.
    """
    return _REGISTRY.get(name)(workers=workers, address=address)
