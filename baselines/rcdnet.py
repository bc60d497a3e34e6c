"""RCDNet (Wang et al., CVPR 2020): proximal gradient steps on a convolutional dictionary of rain, unrolled and learned.

The rainy image is O = B + R with the background B and the rain R = sum_n C_n * M_n: 32 kernels C (9x9, coloured) and
their sparse maps M. Each of 17 stages improves M, then B; the proximal operators are small residual networks (sections
3 and 4). Two releases differ in the names of their weights only: the arithmetic stands here once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.shapes import store_as
from rainrag.core.types import Archive

MAPS = 32  # rain maps M
DUAL = 32  # channels Z that go with the background
SIDE = 9  # of a rain kernel
BLOCKS = 4  # residual blocks of a proximal network
#: Kernels and step sizes are stored ten times larger than they are used, upstream's way of raising their learning rate.
STORED = 10.0


class Residual(nn.Sequential):
    """ReLU(z + [conv, BN, ReLU, conv, BN](z)), 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return F.relu(z + super().forward(z))  # type: ignore[no-untyped-call]


class Prox(nn.Module):
    """A proximal network: four residual blocks, for rain maps followed by a learned soft threshold.

    Args:
        channels: input and output channels.
        thresholds: of a rain map's network: ends in ReLU(z - tau).
        prefix: names the blocks ``prefix1`` … here; None for a list ``layer``.
    """

    def __init__(self, channels: int, thresholds: bool = False, prefix: str | None = None) -> None:
        super().__init__()
        blocks = [Residual(channels) for _ in range(BLOCKS)]
        self.names = [f"{prefix}{i + 1}" for i in range(BLOCKS)] if prefix else ["layer"]
        for name, block in zip(self.names, blocks if prefix else [nn.Sequential(*blocks)], strict=True):
            self.add_module(name, block)
        self.tau = nn.Parameter(torch.full((1, channels, 1, 1), 1.0)) if thresholds else None

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        for name in self.names:
            z = getattr(self, name)(z)
        return z if self.tau is None else F.relu(z - self.tau)


@dataclass(frozen=True)
class Parts:
    """Everything the unrolled steps use, whatever its name in the weights file.

    Args:
        first_kernel: C_0 (3, 32, 9, 9), of the first M step.
        kernel: C (3, 32, 9, 9), of all others; both as stored.
        lift: filter (32, 3, 3, 3) that makes the first dual channels Z.
        tau: threshold of the first rain layer.
        eta_m: step sizes of M from its second step on, (S - 1, 1), as stored.
        eta_b: step sizes of B, (S, 1), as stored.
        prox_m, prox_b: networks of each stage.
        prox_start, prox_end: networks before and after all stages.
    """

    first_kernel: Tensor
    kernel: Tensor
    lift: Tensor
    tau: Tensor
    eta_m: Tensor
    eta_b: Tensor
    prox_m: nn.ModuleList
    prox_b: nn.ModuleList
    prox_start: nn.Module
    prox_end: nn.Module


def unroll(o: Tensor, s: Parts) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """All steps on a rainy image.

    Args:
        o: (B, 3, H, W) in [0, 255].

    Returns:
        The first background, the background after each stage and after the last network (the result), the rain layer
        of each stage; all like ``o``.
    """
    kernel, half = s.kernel / STORED, SIDE // 2
    joined = s.prox_start(torch.cat((o, F.conv2d(o, s.lift, padding=1)), 1))
    first = b = joined[:, :3]
    rain_map = r = None
    backgrounds, rains = [], []
    for k, (prox_m, prox_b, eta_b) in enumerate(zip(s.prox_m, s.prox_b, s.eta_b, strict=True)):
        if rain_map is None or r is None:
            step = F.conv_transpose2d(F.relu(o - b - s.tau), s.first_kernel / STORED, padding=half)
            rain_map = prox_m(step)
        else:
            step = F.conv_transpose2d(r - (o - b), s.eta_m[k - 1] / STORED * kernel, padding=half)
            rain_map = prox_m(rain_map - step)
        r = F.conv2d(rain_map, kernel, padding=half)
        eta = eta_b / STORED
        joined = prox_b(torch.cat(((1 - eta) * b + eta * (o - r), joined[:, 3:]), 1))
        b = joined[:, :3]
        backgrounds.append(b)
        rains.append(r)
    backgrounds.append(s.prox_end(joined)[:, :3])
    return first, backgrounds, rains


