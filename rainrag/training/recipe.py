"""A recipe: everything that decides what a training run computes, as YAML and as a frozen record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rainrag.core.errors import InputError, MissingError, UsageError, did_you_mean

FOLDER = Path(__file__).parent / "recipes"
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Recipe:
    """What a run computes. docs/train.md explains each; the defaults are the paper's.

    Args:
        name: of the recipe.
        steps: optimiser steps.
        batch: crops of one step, over all processes and accumulated parts; types are balanced in it.
        patch: side of the crops in pixels.
        accumulate: parts that a step's batch is computed in, one after the other (less memory, same result).
        lr, lr_last: learning rate at first and at the end of the cosine.
        warmup: steps of linear rise before the cosine.
        betas, weight_decay: of AdamW.
        clip: largest norm of the gradient; None for no clipping.
        ema: decay of the moving average of the weights that is measured and shipped; None for none.
        precision: ``32`` or ``bf16`` (automatic mixed precision).
        channels_last: memory format; faster for convolutions on most machines, same values but for rounding.
        round: steps of a round. After each: probe, weights of the types, checkpoint.
        probe_pairs: held-out pairs of each type.
        probe_share: at most this share of a type's scenes is held out.
        probe_side: side of the probe's centre crops; None for ``patch``.
        weighting: name of a weighting (``rainrag.training.reweight.TABLE``).
        weighting_options: of that weighting.
        shares: source -> share of its types' crops. The other sources of a type divide what is left by their pairs.
        network: options of the network (``preset`` of UniRain …).
        turns: crops are flipped and turned in all eight ways, as the paper's; without, only mirrored left to right: rain
            falls down, and a small network has better uses for its parameters than rain that falls up.
        window: pictures with longer sides are cut to windows of this side in the cache; None keeps them whole.
        workers: processes that cut crops; 0 cuts them in the training process.
        seed: of everything that chance decides.
    """

    name: str = "paper"
    steps: int = 300_000
    batch: int = 8
    patch: int = 128
    accumulate: int = 1
    lr: float = 2e-4
    lr_last: float = 1e-6
    warmup: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip: float | None = None
    ema: float | None = None
    precision: str = "32"
    channels_last: bool = False
    round: int = 2000
    probe_pairs: int = 64
    probe_share: float = 0.1
    probe_side: int | None = None
    weighting: str = "positive"
    weighting_options: Mapping[str, Any] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    turns: bool = True
    window: int | None = None
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for good, what, way in (
            (min(self.steps, self.batch, self.patch, self.accumulate, self.round, self.probe_pairs) >= 1,
             "steps, batch, patch, accumulate, round and probe_pairs count from 1", None),
            (self.precision in PRECISIONS, f"no precision '{self.precision}'", f"one of {', '.join(PRECISIONS)}"),
            (self.lr > 0 and 0 <= self.lr_last <= self.lr, f"lr {self.lr}, lr_last {self.lr_last}", "0 <= lr_last <= lr"),
            (self.ema is None or 0 < self.ema < 1, f"ema {self.ema}", "a decay between 0 and 1, such as 0.999"),
            (self.clip is None or self.clip > 0, f"clip {self.clip}", "a norm above 0, or null"),
            (0 < self.probe_share < 1, f"probe_share {self.probe_share}", "between 0 and 1"),
            (all(0 < s <= 1 for s in self.shares.values()), f"shares {dict(self.shares)}", "each above 0, at most 1"),
            (self.window is None or self.window >= self.patch, f"window {self.window}", "at least patch, or null"),
        ):  # fmt: skip
            if not good:
                raise UsageError(what, where=f"recipe '{self.name}'", hint=way)

    @property
    def probed(self) -> int:
        """Side of the probe's crops."""
        return self.probe_side or self.patch

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in YAML."""
        plain = asdict(self)
        plain["betas"] = list(self.betas)
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in plain.items()}


def names() -> list[str]:
    """Recipes of this repository."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = (), **given: Any) -> Recipe:
    """A recipe by name or file.

    Args:
        overrides: ``KEY=VALUE`` words, the value as YAML; ``network.preset=small`` reaches into a mapping.
        given: fields that replace the file's where they are not None.

    Raises:
        MissingError: when there is none.
        InputError: for a file that is no recipe.
        UsageError: for an unknown field or a value out of range.
    """
    import yaml

    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise MissingError(f"no recipe '{name}'", hint=f"one of {', '.join(names())}, or a YAML file of your own")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        what = "nested too deeply" if isinstance(e, RecursionError) else str(e).splitlines()[0]
        raise InputError(f"not YAML: {what}", where=path) from e
    if not isinstance(content, dict):
        raise InputError("not a recipe: a mapping of fields is expected", where=path, hint="docs/train.md shows one")
    plain: dict[str, Any] = {"name": path.stem, **content}
    for word in overrides:
        _override(plain, word)
    plain.update({k: v for k, v in given.items() if v is not None})
    return of(plain, str(path))


def _override(plain: dict[str, Any], word: str) -> None:
    import yaml

    key, sep, value = word.partition("=")
    if not sep or not key:
        raise UsageError(f"'{word}' is no KEY=VALUE", hint="for example --set lr=1e-3 --set network.preset=small")
    *path, last = key.strip().split(".")
    at = plain
    for part in path:
        at[part] = dict(at.get(part) or {})
        at = at[part]
    try:
        at[last] = _number(yaml.safe_load(value))
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        raise UsageError(f"the value of '{word}' is not YAML", hint="quote it") from e


def of(plain: Mapping[str, Any], where: str | None = None) -> Recipe:
    """A recipe from plain values.

    Raises:
        UsageError: for an unknown field or a value of the wrong kind.
    """
    known = {f.name: f for f in fields(Recipe)}
    for key in plain:
        if key not in known:
            raise UsageError(f"a recipe has no field '{key}'", where=where, hint=did_you_mean(key, list(known)))
    try:
        values = {k: _as(str(known[k].type), v) for k, v in plain.items()}
        return replace(Recipe(), **values)
    except (TypeError, ValueError) as e:
        raise UsageError(f"a field of the recipe has a value of the wrong kind: {e}", where=where) from e


def _as(kind: str, value: Any) -> Any:
    """A YAML value as its field's type; YAML reads 2e-4 as text."""
    if value is None:
        if "None" in kind:
            return None
        raise ValueError(f"null for {kind}")
    if kind.startswith("Mapping"):
        return {k: _number(v) for k, v in dict(value).items()}
    if kind.startswith("tuple"):
        return tuple(float(v) for v in value)
    if kind.startswith("bool"):
        if not isinstance(value, bool):
            raise ValueError(f"'{value}' is neither true nor false")
        return value
    if kind.startswith("int"):
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError(f"'{value}' is no whole number")
        return int(value)
    return float(value) if kind.startswith("float") else str(value)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
