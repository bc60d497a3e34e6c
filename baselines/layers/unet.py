"""The four-level U-Net of the Restormer family, and its plain convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rainrag.baselines.layers.nested import named, require_size
from rainrag.models.unirain.blocks import downsample, upsample


def conv(channels: int, out: int, kernel: int) -> nn.Conv2d:
    """Convolution without bias that keeps the size."""
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)


def depthwise(channels: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """Depth-wise convolution without bias that keeps the size."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)


class RestormerUNet(nn.Module):
    """Four-level encoder-decoder of Restormer (Zamir et al., CVPR 2022, figure 2); output = last convolution + input.

    Sub-classes fill ``encoder_level0`` and ``refinement``, which pass their input on here, or change ``encode``.

    Args:
        dim: channels of the first level; they double at each level. The last decoder level stays at ``2 * dim``.
        blocks: number of transformer blocks of each level.
        heads: attention heads of each level.
        block: makes a transformer block from (channels, heads).
        network: name for errors.
        intermediates: return ``{"y": image}``.
    """

    def __init__(
        self,
        dim: int,
        blocks: Sequence[int],
        heads: Sequence[int],
        block: Callable[[int, int], nn.Module],
        network: str,
        intermediates: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.intermediates = intermediates

        def stack(level: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(block(channels, heads[level]) for _ in range(blocks[level])))

        self.patch_embed = named(proj=conv(3, dim, 3))
        self.encoder_level0: nn.Module = nn.Identity()
        self.encoder_level1 = stack(0, dim)
        self.down1_2 = named(body=downsample(dim))
        self.encoder_level2 = stack(1, dim * 2)
        self.down2_3 = named(body=downsample(dim * 2))
        self.encoder_level3 = stack(2, dim * 4)
        self.down3_4 = named(body=downsample(dim * 4))
        self.latent = stack(3, dim * 8)
        self.up4_3 = named(body=upsample(dim * 8))
        self.reduce_chan_level3 = conv(dim * 8, dim * 4, 1)
        self.decoder_level3 = stack(2, dim * 4)
        self.up3_2 = named(body=upsample(dim * 4))
        self.reduce_chan_level2 = conv(dim * 4, dim * 2, 1)
        self.decoder_level2 = stack(1, dim * 2)
        self.up2_1 = named(body=upsample(dim * 2))
        self.decoder_level1 = stack(0, dim * 2)
        self.refinement: nn.Module = nn.Identity()
        self.output = conv(dim * 2, 3, 3)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to the features of the three encoder levels and the latent ones."""
        e1 = self.encoder_level1(self.encoder_level0(self.patch_embed(x)))
        e2 = self.encoder_level2(self.down1_2(e1))
        e3 = self.encoder_level3(self.down2_3(e2))
        return e1, e2, e3, self.latent(self.down3_4(e3))

    def before_up(self, level: int, z: Tensor) -> Tensor:
        """What happens before the upsampling to a level: nothing here, PromptIR's prompts there."""
        return z

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] to the same, not clamped; H and W multiples of 8.

        Raises:
            InputError: for other sizes.
        """
        require_size(x, self.network, multiple=8)
        e1, e2, e3, latent = self.encode(x)
        z = self.up4_3(self.before_up(3, latent))
        z = self.decoder_level3(self.reduce_chan_level3(torch.cat((z, e3), 1)))
        z = self.up3_2(self.before_up(2, z))
        z = self.decoder_level2(self.reduce_chan_level2(torch.cat((z, e2), 1)))
        z = self.up2_1(self.before_up(1, z))
        # The first level keeps all channels of the two: no reduction here (Restormer, section 3).
        z = self.decoder_level1(torch.cat((z, e1), 1))
        y = self.output(self.refinement(z)) + x
        return {"y": y} if self.intermediates else y
