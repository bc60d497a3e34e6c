"""Any network on any image: padding, tiles, precision, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, RainRAGError, UsageError, did_you_mean
from rainrag.core.images import F32
from rainrag.models.input_spec import Contract, pad, unit
from rainrag.restore import tiles
from rainrag.restore.tiles import FULL, Plan, Tiling

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: On a CPU, images of up to so many pixels are taken at once; Restormer then needs 6.5 GB (13 kB a pixel, measured).
MAX_PIXELS = 500_000
#: The same of lean UniRains, which need 0.33 kB a pixel (331 MB for 1000 x 1000, measured).
LEAN_PIXELS = 2_000_000
#: Share of a GPU's free memory that the whole frame may be expected to take.
FREE_SHARE = 0.8
#: Longest side of the image that routing is computed on where the whole does not fit.
ROUTING_SIDE = 512


@dataclass(frozen=True)
class Restored:
    """What came of images of one size.

    Args:
        images: (B, H, W, 3) float32 in [0, 1].
        inference: ``full`` or ``tile256-32``: how the network saw them; part of a score's signature.
    """

    images: F32
    inference: str


class Restorer:
    """A network with its contract, on one device: images in, restored images out, of any size.

    A network with a method ``routing(x)`` and a forward that takes ``routes`` gets its routing once an image, shared by
    the image's tiles: routing is a decision about the whole image.

    Args:
        network: takes and returns (B, 3, H, W) in the contract's range.
        contract: what it takes; any size in [0, 1] if not given.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``.
        precision: ``fp32``, or ``bf16`` and ``fp16`` by autocast.
        channels_last: memory layout; faster for most networks on a GPU, and taken for lean UniRains on a CPU.
        compile: torch.compile; pays off for many tiles of one size.
        batch: tiles, or images of one size, that pass the network together; 4 on a GPU and 1 on a CPU if not given.
        max_pixels: images up to this size are taken at once by ``auto`` on a CPU; default: MAX_PIXELS, of lean UniRains
            LEAN_PIXELS.
        strength: from 0 (the image as it came) to 1 (as the network restores it); between them both are blended.
        ensemble: mean over the eight flips and quarter turns of the image, in eight times the time.

    Raises:
        UsageError: for a device that is not there, an unknown precision, or a strength out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Contract | None = None,
        *,
        device: str = "auto",
        precision: str = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        batch: int | None = None,
        max_pixels: int | None = None,
        strength: float = 1.0,
        ensemble: bool = False,
    ) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(
                f"strength {strength}", hint="from 0, the image as it came, to 1, as the network restores it"
            )
        if precision not in PRECISIONS:
            raise UsageError(f"no precision '{precision}'", hint=did_you_mean(precision, list(PRECISIONS)))
        if batch is not None and batch < 1:
            raise UsageError(f"a batch has at least one image, not {batch}")
        self.contract = contract or Contract()
        self.device: torch.device = Compute(device=device).place()
        self.precision = precision
        self.batch = batch or (4 if self.device.type == "cuda" else 1)
        self.strength, self.ensemble = strength, ensemble
        lean = self.device.type == "cpu" and bool(getattr(getattr(network, "sizes", None), "lean", False))
        self.max_pixels = max_pixels or (LEAN_PIXELS if lean else MAX_PIXELS)
        self.layout = torch.channels_last if channels_last or lean else torch.contiguous_format
        moved: Any = network.eval().to(self.device)
        self.network = moved.to(memory_format=self.layout)
        self.routed = callable(getattr(network, "routing", None))
        self._call: Any = torch.compile(self.network) if compile else self.network
        self._bytes: float | None = None
        #: Called with the number of tiles (or whole frames) that have passed the network, each time that some have.
        self.on_tiles: Callable[[int], None] | None = None

    def tiles_of(self, height: int, width: int, tile: str = "auto") -> int:
        """Tiles that an image of this size passes the network in, if memory suffices; 1 for a whole frame.

        Raises:
            UsageError: for a tiling that the network does not take.
        """
        plan = tiles.plan(self.contract, height, width, self._tiling(height, width, 1, tile))
        return len(plan.windows()) * (8 if self.ensemble else 1)

    def pace(self) -> float:
        """Seconds a pixel, from two passes of a small tile, of which the first warms up."""
        side = self.contract.fixed or self.contract.up(128)
        x = torch.zeros(1, 3, side, side)
        for _ in range(2):
            started = time.perf_counter()
            self._forward(x, None, self._call)
            taken = time.perf_counter() - started
        return taken / side**2 * (8 if self.ensemble else 1)

    def restore(self, image: npt.NDArray[Any], tile: str = "auto", name: str = "") -> F32:
        """Restore one image.

        Args:
            image: (H, W, 3) uint8, uint16, or float in [0, 1].
            tile: ``auto``, ``full``, ``256`` or ``256,32`` (side and overlap).
            name: for messages.

        Returns:
            (H, W, 3) float32 in [0, 1].

        Raises:
            UsageError: for a tiling that the network does not take.
            InputError: for another shape, or when the network gives values that are not finite.
            RainRAGError: when memory does not suffice for the smallest tiles either.
        """
        return np.asarray(self.run([image], tile, [name]).images[0])

    def restore_batch(self, images: Sequence[npt.NDArray[Any]], tile: str = "auto") -> list[F32]:
        """Restore images of one size together; as ``restore`` one by one, up to the last bits of float sums."""
        return list(self.run(images, tile).images)

    def inference(self, height: int, width: int, tile: str = "auto") -> str:
        """How an image of this size will be taken if memory suffices: ``full`` or ``tile256-32``."""
        return str(tiles.plan(self.contract, height, width, self._tiling(height, width, 1, tile)).tiling)

    def run(self, images: Sequence[npt.NDArray[Any]], tile: str = "auto", names: Sequence[str] = ()) -> Restored:
        """Restore images of one size, and say how they were taken. See ``restore``."""
        x = _stacked(images, names)
        modes = range(8) if self.ensemble else range(1)
        total, taken = np.zeros_like(x), ""
        for mode in modes:
            y, inference = self._once(turned(x, mode), tile, names)
            total += turned_back(y, mode)
            taken = taken or inference  # a tiling of squares is the same for all turns
        y = total / np.float32(len(modes))
        if self.strength < 1:
            y = x + np.float32(self.strength) * (y - x)
        marks = f"{'-x8' * self.ensemble}{f'-strength{self.strength:g}' * (self.strength < 1)}"
        return Restored(np.clip(y, 0, 1), taken + marks)

    def _once(self, x: F32, tile: str, names: Sequence[str]) -> tuple[F32, str]:
        """(B, H, W, 3) through the network, not clamped, and how it was taken."""
        height, width = x.shape[1:3]
        tiling: Tiling | None = self._tiling(height, width, min(len(x), self.batch), tile)
        batch = self.batch
        while tiling is not None:
            plan = tiles.plan(self.contract, height, width, tiling)
            y = self._attempt(x, plan, batch)
            if y is not None:
                self._check(y, names)
                return y, str(plan.tiling)
            if batch > 1:  # the same result at half the memory: this first
                batch //= 2
            else:
                tiling = tiles.smaller(tiling, self.contract, height, width)
        raise RainRAGError(
            f"{self.device} has not enough memory even for small tiles of {width} x {height} pixels",
            where=names[0] if names else None,
            hint="--device cpu, or --precision bf16, or end what else uses the GPU",
        )

    def _tiling(self, height: int, width: int, together: int, tile: str) -> Tiling:
        given = tiles.parse(tile, self.contract)
        if given is not None:
            return given
        fixed = self.contract.fixed
        if fixed:
            return tiles.fitted(self.contract, fixed)
        if self.fits(*self.contract.padded(height, width), together):
            return FULL
        return tiles.fitted(self.contract, tiles.SIZE)

    def fits(self, height: int, width: int, together: int = 1) -> bool:
        """Whether so many whole frames are expected to fit into memory at once."""
        if self.device.type != "cuda":
            return height * width <= self.max_pixels
        if self._bytes is None:
            self._bytes = self._probe()
        return height * width * together * self._bytes <= FREE_SHARE * torch.cuda.mem_get_info(self.device)[0]

    def _probe(self) -> float:
        """Bytes of GPU memory a pixel, from one small tile: activations grow with the number of pixels."""
        side = self.contract.up(256)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self._forward(torch.zeros(1, 3, side, side), None, self.network)
        return (torch.cuda.max_memory_allocated(self.device) - before) / side**2

    def _attempt(self, x: F32, plan: Plan, batch: int) -> F32 | None:
        """(B, H, W, 3) in [0, 1] to the same, not clamped; None when the GPU's memory ran out."""
        try:
            return self._pass(x, plan, batch)
        except torch.OutOfMemoryError:
            pass  # left at once, so that the tensors its frames hold can go
        except (MemoryError, RuntimeError) as e:
            if isinstance(e, RuntimeError) and "allocate" not in str(e):
                raise
            raise RainRAGError(
                f"not enough memory for {plan.tile[1]} x {plan.tile[0]} pixels at once", hint="--tile 256, or smaller"
            ) from e
        torch.cuda.empty_cache()
        return None

    def _pass(self, x: F32, plan: Plan, batch: int) -> F32:
        low, high = self.contract.value_range
        height, width = x.shape[1:3]
        planes = np.ascontiguousarray(np.moveaxis(pad(x, *plan.padded), 3, 1))
        frames = torch.from_numpy(planes) * (high - low) + low
        if self.routed and not plan.whole:
            one = [self._tiled(f[None], plan, batch, self._routes(f[None])) for f in frames]
            out = torch.cat(one)
        else:
            out = self._tiled(frames, plan, batch, None)
        y = (out[:, :, :height, :width] - low) / (high - low)
        return np.ascontiguousarray(np.moveaxis(y.numpy(), 1, 3))

    def _tiled(self, frames: Tensor, plan: Plan, batch: int, routes: Any) -> Tensor:
        """(B, 3, H, W) padded frames through the network, tile by tile; on the CPU, where the sum is kept."""
        (h, w), down, across = plan.tile, plan.rows.weights(), plan.columns.weights()
        windows = [(i, r, c) for i in range(len(frames)) for r, c in plan.windows()]
        out = torch.zeros_like(frames)
        for chunk in _chunks(windows, batch):
            corners = [(i, plan.rows.starts[r], plan.columns.starts[c]) for i, r, c in chunk]
            y = self._forward(
                torch.stack([frames[i, :, t : t + h, s : s + w] for i, t, s in corners]), routes, self._call
            )
            for (i, t, s), (_, r, c), part in zip(corners, chunk, y, strict=True):
                weight = torch.from_numpy(np.outer(down[r], across[c]))
                out[i, :, t : t + h, s : s + w] += part * weight
            if self.on_tiles:
                self.on_tiles(len(chunk))
        return out

    def _routes(self, frame: Tensor) -> Any:
        """Routing of a whole image (1, 3, H, W), or of it reduced where it does not fit."""
        h, w = frame.shape[2:]
        if not self.fits(h, w):
            shrink = min(1.0, ROUTING_SIDE / max(h, w))
            frame = F.interpolate(frame, [self.contract.up(max(1, int(n * shrink))) for n in (h, w)], mode="area")
        with torch.inference_mode(), self._autocast():
            routing: Any = self.network.routing
            return routing(frame.to(self.device, memory_format=self.layout))

    def _forward(self, x: Tensor, routes: Any, network: Any) -> Tensor:
        x = x.to(self.device, memory_format=self.layout)
        with torch.inference_mode(), self._autocast():
            y: Tensor = network(x) if routes is None else network(x, routes=_repeated(routes, len(x)))
        return y.float().cpu()

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = PRECISIONS[self.precision]
        return nullcontext() if kind is None else torch.autocast(self.device.type, dtype=kind)

    def _check(self, y: F32, names: Sequence[str]) -> None:
        for i, image in enumerate(y):
            if not np.isfinite(image).all():
                raise InputError(
                    "the network gave values that are not finite",
                    where=names[i] if i < len(names) else None,
                    hint="--precision fp32" if self.precision != "fp32" else "check the weights: they may be damaged",
                )


