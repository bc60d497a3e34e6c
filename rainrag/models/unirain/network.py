"""UniRain (arXiv 2603.03967): a U-shaped transformer with a soft mixture of experts in its encoder and a hard one in its
decoder.

The authors never published their network. This one follows the paper's equations (11) to (14) and its figure; what they
leave open (levels, widths, experts) was sized to the paper's 24.4 M parameters and 126.5 G multiply-accumulates.
See docs/unirain.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.models.unirain.blocks import MDTA, Pointwise
from rainrag.models.unirain.experts import KINDS, MODES, MoEAttention, Routing, indecision, reflected
from rainrag.models.unirain.gated import GatedBlock
from rainrag.models.unirain.levels import Block, LeanBlock, Prompt, conv, down, lean_down, lean_up, up
from rainrag.models.unirain.presets import PRESETS, sized

#: Sides of level 1's maps are halved three times.
MULTIPLE = 8


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

        self._build(encoder, decoder, moe, prompt)

    def _build(self, encoder: str, decoder: str, moe: dict[str, Any], prompt: bool) -> None:
        size = self.sizes

        def block(c: int, level: int, mode: str) -> nn.Module:
            if level <= size.gated_levels:
                return GatedBlock(c, size.expansion, size.cell)
            heads = size.heads[level - 1]
            attention = MDTA(c, heads) if mode == "none" else MoEAttention(c, heads, mode, **moe)
            return (LeanBlock if size.lean else Block)(c, attention, size.expansion)

        def stack(level: int, blocks: int, mode: str = "none", width: int | None = None) -> nn.ModuleList:
            return nn.ModuleList(block(width or size.widths[level - 1], level, mode) for _ in range(blocks))

        (w1, w2, w3, w4), (e1, e2, e3), (d1, d2, d3) = size.widths, size.encoder_blocks, size.decoder_blocks
        smaller: Callable[[int, int], nn.Module] = lean_down if size.lean else down
        larger: Callable[[int, int], nn.Module] = lean_up if size.lean else up
        top = w1 if size.lean else 2 * w1
        self.stem = conv(3 * size.stem**2, w1)
        self.encoder1, self.down1 = stack(1, e1, encoder), smaller(w1, w2)
        self.encoder2, self.down2 = stack(2, e2, encoder), smaller(w2, w3)
        self.encoder3, self.down3 = stack(3, e3, encoder), smaller(w3, w4)
        self.latent = stack(4, size.latent_blocks)
        self.prompts = nn.ModuleList(
            Prompt(size.widths[level], size.heads[level], size.expansion, 128 >> level) for level in (3, 2, 1) if prompt
        )
        self.up3, self.fuse3, self.decoder3 = larger(w4, w3), Pointwise(2 * w3, w3), stack(3, d3, decoder)
        self.up2, self.fuse2, self.decoder2 = larger(w3, w2), Pointwise(2 * w2, w2), stack(2, d2, decoder)
        # with 2C channels nothing is fused: all of both levels is kept
        self.up1, self.fuse1 = larger(w2, w1), Pointwise(2 * w1, w1) if size.lean else nn.Identity()
        self.decoder1 = stack(1, d1, decoder, top)
        self.refinement = stack(1, size.refinement_blocks, width=top)
        self.output = conv(top, 3 * size.stem**2)
        if size.lean:
            scaled_weights(self)
        nn.init.normal_(self.output.weight, std=1e-4)  # a fresh network hands its input on

    @property
    def multiple(self) -> int:
        """Sides are padded to multiples of this."""
        return MULTIPLE * self.sizes.stem

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

    def decisions(self) -> dict[str, Tensor]:
        """(B, experts) probabilities by hard mixture of the last forward pass in training, with gradients."""
        return {name: found.probabilities for name, found in self._seen.items() if found.hard}

    def decision_loss(self, kinds: Tensor | None = None) -> Tensor:
        """Mean of ``experts.indecision`` over the hard mixtures of the last forward pass in training.

        Args:
            kinds: (B,) numbers of the images' rain types, negative where there is none.
        """
        terms = [indecision(p, kinds) for p in self.decisions().values()]
        return torch.stack(terms).mean() if terms else torch.zeros((), device=self.output.weight.device)

    def _run(self, x: Tensor, routes: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Routing]]:
        height, width = x.shape[2:]
        n = self.multiple
        x = reflected(x, n * -(-height // n), n * -(-width // n))
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

        e1 = through("encoder1", self.stem(F.pixel_unshuffle(x, self.sizes.stem)))
        e2 = through("encoder2", self.down1(e1))
        e3 = through("encoder3", self.down2(e2))
        z = prompted(0, through("latent", self.down3(e3)))
        skips = [e1, e2, e3]  # each is let go once it is used
        del e1, e2, e3
        z = prompted(1, through("decoder3", self.fuse3(torch.cat((self.up3(z), skips.pop()), 1))))
        z = prompted(2, through("decoder2", self.fuse2(torch.cat((self.up2(z), skips.pop()), 1))))
        z = through("decoder1", self.fuse1(torch.cat((self.up1(z), skips.pop()), 1)))
        z = F.pixel_shuffle(self.output(through("refinement", z)), self.sizes.stem)
        return (z + x)[:, :, :height, :width], seen

    def __getstate__(self) -> dict[str, Any]:
        """Copies (of an averaged model) leave the last pass behind: tensors of a graph cannot be copied."""
        return {**self.__dict__, "_seen": {}}


def scaled_weights(network: nn.Module) -> None:
    """Fresh weights that keep the variance of what passes. Products of two halves fade with PyTorch's own, smaller ones:
    such a network stayed at its input for thousands of steps (docs/unirain.md)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


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
