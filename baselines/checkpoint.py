"""Weights files, safely: safetensors, or pickles under ``weights_only=True``; the wrappings of the field undone."""

from __future__ import annotations

import argparse
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import InputError, MissingError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("rainrag.weights")

#: Modules whose objects training scripts keep beside tensors. They are not made: something inert stands in for each.
HARMLESS = (
    "pathlib", "collections", "datetime", "argparse", "enum", "decimal", "fractions", "uuid", "random", "copyreg", "types",
    "functools.partial", "numpy", "torch", "omegaconf", "yacs", "easydict", "addict", "munch", "mmengine", "mmcv",
    "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "builtins.set", "builtins.frozenset",
    "builtins.slice", "builtins.range", "builtins.complex", "builtins.bytearray", "builtins.object", "builtins.dict",
    "builtins.list", "builtins.tuple", "builtins.int", "builtins.float", "builtins.str", "builtins.bool",
)  # fmt: skip
#: Names that wrappers put before parts of a name, wherever they stand in it.
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

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
        others = _others(path)
        with torch.serialization.safe_globals([*_plain(), *((_stand_in(name), name) for name in others)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise InputError(f"cannot be read as weights: {_why(path, e)}", where=path, hint=_convert(path)) from e
    if others:
        log.warning("%s: read the tensors, ignored %s", path.name, ", ".join(others))
    if not isinstance(content, dict):
        raise InputError(f"holds a {type(content).__name__}, not a state dict", where=path)
    return content


class Ignored(dict[Any, Any]):
    """Stands in for an object beside the tensors: whatever it would be made of is taken and nothing is done."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


class IgnoredMapping:
    """Stands in for a dictionary of a kind of its own: its entries may be tensors, so they are kept."""

    def __new__(cls, *args: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        """An ordered dictionary: of the plain kinds the one that takes entries and attributes."""
        return OrderedDict()


def _stand_in(name: str) -> type:
    return IgnoredMapping if re.search(r"(?:dict|Dict|CfgNode|Munch|Config)$", name) else Ignored


def _others(path: Path) -> list[str]:
    """Names in a pickle that torch does not know and that are of ``HARMLESS`` modules.

    Others are left to torch, which refuses the file.
    """
    import torch

    with torch.serialization.safe_globals(_plain()):
        try:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception:  # torch's older format has no such list; damaged files are refused by the reader
            return []
    return sorted(n for n in names if any(n == h or n.startswith(f"{h}.") for h in HARMLESS))


def _convert(path: Path) -> str:
    """A command that keeps the tensors alone."""
    keep = "{k: v for k, v in d.items() if torch.is_tensor(v)}"
    return (
        "only tensors are opened. Where you trust the file, this keeps its tensors: python -c "
        f"\"import torch; d = torch.load('{path}', weights_only=False, map_location='cpu'); "
        "d = d.state_dict() if hasattr(d, 'state_dict') else d; "
        "d = next((d[k] for k in ('params_ema', 'params', 'state_dict', 'model') if k in d), d); "
        f"torch.save({keep}, '{path.stem}-tensors.pth')\""
    )


def _plain() -> list[Any]:
    """What training scripts keep beside tensors and what runs no code: best scores as numpy numbers, their options."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(t)) for t in "?bhilqBHILQefdFD"]
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
    found = [
        {WRAPPERS.sub("", k): v for k, v in d.items() if isinstance(v, torch.Tensor) and isinstance(k, str)}
        for d in dicts
    ]
    tried = [_unwrapped(tensors, wanted) for tensors in found if tensors]
    if not tried:
        raise InputError("holds no tensors", where=path)
    best = max(tried, key=lambda tensors: len(wanted & set(tensors)))  # the first of the best
    for name, tensor in best.items():
        if (
            tensor.layout == torch.strided
            and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise InputError(
                f"'{name}' claims {tuple(tensor.shape)} values and holds {tensor.untyped_storage().nbytes()} bytes",
                where=path,
                hint="the file is damaged, or made to exhaust memory",
            )
    return best


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