def streak_kernels() -> Tensor:
    """Kernels to begin training with, (3, 32, 9, 9): grey strokes, eight leanings by four lengths, as stored.

    The authors begin with kernels of their own (init_kernel.mat), which are not used here. The sums are such that
    convolution by all 32 never enlarges an image, so the first gradient steps are stable.
    """
    half = SIDE // 2
    y, x = torch.meshgrid(torch.arange(SIDE) - half, torch.arange(SIDE) - half, indexing="ij")
    strokes = []
    for lean in torch.linspace(-math.pi / 4, math.pi / 4, 8):  # from the vertical
        along = y * lean.cos() + x * lean.sin()
        across = x * lean.cos() - y * lean.sin()
        for length in (1.5, 2.0, 3.0, 5.0):
            stroke = torch.exp(-(along / length).square() - across.square())
            strokes.append(stroke / stroke.sum())
    grey = torch.stack(strokes).expand(3, -1, -1, -1)
    return STORED * grey / math.sqrt(3 * MAPS)


class Unrolled(nn.Module, ABC):
    """The forward that both releases share; each lays out its parameters under its own names.

    Args:
        intermediates: return more than the image.
    """

    def __init__(self, intermediates: bool) -> None:
        super().__init__()
        self.intermediates = intermediates

    @abstractmethod
    def parts(self) -> Parts:
        """The parameters and networks in the order of use."""

    def stages(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """First background, backgrounds and rain layers of all stages: what the authors' loss is taken on."""
        return unroll(x, self.parts())

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 255], any size, to the same, not clamped.

        With ``intermediates`` a dict of ``y``, ``B0`` and the backgrounds ``B_k`` and rain layers ``R_k`` of the first
        two stages and the last; ``stages`` gives all.
        """
        first, backgrounds, rains = self.stages(x)
        if not self.intermediates:
            return backgrounds[-1]
        shown = sorted({1, min(2, len(rains)), len(rains)})
        layers = {f"{name}_{k}": t[k - 1] for name, t in (("B", backgrounds), ("R", rains)) for k in shown}
        return {"y": backgrounds[-1], "B0": first, **layers}


def _steps(count: int, value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((count, 1), value))


def _lift() -> nn.Parameter:
    return nn.Parameter(nn.Conv2d(3, DUAL, 3).weight.detach())


#: Step sizes to begin with, as stored: a tenth for M; for B half of what it was, half of what O - R says.
ETA_M, ETA_B = 1.0, 5.0


class RCDNet(Unrolled):
    """The original release, with what its weights hold and never use: ``eta1``, ``mnet``, fifteen of ``conv``.

    Args:
        stages: S.
        intermediates: return more than the image.
    """

    COPIES = 16
    USED = 1  # the copy of the kernels that all steps read

    def __init__(self, stages: int = 17, intermediates: bool = False) -> None:
        super().__init__(intermediates)
        self.eta1 = nn.Parameter(torch.tensor([ETA_M]), requires_grad=False)
        self.eta2 = nn.Parameter(torch.tensor([ETA_B]))
        self.eta11 = _steps(stages - 1, ETA_M)
        self.eta12 = _steps(stages - 1, ETA_B)
        self.weight0 = nn.Parameter(streak_kernels())
        self.conv = nn.Parameter(streak_kernels().repeat(self.COPIES, 1, 1, 1))
        store_as(self, "conv", (self.COPIES, 3, MAPS, SIDE, SIDE))
        self.w_z_f = _lift()
        self.tau = nn.Parameter(torch.ones(1))
        self.xnet = Prox(3 + DUAL, prefix="resx")
        self.mnet = Prox(MAPS, thresholds=True, prefix="resm").requires_grad_(False)
        self.x_stage = nn.ModuleList(Prox(3 + DUAL, prefix="resx") for _ in range(stages))
        self.m_stage = nn.ModuleList(Prox(MAPS, thresholds=True, prefix="resm") for _ in range(stages))
        self.fxnet = Prox(3 + DUAL, prefix="resx")

    def parts(self) -> Parts:
        """See ``Unrolled``."""
        return Parts(
            first_kernel=self.weight0,
            kernel=self.conv[3 * self.USED : 3 * self.USED + 3],
            lift=self.w_z_f,
            tau=self.tau,
            eta_m=self.eta11,
            eta_b=torch.cat((self.eta2[None], self.eta12)),
            prox_m=self.m_stage,
            prox_b=self.x_stage,
            prox_start=self.xnet,
            prox_end=self.fxnet,
        )


class RCDNetSimple(Unrolled):
    """The second release: the same arithmetic, nothing unused.

    Args:
        stages: S.
        intermediates: return more than the image.
    """

    def __init__(self, stages: int = 17, intermediates: bool = False) -> None:
        super().__init__(intermediates)
        self.etaM_S = _steps(stages - 1, ETA_M)
        self.etaB_S = _steps(stages, ETA_B)
        # Upstream makes C0 and C from one tensor, so they share memory until something copies them; here they do not.
        self.C0 = nn.Parameter(streak_kernels())
        self.C = nn.Parameter(streak_kernels())
        self.C_z = _lift()
        self.tau = nn.Parameter(torch.ones(1))
        self.proxNet_B_0 = Prox(3 + DUAL)
        self.proxNet_B_S = nn.ModuleList(Prox(3 + DUAL) for _ in range(stages))
        self.proxNet_M_S = nn.ModuleList(Prox(MAPS, thresholds=True) for _ in range(stages))
        self.proxNet_B_last_layer = Prox(3 + DUAL)

    def parts(self) -> Parts:
        """See ``Unrolled``."""
        return Parts(
            first_kernel=self.C0,
            kernel=self.C,
            lift=self.C_z,
            tau=self.tau,
            eta_m=self.etaM_S,
            eta_b=self.etaB_S,
            prox_m=self.proxNet_M_S,
            prox_b=self.proxNet_B_S,
            prox_start=self.proxNet_B_0,
            prox_end=self.proxNet_B_last_layer,
        )


PAPER = "A Model-driven Deep Neural Network for Single Image Rain Removal"
REPO = "https://github.com/hongwang01/RCDNet"
COMMIT = "c6e1539697590452ce0ceb6d6e3bb897e8f65f90"
#: First network 1 + 8 pixels; the first stage 4 + 8 + 4 + 8 more, each of the others as much, the last network 8.
RECEPTIVE = 9 + 17 * 24 + 8
_README = "the RCDNet_simple README"
_RANGE = "Values are 0..255, not 0..1."
_KERNELS = "Fresh networks begin with kernels of ours: the authors' init_kernel.mat is not used."


def _published(tag: str, folder: str) -> Weights:
    archive = Archive("direct", f"{REPO}/raw/{COMMIT}/Pretrained%20Model/{folder}/model_best.pt", f"rcdnet-{tag}.pt")
    return Weights(tag, (tag,), archive)


def _simple(tag: str) -> Weights:
    return Weights(tag, (tag,), Archive("baidu", "https://pan.baidu.com/s/1VHI-ZsLZybdbZp5TIUAcnw", password="rcds"))


RCDNET = Baseline(
    Card(
        name="rcdnet",
        title="RCDNet",
        paper=PAPER,
        venue="CVPR 2020",
        repo=REPO,
        commit=COMMIT,
        licence="none stated",
        value_range=(0.0, 255.0),
        receptive=RECEPTIVE,
        padding="none, any size",
        params=3_166_355,
        gmacs=209.349771264,
        gmacs_conv=209.349771264,
        weights=(
            _published("rain100l", "rain100L"),
            _published("rain100h", "rain100H"),
            _published("rain1400", "rain1400"),
            _published("spa-data", "SPA-Data"),
        ),
        claims=(
            Claim("rain100l", 40.00, 0.9860, source=_README, weights="rain100l"),
            Claim("rain100h", 31.28, 0.9093, source=_README, weights="rain100h"),
            Claim("rain1400", 33.04, 0.9472, source=_README, weights="rain1400"),
            Claim("spa-data", 41.47, 0.9834, source=_README, weights="spa-data"),
            *(
                Claim(testset, psnr, ssim, source="DRSformer's README (retrained there)")
                for testset, psnr, ssim in (
                    ("rain200l", 39.17, 0.9885),
                    ("rain200h", 30.24, 0.9048),
                    ("rain12000", 34.08, 0.9532),
                    ("rain1400", 33.04, 0.9472),
                    ("spa-data", 43.36, 0.9831),
                )
            ),
        ),
        notes=(
            _RANGE,
            "The weights hold 16 copies of the rain kernels, of which one is used; eta1 and mnet in them are unused.",
            _KERNELS,
            "The weights are large files of the repository that we could not obtain; they were never tried here.",
        ),
        fixture="RCDNet",
        options={"stages": "S, 17 as published"},
    ),
    build=RCDNet,
)

RCDNET_SIMPLE = Baseline(
    Card(
        name="rcdnet-simple",
        title="RCDNet (simple release)",
        paper=PAPER,
        venue="CVPR 2020",
        repo="https://github.com/hongwang01/RCDNet_simple",
        commit="d2c2401d4347698ad786bbaed0e3eb915e31f4b8",
        licence="none stated",
        value_range=(0.0, 255.0),
        receptive=RECEPTIVE,
        padding="none, any size",
        quantise="truncate",
        params=2_975_186,
        gmacs=209.349771264,
        gmacs_conv=209.349771264,
        weights=(_simple("rain100l"), _simple("rain100h")),
        claims=(
            Claim("rain100l", 39.73, 0.9856, source=_README, weights="rain100l"),
            Claim("rain100h", 31.32, 0.9095, source=_README, weights="rain100h"),
            Claim("rain1400", 33.09, 0.9491, source=_README),
            Claim("spa-data", 41.52, 0.9849, source=_README),
        ),
        notes=(_RANGE, "Its script truncates to 8 bits where the original release rounds.", _KERNELS),
        fixture="RCDNet_simple",
        options={"stages": "S, 17 as published"},
    ),
    build=RCDNetSimple,
)
