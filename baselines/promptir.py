"""PromptIR (Potlapalli et al., NeurIPS 2023): Restormer with learned prompts, one model for all tasks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named
from rainrag.baselines.layers.shapes import store_as
from rainrag.baselines.layers.unet import conv
from rainrag.baselines.restormer import Restormer, block
from rainrag.core.types import Archive
from rainrag.models.unirain.blocks import upsample


class PromptBlock(nn.Module):
    """A prompt made for the current image: learned components, mixed by the features' means (section 3.1).

    Args:
        channels: of the features that choose.
        prompt: channels of the prompt.
        side: height and width at which the components are stored.
        length: number of components.
    """

    def __init__(self, channels: int, prompt: int, side: int, length: int = 5) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(length, prompt, side, side))
        store_as(self, "prompt_param", (1, length, prompt, side, side))
        self.linear_layer = nn.Linear(channels, length)
        self.conv3x3 = conv(prompt, prompt, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, prompt, H, W)."""
        weights = self.linear_layer(x.mean((2, 3))).softmax(1)
        prompt = torch.einsum("bk,kcij->bcij", weights, self.prompt_param)
        out: Tensor = self.conv3x3(F.interpolate(prompt, x.shape[2:], mode="bilinear", align_corners=False))
        return out


class PromptIR(Restormer):
    """Restormer; before each upsampling a prompt is joined, mixed in by one transformer block and reduced.

    Args:
        dim: channels of the first level, as in Restormer; the prompts' sizes are the published ones for any.
        expansion: of the feed-forward parts.
        options: of ``Restormer``.
    """

    #: level the features go up to -> (channels of the prompt, its side)
    PROMPTS = {1: (64, 64), 2: (128, 32), 3: (320, 16)}  # noqa: RUF012
    HEADS = 4

    def __init__(self, dim: int = 48, expansion: float = 2.66, **options: Any) -> None:
        super().__init__(dim=dim, expansion=expansion, **options)
        outputs = {1: 2 * dim, 2: 4 * dim, 3: 4 * dim}
        for level, (prompt, side) in self.PROMPTS.items():
            channels = dim * 2**level
            joined = channels + prompt
            self.add_module(f"prompt{level}", PromptBlock(channels, prompt, side))
            self.add_module(f"noise_level{level}", block(joined, self.HEADS, expansion))
            self.add_module(f"reduce_noise_level{level}", conv(joined, outputs[level], 1))
        # The third level is reduced to 4 dim before it goes up, so its upsampling and fusion are narrower.
        self.up4_3 = named(body=upsample(4 * dim))
        self.reduce_chan_level3 = conv(6 * dim, 4 * dim, 1)
        self._add_unused(dim)

    def _add_unused(self, dim: int) -> None:
        """Layers that the authors' weights hold and no forward runs; without gradient, so that trainers leave them."""
        for level, (out, channels) in {1: (64, 64), 2: (128, 128), 3: (256, 320)}.items():
            self.add_module(f"chnl_reduce{level}", conv(channels, out, 1).requires_grad_(False))
        for level, channels in {1: 64, 2: 128, 3: 256}.items():
            width = dim * 2 ** (level - 1)
            self.add_module(f"reduce_noise_channel_{level}", conv(width + channels, width, 1).requires_grad_(False))

    def before_up(self, level: int, z: Tensor) -> Tensor:
        """Join the prompt of a level, mix and reduce."""
        z = torch.cat((z, getattr(self, f"prompt{level}")(z)), 1)
        out: Tensor = getattr(self, f"reduce_noise_level{level}")(getattr(self, f"noise_level{level}")(z))
        return out


PROMPTIR = Baseline(
    Card(
        name="promptir",
        title="PromptIR",
        paper="PromptIR: Prompting for All-in-One Blind Image Restoration",
        venue="NeurIPS 2023",
        repo="https://github.com/va1shn9v/PromptIR",
        commit="106159ab809101f2e25b6714195cd6fa9a938d36",
        licence="ACADEMIC PUBLIC LICENSE (non-commercial)",
        multiple=8,
        padding="none: the test loader crops input and target, centred, to multiples of 16",
        quantise=None,
        params=35_592_263,
        gmacs=172.705557792,
        gmacs_conv=158.140833792,
        weights=(
            Weights(
                "all-in-one",
                ("bsd400", "wed", "rain100l", "reside-ots"),
                Archive("gdrive", "1j-b5Od70pGF7oaCqKAfUzmf-N-xEAjYl", "promptir.ckpt"),
                licence="ACADEMIC PUBLIC LICENSE (non-commercial)",
                container="state_dict",
            ),
        ),
        claims=(Claim("rain100l", 36.37, 0.972, "not stated", "the authors' README", "all-in-one"),),
        notes=(
            "The published weights are one model for noise, rain and haze.",
            "The checkpoint is a Lightning file whose keys begin with 'net.'.",
            "Upstream's constructor leaves the prompts out unless it is told decoder=True; this one always has them.",
            "The authors' figures are on images cropped to multiples of 16, so a padded run differs slightly.",
            "Attention spans the whole image: tiles give another result than the image at once.",
        ),
        fixture="PromptIR",
        options={
            "dim": "channels of the first level",
            "expansion": "of the feed-forward parts",
            "blocks": "transformer blocks of the four levels",
            "refinement": "blocks after the decoder",
        },
    ),
    build=PromptIR,
)
