"""Mixture of attention experts (UniRain, arXiv 2603.03967, section 3.3): equations (11) to (14).

A router looks at the whole image and weighs experts of distinct attention capacity. Soft: all of them run and are mixed.
Hard: the k most probable run. Feature maps are (B, C, H, W), weights (B, experts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.models.unirain.blocks import MDTA, Pointwise, pointwise, scaled

#: How an encoder or decoder uses experts: not at all, all of them, or the k most probable.
MODES = ("none", "soft", "hard")
#: Attention of the experts, from the least capacity to the most; the last kind goes on where there are more experts.
#: A number is the side of an attention window, None stands for attention across channels (MDTA).
KINDS: dict[str, tuple[int | None, ...]] = {
    "mdta": (None, None, None),
    "window": (4, 8, 16),
    "mixed": (8, None, None),
}


def reflected(x: Tensor, height: int, width: int) -> Tensor:
    """(…, H, W) grown right and below by reflection, over and over where it is smaller than the padding."""
    for dim, side in ((-2, height), (-1, width)):
        n = x.shape[dim]
        if side == n:
            continue
        at = torch.arange(side, device=x.device) % max(2 * n - 2, 1)
        x = x.index_select(dim, torch.where(at < n, at, 2 * n - 2 - at))
    return x


class WindowAttention(nn.Module):
    """Self-attention of the pixels in windows, with a learned bias a relative position. Same parts as MDTA.

    Args:
        channels: input and output channels.
        heads: attention heads; divides ``rank``.
        window: side of a window.
        bias: of all convolutions.
        rank: channels in which attention is computed; None for ``channels``.
    """

    def __init__(self, channels: int, heads: int, window: int, bias: bool = False, rank: int | None = None) -> None:
        super().__init__()
        inner = rank or channels
        self.heads, self.window = heads, window
        self.qkv = Pointwise(channels, inner * 3, bias)
        self.qkv_dwconv = nn.Conv2d(inner * 3, inner * 3, 3, padding=1, groups=inner * 3, bias=bias)
        self.project_out = Pointwise(inner, channels, bias)
        self.position = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))

    def _bias(self) -> Tensor:
        """(heads, N, N) from the table, N = window squared."""
        n = self.window
        y, x = (t.flatten() for t in torch.meshgrid(*[torch.arange(n, device=self.position.device)] * 2, indexing="ij"))
        offset = (y[:, None] - y + n - 1) * (2 * n - 1) + x[:, None] - x + n - 1
        return self.position[:, offset]

    def attend(self, qkv: Tensor) -> Tensor:
        """Attention alone: (B, 3 * rank, H, W), queries, keys and values, to (B, rank, H, W)."""
        b, _, height, width = qkv.shape
        n = self.window
        down, across = -(-height // n), -(-width // n)
        whole = reflected(qkv, down * n, across * n)
        # (B, 3, heads, c, down, n, across, n) to 3 x (B * down * across, heads, n * n, c)
        parts = whole.reshape(b, 3, self.heads, -1, down, n, across, n).permute(1, 0, 4, 6, 2, 5, 7, 3)
        q, k, v = parts.reshape(3, b * down * across, self.heads, n * n, -1).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias().to(q.dtype))
        y = y.reshape(b, down, across, self.heads, n, n, -1).permute(0, 3, 6, 1, 4, 2, 5)
        return y.reshape(b, -1, down * n, across * n)[:, :, :height, :width]

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same, each image's times its (B, 1) scale."""
        mixed: Tensor = self.project_out(self.attend(self.qkv_dwconv(self.qkv(x))), scale)
        return mixed


Expert = MDTA | WindowAttention


def ranks(channels: int, heads: int, experts: int) -> list[int]:
    """Channels in which each expert attends: C for the last, half of that for each one before it.

    Raises:
        UsageError: where they cannot be divided so.
    """
    found = [channels >> (experts - 1 - e) for e in range(experts)]
    if channels % (1 << (experts - 1)) or any(r < heads or r % heads for r in found):
        raise UsageError(
            f"{experts} experts with {heads} heads do not fit into {channels} channels: ranks would be {found}",
            hint="fewer experts or heads, or more channels",
        )
    return found


