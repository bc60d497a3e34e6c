"""The published networks, each in our own code: ``create(name)`` builds one, ``load(name, file)`` with weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core.errors import MissingError, UsageError
from rainrag.core.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from rainrag.baselines.card import Baseline, Card

#: name -> "module:attr" of a Baseline
TABLE: dict[str, str] = {
    "input": "rainrag.baselines.classical:INPUT",
    "median": "rainrag.baselines.classical:MEDIAN",
    "guided": "rainrag.baselines.classical:GUIDED",
    "prenet": "rainrag.baselines.prenet:PRENET",
    "prenet-r": "rainrag.baselines.prenet:PRENET_R",
    "prn": "rainrag.baselines.prenet:PRN",
    "prn-r": "rainrag.baselines.prenet:PRN_R",
    "pigwm": "rainrag.baselines.pigwm:PIGWM",
    "rcdnet": "rainrag.baselines.rcdnet:RCDNET",
    "rcdnet-simple": "rainrag.baselines.rcdnet:RCDNET_SIMPLE",
    "mprnet": "rainrag.baselines.mprnet:MPRNET",
    "restormer": "rainrag.baselines.restormer:RESTORMER",
    "idt": "rainrag.baselines.idt:IDT",
    "transweather": "rainrag.baselines.transweather:TRANSWEATHER",
    "transweather-base": "rainrag.baselines.transweather:TRANSWEATHER_BASE",
    "wgws-net": "rainrag.baselines.wgws:WGWS",
    "wgws-net-stage1": "rainrag.baselines.wgws:WGWS_STAGE1",
    "drsformer": "rainrag.baselines.drsformer:DRSFORMER",
    "drsformer-nomefc": "rainrag.baselines.drsformer:DRSFORMER_NOMEFC",
    "rlp-unet": "rainrag.baselines.rlp:RLP_UNET",
    "rlp-uformer-t": "rainrag.baselines.rlp:RLP_UFORMER_T",
    "promptir": "rainrag.baselines.promptir:PROMPTIR",
    "msdt": "rainrag.baselines.msdt:MSDT",
    "nerd-rain": "rainrag.baselines.nerd_rain:NERD_RAIN",
    "nerd-rain-s": "rainrag.baselines.nerd_rain:NERD_RAIN_S",
    "histoformer": "rainrag.baselines.histoformer:HISTOFORMER",
    "urir": "rainrag.baselines.urir:URIR",
}
NETWORKS: Registry[Baseline] = Registry("network", TABLE, group="rainrag.networks", hint="'rainrag models' lists all")


def names() -> list[str]:
    """All names, in the table's order."""
    return list(TABLE)


def get(name: str) -> Baseline:
    """Card and builder by name.

    Raises:
        UsageError: with the nearest names, for an unknown one.
    """
    return NETWORKS.get(name)


def find(spec: str) -> Baseline:
    """A network that a user named: by its name, or by the address ``package.module:BASELINE`` of one's own.

    Raises:
        UsageError: as ``get``; for an address at which nothing is.
    """
    return NETWORKS.resolve(spec)


def card_of(name: str) -> Card:
    """A network's card (the module ``rainrag.baselines.card`` has the name ``card``)."""
    return get(name).card


def create(name: str, **options: Any) -> nn.Module:
    """A network with fresh weights, in evaluation mode.

    Its forward takes (B, 3, H, W) in the network's own range (``card.value_range``) and returns the restored image in
    the same; ``intermediates=True`` makes it return a dict of named tensors with the image under ``y``.

    Raises:
        MissingError: when nothing public exists to build it from.
        UsageError: for an unknown name or option.
    """
    baseline = find(name)
    if baseline.build is None:
        raise MissingError(
            f"'{name}' has no public code or weights", hint=f"rainrag models {name} shows what was published"
        )
    try:
        return baseline.build(**options).eval()
    except TypeError as e:
        raise UsageError(f"options of '{name}': {e}", hint=f"rainrag models {name}") from e


def load(name: str, weights: str | Path, **options: Any) -> nn.Module:
    """A network with weights from a local file, keys checked strictly, in evaluation mode.

    Raises:
        InputError: when the file is no weights file, or of another network.
    """
    from rainrag.baselines import checkpoint

    network = create(name, **options)
    baseline = find(name)
    if baseline.check is not None:
        baseline.check({"path": Path(weights), "network": network})
    checkpoint.load(network, weights)
    return network
