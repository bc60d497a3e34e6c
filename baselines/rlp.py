"""RLP: rain location prior for night-time deraining (Zhang et al., ICCV 2023), before a UNet or a Uformer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named, require_size
from rainrag.baselines.layers.windows import LeFF, TokenUNet, WindowAttention, WindowBlock, to_tokens
from rainrag.core.types import Archive

WINDOW = 8
HEADS = (1, 2, 4, 8, 16, 16, 8, 4, 2)


def _conv(
    inputs: int, outputs: int, kernel: int, *after: nn.Module, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation), *after)


class RainLocationPrior(nn.Module):
    """Recurrent residual network that refines a map of where the rain is (section 3.2).

    Args:
        iterations: of the recurrence.
        channels: of its features.
    """

    def __init__(self, iterations: int, channels: int = 32) -> None:
        super().__init__()
        self.iterations = iterations
        self.channels = channels
        self.conv0 = _conv(4, channels, 3, nn.ReLU())
        for i in range(1, 6):
            pair = [_conv(channels, channels, 3, nn.ReLU()) for _ in range(2)]
            self.add_module(f"res_conv{i}", nn.Sequential(*pair[0], *pair[1]))
        for gate in "ifgo":
            self.add_module(f"conv_{gate}", _conv(2 * channels, channels, 3))
        self.conv = _conv(channels, 1, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) to the last features (B, channels, H, W) and the maps of all iterations, (B, 1, H, W) each."""
        gates: list[Any] = [self.get_submodule(f"conv_{gate}.0") for gate in "ifog"]
        weight = torch.cat([g.weight for g in gates])  # the four gates as one convolution
        bias = torch.cat([g.bias for g in gates])
        residuals = [self.get_submodule(f"res_conv{i}") for i in range(1, 6)]
        rain = torch.ones_like(x[:, :1])
        hidden = cell = x.new_zeros(x.shape[0], self.channels, *x.shape[2:])
        maps = []
        for _ in range(self.iterations):
            y = torch.cat([self.conv0(torch.cat([x, rain], dim=1)), hidden], dim=1)
            y = F.conv2d(y, weight, bias, padding=1)
            i, f, o = y[:, : 3 * self.channels].sigmoid().chunk(3, dim=1)
            cell = f * cell + i * y[:, 3 * self.channels :].tanh()
            hidden = y = o * cell.tanh()
            for residual in residuals:
                y = F.relu(residual(y) + y)
            rain = self.conv(y)
            maps.append(rain)
        return y, maps


class RainPriorInjection(nn.Module):
    """Rain prior injection module (section 3.3): the map gates the prior's features.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, 1, 1, bias=False)
        self.conv3 = nn.Conv2d(1, channels, 1, bias=False)

    def forward(self, features: Tensor, rain: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) features and (B, 1, H, W) map to the features to inject and the refined map."""
        rain = self.conv2(features) + rain
        return self.conv1(features) * self.conv3(rain).sigmoid() + features, rain


class _Up(nn.Sequential):
    """Transposed convolution to twice the size, smoothed by a 2x2 mean over a map mirrored by one pixel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(super().forward(x), (1, 0, 1, 0), mode="reflect")  # type: ignore[no-untyped-call]
        return F.relu(F.avg_pool2d(y, 2, stride=1))


class UNet(nn.Module):
    """Two levels of strided convolutions with dilated ones at the bottom; the output is the image, not a residual.

    Args:
        inputs: channels that it takes.
        width: channels of its last level; the others have 2, 4 and 8 times so many.
    """

    def __init__(self, inputs: int, width: int = 32) -> None:
        super().__init__()
        a, b, c = 2 * width, 4 * width, 8 * width
        relu = nn.ReLU()
        self.conv1 = _conv(inputs, a, 5, relu)
        self.conv2 = _conv(a, b, 3, relu, stride=2)
        self.conv3 = _conv(b, b, 3, relu)
        self.conv4 = _conv(b, c, 3, relu, stride=2)
        self.conv5 = _conv(c, c, 3, relu)
        self.conv6 = _conv(c, c, 3, relu)
        self.diconv1 = _conv(c, c, 3, relu, dilation=2)
        self.diconv2 = _conv(c, c, 3, relu, dilation=4)
        self.diconv3 = _conv(c, c, 3, relu, dilation=8)
        self.diconv4 = _conv(c, c, 3, relu, dilation=16)
        self.conv7 = _conv(c, c, 3, relu)
        self.conv8 = _conv(c, c, 3, relu)
        self.deconv1 = _Up(c, b)
        self.conv9 = _conv(b, b, 3, relu)
        self.deconv2 = _Up(b, a)
        self.conv10 = _conv(a, width, 3, relu)
        self.output = _conv(width, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 3, H, W); H and W are multiples of 4."""
        full = self.conv1(x)
        half = self.conv3(self.conv2(full))
        y = self.conv6(self.conv5(self.conv4(half)))
        y = self.diconv4(self.diconv3(self.diconv2(self.diconv1(y))))
        y = self.deconv1(self.conv8(self.conv7(y)))
        y = self.deconv2(self.conv9(y + half))
        out: Tensor = self.output(self.conv10(y + full))
        return out


