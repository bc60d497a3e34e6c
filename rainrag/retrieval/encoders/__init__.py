"""Captions and features: ``create`` makes a captioner, its refiners and an encoder by name, nothing loaded yet.

A spec is a name of a table (``blip``, ``clip``, ``qwen``), or a name with a source of one's own: ``blip=FOLDER``,
``clip:ViT-L-14/FILE``, ``endpoint:MODEL@http://host:port/v1``, ``keybert=FOLDER``; an installed package's name, or the
address of a class of one's own, ``package.module:CLASS`` (docs/add-an-encoder.md).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rainrag.core.devices import Compute
from rainrag.core.errors import MissingError, UsageError, did_you_mean
from rainrag.core.images import F32, U8
from rainrag.core.registry import Registry

#: name -> "module:attr"
CAPTIONERS: dict[str, str] = {
    "embedded": "rainrag.retrieval.encoders.embedded:Embedded",
    "blip": "rainrag.retrieval.encoders.blip:Blip",
    "endpoint": "rainrag.retrieval.encoders.endpoint:Endpoint",
}

#: name -> "module:attr"
ENCODERS: dict[str, str] = {
    "embedded": "rainrag.retrieval.encoders.embedded:Embedded",
    "clip": "rainrag.retrieval.encoders.clip:Clip",
}

#: name -> "module:attr"; they run in this order, however they are named
REFINERS: dict[str, str] = {
    "qwen": "rainrag.retrieval.encoders.refine:Qwen",
    "keybert": "rainrag.retrieval.encoders.refine:KeyBert",
}

#: Settings that hold for every model that has a use for them.
COMPUTE = tuple(inspect.signature(Compute).parameters)

__all__ = ["CAPTIONERS", "ENCODERS", "REFINERS", "Compute", "Pair", "create"]


class Pair:
    """A captioner with its refiners, and an encoder: the maker of a triplet's T and f, of references and queries alike.

    Pickles before ``setup``.

    Args:
        captioner: a ``rainrag.core.types.Captioner``.
        refiners: objects with ``identity()``, ``setup()`` and ``refine(captions)``, applied in their order.
        encoder: a ``rainrag.core.types.Encoder``.
    """

    def __init__(self, captioner: Any, refiners: Sequence[Any], encoder: Any) -> None:
        self.captioner = captioner
        self.refiners = tuple(refiners)
        self.encoder = encoder

    def identity(self) -> dict[str, Any]:
        """Models, revisions and settings that change a caption or a vector: part of the store's identity.

        Raises:
            MissingError: when a model is not available locally and its revision never was recorded.
        """
        return {
            "captioner": self.captioner.identity(),
            "refine": [r.identity() for r in self.refiners],
            "encoder": self.encoder.identity(),
        }

    def setup(self) -> None:
        """Load all models; otherwise each loads at its first use."""
        for part in (self.captioner, *self.refiners, self.encoder):
            part.setup()

    def caption(self, pictures: Sequence[U8]) -> list[str]:
        """One refined caption for each (H, W, 3) uint8 picture."""
        return self.refined(self.captioner.caption(pictures))

    def refined(self, captions: Sequence[str]) -> list[str]:
        """Captions as the refiners leave them."""
        made = list(captions)
        for refiner in self.refiners:
            made = refiner.refine(made)
        return made

    def texts(self, captions: Sequence[str]) -> F32:
        """(N, E) float32 unit vectors of captions."""
        made: F32 = self.encoder.texts(captions)
        return made

    def images(self, pictures: Sequence[U8]) -> F32:
        """(N, D) float32 features of (H, W, 3) uint8 pictures."""
        made: F32 = self.encoder.images(pictures)
        return made


def create(captioner: str = "embedded", encoder: str = "embedded", refine: Iterable[str] = (), **settings: Any) -> Pair:
    """Captioner, refiners and encoder by their specs.

    Args:
        captioner: ``embedded``, ``blip``, ``blip=FOLDER_OR_REPOSITORY`` or ``endpoint:MODEL@URL``.
        encoder: ``embedded``, ``clip`` or ``clip:MODEL/TAG``, where TAG may be a file or folder.
        refine: any of ``qwen``, ``qwen=FOLDER_OR_REPOSITORY``, ``keybert``, ``keybert=FOLDER_OR_REPOSITORY``.
        settings: ``device``, ``dtype``, ``batch_size``, and those of the parts chosen (``caption_tokens``, ``beams``,
            ``keywords``, ``rpm`` …); those that are None count as not given.

    Raises:
        UsageError: for an unknown name, a spec with a source where none is taken, a refiner named twice, or a setting
            that no part has.
    """
    given = {k: v for k, v in settings.items() if v is not None}
    compute = Compute(**{k: given.pop(k) for k in COMPUTE if k in given})
    first, second = _find("captioner", captioner, CAPTIONERS), _find("encoder", encoder, ENCODERS)
    others = [_find("refiner", spec, REFINERS) for spec in refine]
    if len({name for name, _, _ in others}) < len(others):
        raise UsageError("a refiner is named twice", hint="each runs once: --refine qwen,keybert")
    order = list(REFINERS)
    others.sort(key=lambda found: order.index(found[0]) if found[0] in order else len(order))
    known = sorted({p for _, _, kind in (first, second, *others) for p in _parameters(kind)})
    for setting in given:
        if setting not in known:
            raise UsageError(
                f"no part of '{captioner}' and '{encoder}' has a setting '{setting}'",
                hint=did_you_mean(setting, [*known, *COMPUTE]),
            )
    made = _make(first, compute, given)
    # one model may do both (embedded): then it is loaded once
    same = first[1:] == second[1:]
    return Pair(made, [_make(o, compute, given) for o in others], made if same else _make(second, compute, given))


def check_origin(*specs: str) -> None:
    """Refuse specs of a file, such as a store's manifest, that would import code which nobody asked for.

    Raises:
        MissingError: for the address of a class whose module is not imported yet.
    """
    for spec in specs:
        address = re.fullmatch(r"([\w.]+):[A-Za-z_]\w*(?:=.+)?", spec)
        known = address and address[1] in {*CAPTIONERS, *ENCODERS, *REFINERS}
        if address and not known and address[1] not in sys.modules:
            raise MissingError(
                f"the encoder '{spec}' is code that a file names, which is not imported from there",
                hint=f"in Python: import {address[1]} first; or install it with an entry point (docs/add-an-encoder.md)",
            )


_Found = tuple[str, str | None, Any]


def _find(what: str, spec: str, table: Mapping[str, str]) -> _Found:
    """(name, source, class) of a spec."""
    if address := re.fullmatch(r"([\w.]+:[A-Za-z_]\w*)(?:=(.+))?", spec.strip()):
        registry = Registry[Any](what, table, group=f"rainrag.{what}s")
        if spec.split(":")[0] not in registry:  # nothing of this name: the address of a class of one's own
            return address[1], address[2], registry.resolve(address[1])
    match = re.fullmatch(r"([\w-]+)(?:[=:](.+))?", spec.strip())
    name, source = match.groups() if match else (spec, None)
    kind = Registry[Any](what, table, group=f"rainrag.{what}s").get(name)
    if source is not None and "source" not in inspect.signature(kind).parameters:
        raise UsageError(f"'{name}' takes no source ('{source}')", hint=f"--{what} {name}")
    return name, source, kind


def _parameters(kind: Any) -> set[str]:
    """Settings of a part, without those that ``create`` itself gives."""
    return set(inspect.signature(kind).parameters) - {"source", "compute"}


def _make(found: _Found, compute: Compute, given: Mapping[str, Any]) -> Any:
    name, source, kind = found
    parameters = inspect.signature(kind).parameters
    kwargs = {k: v for k, v in given.items() if k in _parameters(kind)}
    if "compute" in parameters:
        kwargs["compute"] = compute
    if source is not None:
        kwargs["source"] = source
    elif "source" in parameters and parameters["source"].default is inspect.Parameter.empty:
        raise UsageError(f"'{name}' needs a source", hint=f"{name}:MODEL@http://host:port/v1")
    return kind(**kwargs)
