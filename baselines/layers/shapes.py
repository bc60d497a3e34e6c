"""Parameters that state dicts hold under another shape."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn


def store_as(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """Let a parameter stand in state dicts, saved and loaded, under another shape of as many elements.

    Published weights hold a few parameters of five dimensions, and ``network.to(memory_format=torch.channels_last)``
    refuses those; kept with four, they do not stop the network.

    Args:
        module: that holds the parameter.
        name: of the parameter in it.
        shape: in state dicts.
    """
    # Partial objects, not closures: a network has to stay picklable.
    module.register_state_dict_post_hook(partial(_save, name=name, shape=shape))
    module.register_load_state_dict_pre_hook(partial(_load, name=name, shape=shape))


def _save(
    module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any, *, name: str, shape: tuple[int, ...]
) -> None:
    # A view, so that what is written into a state dict's tensors reaches the parameter, as torch has it.
    state[prefix + name] = state[prefix + name].view(shape)


def _load(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *rest: Any, name: str, shape: tuple[int, ...]
) -> None:
    given = state.get(prefix + name)
    if given is not None and tuple(given.shape) == shape:  # any other shape is left for torch to refuse
        state[prefix + name] = given.reshape(module.get_parameter(name).shape)
