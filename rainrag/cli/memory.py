"""How this process holds memory while a network runs on the CPU."""

from __future__ import annotations

import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's numbers of these two options
_MOST = 2**31 - 1


def keep() -> None:
    """Keep freed memory for the next layer.

    glibc asks the system again for every array above 32 MiB and gives it back at once; on feature maps of photographs the
    page faults can take as long as the arithmetic. The price is memory: holes in the heap are not given back. It is a
    setting of the whole process: verbs ask for it, the Python API does not. Without glibc nothing changes.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _MOST)
