"""MPRNet: multi-stage progressive image restoration (Zamir et al., CVPR 2021), deraining configuration.

Three stages see the image as quadrants, as halves and as a whole; features of each stage feed the next. Patches are
batched, not looped over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named, require_size
from rainrag.baselines.layers.unet import conv
from rainrag.core.types import Archive

Features = list[Tensor]


def split(x: Tensor, rows: int, cols: int) -> Tensor:
    """(B, C, H, W) to (B * rows * cols, C, H / rows, W / cols): an image's patches become neighbours in the batch."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, rows, h // rows, cols, w // cols)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // rows, w // cols)


def join(x: Tensor, rows: int, cols: int) -> Tensor:
    """Inverse of ``split``."""
    b, c, h, w = x.shape
    x = x.reshape(b // (rows * cols), rows, cols, c, h, w)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(-1, c, h * rows, w * cols)


class CAB(nn.Module):
    """Channel attention block (figure 3): x + gate(body(x)) * body(x).

    Args:
        channels: input and output channels.
        reduction: of the channels inside the gate.
        activation: the one PReLU that all blocks of the network share.
    """

    def __init__(self, channels: int, reduction: int, activation: nn.PReLU) -> None:
        super().__init__()
        squeeze, excite = conv(channels, channels // reduction, 1), conv(channels // reduction, channels, 1)
        self.CA = named(conv_du=nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid()))
        self.body = nn.Sequential(conv(channels, channels, 3), activation, conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = self.body(x)
        return torch.addcmul(x, y, self.CA(y.mean((2, 3), keepdim=True)))


Block = Callable[[int], nn.Module]


class Down(nn.Module):
    """Half the size, ``step`` channels more. Bilinear scaling of even sides by one half is the mean of 2x2 pixels."""

    def __init__(self, channels: int, step: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), conv(channels, channels + step, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + step, H/2, W/2)."""
        out: Tensor = self.down(x)
        return out


def double(x: Tensor) -> Tensor:
    """Bilinear scaling by two."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Up(nn.Module):
    """Twice the size, ``step`` channels fewer.

    A 1x1 convolution without bias commutes with interpolation, so it runs first, on a quarter of the pixels.
    """

    def __init__(self, channels: int, step: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Identity(), conv(channels + step, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C + step, H, W) to (B, C, 2H, 2W)."""
        return double(self.up(x))


class Encoder(nn.Module):
    """Three levels of two CABs each; ``fuse`` adds the features of the stage before (cross-stage feature fusion)."""

    def __init__(self, channels: int, step: int, block: Block, fuse: bool) -> None:
        super().__init__()
        widths = [channels, channels + step, channels + 2 * step]
        for level, c in enumerate(widths, 1):
            self.add_module(f"encoder_level{level}", nn.Sequential(block(c), block(c)))
        self.down12 = Down(channels, step)
        self.down23 = Down(channels + step, step)
        self.fuse = fuse
        for side in ("enc", "dec") if fuse else ():
            for level, c in enumerate(widths, 1):
                self.add_module(f"csff_{side}{level}", conv(c, c, 1))

    def _level(self, level: int, x: Tensor, before: tuple[Features, Features] | None) -> Tensor:
        x = self.get_submodule(f"encoder_level{level}")(x)
        if before is None:
            return x
        encoded, decoded = before
        x = x + self.get_submodule(f"csff_enc{level}")(encoded[level - 1])
        out: Tensor = x + self.get_submodule(f"csff_dec{level}")(decoded[level - 1])
        return out

    def forward(self, x: Tensor, before: tuple[Features, Features] | None = None) -> Features:
        """(B, C, H, W), and encoder and decoder features of the stage before, to features at scales 1, 1/2, 1/4."""
        e1 = self._level(1, x, before)
        e2 = self._level(2, self.down12(e1), before)
        return [e1, e2, self._level(3, self.down23(e2), before)]


class Decoder(nn.Module):
    """Three levels of two CABs each, with CABs on the skips."""

    def __init__(self, channels: int, step: int, block: Block) -> None:
        super().__init__()
        mid, low = channels + step, channels + 2 * step
        self.decoder_level1 = nn.Sequential(block(channels), block(channels))
        self.decoder_level2 = nn.Sequential(block(mid), block(mid))
        self.decoder_level3 = nn.Sequential(block(low), block(low))
        self.skip_attn1 = block(channels)
        self.skip_attn2 = block(mid)
        self.up21 = Up(channels, step)
        self.up32 = Up(mid, step)

    def forward(self, encoded: Features) -> Features:
        """Encoder features to decoder features of the same shapes."""
        e1, e2, e3 = encoded
        d3 = self.decoder_level3(e3)
        d2 = self.decoder_level2(self.up32(d3) + self.skip_attn2(e2))
        return [self.decoder_level1(self.up21(d2) + self.skip_attn1(e1)), d2, d3]


class SAM(nn.Module):
    """Supervised attention module (figure 4): a restored image, and features gated by it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 1)
        self.conv2 = conv(channels, 3, 1)
        self.conv3 = conv(3, channels, 1)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, H, W) and degraded image (B, 3, H, W) to gated features and restored image."""
        restored = self.conv2(x) + image
        return torch.addcmul(x, self.conv1(x), torch.sigmoid(self.conv3(restored))), restored


class ORB(nn.Module):
    """Original resolution block (figure 3): CABs and a convolution, with a residual around all."""

    def __init__(self, channels: int, blocks: int, block: Block) -> None:
        super().__init__()
        self.body = nn.Sequential(*(block(channels) for _ in range(blocks)), conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = x + self.body(x)
        return out


class ORSNet(nn.Module):
    """Original resolution subnetwork (section 3.1): three ORBs, fed with the features of stage 2.

    Features come up by interpolations and 1x1 convolutions without bias; these commute, so all convolutions run at the
    features' own resolution and encoder and decoder features are interpolated together.
    """

    def __init__(self, channels: int, extra: int, step: int, blocks: int, block: Block) -> None:
        super().__init__()
        width, mid = channels + extra, channels + step
        self.orb1 = ORB(width, blocks, block)
        self.orb2 = ORB(width, blocks, block)
        self.orb3 = ORB(width, blocks, block)
        for side in ("enc", "dec"):
            self.add_module(f"up_{side}1", Up(channels, step))
            self.add_module(f"up_{side}2", nn.Sequential(Up(mid, step), Up(channels, step)))
            for level in (1, 2, 3):
                self.add_module(f"conv_{side}{level}", conv(channels, width, 1))

    def _project(self, side: str, features: Features) -> Features:
        one: Any = self.get_submodule(f"up_{side}1")
        two: Any = self.get_submodule(f"up_{side}2")
        thin = [features[0], one.up(features[1]), two[1].up(two[0].up(features[2]))]
        return [self.get_submodule(f"conv_{side}{level}")(f) for level, f in enumerate(thin, 1)]

    def forward(self, x: Tensor, encoded: Features, decoded: Features) -> Tensor:
        """Features (B, C + extra, H, W) and those of stage 2 to features of the same shape."""
        f1, f2, f3 = (e + d for e, d in zip(self._project("enc", encoded), self._project("dec", decoded), strict=True))
        x = self.orb1(x) + f1
        x = self.orb2(x) + double(f2)
        out: Tensor = self.orb3(x) + double(double(f3))
        return out


class MPRNet(nn.Module):
    """The network (figure 2); the defaults are those of the authors' deraining weights.

    Args:
        channels: of the first U-Net level and of the shallow features.
        step: more channels at each U-Net level.
        extra: more channels in stage 3.
        blocks: CABs of an ORB.
        reduction: of the channel attention.
        intermediates: return all stages.
    """

    def __init__(
        self,
        channels: int = 40,
        step: int = 20,
        extra: int = 16,
        blocks: int = 8,
        reduction: int = 4,
        intermediates: bool = False,
    ) -> None:
        super().__init__()
        activation = nn.PReLU()  # one scalar for the whole network, as published: the keys of all CABs alias it

        def block(c: int) -> nn.Module:
            return CAB(c, reduction, activation)

        self.shallow_feat1 = nn.Sequential(conv(3, channels, 3), block(channels))
        self.shallow_feat2 = nn.Sequential(conv(3, channels, 3), block(channels))
        self.shallow_feat3 = nn.Sequential(conv(3, channels, 3), block(channels))
        self.stage1_encoder = Encoder(channels, step, block, fuse=False)
        self.stage1_decoder = Decoder(channels, step, block)
        self.stage2_encoder = Encoder(channels, step, block, fuse=True)
        self.stage2_decoder = Decoder(channels, step, block)
        self.stage3_orsnet = ORSNet(channels, extra, step, blocks, block)
        self.sam12 = SAM(channels)
        self.sam23 = SAM(channels)
        self.concat12 = conv(channels * 2, channels, 3)
        self.concat23 = conv(channels * 2, channels + extra, 3)
        self.tail = conv(channels + extra, 3, 3)
        self.intermediates = intermediates

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same; H and W multiples of 8.

        Returns:
            The image of stage 3, or a dict with ``y`` and ``stage_1`` to ``stage_3``.

        Raises:
            InputError: for other sizes.
        """
        require_size(x, "MPRNet", multiple=8)
        halves = split(x, 2, 1)
        quarters = self.stage1_encoder(self.shallow_feat1(split(x, 2, 2)))
        encoded = [join(f, 1, 2) for f in quarters]
        decoded = self.stage1_decoder(encoded)
        attended, stage1 = self.sam12(decoded[0], halves)

        features = self.concat12(torch.cat([self.shallow_feat2(halves), attended], 1))
        encoded = [join(f, 2, 1) for f in self.stage2_encoder(features, (encoded, decoded))]
        decoded = self.stage2_decoder(encoded)
        attended, stage2 = self.sam23(decoded[0], x)

        features = self.concat23(torch.cat([self.shallow_feat3(x), attended], 1))
        y = self.tail(self.stage3_orsnet(features, encoded, decoded)) + x
        if not self.intermediates:
            out: Tensor | dict[str, Tensor] = y
            return out
        return {"y": y, "stage_3": y, "stage_2": stage2, "stage_1": join(stage1, 2, 1)}


RETRAINED = "table in the READMEs of DRSformer and NeRD-Rain (all methods retrained on each set)"

MPRNET = Baseline(
    Card(
        name="mprnet",
        title="MPRNet",
        paper="Multi-Stage Progressive Image Restoration",
        venue="CVPR 2021",
        repo="https://github.com/swz30/MPRNet",
        commit="43feb2aed45f5e0b9082c78c8c455160e30a3a82",
        licence="ACADEMIC PUBLIC LICENSE (non-commercial)",
        multiple=8,
        padding="test script: none, so its test images have sides that are multiples of 8; demo script: reflect, right "
        "and bottom, to a multiple of 8",
        params=3_637_249,
        gmacs=140.982,
        gmacs_conv=140.982,
        weights=(
            Weights(
                "rain13k",
                ("rain13k",),
                Archive("gdrive", "1O3WEJbcat7eTY6doXWeorAbQ1l_WmMnM", "mprnet-rain13k.pth"),
                container="state_dict",
            ),
        ),
        claims=(
            Claim("rain200l", 39.47, 0.9825, source=RETRAINED),
            Claim("rain200h", 30.67, 0.9110, source=RETRAINED),
            Claim("rain12000", 33.99, 0.9590, source=RETRAINED),
            Claim("rain1400", 33.10, 0.9347, source=RETRAINED),
            Claim("spa-data", 43.64, 0.9844, source=RETRAINED),
            Claim("test100", 30.27, 0.897, source="paper", weights="rain13k", verified=False),
            Claim("rain100h", 30.41, 0.890, source="paper", weights="rain13k", verified=False),
            Claim("rain100l", 36.40, 0.965, source="paper", weights="rain13k", verified=False),
            Claim("test2800", 33.64, 0.938, source="paper", weights="rain13k", verified=False),
            Claim("test1200", 32.91, 0.916, source="paper", weights="rain13k", verified=False),
        ),
        notes=(
            "One scalar PReLU is shared by every block and stands under 55 keys; all must hold the same value.",
            "Stages 1 and 2 see quadrants and halves, so the output depends on where the image's middle is.",
            "The parameters of the card are counted once each; summing over the state dict counts the PReLU 55 times.",
        ),
        fixture="MPRNet",
    ),
    build=MPRNet,
)