def experts_of(channels: int, heads: int, experts: int, kind: str) -> list[Expert]:
    """Experts of distinct attention capacity.

    Raises:
        UsageError: for an unknown kind, or sizes that do not fit.
    """
    if kind not in KINDS:
        raise UsageError(f"no experts of kind '{kind}'", hint=did_you_mean(kind, list(KINDS)))
    windows = [*KINDS[kind], *[KINDS[kind][-1]] * experts][:experts]
    return [
        MDTA(channels, heads, rank=rank) if window is None else WindowAttention(channels, heads, window, rank=rank)
        for rank, window in zip(ranks(channels, heads, experts), windows, strict=True)
    ]


@dataclass(frozen=True)
class Routing:
    """What a router decided.

    Args:
        probabilities: (B, experts), sum 1, of the softmax.
        weights: (B, experts) that the experts' outputs are multiplied by; 0 for those that do not run.
        hard: whether some do not run.
    """

    probabilities: Tensor
    weights: Tensor
    hard: bool

    def balance(self) -> Tensor:
        """How unevenly a batch uses the experts: n * sum(f_e P_e), with f_e the share of choices that fell on expert e
        and P_e its mean probability (Fedus et al., Switch Transformers, 2021, equation 4). 1 where both are even, n at
        worst. The gradient flows through P."""
        chosen = (self.weights > 0).float()
        share = chosen.sum(0) / chosen.sum()
        return self.probabilities.shape[1] * (share * self.probabilities.mean(0)).sum()


def indecision(probabilities: Tensor, kinds: Tensor | None = None) -> Tensor:
    """What a hard router's training minimises so that it decides: the mean entropy of an image's probabilities less the
    entropy of the batch's mean, which is minus the information that the image has about the expert (Krause et al.,
    Discriminative clustering by regularized information maximization, NeurIPS 2010). With types, the same of the type:
    images of one type are to choose alike, without a word on which expert is whose.

    Args:
        probabilities: (B, experts), sum 1.
        kinds: (B,) numbers of types; negative for images that have none.

    Returns:
        Between -2 log(experts) and 0 (without types: -log(experts)).
    """
    even = _entropy(probabilities.mean(0))
    loss = _entropy(probabilities).mean() - even
    if kinds is None or not (known := kinds >= 0).any():
        return loss
    p, k = probabilities[known], kinds[known]
    one = F.one_hot(k).to(p.dtype)
    one = one[:, one.any(0)]
    count = one.sum(0)
    means = (one.t() @ p) / count[:, None]
    of_types = (count * _entropy(means)).sum() / count.sum()
    return loss + of_types - _entropy(p.mean(0))


def _entropy(p: Tensor) -> Tensor:
    """(..., n) to (...), in nats."""
    return -(p * p.clamp_min(1e-8).log()).sum(-1)


class Router(nn.Module):
    """Equations (11) and (13): softmax of a linear map of the image's mean feature; hard ones keep the top k of it.

    The noise is added to the logits, in training only: within the mean over pixels, where the equations have it, it would
    be averaged away. All is computed in float32, under autocast too.

    Args:
        channels: of the feature map.
        experts: number of them.
        top_k: experts that run; None for all (soft).
        noise: standard deviation of the noise.
        renorm: divide the top k by their sum; the paper prints no such step.
    """

    def __init__(
        self, channels: int, experts: int, top_k: int | None = None, noise: float = 0.0, renorm: bool = False
    ) -> None:
        super().__init__()
        if top_k is not None and not 1 <= top_k <= experts:
            raise UsageError(f"top_k is 1 to {experts}, the number of experts, not {top_k}")
        self.top_k, self.noise, self.renorm = top_k, noise, renorm
        self.linear = nn.Linear(channels, experts)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Routing:
        """(B, C, H, W) to the weights of each image's experts."""
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.mean((2, 3), dtype=torch.float32), self.linear.weight.float(), self.linear.bias.float())
            if self.training and self.noise:
                logits = logits + self.noise * torch.randn_like(logits)
            probabilities = logits.softmax(1)
        if self.top_k is None:
            return Routing(probabilities, probabilities, hard=False)
        best, at = probabilities.topk(self.top_k, dim=1)
        if self.renorm:
            best = best / best.sum(1, keepdim=True)
        return Routing(probabilities, torch.zeros_like(probabilities).scatter(1, at, best), hard=True)


