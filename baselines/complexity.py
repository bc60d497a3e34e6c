"""Parameters and multiply-accumulates at 256x256 (Table 3 of the UniRain paper): counted on the authors' networks, and
measured on ours.

Published tables mix two conventions: convolutions only (Restormer's 141.0 G), or with linear layers and the products of
attention (its 154.9 G). Both are given. Norms, activations, transforms and other elementwise work are in neither.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rainrag import baselines

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rainrag.baselines.card import Card

#: Side of the image that published tables count for.
SIDE = 256

#: Networks whose operations here are not the authors', and why; all others count the same.
REASONS = {
    "mprnet": "1x1 convolutions commute with interpolation and run before it, on fewer pixels",
    "drsformer": "the four masks share one product with the values; the MEFC's last 1x1 convolutions are folded",
    "drsformer-nomefc": "the four masks share one product with the values",
    "wgws-net": "the 1x1 kernels are added to the general ones",
    "nerd-rain": "the INRs' constant coordinates are folded into a bias; outputs for losses, and pixels that would be "
    "dropped, are not computed",
    "nerd-rain-s": "as nerd-rain",
    "msdt": "the two outputs for losses are not computed",
    "promptir": "prompts are mixed by a matrix product; the authors multiply and add elementwise, which is uncounted",
    "transweather": "48 queries are answered once, more than the 16 tokens of this size; from 512x512 on it is less",
}


@dataclass(frozen=True)
class Complexity:
    """One network's size and cost.

    Args:
        name: of the network.
        params: counted on the built network, shared ones once.
        trainable: of these, what training changes.
        macs: measured here, convolutions and matrix products, for one image of ``SIDE`` squared.
        macs_conv: of these, convolutions.
        authors_macs: the same counted on the authors' network; None where it was never run.
        authors_macs_conv: likewise.
        reason: why the two differ, else None.
    """

    name: str
    params: int
    trainable: int
    macs: int
    macs_conv: int
    authors_macs: float | None = None
    authors_macs_conv: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        return asdict(self)


def names() -> list[str]:
    """Networks with parameters: not the classical methods, nor those that cannot be built."""
    return [n for n in baselines.names() if baselines.card_of(n).params]


def measure(network: nn.Module, x: Tensor) -> tuple[int, int]:
    """Multiply-accumulates of a forward pass: all, and those of convolutions.

    Args:
        network: on the device of ``x``; the meta device does, where no operation depends on values.
        x: its input.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(x)
    by_operation = counter.get_flop_counts().get("Global", {})
    return counter.get_total_flops() // 2, by_operation.get(torch.ops.aten.convolution, 0) // 2


def of_network(name: str, network: nn.Module, x: Tensor, **authors: Any) -> Complexity:
    """Count a network that is available locally."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    macs, conv = measure(network, x)
    return Complexity(name, sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns), macs, conv, **authors)


def of(name: str) -> Complexity:
    """Count a network of the table; nothing is computed, only shapes.

    A network of one fixed size is given as many patches as cover the image, without overlap.
    """
    import torch

    card = baselines.card_of(name)
    side = card.fixed or SIDE
    with torch.device("meta"):
        network = baselines.create(name)
        x = torch.empty(math.ceil(SIDE / side) ** 2, 3, side, side)
    return of_network(
        name,
        network,
        x,
        authors_macs=_authors(card, card.gmacs),
        authors_macs_conv=_authors(card, card.gmacs_conv),
        reason=REASONS.get(name),
    )


def _authors(card: Card, gmacs: float | None) -> float | None:
    """The card's figure for an image of ``SIDE``: for a fixed size, that of all patches."""
    return None if gmacs is None else gmacs * 1e9 * (SIDE / card.macs_at) ** 2
