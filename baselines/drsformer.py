"""DRSformer: sparse transformer for deraining (Chen et al., CVPR 2023), with and without its MEFC modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines import checkpoint
from rainrag.baselines.card import Baseline, Card, Claim, Weights
from rainrag.baselines.layers.nested import TransformerBlock, named
from rainrag.baselines.layers.unet import RestormerUNet, conv, depthwise
from rainrag.core.errors import InputError
from rainrag.core.types import Archive


def sparse_attention(logits: Tensor, shares: list[Tensor]) -> Tensor:
    """Sum of the softmaxes over each row's largest 1/2, 2/3, 3/4 and 4/5 logits, times a learned share each.

    One sort serves all four masks, and one matrix all four products with the values: the sum is over attention
    matrices, not over outputs.

    Args:
        logits: (B, heads, c, c).
        shares: four scalars.

    Returns:
        (B, heads, c, c), zero where no mask keeps the entry.
    """
    c = logits.shape[-1]
    kept = [int(c / 2), int(c * 2 / 3), int(c * 3 / 4), int(c * 4 / 5)]
    top, index = logits.topk(kept[-1], dim=-1)  # in falling order, so that each mask is a prefix
    weight = (top - top[..., :1]).exp()
    scale = torch.zeros_like(weight)
    for k, share in zip(kept, shares, strict=True):
        part = share / weight[..., :k].sum(-1, keepdim=True)
        scale = scale + F.pad(part.expand(*weight.shape[:-1], k), (0, kept[-1] - k))
    weight = weight * scale
    return weight.new_zeros(logits.shape).scatter(-1, index, weight)


class TKSA(nn.Module):
    """Top-k sparse attention over channels.

    Args:
        channels: input and output channels.
        heads: attention heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.attn1 = nn.Parameter(torch.tensor([0.2]))
        self.attn2 = nn.Parameter(torch.tensor([0.2]))
        self.attn3 = nn.Parameter(torch.tensor([0.2]))
        self.attn4 = nn.Parameter(torch.tensor([0.2]))
        self.qkv = conv(channels, channels * 3, 1)
        self.qkv_dwconv = depthwise(channels * 3, 3)
        self.project_out = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        b, _, h, w = x.shape
        q, k, v = self.qkv_dwconv(self.qkv(x)).reshape(b, 3, self.heads, -1, h * w).unbind(1)
        # Cosines: the small product is divided by the norms, which saves normalised copies of q and k.
        qn = q.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        kn = k.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        logits = (q @ k.transpose(-2, -1)) / (qn * kn.transpose(-2, -1)) * self.temperature
        attention = sparse_attention(logits, [self.attn1, self.attn2, self.attn3, self.attn4])
        out: Tensor = self.project_out((attention.to(v.dtype) @ v).reshape(b, -1, h, w))
        return out