def _level(place: int, dim: int) -> nn.Module:
    blocks = [
        WindowBlock(
            dim, WindowAttention(dim, WINDOW, HEADS[place]), LeFF(dim, 4 * dim), WINDOW, shift, modulated=place > 4
        )
        for shift in (0, WINDOW // 2)
    ]
    return named(blocks=nn.Sequential(*blocks))


class Uformer(TokenUNet):
    """Uformer-T that takes the prior's features beside the image.

    Args:
        injected: channels of the features.
        width: channels made of the image.
    """

    def __init__(self, injected: int, width: int = 16) -> None:
        super().__init__(width + injected, width, _level, "conv")
        self.input_proj = named(proj=_conv(4, width, 3))
        self.output_proj = named(proj=_conv(2 * width + injected, 3, 3))

    def forward(self, x: Tensor, rain: Tensor, features: Tensor) -> Tensor:
        """Image (B, 3, H, W), map (B, 1, H, W) and features (B, injected, H, W) to the image (B, 3, H, W)."""
        y = torch.cat([self.input_proj(torch.cat([x, rain], dim=1)), features], dim=1)
        tokens = to_tokens(F.leaky_relu(y, 0.01))
        out: Tensor = self.output_proj(self.levels(tokens).permute(0, 3, 1, 2)) + x
        return out


class _RLP(nn.Module):
    """Prior and injection, before a network that uses both."""

    def __init__(self, iterations: int, channels: int, intermediates: bool) -> None:
        super().__init__()
        self.intermediates = intermediates
        self.rlp = RainLocationPrior(iterations, channels)
        self.rpim = RainPriorInjection(channels)

    def prior(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) to the features to inject and all maps, the refined one last."""
        features, maps = self.rlp(x)
        features, rain = self.rpim(features, maps[-1])
        return features, [*maps, rain]

    def result(self, y: Tensor, maps: list[Tensor]) -> Tensor | dict[str, Tensor]:
        """What forward returns."""
        return {"y": y, **{f"rlp_{i}": m for i, m in enumerate(maps, start=1)}} if self.intermediates else y


class RLPUNet(_RLP):
    """UNet with rain location prior and prior injection.

    Args:
        intermediates: return a dict with the restored image ``y`` and the maps ``rlp_1`` ... .
        iterations: of the prior.
        channels: of the prior's features.
    """

    def __init__(self, intermediates: bool = False, iterations: int = 6, channels: int = 32) -> None:
        super().__init__(iterations, channels, intermediates)
        self.proj = named(proj=_conv(4, channels, 5, nn.ReLU()))
        self.dm = UNet(2 * channels)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same.

        Raises:
            InputError: where H or W is no multiple of 4.
        """
        require_size(x, "RLP-UNet", multiple=4)
        features, maps = self.prior(x)
        y = self.proj(torch.cat([x, maps[-1]], dim=1))
        return self.result(self.dm(torch.cat([y, features], dim=1)), maps)


class RLPUformer(_RLP):
    """Uformer-T with rain location prior and prior injection.

    Args:
        intermediates: return a dict with the restored image ``y`` and the maps ``rlp_1`` ... .
        iterations: of the prior.
        channels: of the prior's features.
    """

    def __init__(self, intermediates: bool = False, iterations: int = 4, channels: int = 32) -> None:
        super().__init__(iterations, channels, intermediates)
        self.dm = Uformer(channels)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, H) in [0, 1] to the same.

        Raises:
            InputError: where the image is not square or H is no multiple of 128.
        """
        require_size(x, "RLP-Uformer", multiple=16 * WINDOW, square=True)
        features, maps = self.prior(x)
        return self.result(self.dm(x, maps[-1], features), maps)


def _card(name: str, title: str, weights: str, claim: tuple[float, float], **facts: Any) -> Card:
    url = f"https://github.com/zkawfanx/RLP/releases/download/v1.0.0/{weights}"
    data = "gtav-nightrain-rerendered"
    return Card(
        name=name,
        title=title,
        paper="Learning Rain Location Prior for Nighttime Deraining",
        venue="ICCV 2023",
        repo="https://github.com/zkawfanx/RLP",
        commit="7f3d6c645e5b79952f633d64d1ea93695334eecb",
        licence="MIT (code); the data set is CC BY-NC-SA 4.0",
        quantise="truncate",
        weights=(Weights(data, (data,), Archive("direct", url, weights)),),
        claims=(Claim(data, *claim, source="the authors' README", weights=data),),
        **facts,
    )


RLP_UNET = Baseline(
    _card(
        "rlp-unet",
        "RLP-UNet",
        "UNet_RLP_RPIM.pth",
        (37.28, 0.9716),
        multiple=4,
        receptive=236,  # prior 6 * 13, projection 2, UNet 156
        params=6_334_308,
        gmacs=104.922611712,
        gmacs_conv=104.922611712,
        notes=(
            "The release also has UNet.pth and UNet_RLP.pth, networks without prior or injection, which do not fit.",
            "The output is the image itself: there is no shortcut from the input.",
        ),
        fixture="RLP-UNet",
        options={"iterations": "of the prior", "channels": "of the prior's features"},
    ),
    build=RLPUNet,
)

RLP_UFORMER_T = Baseline(
    _card(
        "rlp-uformer-t",
        "RLP-Uformer-T",
        "Uformer_T_RLP_RPIM.pth",
        (38.44, 0.9749),
        multiple=16 * WINDOW,
        square=True,
        receptive=546,  # prior 4 * 13, then nine levels of 8x8 windows; tiles must start at multiples of 128
        padding="centred on a square canvas of ones, to a multiple of 16 (of 128 in the tile mode: two overlapping "
        "squares of 1280 for 1920x1080); a multiple of 16 alone is not enough for windows of 8 at 1/16 of the size",
        params=5_611_902,
        gmacs=64.967147520,
        gmacs_conv=45.857898496,
        notes=(
            "The release also has Uformer_T.pth and Uformer_T_RLP.pth, networks without prior or injection, which do "
            "not fit.",
        ),
        fixture="RLP-Uformer_T",
        options={"iterations": "of the prior", "channels": "of the prior's features"},
    ),
    build=RLPUformer,
)
