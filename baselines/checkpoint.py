"""Weights files, safely: safetensors, or pickles under ``weights_only=True``; the wrappings of the field undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.errors import InputError, MissingError

if TYPE_CHECKING:
    import torch

#: Keys under which trainers put the state dict.
CONTAINERS = ("params_ema", "params", "state_dict", "model", "net")
#: Prefixes that wrappers put before every key.
PREFIXES = ("module.", "net.", "model.", "_orig_mod.")


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
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise InputError(
            f"cannot be read as weights: {(str(e) or type(e).__name__).splitlines()[0]}",
            where=path,
            hint="only safetensors and plain tensors in pickles are opened; convert other files where you trust them",
        ) from e
    if not isinstance(content, dict):
        raise InputError(f"holds a {type(content).__name__}, not a state dict", where=path)
    return content


def state_dict(path: str | Path, wanted: set[str]) -> dict[str, torch.Tensor]:
    """The state dict in a file, its wrapping removed.

    Containers are opened (``params``, ``state_dict`` of Lightning …); a prefix that all keys share is removed when the
    keys fit the wanted ones better without it.

    Args:
        wanted: key names of the network.

    Raises:
        InputError: when no tensors are found.
    """
    import torch

    content = read(path)
    for name in CONTAINERS:
        inner = content.get(name)
        if isinstance(inner, dict) and any(isinstance(v, torch.Tensor) for v in inner.values()):
            content = inner
            break
    tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise InputError("holds no tensors", where=path)
    while not wanted & set(tensors):
        shared = next((p for p in PREFIXES if any(k.startswith(p) for k in tensors)), None)
        if shared is None:
            break
        # A Lightning file may hold metrics or losses beside the network: only what carries the prefix is the network.
        tensors = {k.removeprefix(shared): v for k, v in tensors.items() if k.startswith(shared)}
    return tensors


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
