"""Weights files, safely: safetensors, or pickles under ``weights_only=True``; the wrappings of the field undone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import InputError, MissingError

if TYPE_CHECKING:
    import torch

#: Keys under which trainers put the state dict, the better one first; any other dict of tensors is tried after them.
CONTAINERS = ("params_ema", "params", "state_dict", "model", "net")


def read(path: str | Path) -> dict[str, Any]:
    """A checkpoint's content as it is.

    Raises:
        MissingError: no such file.
        InputError: not a weights file, or one that would run code when it is opened.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise MissingError("no such weights file", where=path, hint="rainrag weights fetch NAME, or name a local file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with torch.serialization.safe_globals(_plain()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise InputError(
            f"cannot be read as weights: {_why(path, e)}",
            where=path,
            hint="only safetensors and plain tensors in pickles are opened; convert other files where you trust them",
        ) from e
    if not isinstance(content, dict):
        raise InputError(f"holds a {type(content).__name__}, not a state dict", where=path)
    return content


def _plain() -> list[Any]:
    """What training scripts keep beside tensors and what runs no code: best scores as numpy numbers, their options."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(t)) for t in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    return [argparse.Namespace, np.dtype, *kinds, scalar, (scalar, "numpy.core.multiarray.scalar")]


def _why(path: Path, error: Exception) -> str:
    """The first line of an error, or which objects would run code."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no file of torch's newer format
        names = []
    if names:
        return f"it holds more than tensors ({', '.join(sorted(names)[:3])}), and opening these may run code"
    return (str(error) or type(error).__name__).splitlines()[0]


def state_dict(path: str | Path, wanted: set[str]) -> dict[str, torch.Tensor]:
    """The state dict in a file, its wrapping removed: ``params``, ``state_dict`` of Lightning …, and a prefix such as
    ``module.`` or ``net.`` before the network's keys.

    Args:
        wanted: key names of the network.

    Raises:
        InputError: when no tensors are found.
    """
    import torch

    content = read(path)
    inner = [content[k] for k in CONTAINERS if k in content] + [content, *content.values()]
    dicts = [d for d in inner if isinstance(d, Mapping)]
    found = [{k: v for k, v in d.items() if isinstance(v, torch.Tensor) and isinstance(k, str)} for d in dicts]
    tried = [_unwrapped(tensors, wanted) for tensors in found if tensors]
    if not tried:
        raise InputError("holds no tensors", where=path)
    return max(tried, key=lambda tensors: len(wanted & set(tensors)))  # the first of the best


def _unwrapped(tensors: dict[str, torch.Tensor], wanted: set[str]) -> dict[str, torch.Tensor]:
    """Without the prefix under which most of the wanted keys stand; losses or metrics beside the network are left out."""
    one = max(wanted, key=len, default="")
    prefixes = ["", *(k.removesuffix(one) for k in tensors if one and k.endswith(f".{one}"))]
    best = max(prefixes, key=lambda p: sum(p + k in tensors for k in wanted))
    return {k.removeprefix(best): v for k, v in tensors.items() if k.startswith(best)}


def load(network: torch.nn.Module, path: str | Path) -> None:
    """Load weights into a network, strictly.

    Raises:
        InputError: with the first missing, unexpected and misshapen keys.
    """
    own = network.state_dict()
    tensors = state_dict(path, set(own))
    missing = [k for k in own if k not in tensors]
    extra = [k for k in tensors if k not in own]
    shapes = [
        f"{k}: {tuple(tensors[k].shape)} for {tuple(own[k].shape)}"
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(v)} {what}, e.g. {', '.join(v[:3])}"
            for what, v in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
            if v
        ]
        raise InputError(
            f"these weights belong to another network: {'; '.join(parts)}",
            where=path,
            hint="rainrag models NAME shows which weights a network takes",
        )
    network.load_state_dict(tensors, strict=True)
