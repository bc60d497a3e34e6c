"""UniRain (arXiv 2603.03967): a U-shaped transformer with a soft mixture of experts in its encoder and a hard one in its
decoder.

The authors never published their network. This one follows the paper's equations (11) to (14) and its figure; what they
leave open (levels, widths, experts) was sized to the paper's 24.4 M parameters and 126.5 G multiply-accumulates.
See docs/unirain.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from rainrag.errors import InputError, UsageError, did_you_mean
from rainrag.unirain.blocks import GDFN, MDTA, LayerNorm2d, Pointwise
from rainrag.unirain.experts import KINDS, MODES, MoEAttention, Routing, reflected

#: Sides of the network's maps are halved three times.
MULTIPLE = 8


@dataclass(frozen=True)
class Preset:
    """Sizes of a network.

    Args:
        widths: channels of levels 1 to 4; the decoder's level 1 has twice those of the encoder's.
        encoder_blocks: of levels 1 to 3.
        latent_blocks: of level 4.
        decoder_blocks: of levels 1 to 3.
        refinement_blocks: after the decoder, at 2C.
        heads: of levels 1 to 4.
        expansion: of the feed-forward parts.
    """

    widths: tuple[int, int, int, int]
    encoder_blocks: tuple[int, int, int]
    latent_blocks: int
    decoder_blocks: tuple[int, int, int]
    refinement_blocks: int
    heads: tuple[int, int, int, int]
    expansion: float


PRESETS = {
    "tiny": Preset((16, 24, 32, 48), (1, 1, 1), 1, (1, 1, 1), 1, (1, 1, 2, 2), 2.0),
    "small": Preset((32, 64, 128, 256), (2, 3, 3), 4, (2, 3, 3), 2, (1, 2, 4, 8), 2.27),
    "base": Preset((48, 96, 192, 384), (4, 7, 5), 8, (4, 5, 3), 4, (1, 2, 4, 8), 2.4),
}


def conv(channels: int, out: int) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the size."""
    return nn.Conv2d(channels, out, 3, padding=1, bias=False)


