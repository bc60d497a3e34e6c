"""WGWS-Net: weather-general and weather-specific features (Zhu et al., CVPR 2023), setting K1.

Stage 1 learns one plain network for all weather; stage 2 freezes its kernels and adds to each convolution a 1x1 kernel
for each kind of weather, which a learned indicator can switch off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named, require_size
from rainrag.core.errors import UsageError
from rainrag.core.types import Archive

#: Kinds of weather in the order of the residual kernels B1, B2, B3 (settings 2 and 3 have other kinds in these places).
FLAGS = ("snow", "rain", "raindrop")

#: Indicators below this switch their kernel off.
THRESHOLD = 0.1

#: Makes a convolution from (channels, out, kernel, stride).
Conv = Callable[[int, int, int, int], nn.Module]


class WeatherConv2d(nn.Module):
    """Convolution plus a gated 1x1 convolution for one kind of weather.

    The 1x1 kernel reads the pixel under the centre of the large one, at any stride: it is added to the centre, and one
    convolution does for both.

    Args:
        channels: input channels.
        out: output channels.
        kernel: odd side.
        stride: of both convolutions.
        flag: kind of weather, one of ``FLAGS``.
        freeze: keep the general kernel as it is, as in the paper's second stage.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int, flag: str, freeze: bool) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        self.branch = FLAGS.index(flag) + 1
        general = nn.Conv2d(channels, out, kernel, bias=False).weight
        self.weight = general.requires_grad_(not freeze)
        for i in range(1, len(FLAGS) + 1):
            self.register_parameter(
                f"B{i}_residual", cast(nn.Parameter, nn.Conv2d(channels, out, 1, bias=False).weight)
            )
            self.register_parameter(f"B{i}_indicator", nn.Parameter(torch.ones(1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, H / stride, W / stride)."""
        indicator = getattr(self, f"B{self.branch}_indicator")
        hard = (indicator >= THRESHOLD).to(indicator.dtype)
        gate = hard + (indicator - indicator.detach())  # straight through: the indicator learns as if it were the gate
        residual = F.pad(gate * getattr(self, f"B{self.branch}_residual"), [self.padding] * 4)
        return F.conv2d(x, self.weight + residual, None, self.stride, self.padding)


def general_conv(channels: int, out: int, kernel: int, stride: int) -> nn.Module:
    """Plain convolution of stage 1."""
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2)


class RDB(nn.Module):
    """Residual dense block: three convolutions that see all before them, and their 1x1 fusion."""

    def __init__(self, channels: int, conv: Conv) -> None:
        super().__init__()
        self.conv0 = named(conv=named(layer=conv(channels, channels, 3, 1)))
        self.conv1 = named(conv=named(layer=conv(channels * 2, channels, 3, 1)))
        self.conv2 = named(conv=named(layer=conv(channels * 3, channels, 3, 1)))
        self.LFF = named(layer=conv(channels * 4, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        seen = x
        for grow in (self.conv0, self.conv1, self.conv2):
            seen = torch.cat([seen, F.gelu(grow(seen))], 1)
        out: Tensor = self.LFF(seen) + x
        return out


class AFF(nn.Module):
    """Asymmetric feature fusion: three levels' features, at one size, to one level."""

    def __init__(self, channels: int, out: int, conv: Conv) -> None:
        super().__init__()
        self.conv1 = named(layer=conv(channels, out, 1, 1))
        self.conv2 = named(layer=conv(out, out, 3, 1))

    def forward(self, *features: Tensor) -> Tensor:
        """(B, Ci, H, W) each, to (B, out, H, W)."""
        out: Tensor = self.conv2(F.gelu(self.conv1(torch.cat(features, 1))))
        return out


class SCM(nn.Module):
    """Shallow features of a reduced image."""

    def __init__(self, channels: int, conv: Conv) -> None:
        super().__init__()
        self.layer1 = named(layer=conv(3, channels // 4, 3, 1))
        self.layer2 = named(layer=conv(channels // 4, channels // 2, 1, 1))
        self.layer3 = named(layer=conv(channels // 2, channels // 2, 3, 1))
        self.layer4 = named(layer=conv(channels // 2, channels - 3, 1, 1))
        self.conv = named(layer=conv(channels, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H, W)."""
        y = x
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            y = F.gelu(layer(y))
        out: Tensor = self.conv(torch.cat([x, y], 1))
        return out


class FAM(nn.Module):
    """Feature attention: x plus a convolution of its product with the reduced image's features."""

    def __init__(self, channels: int, conv: Conv) -> None:
        super().__init__()
        self.merge = named(layer=conv(channels, channels, 3, 1))

    def forward(self, x: Tensor, shallow: Tensor) -> Tensor:
        """(B, C, H, W) both, to the same."""
        out: Tensor = x + self.merge(x * shallow)
        return out


def larger(x: Tensor) -> Tensor:
    """Nearest-neighbour scaling by two; to scale down by s is to take every s-th pixel."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class WGWSNet(nn.Module):
    """The network: a U-Net of three levels that also sees the image at 1/2 and 1/4.

    Args:
        channels: of the first level; 18 in settings 1 and 3, 20 in setting 2.
        blocks: residual dense blocks of a level.
        flag: kind of weather to remove, one of ``FLAGS``; None for the plain network of stage 1.
        freeze: keep the general kernels as they are, as in the paper's second stage.
        intermediates: return ``{"y": image}``.

    Raises:
        UsageError: for an unknown flag.
    """

    def __init__(
        self,
        channels: int = 18,
        blocks: int = 6,
        flag: str | None = "rain",
        freeze: bool = True,
        intermediates: bool = False,
    ) -> None:
        super().__init__()
        if flag is not None and flag not in FLAGS:
            raise UsageError(f"no weather flag '{flag}'", hint=f"one of {', '.join(FLAGS)}")

        def conv(inputs: int, out: int, kernel: int, stride: int) -> nn.Module:
            if flag is None:
                return general_conv(inputs, out, kernel, stride)
            return WeatherConv2d(inputs, out, kernel, stride, flag, freeze)

        def level(c: int) -> nn.Sequential:
            return named(**{f"layer{i}": RDB(c, conv) for i in range(1, blocks + 1)})

        c, c2, c4 = channels, channels * 2, channels * 4
        self.Encoder = nn.ModuleList([level(c), level(c2), level(c4)])
        self.feat_extract = nn.ModuleList(
            [
                named(layer=conv(3, c, 3, 1)),
                named(layer=conv(c, c2, 3, 2)),
                named(layer=conv(c2, c4, 3, 2)),
                named(layer=nn.ConvTranspose2d(c4, c2, 4, 2, 1)),
                named(layer=nn.ConvTranspose2d(c2, c, 4, 2, 1)),
                named(layer=conv(c, 3, 3, 1)),
            ]
        )
        self.Decoder = nn.ModuleList([level(c4), level(c2), level(c)])
        self.Convs = nn.ModuleList([named(layer=conv(c4, c2, 1, 1)), named(layer=conv(c2, c, 1, 1))])
        self.AFFs = nn.ModuleList([AFF(c + c2 + c4, out, conv) for out in (c, c2, c4)])
        self.FAM1, self.SCM1 = FAM(c4, conv), SCM(c4, conv)
        self.FAM2, self.SCM2 = FAM(c2, conv), SCM(c2, conv)
        self.intermediates = intermediates

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        e1 = self.Encoder[0](F.gelu(self.feat_extract[0](x)))
        z = self.FAM2(F.gelu(self.feat_extract[1](e1)), self.SCM2(x[..., ::2, ::2]))
        e2 = self.Encoder[1](z)
        z = self.FAM1(F.gelu(self.feat_extract[2](e2)), self.SCM1(x[..., ::4, ::4]))
        return e1, e2, self.Encoder[2](z)

    def _fuse(self, e1: Tensor, e2: Tensor, e3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        up = larger(e3)
        f1 = self.AFFs[0](e1, larger(e2), larger(up))
        f2 = self.AFFs[1](e1[..., ::2, ::2], e2, up)
        return f1, f2, self.AFFs[2](e1[..., ::4, ::4], e2[..., ::2, ::2], e3)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same; H and W multiples of 4.

        Raises:
            InputError: for other sizes.
        """
        require_size(x, "WGWS-Net", multiple=4)
        f1, f2, f3 = self._fuse(*self._encode(x))
        z = F.gelu(self.feat_extract[3](self.Decoder[0](f3)))
        z = self.Decoder[1](F.gelu(self.Convs[0](torch.cat([z, f2], 1))))
        z = F.gelu(self.feat_extract[4](z))
        z = self.Decoder[2](F.gelu(self.Convs[1](torch.cat([z, f1], 1))))
        y = self.feat_extract[5](z) + x
        return {"y": y} if self.intermediates else y


def build_stage1(channels: int = 18, blocks: int = 6, intermediates: bool = False) -> WGWSNet:
    """The plain network of stage 1."""
    return WGWSNet(channels, blocks, flag=None, intermediates=intermediates)


_COMMON: dict[str, Any] = {
    "paper": "Learning Weather-General and Weather-Specific Features for Image Restoration Under Multiple Adverse "
    "Weather Conditions",
    "venue": "CVPR 2023",
    "repo": "https://github.com/zhuyr97/WGWS-Net",
    "commit": "66f08132126309bda8304261b294c647c9abf59a",
    "licence": "none stated",
    "multiple": 4,
    # 3x3 convolutions along the longest path: 6 * 3 of each level, twice, at scales 1, 2 and 4 (252), the strided and
    # transposed ones and those that merge (21). The U-Net has no global statistics.
    "receptive": 273,
    "padding": "none, so the test images need sides that are multiples of 4",
    "quantise": "truncate",
}
_SCORES = (
    "The authors compute PSNR and SSIM from the float RGB output with code of their own; the saved files are truncated."
)

WGWS = Baseline(
    Card(
        name="wgws-net",
        title="WGWS-Net (stage 2, K1, 18 channels)",
        **_COMMON,
        params=7_575_354,
        gmacs=71.008,
        gmacs_conv=71.008,
        weights=(
            Weights(
                "setting1",
                ("outdoor-rain", "raindrop", "snow100k"),
                Archive("gdrive", "1B0R3SI6D5PkAJGkx_axUm6V5NpjkQllo"),
            ),
        ),
        claims=(
            Claim("outdoor-rain", 29.32, 0.9207, source="paper", weights="setting1", verified=False),
            Claim("raindrop", 32.38, 0.9378, source="paper", weights="setting1", verified=False),
        ),
        notes=(
            "The kind of weather is an option of the network (flag: snow, rain, raindrop; rain unless told otherwise).",
            "The authors' folder holds three settings: 1 and 3 have 18 channels, 2 has 20 (option channels=20).",
            "The third flag is raindrop in setting 1; other settings may have haze there.",
            "General kernels are frozen, as in the paper's second stage: to train from scratch, set freeze=False.",
            "The sources of the weights are those of the paper's setting 1, quoted from memory.",
            "The 1x1 kernels are folded into the general ones, so a run here costs what stage 1 costs; the card's "
            "multiply-accumulates are those of the authors' separate convolutions.",
            _SCORES,
        ),
        fixture="WGWS-Net",
        options={
            "flag": "snow, rain or raindrop",
            "freeze": "keep the general kernels (true) or train them (false)",
            "channels": "of the first level",
        },
    ),
    build=WGWSNet,
)

WGWS_STAGE1 = Baseline(
    Card(
        name="wgws-net-stage1",
        title="WGWS-Net, stage 1 (weather-general)",
        **_COMMON,
        params=4_988_895,
        gmacs=46.400,
        gmacs_conv=46.400,
        notes=(
            "Every convolution has a bias here and none in stage 2: the weights do not carry over as they are.",
            _SCORES,
        ),
        fixture="WGWS-Net-Stage1",
        options={"channels": "of the first level"},
    ),
    build=build_stage1,
)