class MSFN(nn.Module):
    """Mixed-scale feed-forward network: 3x3 and 5x5 depth-wise branches, crossed once.

    Args:
        channels: input and output channels.
        expansion: hidden channels are ``int(channels * expansion)``.
    """

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = conv(channels, hidden * 2, 1)
        self.dwconv3x3 = depthwise(hidden * 2, 3)
        self.dwconv5x5 = depthwise(hidden * 2, 5)
        self.dwconv3x3_1 = nn.Conv2d(hidden * 2, hidden, 3, padding=1, groups=hidden, bias=False)
        self.dwconv5x5_1 = nn.Conv2d(hidden * 2, hidden, 5, padding=2, groups=hidden, bias=False)
        self.project_out = conv(hidden * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.project_in(x)
        a3, b3 = F.relu(self.dwconv3x3(x), inplace=True).chunk(2, dim=1)
        a5, b5 = F.relu(self.dwconv5x5(x), inplace=True).chunk(2, dim=1)
        y3 = F.relu(self.dwconv3x3_1(torch.cat([a3, a5], 1)), inplace=True)
        y5 = F.relu(self.dwconv5x5_1(torch.cat([b3, b5], 1)), inplace=True)
        out: Tensor = self.project_out(torch.cat([y3, y5], 1))
        return out


def separable(channels: int, kernel: int) -> nn.Sequential:
    """Separable convolution, twice."""
    first = [depthwise(channels, kernel), conv(channels, channels, 1), nn.ReLU()]
    return named(op=nn.Sequential(*first, depthwise(channels, kernel), conv(channels, channels, 1)))


def dilated(channels: int, kernel: int) -> nn.Sequential:
    """Separable convolution with dilation 2."""
    return named(op=nn.Sequential(depthwise(channels, kernel, 2), conv(channels, channels, 1)))


class Experts(nn.Module):
    """One step of the MEFC: eight operations on one input, mixed with weights of the sample.

    All but the last operation (a mean of 3x3 pixels) end in a 1x1 convolution, and the mixing is one too. The two, and
    the sample's weights, are multiplied together beforehand: one product with (B, C, 8C) matrices replaces seven full
    convolutions and a weighted copy of all eight results.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        operations: list[nn.Module] = [separable(channels, k) for k in (1, 3, 5, 7)]
        operations += [dilated(channels, k) for k in (3, 5, 7)]
        operations.append(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
        self._ops = nn.ModuleList(operations)
        self._out = nn.Sequential(conv(channels * len(operations), channels, 1), nn.ReLU())

    def _mixing(self, weights: Tensor) -> Tensor:
        """(B, 8) weights of the operations to (B, C, 8C) matrices."""
        mixer: Any = self._out[0]
        operations: Any = self._ops[:-1]
        out = mixer.weight[:, :, 0, 0]
        out = out.unflatten(1, (len(self._ops), -1))
        last = torch.stack([op.op[-1].weight[:, :, 0, 0] for op in operations])
        folded = torch.einsum("oim,imc->oic", out[:, :-1], last)
        return (torch.cat([folded, out[:, -1:]], 1) * weights[:, None, :, None]).flatten(2)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, C, H, W) and (B, 8) weights to (B, C, H, W)."""
        operations: Any = self._ops[:-1]
        results = torch.cat([*(op.op[:-1](x) for op in operations), self._ops[-1](x)], 1)
        mixed = self._mixing(weights).to(results.dtype) @ results.flatten(2)
        out: Tensor = self._out[1](mixed.unflatten(-1, x.shape[-2:]))
        return out


class OperationWeights(nn.Module):
    """Softmax weights of the operations at each step, from the mean of each channel."""

    def __init__(self, channels: int, steps: int, operations: int) -> None:
        super().__init__()
        self.shape = (steps, operations)
        hidden = steps * operations * 2
        self.ca_fc = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, steps * operations))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, steps, operations)."""
        out: Tensor = self.ca_fc(x.mean((2, 3))).unflatten(1, self.shape).softmax(-1)
        return out


class ExpertSteps(nn.Module):
    """1x1 convolution, then the steps, each with a residual."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.preprocess = named(op=nn.Sequential(conv(channels, channels, 1), nn.ReLU()))
        self._ops = nn.ModuleList(Experts(channels) for _ in range(steps))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, C, H, W) and (B, steps, operations) weights to (B, C, H, W)."""
        x = self.preprocess(x)
        for step, experts in enumerate(self._ops):
            x = F.relu(experts(x, weights[:, step]) + x)
        return x


class MEFC(nn.Module):
    """Mixture of experts feature compensator: four steps of eight operations.

    Args:
        channels: input and output channels.
    """

    def __init__(self, channels: int, steps: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList([OperationWeights(channels, steps, 8), ExpertSteps(channels, steps)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        weights, steps = self.layers
        out: Tensor = steps(x, weights(x))
        return out


class DRSformer(RestormerUNet):
    """The network (figure 2); the defaults are the published configuration.

    Args:
        dim: channels of the first level.
        blocks: transformer blocks of each level.
        heads: attention heads of each level.
        expansion: of the feed-forward networks.
        mefc: with the two MEFC modules; the weights for Rain200L and SPA-Data have none.
        intermediates: return ``{"y": image}``.
    """

    def __init__(
        self,
        dim: int = 48,
        blocks: tuple[int, ...] = (4, 6, 6, 8),
        heads: tuple[int, ...] = (1, 2, 4, 8),
        expansion: float = 2.66,
        mefc: bool = True,
        intermediates: bool = False,
    ) -> None:

        def block(channels: int, heads: int) -> TransformerBlock:
            return TransformerBlock(channels, TKSA(channels, heads), MSFN(channels, expansion))

        super().__init__(dim, blocks, heads, block, "DRSformer", intermediates)
        if mefc:
            self.encoder_level0 = MEFC(dim)
            self.refinement = MEFC(dim * 2)


def build_nomefc(**options: Any) -> DRSformer:
    """The variant without MEFC."""
    return DRSformer(mefc=False, **options)


def check(info: dict[str, Any]) -> None:
    """Say which variant a weights file is of, where it is the other one.

    Args:
        info: ``path`` and ``network``.

    Raises:
        InputError: when only one of file and network has the MEFC modules.
    """
    path: Path = info["path"]
    network: nn.Module = info["network"]
    own = network.state_dict().keys()
    keys = checkpoint.state_dict(path, set(own)).keys()
    if "latent.0.attn.attn4" not in keys:  # another network's: the strict loading says so
        return
    in_file, in_network = (any(k.startswith("refinement.") for k in names) for names in (keys, own))
    if in_file != in_network:
        right = "drsformer" if in_file else "drsformer-nomefc"
        raise InputError(
            f"these weights are of DRSformer {'with' if in_file else 'without'} MEFC",
            where=path,
            hint=f"load them into '{right}' (the authors' weights for Rain200L and SPA-Data have no MEFC)",
        )


_README = "table in the READMEs of DRSformer and NeRD-Rain"
_COMMON: dict[str, Any] = {
    "paper": "Learning A Sparse Transformer Network for Effective Image Deraining",
    "venue": "CVPR 2023",
    "repo": "https://github.com/cschenxiang/DRSformer",
    "commit": "e77bbb4ecc59aaa2cd170a0f8f65b188a9dd77c6",
    "licence": "none stated",
    "multiple": 8,
    "padding": "reflect, right and bottom, to a multiple of 8, only where needed; an option averages tiles that "
    "overlap by 32",
}
_TOP_K = "Top-k masks choose whole entries, so rounding can change which ones; at the fixture's sizes it does not."


def _weights(tag: str, file_id: str) -> Weights:
    return Weights(tag, (tag,), Archive("gdrive", file_id, f"drsformer-{tag}.pth"), container="params")


DRSFORMER = Baseline(
    Card(
        name="drsformer",
        title="DRSformer",
        **_COMMON,
        params=33_655_424,
        gmacs=242.980,
        gmacs_conv=220.331,
        weights=(
            _weights("rain200h", "1mt8ydHE540_qtytger4dVcv6xqZ5YMhh"),
            _weights("rain12000", "1U_UEGPhYRJ-G10-Dypr7FbwDRGmroAHC"),
            _weights("rain1400", "1kwPOfufdUf9bCZ-OvwIziw-6ZRdcT2RX"),
        ),
        claims=(
            Claim("rain200h", 32.17, 0.9326, source=_README, weights="rain200h"),
            Claim("rain12000", 35.35, 0.9646, source=_README, weights="rain12000"),
            Claim("rain1400", 34.35, 0.9588, source=_README, weights="rain1400"),
        ),
        notes=(
            "The authors' weights for Rain200L and SPA-Data have no MEFC: they belong to drsformer-nomefc.",
            _TOP_K,
        ),
        fixture="DRSformer",
    ),
    build=DRSformer,
    check=check,
)

DRSFORMER_NOMEFC = Baseline(
    Card(
        name="drsformer-nomefc",
        title="DRSformer without MEFC",
        **_COMMON,
        params=32_610_304,
        gmacs=175.372,
        gmacs_conv=152.723,
        weights=(
            _weights("rain200l", "1Mm6hWdpjo9eEoNlCHAxd03etY3ks-zyy"),
            _weights("spa-data", "1i33Zmb1YXdLcalJOIP7YTegjnuTsVcC1"),
        ),
        claims=(
            Claim("rain200l", 41.23, 0.9894, source=_README, weights="rain200l"),
            Claim("spa-data", 48.54, 0.9924, source=_README, weights="spa-data"),
        ),
        notes=(
            "The authors' weights for Rain200H, DID-Data and DDN-Data have MEFC: they belong to drsformer.",
            _TOP_K,
        ),
        fixture="DRSformer-noMEFC",
    ),
    build=build_nomefc,
    check=check,
)