def down(channels: int, out: int) -> nn.Sequential:
    """Half the size: (channels, H, W) -> (out, H/2, W/2)."""
    return nn.Sequential(conv(channels, out // 4), nn.PixelUnshuffle(2))


def up(channels: int, out: int) -> nn.Sequential:
    """Twice the size: (channels, H, W) -> (out, 2H, 2W)."""
    return nn.Sequential(conv(channels, out * 4), nn.PixelShuffle(2))


class Block(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x).

    Args:
        channels: of the feature map.
        attention: MDTA, or a mixture of experts.
        expansion: of the feed-forward part.
    """

    def __init__(self, channels: int, attention: MDTA | MoEAttention, expansion: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.attention = attention
        self.norm2 = LayerNorm2d(channels)
        self.ffn = GDFN(channels, expansion)

    def forward(self, x: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]) -> Tensor:
        """(B, C, H, W) to the same.

        Args:
            x: feature map.
            name: of this block in ``given`` and ``seen``.
            given: weights of every mixture's experts to take in place of its router's.
            seen: where the decision is noted.
        """
        y = self.norm1(x)
        if isinstance(self.attention, MDTA):
            x = x + self.attention(y)
        else:
            router = self.attention.router
            routing = router(y) if given is None else _given(given, name, router.top_k is not None)
            seen[name] = routing
            x = x + self.attention(y, routing)
        del y  # the feed-forward part is where memory peaks
        out: Tensor = x + self.ffn(self.norm2(x))
        return out


def _given(routes: Mapping[str, Tensor], name: str, hard: bool) -> Routing:
    if name not in routes:
        raise InputError(f"the routes have none for '{name}'", hint="take them from routing(x) of the same network")
    return Routing(routes[name], routes[name], hard)


class Prompt(nn.Module):
    """Learned maps mixed by what the image is like, joined to its features (Potlapalli et al., PromptIR, NeurIPS 2023,
    section 3.1): the prompt-learning row of the paper's Table 5.

    Args:
        channels: of the feature map.
        heads, expansion: of the block that lets features and prompt meet.
        side: of the learned maps, which are resized to the feature map.
        length: number of them.
    """

    def __init__(self, channels: int, heads: int, expansion: float, side: int, length: int = 5) -> None:
        super().__init__()
        width = channels // 2
        self.maps = nn.Parameter(torch.rand(length, width * side * side))
        self.width, self.side = width, side
        self.linear = nn.Linear(channels, length)
        self.smooth = conv(width, width)
        self.meet = Block(channels + width, MDTA(channels + width, heads), expansion)
        self.reduce = Pointwise(channels + width, channels)

    def forward(self, x: Tensor, name: str, given: Mapping[str, Tensor] | None, seen: dict[str, Routing]) -> Tensor:
        """As ``Block.forward``; the weights are those of the maps."""
        if given is None:
            with torch.autocast(x.device.type, enabled=False):
                pooled = x.mean((2, 3), dtype=torch.float32)
                weights = F.linear(pooled, self.linear.weight.float(), self.linear.bias.float()).softmax(1)
            routing = Routing(weights, weights, hard=False)
        else:
            routing = _given(given, name, hard=False)
        seen[name] = routing
        mixed = (routing.weights.to(self.maps.dtype) @ self.maps).reshape(-1, self.width, self.side, self.side)
        prompt = self.smooth(F.interpolate(mixed.to(x.dtype), x.shape[2:], mode="bilinear", align_corners=False))
        joined = self.meet(torch.cat((x, prompt.to(x.dtype)), 1), name, None, seen)
        out: Tensor = self.reduce(joined)
        return out


class UniRain(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="rainrag",
    tags=["image-to-image", "deraining"],
    paper_url="https://arxiv.org/abs/2603.03967",
):
    """Takes the rain out of images: streaks and drops, by day and by night.

    The rows of the paper's Table 6 are ``encoder`` and ``decoder``; ``UniRain.from_pretrained``, ``save_pretrained`` and
    ``push_to_hub`` keep ``config.json`` with all sizes beside the weights.

    Args:
        preset: ``tiny``, ``small`` or ``base`` (the paper's size).
        encoder, decoder: ``none``, ``soft`` or ``hard`` mixture of experts.
        top_k: experts that a hard mixture runs for an image.
        experts: of each mixture, with C, C/2, C/4 … channels of attention.
        noise: standard deviation on the routers' logits, in training; None for 1 / experts.
        balance: weight of ``balance_loss``; 0 leaves the paper's objective as printed.
        renorm_topk: let a hard mixture's weights sum to one.
        prompt: add prompts before the decoder's levels.
        expert_kind: ``mdta``, ``window`` or ``mixed``: attention across channels, in windows, or both.
        overrides: fields of Preset, to change one of its sizes.

    Raises:
        UsageError: for a name or size that is not there.
    """

    def __init__(
        self,
        preset: str = "base",
        encoder: str = "soft",
        decoder: str = "hard",
        top_k: int = 1,
        experts: int = 3,
        noise: float | None = None,
        balance: float = 0.01,
        renorm_topk: bool = False,
        prompt: bool = False,
        expert_kind: str = "mdta",
        **overrides: Any,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("preset", preset, PRESETS), ("encoder", encoder, MODES), ("decoder", decoder, MODES),
            ("expert_kind", expert_kind, KINDS),
        ):  # fmt: skip
            if value not in known:
                raise UsageError(f"no {name} '{value}'", hint=did_you_mean(str(value), list(known)))
        self.sizes = size = sized(preset, overrides)
        self.balance = balance
        #: What the constructor is given to make this network again, whatever becomes of the presets.
        self.config: dict[str, Any] = {
            "preset": preset, "encoder": encoder, "decoder": decoder, "top_k": top_k, "experts": experts,
            "noise": noise, "balance": balance, "renorm_topk": renorm_topk, "prompt": prompt,
            "expert_kind": expert_kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(size).items()},
        }  # fmt: skip
        self._hub_mixin_config = self.config
        self._seen: dict[str, Routing] = {}
        moe: dict[str, Any] = {
            "experts": experts, "top_k": top_k, "noise": 1 / experts if noise is None else noise,
            "renorm": renorm_topk, "kind": expert_kind,
        }  # fmt: skip

        def stack(level: int, blocks: int, mode: str = "none", width: int | None = None) -> nn.ModuleList:
            c, heads = width or size.widths[level - 1], size.heads[level - 1]
            return nn.ModuleList(
                Block(c, MDTA(c, heads) if mode == "none" else MoEAttention(c, heads, mode, **moe), size.expansion)
                for _ in range(blocks)
            )

        (w1, w2, w3, w4), (e1, e2, e3), (d1, d2, d3) = size.widths, size.encoder_blocks, size.decoder_blocks
        self.stem = conv(3, w1)
        self.encoder1, self.down1 = stack(1, e1, encoder), down(w1, w2)
        self.encoder2, self.down2 = stack(2, e2, encoder), down(w2, w3)
        self.encoder3, self.down3 = stack(3, e3, encoder), down(w3, w4)
        self.latent = stack(4, size.latent_blocks)
        self.prompts = nn.ModuleList(
            Prompt(size.widths[level], size.heads[level], size.expansion, 128 >> level) for level in (3, 2, 1) if prompt
        )
        self.up3, self.fuse3, self.decoder3 = up(w4, w3), Pointwise(2 * w3, w3), stack(3, d3, decoder)
        self.up2, self.fuse2, self.decoder2 = up(w3, w2), Pointwise(2 * w2, w2), stack(2, d2, decoder)
        self.up1, self.decoder1 = up(w2, w1), stack(1, d1, decoder, 2 * w1)  # nothing fused: all of both levels is kept
        self.refinement = stack(1, size.refinement_blocks, width=2 * w1)
        self.output = conv(2 * w1, 3)
        nn.init.normal_(self.output.weight, std=1e-4)  # a fresh network hands its input on

    def forward(self, x: Tensor, routes: Mapping[str, Tensor] | None = None) -> Tensor:
        """Restore images.

        Args:
            x: (B, 3, H, W) in [0, 1], any H and W.
            routes: from ``routing``, to be used in place of what the routers make of ``x``.

        Returns:
            (B, 3, H, W), not clamped.
        """
        y, seen = self._run(x, routes)
        if self.training:
            self._seen = seen
        return y

    @torch.no_grad()
    def routing(self, x: Tensor) -> dict[str, Tensor]:
        """The weights of every mixture's experts (and of every prompt) for whole images: (B, experts) by block.

        ``forward(tile, routes=routing(image))`` restores a part of an image as a part of it.
        """
        return {name: found.weights for name, found in self._run(x, None)[1].items()}

    def balance_loss(self) -> Tensor:
        """What to add to the loss for the last forward pass in training: ``balance`` times the mean unevenness of the hard
        mixtures (see Routing.balance). Soft ones train all experts anyway."""
        terms = [found.balance() for found in self._seen.values() if found.hard]
        if not terms or not self.balance:
            return torch.zeros((), device=self.output.weight.device)
        return self.balance * torch.stack(terms).mean()

    def _run(self, x: Tensor, routes: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Routing]]:
        height, width = x.shape[2:]
        x = reflected(x, *(MULTIPLE * -(-n // MULTIPLE) for n in (height, width)))
        seen: dict[str, Routing] = {}

        def through(name: str, z: Tensor) -> Tensor:
            for i, block in enumerate(getattr(self, name)):
                z = block(z, f"{name}.{i}", routes, seen)
            return z

        def prompted(i: int, z: Tensor) -> Tensor:
            if not len(self.prompts):
                return z
            prompted: Tensor = self.prompts[i](z, f"prompts.{i}", routes, seen)
            return prompted

        e1 = through("encoder1", self.stem(x))
        e2 = through("encoder2", self.down1(e1))
        e3 = through("encoder3", self.down2(e2))
        z = prompted(0, through("latent", self.down3(e3)))
        skips = [e1, e2, e3]  # each is let go once it is used
        del e1, e2, e3
        z = prompted(1, through("decoder3", self.fuse3(torch.cat((self.up3(z), skips.pop()), 1))))
        z = prompted(2, through("decoder2", self.fuse2(torch.cat((self.up2(z), skips.pop()), 1))))
        z = through("refinement", through("decoder1", torch.cat((self.up1(z), skips.pop()), 1)))
        return (self.output(z) + x)[:, :, :height, :width], seen

    def __getstate__(self) -> dict[str, Any]:
        """Copies (of an averaged model) leave the last pass behind: tensors of a graph cannot be copied."""
        return {**self.__dict__, "_seen": {}}


def sized(preset: str, overrides: Mapping[str, Any]) -> Preset:
    """A preset with some fields changed; lists, as JSON has them, are taken for tuples.

    Raises:
        UsageError: for a field that is not there.
    """
    known = [f.name for f in fields(Preset)]
    unknown = [k for k in overrides if k not in known]
    if unknown:
        raise UsageError(f"UniRain has no argument '{unknown[0]}'", hint=did_you_mean(unknown[0], known))
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, Sequence) else v for k, v in overrides.items() if v is not None
    }
    return replace(PRESETS[preset], **given)


def usage(routes: Mapping[str, Tensor], types: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    """Mean weight of each expert by block and rain type, for reports.

    Args:
        routes: from ``UniRain.routing``.
        types: of the images, in order.

    Returns:
        ``{type: {block: [weight of each expert]}}``.
    """
    kinds = list(types)
    return {
        kind: {block: w[[i for i, k in enumerate(kinds) if k == kind]].mean(0).tolist() for block, w in routes.items()}
        for kind in sorted(set(kinds))
    }
