"""Where stages run: on this machine, or on a Ray cluster. The stage does not know which."""

from __future__ import annotations

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.jobs.stage import Engine

#: name -> "module:attr"
ENGINES = {"local": "rainrag.core.jobs.local:Local", "ray": "rainrag.core.jobs.ray:Ray"}


def create(name: str = "local", *, workers: int | None = None, address: str | None = None) -> Engine:
    """An engine by name.

    Args:
        workers: processes or actors; None for one per core.
        address: of a Ray cluster; None starts one here.

    Raises:
        UsageError: for an unknown name.
    """
    from importlib import import_module

    if name not in ENGINES:
        raise UsageError(f"no engine '{name}'", hint=did_you_mean(name, list(ENGINES)))
    module, attr = ENGINES[name].split(":")
    engine: Engine = getattr(import_module(module), attr)(workers=workers, address=address)
    return engine
