"""IDT: Image De-raining Transformer (Xiao et al., TPAMI 2022): window attention and attention between windows."""

from __future__ import annotations

from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import named, require_size
from rainrag.baselines.layers.windows import LeFF, TokenUNet, WindowAttention, WindowBlock, to_tokens
from rainrag.core.types import Archive

SIZE = 128
WINDOW = 8
HEADS = (1, 2, 4, 8, 16, 16, 8, 4, 2)
#: Window blocks of each level, down, bottleneck, up; the authors' argument "depths" does not reach them.
BLOCKS = (3, 3, 2, 2, 1, 1, 2, 2, 3)


class PositionalAttention(WindowAttention):
    """Window attention plus a position term: convolutions on a second value projection within each window.

    Args:
        dim: channels.
        window: side of a window.
        heads: divides ``dim``.
    """

    def __init__(self, dim: int, window: int, heads: int) -> None:
        super().__init__(dim, window, heads, values=2, stored=False)
        self.window = window
        reach = min(window - 1, 2)
        self.Position_Extract = nn.Sequential(
            nn.Conv2d(dim, dim, 2 * reach + 1, padding=reach, groups=dim), nn.Conv2d(dim, dim, 1, groups=heads)
        )

    def forward(self, x: Tensor, masks: Tensor | None = None, kinds: Tensor | None = None) -> Tensor:
        """(n, N, C) windows to the same; there are no shifted windows in IDT, hence no masks."""
        y, (second,) = self.attend(x, self.bias()[None])
        image = second.unflatten(1, (self.window, self.window)).permute(0, 3, 1, 2)
        out: Tensor = self.proj(y + self.Position_Extract(image).flatten(2).transpose(1, 2))
        return out


class SpatialTransformer(nn.Module):
    """Attention between the 8x8 patches of a map: for each channel a sequence of patches of 64 pixels.

    The result stays in patch order when it is added to the tokens in raster order, as published: the weights are
    trained so.

    Args:
        dim: channels.
        side: of the feature map; the relative positions are those of its (side/8, side/8) patches.
        heads: of the attention.
    """

    def __init__(self, dim: int, side: int, heads: int) -> None:
        super().__init__()
        self.attn = PositionalAttention(WINDOW**2, side // WINDOW, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = LeFF(dim, 4 * WINDOW**2, residual=True)  # hidden width from the patch, not from dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        b, h, w, c = x.shape
        patches = x.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c).permute(0, 5, 1, 3, 2, 4)
        y = self.attn(patches.reshape(b * c, -1, WINDOW**2))
        x = x + y.reshape(b, c, h, w).permute(0, 2, 3, 1)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def _level(place: int, dim: int) -> nn.Module:
    heads = HEADS[place]
    blocks: list[nn.Module] = [
        WindowBlock(dim, PositionalAttention(dim, WINDOW, heads), LeFF(dim, 4 * dim, residual=True))
        for _ in range(BLOCKS[place])
    ]
    if place != 4:  # the bottleneck is one patch
        blocks.append(SpatialTransformer(dim, SIZE >> min(place, 8 - place), heads))
    return named(blocks=nn.Sequential(*blocks))


class DerainingTransformer(TokenUNet):
    """Image De-raining Transformer, for 128x128 images (figure 2).

    Args:
        intermediates: return a dict (it holds ``y`` alone: the authors return nothing else).
        width: channels of the first level.
    """

    def __init__(self, intermediates: bool = False, width: int = 32) -> None:
        super().__init__(width, width, _level, "bottle")
        self.intermediates = intermediates
        self.input_proj = named(proj=nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.01)))
        self.output_proj = named(proj=nn.Sequential(nn.Conv2d(2 * width, 3, 3, padding=1)))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, 128, 128) in [0, 1] to the same.

        Raises:
            InputError: for another size.
        """
        require_size(x, "IDT", fixed=SIZE)
        y = self.output_proj(self.levels(to_tokens(self.input_proj(x))).permute(0, 3, 1, 2)) + x
        return {"y": y} if self.intermediates else y


IDT = Baseline(
    Card(
        name="idt",
        title="IDT",
        paper="Image De-raining Transformer",
        venue="TPAMI 2022",
        repo="https://github.com/jiexiaou/IDT",
        commit="d72510c53af6d45eac5c22092e7a4dde9c64877f",
        licence="MIT",
        fixed=SIZE,
        padding="none: 128x128 crops that overlap by 20, the last ones at the far edge, merged by weights "
        "1 / sqrt(squared distance to the crop's centre + 1e-3)",
        tile=(SIZE, 20),
        params=16_416_463,
        gmacs=15.513780224,
        gmacs_conv=1.784250368,
        macs_at=SIZE,
        weights=(
            Weights(
                "all",
                ("rain200l", "rain200h", "rain1400", "rain12000", "spa-data", "raindrop"),
                Archive("gdrive", "1PrEwOyFPciWKHC_UFe5ZE7x9JqfUkUMP"),
            ),
        ),
        claims=(
            *(
                Claim(testset, psnr, ssim, source="the authors' README", weights="all")
                for testset, psnr, ssim in (
                    ("rain200h", 32.10, 0.9343),
                    ("rain200l", 40.74, 0.9884),
                    ("rain1400", 33.80, 0.9407),
                    ("rain12000", 34.85, 0.9401),
                    ("spa-data", 47.34, 0.9929),
                    ("raindrop", 31.63, 0.9360),
                )
            ),
            *(
                Claim(testset, psnr, ssim, source="DRSformer's README (retrained there)")
                for testset, psnr, ssim in (
                    ("rain200l", 40.74, 0.9884),
                    ("rain200h", 32.10, 0.9344),
                    ("rain12000", 34.89, 0.9623),
                    ("rain1400", 33.84, 0.9549),
                    ("spa-data", 47.35, 0.9930),
                )
            ),
        ),
        notes=(
            "The weights are a folder with one file for each data set; no file is trained on all of them.",
            "The number of blocks is fixed in the authors' code, their argument 'depths' has no effect.",
            "The spatial transformer adds its output in patch order to tokens in raster order; the weights need it so.",
            "The authors train with stochastic depth (0.1), which is not part of this network.",
        ),
        fixture="IDT",
        options={"width": "channels of the first level, a multiple of 16"},
    ),
    build=DerainingTransformer,
)