def mix(experts: Sequence[Expert], x: Tensor, weights: Tensor) -> Tensor:
    """Equation (12), all experts on all images, as one pass: sum of weights times outputs.

    The experts' convolutions are laid side by side, so three small ones are one; the weights are applied before the last,
    linear one. The same as adding the outputs up to rounding.
    """
    inner = [e.project_out.in_channels for e in experts]
    qkv = pointwise(x, torch.cat([e.qkv.weight for e in experts]))
    kernel = torch.cat([e.qkv_dwconv.weight for e in experts])
    qkv = F.conv2d(qkv, kernel, padding=1, groups=len(kernel))
    parts = torch.split(qkv, [3 * r for r in inner], 1)
    attended = torch.cat([e.attend(part) for e, part in zip(experts, parts, strict=True)], 1)
    scale = torch.cat([weights[:, i : i + 1].expand(-1, rank) for i, rank in enumerate(inner)], 1)
    return scaled(attended, torch.cat([e.project_out.weight for e in experts], 1), scale)


def dispatch(experts: Sequence[Expert], x: Tensor, weights: Tensor, training: bool = False) -> Tensor:
    """Equation (14): each expert sees, as one batch, the images that chose it; an expert that none chose does not run.

    Args:
        experts: those of the layer.
        x: (B, C, H, W).
        weights: (B, experts), 0 where an expert does not run.
        training: touch the parameters of experts that do not run, so that every parameter has a gradient (of zero):
            DistributedDataParallel waits for all.
    """
    chosen: list[list[bool]] = (weights > 0).t().tolist()
    out: Tensor | None = None
    idle = []
    for e, (expert, mine) in enumerate(zip(experts, chosen, strict=True)):
        if not any(mine):
            idle.append(expert)
            continue
        if all(mine):
            y = expert(x, weights[:, e, None])
            out = y if out is None else out + y
            continue
        at = torch.tensor([i for i, m in enumerate(mine) if m], device=x.device)
        y = expert(x.index_select(0, at), weights[:, e, None].to(x.device).index_select(0, at))
        out = (torch.zeros_like(x, dtype=y.dtype) if out is None else out).index_add(0, at, y)
    assert out is not None, "a router gives every image an expert"
    if training:
        for expert in idle:
            out = out + 0 * sum(p.flatten()[0] for p in expert.parameters())
    return out


def exporting() -> bool:
    """Whether a graph is being recorded that must hold for any image: torch.jit.trace, torch.export."""
    return bool(torch.jit.is_tracing()) or torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]


_untraced: list[Any] = []


def untraced() -> Any:
    """``dispatch`` for networks under torch.compile: which experts run depends on the data, so a compiler would make one
    graph a combination. The experts in it are compiled. Made here and not by a decorator: that would load the compiler,
    which takes seconds, for everybody."""
    if not _untraced:
        _untraced.append(torch.compiler.disable(dispatch, recursive=False))
    return _untraced[0]


class MoEAttention(nn.Module):
    """A router and its experts in the place of a block's attention.

    Args:
        channels: of the feature map.
        heads: of the level.
        mode: ``soft`` or ``hard``.
        experts: number of them.
        top_k: that run, when hard.
        noise, renorm: see Router.
        kind: a key of KINDS.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        mode: str,
        experts: int = 3,
        top_k: int = 1,
        noise: float = 0.0,
        renorm: bool = False,
        kind: str = "mdta",
    ) -> None:
        super().__init__()
        self.router = Router(channels, experts, top_k if mode == "hard" else None, noise, renorm)
        self.experts = nn.ModuleList(experts_of(channels, heads, experts, kind))

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """(B, C, H, W) to the same, with the router's decision or another.

        An exported graph cannot leave experts out, so there all run and those that were not chosen count for nothing.
        """
        experts: Sequence[Expert] = list(self.experts)  # type: ignore[arg-type]
        if routing.hard and not exporting():
            run = untraced() if torch.compiler.is_dynamo_compiling() else dispatch
            chosen: Tensor = run(experts, x, routing.weights, self.training)
            return chosen
        return mix(experts, x, routing.weights)
