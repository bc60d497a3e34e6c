from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rainrag.baselines.drsformer import DRSformer, Experts, check, sparse_attention
from rainrag.core.errors import InputError

KEPT = {12: (6, 8, 9, 9), 48: (24, 32, 36, 38)}


def masked_softmax(logits: Tensor, k: int) -> Tensor:
    lowest = logits.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return logits.masked_fill(logits < lowest, float("-inf")).softmax(-1)


@pytest.mark.parametrize("c", [12, 48])
def test_sparse_attention_equals_four_masked_softmaxes(c: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, c, c, dtype=torch.float64)
    shares = [torch.tensor([s], dtype=torch.float64) for s in (0.2, -0.3, 0.7, 1.1)]
    want = sum(s * masked_softmax(logits, k) for s, k in zip(shares, KEPT[c], strict=True))
    torch.testing.assert_close(sparse_attention(logits, shares), want)


def test_sparse_attention_survives_large_logits() -> None:
    logits = torch.tensor([[1000.0, -1000.0, 0.0, 999.0, 1.0]]).expand(1, 1, 5, 5)
    out = sparse_attention(logits, [torch.tensor([0.25])] * 4)
    assert out.isfinite().all()
    torch.testing.assert_close(out.sum(-1), torch.ones(1, 1, 5))


def test_folded_experts_equal_the_weighted_operations() -> None:
    torch.manual_seed(0)
    experts = Experts(6).double()
    x, weights = torch.randn(2, 6, 9, 10, dtype=torch.float64), torch.rand(2, 8, dtype=torch.float64)
    results = [op(x) * weights[:, i, None, None, None] for i, op in enumerate(experts._ops)]
    torch.testing.assert_close(experts(x, weights), experts._out(torch.cat(results, 1)))


def tiny(mefc: bool) -> DRSformer:
    return DRSformer(dim=8, blocks=(1, 1, 1, 1), heads=(1, 1, 1, 1), mefc=mefc)


@pytest.mark.parametrize(("mefc", "right"), [(True, "'drsformer'"), (False, "'drsformer-nomefc'")])
def test_weights_of_the_other_variant_are_named(tmp_path: Path, mefc: bool, right: str) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"params": tiny(mefc).state_dict()}, file)
    with pytest.raises(InputError) as caught:
        check({"path": file, "network": tiny(not mefc)})
    assert right in str(caught.value)
    check({"path": file, "network": tiny(mefc)})
