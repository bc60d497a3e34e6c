"""A published network by name, as ``rainrag.models.networks`` wants it; that module names this one in a table."""

from __future__ import annotations

from pathlib import Path

from rainrag import baselines
from rainrag.core.errors import MissingError, UsageError
from rainrag.models.input_spec import Contract
from rainrag.models.networks import Model


def find(name: str, weights: str | Path | None) -> Model:
    """A published network, ready for a Restorer.

    Args:
        name: as in ``rainrag models``.
        weights: its file; the classical methods have none.

    Raises:
        MissingError: without weights where the network learned any.
        UsageError: for an unknown name, or weights for a method that has none.
        InputError: for weights of another network.
    """
    found = baselines.find(name)
    contract = Contract.of(found.card)
    if not found.trainable:
        if weights is not None:
            raise UsageError(f"'{name}' has no weights to load", hint="leave --weights out")
        return Model(found.card.name, None, baselines.create(name), contract)
    if weights is None:
        baselines.create(name)  # says so where there is nothing public to build
        raise MissingError(
            f"'{name}' needs its weights",
            hint=f"rainrag weights fetch {name}, then --weights FILE; any file of yours works",
        )
    return Model(found.card.name, str(weights), baselines.load(name, weights), contract)
