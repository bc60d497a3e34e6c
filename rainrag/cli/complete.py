"""What the shell may complete a value to: names from the tables, which load nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]


def _among(names: Callable[[], Iterable[str]]) -> Complete:
    def complete(incomplete: str) -> list[str]:
        return [n for n in names() if n.startswith(incomplete)]

    return complete


def _sources() -> Iterable[str]:
    from rainrag.data import sources

    return sources.names()


def _protocols() -> Iterable[str]:
    from rainrag.evaluation.metrics import PRESETS

    return PRESETS


def _networks() -> Iterable[str]:
    from rainrag import baselines

    return list(baselines.names())


def _recipes() -> Iterable[str]:
    from rainrag.training.recipe import names

    return list(names())


def _testsets() -> Iterable[str]:
    from rainrag.evaluation.testsets import TABLE

    return list(TABLE)


sources = _among(_sources)
protocols = _among(_protocols)
networks = _among(_networks)
models = _among(lambda: ["unirain", *_networks()])
recipes = _among(_recipes)
testsets = _among(_testsets)
subsets = _among(lambda: ("DRS", "DRD", "NRS", "NRD"))
