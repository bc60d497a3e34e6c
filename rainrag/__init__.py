"""RainRAG: distil the public deraining sets with retrieval-augmented judging, train one model for four rain types.

``rainrag.derain(image)`` restores a picture; ``rainrag.api`` holds the other verbs as functions.
"""

from typing import TYPE_CHECKING, Any

from rainrag.core.version import __version__

if TYPE_CHECKING:
    from rainrag.api import derain

__all__ = ["__version__", "derain"]


def __getattr__(name: str) -> Any:
    """``derain`` loads torch, so it is looked up only when it is asked for (PEP 562)."""
    if name == "derain":
        from rainrag.api import derain

        return derain
    raise AttributeError(f"module 'rainrag' has no attribute '{name}'")