def turned(x: F32, mode: int) -> F32:
    """One of the eight flips and quarter turns of (B, H, W, 3); 0 is none."""
    x = x[:, :, ::-1] if mode & 1 else x
    x = x[:, ::-1] if mode & 2 else x
    return np.ascontiguousarray(x.swapaxes(1, 2) if mode & 4 else x)


def turned_back(x: F32, mode: int) -> F32:
    """What ``turned`` did, undone."""
    x = x.swapaxes(1, 2) if mode & 4 else x
    x = x[:, ::-1] if mode & 2 else x
    return x[:, :, ::-1] if mode & 1 else x


def _stacked(images: Sequence[npt.NDArray[Any]], names: Sequence[str]) -> F32:
    """(B, H, W, 3) float32 in [0, 1]."""
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.shape != images[0].shape or not image.size:
            raise InputError(
                f"expected images of one size (H, W, 3), not {image.shape}", where=names[i] if i < len(names) else None
            )
    return np.stack([unit(i) for i in images])


def _chunks(items: list[tuple[int, int, int]], size: int) -> Iterator[list[tuple[int, int, int]]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _repeated(routes: Any, n: int) -> Any:
    """Routes of one image for n of its tiles: every tensor's first dimension, of size one, n times."""
    if isinstance(routes, Tensor):
        return routes.expand(n, *routes.shape[1:])
    if isinstance(routes, dict):
        return {k: _repeated(v, n) for k, v in routes.items()}
    if isinstance(routes, list | tuple):
        return type(routes)([_repeated(v, n) for v in routes])
    return routes
