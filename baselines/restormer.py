"""Restormer (Zamir et al., CVPR 2022): a U-shaped transformer whose attention runs across channels."""

from __future__ import annotations

from torch import nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import TransformerBlock
from rainrag.baselines.layers.unet import RestormerUNet
from rainrag.core.types import Archive
from rainrag.models.unirain.blocks import GDFN, MDTA


def block(channels: int, heads: int, expansion: float) -> TransformerBlock:
    """MDTA and GDFN, each after a norm and with a shortcut (section 3)."""
    return TransformerBlock(channels, MDTA(channels, heads), GDFN(channels, expansion))


class Restormer(RestormerUNet):
    """Four levels down and up, the last two at full resolution with twice the channels.

    Args:
        dim: channels C of the first level; the levels have C, 2C, 4C, 8C.
        blocks: transformer blocks of the levels.
        refinement: blocks after the last decoder level.
        heads: attention heads of the levels.
        expansion: of the feed-forward parts.
        intermediates: return a dict (it holds ``y`` alone: upstream returns nothing else).
    """

    def __init__(
        self,
        dim: int = 48,
        blocks: tuple[int, int, int, int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: tuple[int, int, int, int] = (1, 2, 4, 8),
        expansion: float = 2.66,
        intermediates: bool = False,
    ) -> None:
        super().__init__(dim, blocks, heads, lambda c, h: block(c, h, expansion), type(self).__name__, intermediates)
        self.refinement = nn.Sequential(*(block(2 * dim, heads[0], expansion) for _ in range(refinement)))


RESTORMER = Baseline(
    Card(
        name="restormer",
        title="Restormer",
        paper="Restormer: Efficient Transformer for High-Resolution Image Restoration",
        venue="CVPR 2022",
        repo="https://github.com/swz30/Restormer",
        commit="df766d5521afd21cce56e24159f300b30ebf3fb0",
        licence="ACADEMIC PUBLIC LICENSE (non-commercial)",
        multiple=8,
        padding="reflect, right and bottom, to the next multiple of 8 where a side is none",
        params=26_126_644,
        gmacs=154.882031616,
        gmacs_conv=140.990496768,
        weights=(
            Weights(
                "rain13k",
                ("rain13k",),
                Archive("gdrive", "1ZEDDEVW0UgkpWi-N4Lj_JUoVChGXCu_u", ""),
                licence="ACADEMIC PUBLIC LICENSE (non-commercial)",
                container="params",
            ),
        ),
        claims=(
            *(
                Claim(testset, psnr, ssim, source="the paper", weights="rain13k", verified=False)
                for testset, psnr, ssim in (
                    ("test100", 32.00, 0.923),
                    ("rain100h", 31.46, 0.904),
                    ("rain100l", 38.99, 0.978),
                    ("test2800", 34.18, 0.944),
                    ("test1200", 33.19, 0.926),
                )
            ),
            *(
                Claim(testset, psnr, ssim, source="DRSformer's README (retrained there)")
                for testset, psnr, ssim in (
                    ("rain200l", 40.99, 0.9890),
                    ("rain200h", 32.00, 0.9329),
                    ("rain12000", 35.29, 0.9641),
                    ("rain1400", 34.20, 0.9571),
                    ("spa-data", 47.98, 0.9921),
                )
            ),
        ),
        notes=(
            "The weights are the file deraining.pth of a Drive folder.",
            "Attention spans the whole image: tiles give another result than the image at once.",
        ),
        fixture="Restormer",
        options={
            "dim": "channels of the first level",
            "blocks": "transformer blocks of the four levels",
            "refinement": "blocks after the decoder",
            "heads": "attention heads of the four levels",
            "expansion": "of the feed-forward parts",
        },
    ),
    build=Restormer,
)
