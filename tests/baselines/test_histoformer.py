from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rainrag.baselines.histoformer import DHSA, unsort


def test_unsort_undoes_sort() -> None:
    x = torch.rand(2, 3, 5, 7)
    for dim in (-1, -2):
        ranked, order = x.sort(dim=dim)
        assert torch.equal(unsort(ranked, order, dim), x)


def bins_of(x: Tensor, bins: int, interleaved: bool) -> list[Tensor]:
    """The pixels of each bin, by index: neighbours, or every ``bins``-th."""
    size = x.shape[-1] // bins
    if interleaved:
        return [x[..., i::bins] for i in range(bins)]
    return [x[..., i * size : (i + 1) * size] for i in range(bins)]


@pytest.mark.parametrize("interleaved", [False, True])
def test_attention_runs_between_channels_and_bins_of_a_head(interleaved: bool) -> None:
    torch.manual_seed(0)
    heads, per_head, n = 4, 3, 10  # 10 pixels in 4 bins: two zeros are added
    attention = DHSA(heads * per_head, heads).double()
    with torch.no_grad():
        attention.temperature.copy_(torch.rand(heads, 1, 1) + 0.5)
        q, k, v = torch.randn(3, 1, heads * per_head, n, dtype=torch.float64).unbind(0)
        got = attention._attend(q, k, v, interleaved)
        padded = [torch.cat([t, torch.zeros(1, heads * per_head, 2, dtype=torch.float64)], -1) for t in (q, k, v)]
        want = torch.zeros_like(padded[0])
        for head in range(heads):
            part = slice(head * per_head, (head + 1) * per_head)
            qs, ks, vs = (torch.stack(bins_of(t[0, part], heads, interleaved), 1).flatten(0, 1) for t in padded)
            cosine = torch.nn.functional.normalize(qs) @ torch.nn.functional.normalize(ks).T
            weight = (cosine * attention.temperature[head]).exp()
            out = (weight / (weight.sum(-1, keepdim=True) + 1)) @ vs
            for target, row in zip(
                (b[c] for c in range(per_head) for b in bins_of(want[0, part], heads, interleaved)), out, strict=True
            ):
                target.copy_(row)
    torch.testing.assert_close(got, want[..., :n])


def test_attention_puts_pixels_back_where_they_were() -> None:
    """A flipped image gives the flipped answer where no convolution mixes neighbours."""
    torch.manual_seed(0)
    attention = DHSA(4, 2).double()
    with torch.no_grad():
        centre = torch.zeros_like(attention.qkv_dwconv.weight)
        centre[:, :, 1, 1] = attention.qkv_dwconv.weight[:, :, 1, 1]
        attention.qkv_dwconv.weight.copy_(centre)  # 1x1, so that nothing but sorting mixes pixels
        attention.qkv.weight[:, :2] = 0  # the channels that are sorted by place play no part
        x = torch.randn(1, 4, 4, 6, dtype=torch.float64)
        plain, flipped = attention(x), attention(x.flip(-2))
    torch.testing.assert_close(flipped[:, 2:], plain[:, 2:].flip(-2))
