"""Deraining without learning: the rainy image itself, the median filter, and a guided-filter decomposition.

They have no weights, so that every table can show what training is worth. All take (B, 3, H, W) in [0, 1], any size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag.baselines.card import Baseline, Card
from rainrag.core.errors import UsageError


class Input(nn.Module):
    """Returns the rainy image: the row that every other has to beat."""

    def __init__(self, intermediates: bool = False) -> None:
        super().__init__()
        self.intermediates = intermediates

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) to the same."""
        return {"y": x} if self.intermediates else x


class Median(nn.Module):
    """Median of the ``side`` x ``side`` pixels around each, per channel; edges are repeated outwards.

    Args:
        side: odd; 3 or 5 are usual.
        intermediates: return a dict.

    Raises:
        UsageError: for an even side.
    """

    def __init__(self, side: int = 3, intermediates: bool = False) -> None:
        super().__init__()
        if side < 1 or side % 2 == 0:
            raise UsageError(f"a median filter's side is odd, not {side}", hint="use 3 or 5")
        self.side = side
        self.intermediates = intermediates

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) to the same."""
        half = self.side // 2
        padded = F.pad(x, (half, half, half, half), mode="replicate")
        windows = padded.unfold(2, self.side, 1).unfold(3, self.side, 1).flatten(4)
        y = windows.median(dim=-1).values
        return {"y": y} if self.intermediates else y


def box(x: Tensor, radius: int) -> Tensor:
    """Mean over the (2 radius + 1) squared window, cut off at the borders; (B, C, H, W) to the same."""
    return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def guided_filter(x: Tensor, radius: int, eps: float) -> Tensor:
    """Edge-preserving smoothing of each channel by itself (He et al., TPAMI 2013, eq. 5, 6, 8).

    Args:
        x: (B, C, H, W) in [0, 1].
        radius: of the window in pixels.
        eps: variance below which a window counts as flat.

    Returns:
        The same shape and range.
    """
    mean = box(x, radius)
    variance = (box(x * x, radius) - mean * mean).clamp_min(0)
    a = variance / (variance + eps)
    return box(a, radius) * x + box((1 - a) * mean, radius)


def _slide(x: Tensor, steps: list[tuple[int, int]], outside: float) -> Tensor:
    """Copies of (B, 1, H, W) moved by each (down, right) step, in channels; ``outside`` comes in at the borders."""
    reach = max(max(abs(d), abs(r)) for d, r in steps)
    h, w = x.shape[2:]
    padded = F.pad(x, (reach, reach, reach, reach), value=outside)
    return torch.cat([padded[:, :, reach + d : reach + d + h, reach + r : reach + r + w] for d, r in steps], 1)


def opening(x: Tensor, steps: list[tuple[int, int]]) -> Tensor:
    """Morphological opening: keeps of (B, 1, H, W), values >= 0, what is as large as the set of steps.

    Args:
        x: image.
        steps: structuring element, symmetric about (0, 0).
    """
    eroded = _slide(x, steps, float("inf")).amin(1, keepdim=True)
    return _slide(eroded, steps, 0.0).amax(1, keepdim=True)


class Guided(nn.Module):
    """Guided-filter decomposition: base + detail, rain-like detail removed.

    Rain lies in the detail (Xu et al. 2012; Ding et al. 2016 use the same split). Of the detail, that counts as rain
    which is brighter than the base in all three channels (streaks are grey), at least ``length`` pixels long in a
    direction near the vertical, and narrower than ``width``. That rule is ours, by morphological openings.

    Args:
        radius: of the guided filter, pixels.
        eps: of the guided filter, on values in [0, 1].
        length: shortest streak, pixels, odd.
        width: narrowest structure that is kept as part of the scene, pixels, odd.
        floor: detail below it is noise, not rain.
        intermediates: return ``base`` and ``rain`` too.
    """

    #: pixels to the right for one pixel down: within 27 degrees of the vertical
    LEANS = (-0.5, -0.25, 0.0, 0.25, 0.5)

    def __init__(
        self,
        radius: int = 8,
        eps: float = 0.04,
        length: int = 9,
        width: int = 7,
        floor: float = 1 / 255,
        intermediates: bool = False,
    ) -> None:
        super().__init__()
        if length % 2 == 0 or width % 2 == 0:
            raise UsageError(f"length and width are odd, not {length} and {width}")
        self.radius, self.eps, self.floor = radius, eps, floor
        reach = range(-(length // 2), length // 2 + 1)
        self.lines = [[(d, round(d * lean)) for d in reach] for lean in self.LEANS]
        self.across = [(0, r) for r in range(-(width // 2), width // 2 + 1)]
        self.intermediates = intermediates

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, H, W) to the same; never brighter than ``x`` nor, where it was darkened, darker than the base."""
        base = guided_filter(x, self.radius, self.eps)
        bright = (x - base - self.floor).amin(1, keepdim=True).clamp_min(0)
        long = torch.cat([opening(bright, line) for line in self.lines], 1).amax(1, keepdim=True)
        rain = (long - opening(bright, self.across)).clamp_min(0)
        y = x - rain
        return {"y": y, "base": base, "rain": rain} if self.intermediates else y


def _card(**own: Any) -> Card:
    """What the three share: nothing trained, nothing downloaded."""
    plain = {"repo": "", "commit": "", "licence": "Apache-2.0 (our code)", "params": 0, "gmacs": 0.0, "gmacs_conv": 0.0}
    return Card(**{**plain, "padding": "none, any size", **own})


INPUT = Baseline(
    _card(
        name="input",
        title="Rainy input",
        paper="none",
        venue="-",
        receptive=0,
        notes=("Returns its input.",),
    ),
    build=Input,
    trainable=False,
)

MEDIAN = Baseline(
    _card(
        name="median",
        title="Median filter",
        paper="Huang, Yang and Tang: A fast two-dimensional median filtering algorithm",
        venue="IEEE TASSP 1979",
        receptive=1,  # of the default; side // 2 in general
        notes=("Takes thin streaks away with every other thin structure.",),
        options={"side": "3 (default) or 5: the receptive field is half of it"},
    ),
    build=Median,
    trainable=False,
)

GUIDED = Baseline(
    _card(
        name="guided",
        title="Guided-filter decomposition",
        paper="He, Sun and Tang: Guided image filtering; the split as in Xu et al. 2012 and Ding et al. 2016",
        venue="TPAMI 2013",
        receptive=2 * 8 + 9 - 1,  # two boxes, then erosion and dilation by half a line each
        notes=(
            "The guided filter is He et al.'s; which detail counts as rain is a rule of ours, not of the papers.",
            "Streaks near the horizontal are left alone; strong vertical edges lose a little of their contrast.",
        ),
        options={
            "radius": "of the guided filter, pixels",
            "eps": "of the guided filter",
            "length": "shortest streak, pixels",
            "width": "narrowest structure kept",
            "floor": "detail below it is noise",
        },
    ),
    build=Guided,
    trainable=False,
)
