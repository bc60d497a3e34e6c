"""What is known of a published network: where it comes from, what it takes, how its authors ran it, what they claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rainrag.core.types import Archive

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Claim:
    """A published figure.

    Args:
        testset: name in ``rainrag.evaluation.testsets`` where we have it, else the authors' words.
        psnr: dB.
        ssim: in [0, 1].
        protocol: how they computed it, as far as it is known.
        source: table or file where it stands.
        weights: tag of the weights that reach it.
        verified: False for figures quoted from memory of a paper, which are marked wherever they are shown.
    """

    testset: str
    psnr: float
    ssim: float | None
    protocol: str = "Y of YCbCr"
    source: str = ""
    weights: str | None = None
    verified: bool = True


@dataclass(frozen=True)
class Weights:
    """One set of published weights.

    Args:
        tag: short name: ``rain100l``, ``rain13k``.
        trained_on: names of sources (``rainrag sources``), for contamination marks.
        archive: where they live; the sha256 is recorded at the first download and checked after, never invented.
        licence: of the weights.
        container: how the state dict is wrapped: "", ``params``, ``state_dict``.
        refused: why these weights must not be loaded into this network, else None.
        note: what is known of the scenes they were trained on, for people.
    """

    tag: str
    trained_on: tuple[str, ...]
    archive: Archive
    licence: str = "none stated"
    container: str = ""
    refused: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Card:
    """One network.

    Args:
        name: lower case with hyphens.
        commit: of the authors' repository that the facts were read from.
        value_range: (low, high) of the values it takes and returns.
        multiple: sides must be a multiple of this.
        min_side: sides must be at least this.
        fixed: side of the only size it takes, else None.
        square: takes square inputs only.
        receptive: receptive field in pixels to each side; None where the whole image matters (global statistics).
        padding: the authors' test rule, in words.
        tile: (size, overlap) of the authors' own tiling, else None.
        quantise: ``round`` or ``truncate``: how their script goes to 8 bits; None where it scores floats.
        params: number of parameters, as in BASELINES.
        gmacs: multiply-accumulates (conv and matmul) at ``macs_at`` squared, 1e9; ``gmacs_conv``: convolutions only.
    """

    name: str
    title: str
    paper: str
    venue: str
    repo: str
    commit: str
    licence: str
    value_range: tuple[float, float] = (0.0, 1.0)
    multiple: int = 1
    min_side: int = 1
    fixed: int | None = None
    square: bool = False
    receptive: int | None = None
    padding: str = "none"
    tile: tuple[int, int] | None = None
    quantise: str | None = "round"
    params: int | None = None
    gmacs: float | None = None
    gmacs_conv: float | None = None
    macs_at: int = 256
    weights: tuple[Weights, ...] = ()
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    fixture: str | None = None
    task: str = "derain"
    options: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class Baseline:
    """A card and how to build the network; ``build`` is None where there is nothing public to build (URIR).

    Args:
        check: called with {"path", "network"} before weights are loaded; raises where they are known to be wrong.
    """

    card: Card
    build: Callable[..., nn.Module] | None
    check: Callable[[dict[str, Any]], None] | None = None
    trainable: bool = True
