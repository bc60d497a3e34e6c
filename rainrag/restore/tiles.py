"""Tiles: where they lie and how their seams are blended. Weights of overlapping tiles sum to one at every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rainrag.core.errors import UsageError
from rainrag.core.images import F32
from rainrag.models.input_spec import Contract

#: Side of a tile when nobody says otherwise and the image is too large to be taken at once.
SIZE = 512
#: Overlap when nobody says otherwise: PReNet's tiles then differ from the whole frame by less than a thousandth of an 8-bit
#: level, and more of it brought UniRain no nearer (benchmarks/speed/tiles.py; the table is in docs/derain.md).
OVERLAP = 64
#: Sides that halving stops at, when memory runs out.
LEAST = 64


@dataclass(frozen=True)
class Tiling:
    """How an image is taken: the whole frame at once (``size`` None), or square tiles of ``size`` that share at least
    ``overlap`` pixels with each neighbour."""

    size: int | None = None
    overlap: int = 0

    def __str__(self) -> str:
        """The name that results carry: ``full`` or ``tile256-32``."""
        return "full" if self.size is None else f"tile{self.size}-{self.overlap}"


FULL = Tiling()


def default_overlap(contract: Contract, size: int) -> int:
    """The overlap for tiles of ``size``.

    The authors' own where the network takes one size only; never more than makes tiles exact (twice the receptive
    field) nor than half a tile.
    """
    if contract.fixed and contract.tile:
        return contract.tile[1]
    exact = OVERLAP if contract.receptive is None else 2 * contract.receptive
    return min(OVERLAP, exact, size // 2)


def parse(text: str, contract: Contract) -> Tiling | None:
    """``auto``, ``full``, ``256`` or ``256,32`` as a tiling that the network can take; None for ``auto``.

    Sides and overlaps are rounded up to what the network takes.

    Raises:
        UsageError: for other words, an overlap as large as the tile, or a size the network does not take.
    """
    words = text.strip().lower().removeprefix("tile").replace("-", ",")
    if words == "auto":
        return None
    if words == "full":
        return FULL
    numbers = words.split(",")
    if len(numbers) > 2 or not all(n.strip().isdigit() for n in numbers):
        raise UsageError(f"no tiling '{text}'", hint="auto, full, 256, or 256,32 for tiles that overlap by 32 pixels")
    side = int(numbers[0])
    if side < 1:
        raise UsageError("a tile has at least one pixel", hint="--tile 256")
    return fitted(contract, side, int(numbers[1]) if len(numbers) == 2 else None)


def fitted(contract: Contract, side: int, overlap: int | None = None) -> Tiling:
    """A tiling that the network can take, of at least the given side and overlap.

    Raises:
        UsageError: where there is none.
    """
    if contract.fixed and side != contract.fixed:
        raise UsageError(
            f"this network takes tiles of {contract.fixed} only, not of {side}",
            hint=f"--tile {contract.fixed}, or auto",
        )
    side = contract.up(side)
    wanted = default_overlap(contract, side) if overlap is None else overlap
    # Tiles start at multiples, so the stride between them is one, and the overlap what is left.
    step = (side - wanted) // contract.multiple * contract.multiple
    if step < 1:
        raise UsageError(
            f"tiles of {side} that overlap by {wanted} leave no way on",
            hint=f"a smaller overlap or a larger tile, e.g. --tile {2 * (wanted + contract.multiple)},{wanted}",
        )
    return Tiling(side, side - step)


def smaller(tiling: Tiling, contract: Contract, height: int, width: int) -> Tiling | None:
    """The tiling to go on with when memory ran out: half the side; None when nothing smaller is left."""
    now = tiling.size or max(contract.padded(height, width))
    side = contract.up(now // 2)
    if contract.fixed or side >= now or side < LEAST:
        return None
    return fitted(contract, side, min(tiling.overlap, side // 2) if tiling.size else None)


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of the (padded) image.

    Args:
        length: of the side.
        tile: of a tile.
        starts: first pixel of each tile; the first is 0, the last ends where the side ends.
        receptive: of the network, None where it is not finite.
    """

    length: int
    tile: int
    starts: tuple[int, ...]
    receptive: int | None = None

    @property
    def shared(self) -> int | None:
        """Pixels that neighbours share at least; None for a single tile."""
        gaps = [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)]
        return self.tile - max(gaps) if gaps else None

    def weights(self) -> F32:
        """(tiles, tile) weights in [0, 1] that sum to one at every pixel of the side."""
        found = np.ones((len(self.starts), self.tile), np.float32)
        for i, (a, b) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            rise = self._rise(a, b)  # over the pixels that both tiles hold, and on to the end of the right one
            found[i + 1, : len(rise)] *= rise
            found[i, b - a :] *= 1 - rise
        return found

    def _rise(self, a: int, b: int) -> F32:
        """Raised cosine from 0 to 1 over the pixels that tiles from a and from b share.

        It lies in the middle of them. Left out at each tile's rim is what the rim spoils: the receptive field where
        twice of it is shared (the result is then that of the whole frame), else a quarter of what is shared.
        """
        shared = a + self.tile - b
        rim = shared // 4
        if self.receptive is not None and 2 * self.receptive <= shared:
            rim = self.receptive
        # No wider than a stride, so that three tiles in a row never blend at one pixel.
        width = min(shared - 2 * rim, b - a)
        t = (np.arange(shared) + 0.5 - (shared - width) / 2) / max(width, 1e-6)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(t, 0, 1)), np.float32)


