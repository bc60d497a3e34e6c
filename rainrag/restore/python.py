"""``rainrag.derain(image)``: any picture in memory, and the same type back."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from rainrag.core.errors import InputError
from rainrag.models.input_spec import Contract, quantise
from rainrag.models.networks import Finder, find
from rainrag.restore.image_file import ORIENTATION, Photo
from rainrag.restore.restorer import Restorer

Picture = TypeVar("Picture")


class LoadedModel(Restorer):
    """A network by name with its weights; call it with an image.

    Args:
        network, contract, device, precision, strength, ensemble: as for ``Restorer``.
        name: of the network.
        weights: what its weights are called.
        origin: where it came from, for ``rainrag.evaluate``.
        tile: used where a call names none.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Contract | None = None,
        *,
        name: str,
        weights: str | None = None,
        origin: Any = None,
        tile: str = "auto",
        device: str = "auto",
        precision: str = "fp32",
        strength: float = 1.0,
        ensemble: bool = False,
    ) -> None:
        super().__init__(network, contract, device=device, precision=precision, strength=strength, ensemble=ensemble)
        self.name, self.weights, self.origin, self.tile = name, weights, origin, tile

    def __call__(self, image: Picture, tile: str | None = None) -> Picture:
        """The image without its rain, of the same type and size. See ``derain``."""
        return derain(image, model=self, tile=tile or self.tile)

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r}, weights={self.weights!r}, device='{self.device}')"


@lru_cache(maxsize=2)
def restorer(
    model: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    others: Finder | None = None,
) -> Restorer:
    """A restorer by name, kept for the next call. See ``rainrag.models.networks.find``."""
    found = find(model, weights, others)
    return Restorer(found.network, found.contract, device=device, precision=precision)


def derain(
    image: Picture,
    weights: str | Path | None = None,
    model: str | Restorer | None = None,
    device: str = "auto",
    tile: str = "auto",
    others: Finder | None = None,
) -> Picture:
    """Take the rain out of a picture.

    Args:
        image: (H, W, 3) array, uint8, uint16 or float in [0, 1], RGB; or a PIL image (8 bits a channel). A PIL image is
            restored upright where its EXIF says how it lies; alpha, grey and ``info`` stay as they are; or a (3, H, W) or
            (B, 3, H, W) tensor, uint8 or float in [0, 1], which comes back on its device and without gradient.
        weights: None for the shipped ones; a folder, file or Hub repository of a UniRain; a baseline's weights file.
        model: None for UniRain, a network of ``rainrag models``, or a Restorer of your own.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``; a Restorer has its own.
        tile: ``auto``, ``full``, ``256`` or ``256,32``.
        others: finds other networks; default: the published ones.

    Returns:
        The same type, size and range.

    Raises:
        InputError: for other shapes and types.
        MissingError: when weights are not there.
    """
    if isinstance(model, Restorer):
        engine = model
    else:
        engine = restorer(model, None if weights is None else str(weights), device, others=others)
    if isinstance(image, Image.Image):
        return _pil(engine, image, tile)  # type: ignore[return-value]
    if isinstance(image, Tensor):
        return _tensor(engine, image, tile)  # type: ignore[return-value]
    if not isinstance(image, np.ndarray) or (image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != "f"):
        kind = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(
            f"cannot derain {kind}", hint="give a PIL image, or (H, W, 3) uint8, uint16 or float in [0, 1]"
        )
    return quantise(engine.restore(image, tile), image.dtype)  # type: ignore[return-value]


def _tensor(engine: Restorer, image: Tensor, tile: str) -> Tensor:
    """A tensor of one image or of a batch; floats come back as floats of the same kind."""
    floats = image.dtype.is_floating_point
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or not (floats or image.dtype == torch.uint8):
        raise InputError(
            f"cannot derain a tensor of {image.dtype} and shape {tuple(image.shape)}",
            hint="give (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]",
        )
    batch = (image if image.ndim == 4 else image[None]).detach().cpu().movedim(1, -1)
    pixels = (batch.float() if floats else batch).contiguous().numpy()
    restored = [quantise(y, pixels.dtype) for y in engine.restore_batch(list(pixels), tile)]
    out = torch.from_numpy(np.stack(restored)).movedim(-1, 1).contiguous()
    return (out if image.ndim == 4 else out[0]).to(image.device, image.dtype)


def _pil(engine: Restorer, image: Image.Image, tile: str) -> Image.Image:
    """A PIL image of mode RGB, RGBA, L or LA comes back as such; others as RGB, or RGBA where they have transparency."""
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"a PIL image of mode {image.mode}", hint="give its values as a (H, W, 3) uint16 or float array"
        )
    clear = "A" in image.mode or "transparency" in image.info
    upright = ImageOps.exif_transpose(image)
    alpha = np.asarray(upright.convert("RGBA").getchannel("A")) if clear else None
    orientation = int(image.getexif().get(ORIENTATION, 1) or 1)
    photo = Photo(np.asarray(upright.convert("RGB")), alpha, image.mode in ("L", "LA", "1"), orientation, "")
    pixels = photo.channels(quantise(engine.restore(photo.rgb, tile)))
    out = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    out.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return out
