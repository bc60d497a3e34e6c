"""Models of the Hub or of a folder, loaded by transformers: precision, device, 4-bit, and what can go wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from rainrag.core.errors import InputError, MissingError, RainRAGError, UsageError, did_you_mean
from rainrag.core.hub import Model as Weights
from rainrag.core.hub import resolve
from rainrag.voters.vlm import Judging

#: Names as users write them -> torch's. Never chosen by the machine: precision is part of a ballot's identity.
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True)
class Local(Judging):
    """Settings of voters whose model runs in this process.

    Args:
        batch: questions in one forward pass. 1 by default: a prompt of thousands of image tokens fills a GPU by itself,
            and answers then do not depend on who else was in the batch.
        dtype: ``bf16``, ``fp16`` or ``fp32``.
        four_bit: weights in 4 bit (NF4, bitsandbytes, needs CUDA).
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:1``.
        device_map: accelerate's, such as ``auto``, to spread one model over several devices.
        trust_remote_code: run code of the model's repository.
    """

    batch: int = 1
    dtype: str = "bf16"
    four_bit: bool = False
    device: str = "auto"
    device_map: str | None = None
    trust_remote_code: bool = False

    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"batch", "device", "device_map", "trust_remote_code"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in DTYPES:
            raise UsageError(f"no precision '{self.dtype}'", hint=did_you_mean(self.dtype, list(DTYPES)))
        if self.batch < 1:
            raise UsageError(f"batch must be at least 1, not {self.batch}")

    @property
    def target(self) -> str:
        """The device's name for torch."""
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"


def arguments(settings: Local) -> dict[str, Any]:
    """Keyword arguments for ``from_pretrained``.

    Raises:
        MissingError: when 4 bit or a device map is asked for and its package or a GPU is not there.
    """
    import torch

    kwargs: dict[str, Any] = {"dtype": getattr(torch, DTYPES[settings.dtype])}
    if settings.device_map is not None:
        _need("accelerate", "a device map")
        kwargs["device_map"] = settings.device_map
    if settings.four_bit:
        _need("bitsandbytes", "4 bit")
        _need("accelerate", "4 bit")
        if not torch.cuda.is_available():
            raise MissingError(
                "4 bit needs an NVIDIA GPU, and none is seen", hint="leave 4 bit off, or use an endpoint"
            )
        from transformers import BitsAndBytesConfig

        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kwargs["dtype"]
        )
        kwargs.setdefault("device_map", {"": settings.target})
    return kwargs


def _need(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingError(f"{what} needs the package '{package}'", hint="pip install 'rainrag[vlm]'")


def pretrained(cls: Any, weights: Weights, settings: Local, **more: Any) -> Any:
    """``cls.from_pretrained`` with every weight accounted for, on its device, in evaluation mode.

    Raises:
        InputError: when the files lack weights of the model: it would judge by random numbers.
        MissingError: when the files are not available locally.
    """
    placed = {**arguments(settings), **more}
    with reaching(weights.name):
        model, info = cls.from_pretrained(weights.path, output_loading_info=True, **weights.kwargs, **placed)
    missing = sorted(info["missing_keys"])
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise InputError(
            f"weights are missing: {shown}", where=weights.name, hint="the download is incomplete, or of another model"
        )
    if "device_map" not in placed:
        with memory():
            model = model.to(settings.target)
    return model.eval()


@contextlib.contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turns what transformers raises for absent files into our error; a full GPU too."""
    try:
        with memory():
            yield
    except OSError as e:
        raise MissingError(
            f"the model '{name}' cannot be loaded: {str(e).splitlines()[0]}",
            hint="run where the Hub can be reached, or give a local folder: NAME=FOLDER",
        ) from e


@contextlib.contextmanager
def memory() -> Iterator[None]:
    """Turns a GPU's out-of-memory into an error that says what to change."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as e:
        raise RainRAGError(
            "the GPU's memory does not suffice", hint="a smaller batch, fewer max_pixels, four_bit, or device_map=auto"
        ) from e


class Pin:
    """A folder or repository by name, found and pinned when first asked for; pickles before and after.

    Args:
        source: as the user gave it.
    """

    def __init__(self, source: str) -> None:
        folder = Path(source)
        self.source = str(folder.resolve()) if folder.is_dir() else source  # workers stand in folders of their own

    @cached_property
    def weights(self) -> Weights:
        """Where it is, and which commit (see ``rainrag.core.hub.resolve``)."""
        return resolve(self.source)

    @property
    def revision(self) -> str:
        """Commit of the repository, or fingerprint of the folder."""
        return self.weights.revision

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``.

        Raises:
            InputError: when there is none, or a broken one.
            MissingError: when the Hub cannot be reached.
        """
        weights = self.weights
        path = Path(weights.path) / "config.json"
        if weights.kwargs:
            from huggingface_hub import hf_hub_download

            with reaching(weights.name):
                path = Path(hf_hub_download(weights.path, "config.json", revision=weights.revision))
        return read_config(path)

    def folder(self) -> Path:
        """The whole on this machine; a repository is fetched first.

        Raises:
            MissingError: when it is not cached and the Hub cannot be reached.
        """
        weights = self.weights
        if not weights.kwargs:
            return Path(weights.path)
        from huggingface_hub import snapshot_download

        with reaching(weights.name):
            return Path(snapshot_download(weights.path, revision=weights.revision))


def read_config(path: Path) -> dict[str, Any]:
    """Parse a ``config.json``.

    Raises:
        InputError: when it is not there or no JSON object.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise InputError(f"no model: {e}", where=path, hint="give a folder that from_pretrained can load") from e
    if not isinstance(found, dict):
        raise InputError("no model: config.json holds no object", where=path)
    return found


def batches(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``range(n)``."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))
