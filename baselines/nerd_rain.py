"""NeRD-Rain: bidirectional multi-scale implicit neural representations (Chen et al., CVPR 2024)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import TransformerBlock, named, require_size
from rainrag.core.types import Archive
from rainrag.models.unirain.blocks import GDFN, MDTA, downsample, upsample

HEADS = (1, 2, 4)
BLOCKS = (2, 3, 3)
EXPANSION = 2.66
#: U-Nets stacked in each branch.
STACKED = {"small": 1, "mid": 2, "max": 3}
#: Coordinate channels of the INR: 2 relative ones with 4 frequencies of sine and cosine for each, and 2 of the cell.
RELATIVE, CELL = 18, 2

Skips = tuple[Tensor, Tensor]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _level(level: int, dim: int) -> nn.Sequential:
    """The transformer blocks of level 0, 1 or 2 of a U-Net, of dim * 2**level channels."""
    channels = dim << level
    blocks = []
    for _ in range(BLOCKS[level]):
        attn, ffn = MDTA(channels, HEADS[level]), GDFN(channels, EXPANSION)
        attn.add_module("qkv_dwconv", named(main=nn.Sequential(attn.qkv_dwconv)))
        ffn.add_module("dwconv", named(main=nn.Sequential(ffn.dwconv)))
        blocks.append(TransformerBlock(channels, attn, ffn))
    return nn.Sequential(*blocks)


class INR(nn.Module):
    """Implicit neural representation of a feature map: an MLP on each pixel's 3x3 neighbourhood (section 3.3).

    The authors ask for the values at the pixels' own coordinates. The relative coordinates are then all zero and the
    cell is (2, 2) everywhere, so the first layer is a 3x3 convolution whose bias holds the cell's part.

    Args:
        dim: channels of the feature map.
        hidden: width of the MLP.
    """

    def __init__(self, dim: int, hidden: int = 256) -> None:
        super().__init__()
        first = nn.Linear(9 * dim + RELATIVE + CELL, hidden)
        middle = [nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
        self.imnet = named(layers=nn.Sequential(first, *middle, nn.Linear(hidden, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) to an image (B, 3, H, W)."""
        layers: Any = self.imnet.layers
        weight = layers[0].weight
        kernel = weight[:, : 9 * x.shape[1]].unflatten(1, (-1, 3, 3))
        bias = layers[0].bias + 2 * weight[:, -CELL:].sum(dim=1)
        pixels = F.conv2d(x, kernel, bias, padding=1).permute(0, 2, 3, 1)
        out: Tensor = layers[1:](pixels).permute(0, 3, 1, 2)
        return out


class Fusion(nn.Module):
    """Fusion of two latents, halved to the next smaller branch's size by taking every second pixel (section 3.4).

    Only the last convolutions' strides do the halving: the pixels that it drops are not computed.

    Args:
        channels: of each latent.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.key_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gamma1 = nn.Conv2d(2 * channels, 2, 3, stride=2, padding=1)
        self.gamma2 = nn.Conv2d(2 * channels, 2, 3, stride=2, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two (B, C, H, W) to one (B, C, H/2, W/2)."""
        attention = (self.query_conv(x) * self.key_conv(y)).sigmoid()
        kept = attention[..., ::2, ::2]
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for z, gamma in ((x, self.gamma1), (y, self.gamma2)):
            plain, attended = gamma(torch.cat([z, z * attention], dim=1)).chunk(2, dim=1)
            total = total + z[..., ::2, ::2] * (plain + kept * attended)
        return total


