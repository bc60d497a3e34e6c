"""Worker processes that do not run the caller's script once more.

A spawned process imports the main module before it works. A script that calls the API at its top, without
``if __name__ == "__main__":``, would so call itself in every worker, and end in an error about freezing. Stages are found
by the names of their modules, so the main module is not needed, and is kept out of what a worker is told.
"""

from __future__ import annotations

import pickle
import sys
import threading
import types
from multiprocessing import context
from typing import Any

_alone = threading.Lock()


class _Process(context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # the name that multiprocessing calls
        with _alone:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                return context.SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class _Spawn(context.SpawnContext):
    Process = _Process


def spawning(sent: Any) -> context.SpawnContext:
    """A context for workers that are sent ``sent``; the usual one where that was defined in the script itself."""
    return context.SpawnContext() if b"__main__" in pickle.dumps(sent) else _Spawn()
