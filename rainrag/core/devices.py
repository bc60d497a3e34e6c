"""Where networks run, in which precision, and how much at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rainrag.core.errors import UsageError, first_line

T = TypeVar("T")

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Compute:
    """Where a model runs and how much at once. Only ``dtype`` is part of an identity: it alone changes more than last
    bits.

    Args:
        device: torch's name (``cpu``, ``cuda:1``); ``auto`` takes a GPU where there is one.
        dtype: of the weights: one of ``DTYPES``.
        batch_size: items that pass the model together.

    Raises:
        UsageError: for an unknown dtype or an empty batch.
    """

    device: str = "auto"
    dtype: str = "float32"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"no dtype '{self.dtype}'", hint=f"one of {', '.join(DTYPES)}")
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}", hint="at least 1")

    def place(self) -> Any:
        """The torch device.

        Raises:
            UsageError: when it is not a device of this machine.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            found = torch.device(self.device)
            torch.empty(0, device=found)
        except (RuntimeError, AssertionError) as e:  # torch asserts that it was built with CUDA
            raise UsageError(f"no device '{self.device}' here: {first_line(e)}", hint="cpu, cuda, cuda:0 …") from e
        return found

    def type(self) -> Any:
        """The torch dtype."""
        import torch

        return getattr(torch, self.dtype)

    def batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Items in batches."""
        return (items[i : i + self.batch_size] for i in range(0, len(items), self.batch_size))