class NeRDRain(nn.Module):
    """Three branches (image, half, quarter) of stacked U-Nets, coupled coarse to fine by INRs and back by fusion.

    Args:
        dim: channels of the first level of every U-Net.
        intermediates: return a dict with the restored image ``y`` and the other six images of the authors' output.
    """

    patch_embed_small: nn.Module
    patch_embed_mid: nn.Module
    patch_embed_max: nn.Module
    upsmall2mid1: nn.Module
    upsmall2mid2: nn.Module
    upmid2max1: nn.Module
    upmid2max2: nn.Module
    output_small: nn.Module
    output_mid: nn.Module
    output_max: nn.Module

    def __init__(self, dim: int = 48, intermediates: bool = False) -> None:
        super().__init__()
        self.intermediates = intermediates
        for branch, count in STACKED.items():
            self.add_module(f"patch_embed_{branch}", named(proj=_image_conv(3, dim)))
            for i in range(1, count + 1):
                self._add_unet(branch, i, dim)
            self.add_module(f"output_{branch}", _image_conv(dim, 3))
        self.output_mid_context = _image_conv(dim, dim)
        self.output_max_context1, self.output_max_context2 = _image_conv(dim, dim), _image_conv(dim, dim)
        self.INR, self.INR2 = INR(dim), INR(dim)
        self.BF1, self.BF2, self.BF3 = (Fusion(4 * dim) for _ in range(3))
        for pair in ("small2mid", "mid2max"):
            self.add_module(f"up{pair}1", named(body=upsample(4 * dim)))
            self.add_module(f"up{pair}2", named(body=upsample(2 * dim)))

    def _add_unet(self, branch: str, i: int, dim: int) -> None:
        blocks, sampling = _suffixes(branch, i)
        self.add_module(f"encoder_level1_{blocks}", _level(0, dim))
        self.add_module(f"down1_2_{sampling}", named(body=downsample(dim)))
        self.add_module(f"encoder_level2_{blocks}", _level(1, dim))
        self.add_module(f"down2_3_{sampling}", named(body=downsample(2 * dim)))
        self.add_module(f"latent_{blocks}", _level(2, dim))
        self.add_module(f"up3_2_{sampling}", named(body=upsample(4 * dim)))
        self.add_module(f"reduce_chan_level2_{blocks}", nn.Conv2d(4 * dim, 2 * dim, 1, bias=False))
        self.add_module(f"decoder_level2_{blocks}", _level(1, dim))
        self.add_module(f"up2_1_{sampling}", named(body=upsample(2 * dim)))
        self.add_module(f"reduce_chan_level1_{blocks}", nn.Conv2d(2 * dim, dim, 1, bias=False))
        self.add_module(f"decoder_level1_{blocks}", _level(0, dim))

    def _encode(self, branch: str, i: int, x: Tensor) -> tuple[Tensor, Skips]:
        """Latent and skips of the i-th U-Net of a branch."""
        blocks, sampling = _suffixes(branch, i)
        part = self.get_submodule
        first = part(f"encoder_level1_{blocks}")(x)
        second = part(f"encoder_level2_{blocks}")(part(f"down1_2_{sampling}")(first))
        return part(f"latent_{blocks}")(part(f"down2_3_{sampling}")(second)), (first, second)

    def _decode(self, branch: str, i: int, latent: Tensor, skips: Skips) -> Tensor:
        """Features at the branch's size from what :meth:`_encode` gave."""
        blocks, sampling = _suffixes(branch, i)
        # As published: the third U-Net reduces with the second's convolution, and its own stays unused.
        reducer = "max2" if blocks == "max3" else blocks
        part = self.get_submodule
        y = torch.cat([part(f"up3_2_{sampling}")(latent), skips[1]], dim=1)
        y = part(f"decoder_level2_{blocks}")(part(f"reduce_chan_level2_{blocks}")(y))
        y = torch.cat([part(f"up2_1_{sampling}")(y), skips[0]], dim=1)
        out: Tensor = part(f"decoder_level1_{blocks}")(part(f"reduce_chan_level1_{reducer}")(y))
        return out

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same.

        Raises:
            InputError: where H or W is no multiple of 16.
        """
        require_size(x, "NeRD-Rain", multiple=16)
        mid, small = x[..., ::2, ::2], x[..., ::4, ::4]

        # Coarse to fine: every branch hands an image from its latent to the next.
        small_latent, small_skips = self._encode("small", 1, self.patch_embed_small(small))
        small_image = self.INR(self.upsmall2mid2(self.upsmall2mid1(small_latent))) + small
        mid_input = mid + _double(small_image)
        mid_latent, mid_skips = self._encode("mid", 1, self.patch_embed_mid(mid_input))
        mid_image = self.INR2(self.upmid2max2(self.upmid2max1(mid_latent))) + mid_input
        y, max_skips = self._encode("max", 1, self.patch_embed_max(x + _double(mid_image)))
        max_latents = [y]
        for i, context in ((1, self.output_max_context1), (2, self.output_max_context2)):
            y, max_skips = self._encode("max", i + 1, context(self._decode("max", i, y, max_skips)))
            max_latents.append(y)

        # Fine to coarse: fused latents of every branch go back into the smaller one's.
        y = self._decode("mid", 1, mid_latent + self.BF1(*max_latents[:2]), mid_skips)
        second_latent, mid_skips = self._encode("mid", 2, self.output_mid_context(y))
        small_latent = small_latent + self.BF3(mid_latent, second_latent)
        second_latent = second_latent + self.BF2(*max_latents[1:])

        small_y = self._decode("small", 1, small_latent, small_skips)
        mid_y = self._decode("mid", 2, second_latent, mid_skips) + _double(small_y)
        max_y = self._decode("max", 3, max_latents[2], max_skips) + _double(mid_y)
        y = self.output_max(max_y) + x
        if not self.intermediates:
            out: Tensor | dict[str, Tensor] = y
            return out
        return {
            "y": y,
            "out_mid": self.output_mid(mid_y) + mid,
            "out_small": self.output_small(small_y) + small,
            "mid_img_plus_inr": mid_image,
            "mid_img_half": mid_input / 2,
            "small_img_plus_inr": small_image,
            "inp_small": small,
        }


def _image_conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _suffixes(branch: str, i: int) -> tuple[str, str]:
    """How published weights number the blocks and the sampling layers of the i-th U-Net of a branch."""
    return branch if STACKED[branch] == 1 else f"{branch}{i}", branch if i == 1 else f"{branch}{i}"


def _card(name: str, title: str, figures: tuple[tuple[float, float], ...], **facts: Any) -> Card:
    data = ("rain200l", "rain200h", "rain12000", "rain1400", "spa-data")
    repo = "https://github.com/cschenxiang/NeRD-Rain"
    return Card(
        name=name,
        title=title,
        paper="Bidirectional Multi-Scale Implicit Neural Representations for Image Deraining",
        venue="CVPR 2024",
        repo=repo,
        commit="295f4fdfdfadec6db14fc3fa8640ba04a7aef261",
        licence="none stated",
        multiple=16,
        padding="none: 256x256 windows, the last ones at the far edge, which give only what is not yet covered; "
        "smaller images are not handled",
        tile=(256, 0),
        weights=tuple(Weights(d, (d,), Archive("page", repo)) for d in data),
        claims=tuple(
            Claim(d, *figure, source="the authors' README", weights=d) for d, figure in zip(data, figures, strict=True)
        ),
        notes=(
            "The authors' figures hold for their 256x256 windows: attention spans what the network is given.",
            "The INR's coordinates are constant, so it is an MLP on each pixel's 3x3 neighbourhood.",
            "reduce_chan_level1_max3 is in the weights and has no effect: the third U-Net uses the second's.",
        ),
        options={"dim": "channels of the first level, a multiple of 4"},
        **facts,
    )


NERD_RAIN = Baseline(
    _card(
        "nerd-rain",
        "NeRD-Rain",
        ((41.71, 0.9903), (32.40, 0.9373), (35.53, 0.9659), (34.45, 0.9596), (49.58, 0.9940)),
        params=22_893_146,
        gmacs=156.316107776,
        gmacs_conv=127.698895872,
        fixture="NeRD-Rain",
    ),
    build=NeRDRain,
)

NERD_RAIN_S = Baseline(
    _card(
        "nerd-rain-s",
        "NeRD-Rain-S",
        ((41.30, 0.9895), (32.06, 0.9315), (35.36, 0.9647), (34.25, 0.9578), (48.90, 0.9936)),
        params=10_530_314,
        gmacs=79.275677696,
        gmacs_conv=58.310449152,
        fixture="NeRD-Rain-S",
    ),
    build=partial(NeRDRain, dim=32),
)
