from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from rainrag.baselines.layers.shapes import store_as


class Folded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.rand(6, 4, 3, 3))
        store_as(self, "kernels", (2, 3, 4, 3, 3))


def test_state_dicts_have_the_other_shape_and_load_back() -> None:
    one, two = nn.Sequential(Folded()), nn.Sequential(Folded())
    state = one.state_dict()
    assert state["0.kernels"].shape == (2, 3, 4, 3, 3)
    two.load_state_dict(state)
    assert two[0].kernels.shape == (6, 4, 3, 3)
    assert torch.equal(two[0].kernels, one[0].kernels)
    assert state["0.kernels"].ndim == 5  # the caller's dictionary is as it was


def test_writing_into_the_state_dict_reaches_the_parameter() -> None:
    module = Folded()
    module.state_dict()["kernels"][1, 2] = 7
    assert (module.kernels[5] == 7).all()


def test_another_shape_is_refused() -> None:
    with pytest.raises(RuntimeError, match="kernels"):
        Folded().load_state_dict({"kernels": torch.zeros(3, 2, 4, 3, 3)})


def test_missing_is_still_missing() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        Folded().load_state_dict({})


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_the_rule(again) -> None:
    first = Folded()
    module = again(first)
    module.load_state_dict({"kernels": torch.ones(2, 3, 4, 3, 3)})
    assert (module.kernels == 1).all()
    assert not (first.kernels == 1).all()
    assert module.state_dict()["kernels"].ndim == 5
