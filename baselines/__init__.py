"""The published networks, each in our own code: ``create(name)`` builds one, ``load(name, file)`` with weights."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.errors import MissingError, UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from baselines.card import Baseline, Card

#: name -> "module:attr" of a Baseline
TABLE: dict[str, str] = {
    "input": "baselines.classical:INPUT",
    "median": "baselines.classical:MEDIAN",
    "guided": "baselines.classical:GUIDED",
    "prenet": "baselines.prenet:PRENET",
    "prenet-r": "baselines.prenet:PRENET_R",
    "prn": "baselines.prenet:PRN",
    "prn-r": "baselines.prenet:PRN_R",
    "pigwm": "baselines.pigwm:PIGWM",
    "rcdnet": "baselines.rcdnet:RCDNET",
    "rcdnet-simple": "baselines.rcdnet:RCDNET_SIMPLE",
    "mprnet": "baselines.mprnet:MPRNET",
    "restormer": "baselines.restormer:RESTORMER",
    "idt": "baselines.idt:IDT",
    "transweather": "baselines.transweather:TRANSWEATHER",
    "transweather-base": "baselines.transweather:TRANSWEATHER_BASE",
    "wgws-net": "baselines.wgws:WGWS",
    "wgws-net-stage1": "baselines.wgws:WGWS_STAGE1",
    "drsformer": "baselines.drsformer:DRSFORMER",
    "drsformer-nomefc": "baselines.drsformer:DRSFORMER_NOMEFC",
    "rlp-unet": "baselines.rlp:RLP_UNET",
    "rlp-uformer-t": "baselines.rlp:RLP_UFORMER_T",
    "promptir": "baselines.promptir:PROMPTIR",
    "msdt": "baselines.msdt:MSDT",
    "nerd-rain": "baselines.nerd_rain:NERD_RAIN",
    "nerd-rain-s": "baselines.nerd_rain:NERD_RAIN_S",
    "histoformer": "baselines.histoformer:HISTOFORMER",
    "urir": "baselines.urir:URIR",
}


def names() -> list[str]:
    """All names, in the table's order."""
    return list(TABLE)


def get(name: str) -> Baseline:
    """Card and builder by name.

    Raises:
        UsageError: with the nearest names, for an unknown one.
    """
    if name not in TABLE:
        raise UsageError(f"no network '{name}'", hint=f"{did_you_mean(name, names())} 'rainrag models' lists all")
    module, attr = TABLE[name].split(":")
    baseline: Baseline = getattr(import_module(module), attr)
    return baseline


def card_of(name: str) -> Card:
    """A network's card (the module ``baselines.card`` has the name ``card``)."""
    return get(name).card


def create(name: str, **options: Any) -> nn.Module:
    """A network with fresh weights, in evaluation mode.

    Its forward takes (B, 3, H, W) in the network's own range (``card.value_range``) and returns the restored image in
    the same; ``intermediates=True`` makes it return a dict of named tensors with the image under ``y``.

    Raises:
        MissingError: when nothing public exists to build it from.
        UsageError: for an unknown name or option.
    """
    baseline = get(name)
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
    from baselines import checkpoint

    network = create(name, **options)
    baseline = get(name)
    if baseline.check is not None:
        baseline.check({"path": Path(weights), "network": network})
    checkpoint.load(network, weights)
    return network
