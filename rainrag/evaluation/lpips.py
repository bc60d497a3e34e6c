"""LPIPS: distance of deep features with learned weights; smaller is better, 0 for equal images.

Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (CVPR 2018),
equation 1, version 0.1. The linear heads come with the package (``params/NOTICE.md``); the trunks are torchvision's,
trained on ImageNet, as files of the torch hub folder. Nothing is downloaded unless asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import sha256_file
from rainrag.core.images import U8


@dataclass(frozen=True)
class Trunk:
    """A network of torchvision.

    Args:
        model: its name there.
        file: the name of its weights; what stands before the suffix begins the file's sha256.
        taps: layers of ``features`` after whose ReLU (squeeze: fire module) features are compared.
    """

    model: str
    file: str
    taps: tuple[int, ...]


TRUNKS = {
    "alex": Trunk("alexnet", "alexnet-owt-7be5be79.pth", (1, 4, 7, 9, 11)),
    "vgg": Trunk("vgg16", "vgg16-397923af.pth", (3, 8, 15, 22, 29)),
    "squeeze": Trunk("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", (1, 4, 7, 9, 10, 11, 12)),
}
#: Mean and deviation of inputs in [-1, 1]: ImageNet's, as the heads were trained.
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10


def heads(name: str) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """The published weights of every compared layer, one a channel."""
    with files("rainrag.evaluation").joinpath("params/lpips.npz").open("rb") as f:
        found = np.load(f, allow_pickle=False)
        return [found[f"{name}{i}"] for i in range(len(TRUNKS[name].taps))]


class Lpips:
    """LPIPS with one trunk.

    Args:
        name: ``alex``, ``vgg`` or ``squeeze``.
        state: the state dict of torchvision's network; its classifier may be left out.
        double: compute in float64.

    Raises:
        InputError: when the state dict is of another network.
    """

    def __init__(self, name: str, state: Mapping[str, Any], double: bool = False) -> None:
        import torch
        import torchvision  # type: ignore[import-untyped]

        kind = torch.float64 if double else torch.float32
        trunk = TRUNKS[name]
        self.taps = trunk.taps
        with torch.device("meta"):  # no memory and no time for weights that are replaced
            self.layers = getattr(torchvision.models, trunk.model)(weights=None).features[: trunk.taps[-1] + 1]
        wanted = self.layers.state_dict()
        given = {k: v for key, v in state.items() if (k := key.removeprefix("features.")) in wanted}
        try:
            self.layers.load_state_dict(given, assign=True)
        except RuntimeError as e:
            raise InputError(
                f"not the weights of torchvision's {trunk.model}: {str(e).splitlines()[-1].strip()}"
            ) from e
        self.layers.to(kind).eval().requires_grad_(False)
        self.heads = [torch.from_numpy(h).to(kind)[:, None, None] for h in heads(name)]
        self.mean, self.deviation = (torch.tensor(v, dtype=kind)[:, None, None] for v in (MEAN, DEVIATION))
        self.kind = kind

    def __call__(self, out: U8, gt: U8) -> float:
        """The distance of two images, (H, W, 3) uint8 RGB of one size.

        Raises:
            InputError: when sizes differ, or the images are too small for the trunk.
        """
        import torch

        if out.shape != gt.shape:
            raise InputError(f"sizes differ: {out.shape[1]}x{out.shape[0]} and {gt.shape[1]}x{gt.shape[0]}")
        if min(out.shape[:2]) < 32:
            raise InputError(
                f"an image of {out.shape[1]}x{out.shape[0]} is too small for LPIPS", hint="32x32 is the least"
            )
        pair = torch.from_numpy(np.stack([out, gt])).permute(0, 3, 1, 2).to(self.kind)
        x = (pair / 127.5 - 1 - self.mean) / self.deviation
        total = torch.zeros((), dtype=self.kind)
        rest = iter(self.heads)
        with torch.inference_mode():
            for n, layer in enumerate(self.layers):
                x = layer(x)
                if n in self.taps:
                    unit = x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON)
                    total = total + (next(rest) * (unit[0] - unit[1]).square()).sum(0).mean()
        return float(total)


def load(name: str, hub: Path, download: bool = False) -> Lpips:
    """LPIPS with torchvision's trained trunk.

    Args:
        name: ``alex``, ``vgg`` or ``squeeze``.
        hub: torch's hub folder; the trunk lies in its ``checkpoints``.
        download: fetch the trunk where it is not there.

    Raises:
        MissingError: when it is not there and may not be, or cannot be, fetched.
        IntegrityError: when the file is not the published one.
    """
    import torch

    trunk = TRUNKS[name]
    path = hub / "checkpoints" / trunk.file
    if not path.is_file():
        if not download:
            raise MissingError(
                f"weights {trunk.file} are not available locally",
                where=path,
                hint="--download fetches them; or place the file there",
            )
        from rainrag.core.http import download as fetch

        fetch(f"https://download.pytorch.org/models/{trunk.file}", path)
    if not sha256_file(path).startswith(path.stem.rsplit("-", 1)[1]):
        raise IntegrityError("not the published weights: the checksum differs", where=path, hint="remove the file")
    return Lpips(name, torch.load(path, map_location="cpu", weights_only=True))