def axis(length: int, tile: int, overlap: int, multiple: int = 1, receptive: int | None = None) -> Axis:
    """As few tiles as the overlap allows, spread evenly over the side, starting at multiples.

    Args:
        length: of the side, a multiple of ``multiple`` and at least ``tile``.
        tile: of a tile; ``tile - overlap`` is a multiple of ``multiple``.
        overlap: that neighbours share at least.
        multiple: of the network.
        receptive: of the network.
    """
    if length == tile:
        return Axis(length, tile, (0,), receptive)
    strides = -(-(length - tile) // (tile - overlap))
    slack = (length - tile) // multiple
    return Axis(length, tile, tuple(i * slack // strides * multiple for i in range(strides + 1)), receptive)


@dataclass(frozen=True)
class Plan:
    """How one image size is taken: its padded size, and tiles along both sides."""

    rows: Axis
    columns: Axis
    tiling: Tiling

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) after padding."""
        return self.rows.length, self.columns.length

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) of a tile."""
        return self.rows.tile, self.columns.tile

    @property
    def whole(self) -> bool:
        """Whether one tile is the whole image."""
        return len(self.rows.starts) == len(self.columns.starts) == 1

    def windows(self) -> list[tuple[int, int]]:
        """(row, column) numbers of all tiles, in reading order."""
        return [(r, c) for r in range(len(self.rows.starts)) for c in range(len(self.columns.starts))]


def plan(contract: Contract, height: int, width: int, tiling: Tiling) -> Plan:
    """Lay tiles over an image.

    Raises:
        UsageError: for the whole frame at once where the network takes one size only and the image is larger.
    """
    if tiling.size is None:
        h, w = contract.padded(height, width)
        if contract.fixed and max(h, w) > contract.fixed:
            raise UsageError(
                f"this network takes {contract.fixed} x {contract.fixed} only: a larger image needs tiles",
                hint="--tile auto",
            )
        return Plan(Axis(h, h, (0,)), Axis(w, w, (0,)), FULL)
    least = tiling.size if contract.fixed or contract.square else 1  # every tile of such a network is a square
    rows, columns = (
        axis(n, min(n, tiling.size), tiling.overlap, contract.multiple, contract.receptive)
        for n in (max(contract.up(height), least), max(contract.up(width), least))
    )
    alone = len(rows.starts) == len(columns.starts) == 1
    return Plan(rows, columns, FULL if alone else tiling)
