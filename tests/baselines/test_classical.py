from __future__ import annotations

import pytest
import torch
from torch import nn

from rainrag.baselines.card import Baseline
from rainrag.baselines.classical import GUIDED, INPUT, MEDIAN, Guided, Median, guided_filter, opening
from rainrag.core.errors import UsageError

ALL = {b.card.name: b for b in (INPUT, MEDIAN, GUIDED)}


def built(baseline: Baseline, **options: int) -> nn.Module:
    assert baseline.build is not None
    return baseline.build(**options)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [0.0, 1 / 3, 0.7, 1.0])
def test_constant_images_stay_as_they_are(name: str, value: float) -> None:
    x = torch.full((2, 3, 20, 13), value)
    assert torch.equal(built(ALL[name])(x), x)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["noise", "binary", "single pixel"])
def test_output_keeps_range_and_shape(name: str, kind: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 17, 31)
    if kind == "binary":
        x = x.round()
    if kind == "single pixel":
        x = x[..., :1, :1]
    y = built(ALL[name])(x)
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.max() <= 1


@pytest.mark.parametrize("name", ALL)
def test_what_is_beyond_the_receptive_field_does_not_matter(name: str) -> None:
    torch.manual_seed(0)
    radius = ALL[name].card.receptive
    assert radius is not None
    x = torch.rand(1, 3, 24, 2 * radius + 8, dtype=torch.float64)
    other = x.clone()
    other[..., 0] = 1 - other[..., 0]
    network = built(ALL[name])
    difference = (network(x) - network(other)).abs().amax((0, 1, 2))
    assert difference[0] > 0
    assert difference[radius + 1 :].max() < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_there_is_nothing_to_train_or_download(name: str) -> None:
    assert sum(p.numel() for p in built(ALL[name]).parameters()) == ALL[name].card.params == 0
    assert not ALL[name].trainable
    assert ALL[name].card.weights == ()


def test_median_by_hand() -> None:
    x = torch.tensor([[9.0, 1.0, 2.0], [3.0, 8.0, 4.0], [5.0, 6.0, 7.0]])[None, None] / 10
    y = Median()(x)
    assert y[0, 0, 1, 1].item() == pytest.approx(0.5)
    # the corner sees itself four times, (1, 1) as its repeated neighbours twice each, 8 once
    assert y[0, 0, 0, 0].item() == pytest.approx(0.8)


@pytest.mark.parametrize(("side", "width", "gone"), [(3, 1, True), (3, 2, False), (5, 2, True), (5, 3, False)])
def test_median_removes_lines_narrower_than_half_its_side(side: int, width: int, gone: bool) -> None:
    x = torch.full((1, 3, 16, 16), 0.2)
    x[..., 7 : 7 + width] = 0.9
    y = Median(side)(x)
    assert bool((y == 0.2).all()) is gone


@pytest.mark.parametrize("options", [{"side": 4}, {"side": 0}])
def test_median_refuses_even_sides(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="odd"):
        built(MEDIAN, **options)


def test_guided_filter_equals_the_papers_sums() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, 7, 6, dtype=torch.float64)
    radius, eps = 1, 0.02
    h, w = x.shape[2:]

    def window(t: torch.Tensor, i: int, j: int) -> torch.Tensor:
        return t[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]

    a, b = torch.zeros(h, w, dtype=x.dtype), torch.zeros(h, w, dtype=x.dtype)
    for i in range(h):
        for j in range(w):
            patch = window(x[0, 0], i, j)
            a[i, j] = patch.var(correction=0) / (patch.var(correction=0) + eps)
            b[i, j] = (1 - a[i, j]) * patch.mean()
    wanted = [[window(a, i, j).mean() * x[0, 0, i, j] + window(b, i, j).mean() for j in range(w)] for i in range(h)]
    torch.testing.assert_close(guided_filter(x, radius, eps)[0, 0], torch.tensor(wanted, dtype=x.dtype))


def test_opening_keeps_what_the_element_fits_into() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[..., 2:7, 1] = 0.5  # five pixels long
    x[..., 2:4, 6] = 0.9  # two
    x[..., 0:3, 4] = 0.7  # three, at the border
    y = opening(x, [(-1, 0), (0, 0), (1, 0)])
    wanted = x.clone()
    wanted[..., 6] = 0
    assert torch.equal(y, wanted)


def line(slope: float, vertical: bool = True, colour: tuple[float, float, float] = (1, 1, 1)) -> torch.Tensor:
    """Mid grey, (1, 3, 48, 48), with a bright line, one pixel wide, 25 long, through the middle."""
    x = torch.full((1, 3, 48, 48), 0.4)
    for along in range(-12, 13):
        across = round(along * slope)
        i, j = (24 + along, 24 + across) if vertical else (24 + across, 24 + along)
        x[0, :, i, j] += 0.3 * torch.tensor(colour)
    return x


@pytest.mark.parametrize("slope", [-0.5, -0.25, 0.0, 0.25, 0.5])
def test_guided_takes_streaks_near_the_vertical_away(slope: float) -> None:
    x = line(slope)
    left = (Guided()(x) - 0.4).abs().sum() / (x - 0.4).sum()
    assert left < 0.25


@pytest.mark.parametrize("x", [line(0.0, vertical=False), line(0.0, colour=(1, 1, 0))], ids=["horizontal", "coloured"])
def test_guided_leaves_other_lines_alone(x: torch.Tensor) -> None:
    assert torch.equal(Guided()(x), x)


def wide() -> torch.Tensor:
    x = torch.full((1, 3, 48, 48), 0.3)
    x[..., 10:38, 18:29] = 0.8
    return x


@pytest.mark.parametrize(("x", "contrast"), [(wide(), 0.5), (0.8 - line(0.0), 0.3)], ids=["wide", "dark"])
def test_guided_takes_little_from_vertical_edges(x: torch.Tensor, contrast: float) -> None:
    # The base is blurred across a strong edge, so a seam of its bright side looks like a streak.
    assert (x - Guided()(x)).max() < 0.1 * contrast


def test_guided_only_darkens_and_not_below_the_base() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 40, 40)
    out = Guided(length=3, intermediates=True)(x)
    assert (out["rain"] > 0).any()
    assert (out["y"] <= x).all()
    darker = (out["y"] < x).any(1, keepdim=True).expand_as(x)
    assert (out["y"] >= out["base"])[darker].all()


def test_guided_refuses_even_lengths() -> None:
    with pytest.raises(UsageError, match="odd"):
        Guided(length=8)
