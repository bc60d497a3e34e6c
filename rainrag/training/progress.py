"""A progress bar over steps, started where a resumed run starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch.callbacks import Callback


class Advance(Callback):  # type: ignore[misc]  # lightning is not followed
    """Tells how many steps were done since the last call.

    Args:
        advance: called with that number, in the first process alone.
    """

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance, self.done = advance, 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Steps of the sittings before."""
        self._tell(trainer)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """A part of a step, or the whole of it, is done."""
        self._tell(trainer)

    def _tell(self, trainer: Any) -> None:
        if trainer.is_global_zero and trainer.global_step > self.done:
            self.advance(trainer.global_step - self.done)
            self.done = trainer.global_step
