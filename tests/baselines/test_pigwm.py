from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rainrag.baselines.pigwm import ImportancePenalty
from rainrag.core.errors import InputError, UsageError


class Two(nn.Module):
    """Weights whose gradients a test sets by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.b = nn.Parameter(torch.tensor([0.5]))
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)


def step(penalty: ImportancePenalty, network: Two, a: list[float], b: list[float] | None) -> None:
    network.a.grad = torch.tensor(a)
    network.b.grad = None if b is None else torch.tensor(b)
    penalty.add()


def move(network: Two, a: list[float], b: list[float]) -> None:
    with torch.no_grad():
        network.a.copy_(torch.tensor(a))
        network.b.copy_(torch.tensor(b))


def after_one_task() -> tuple[Two, ImportancePenalty]:
    """Importance a = mean of |(1, -2)|, |(3, 0)| = (2, 1); b = (|-4| + 0) / 2 = 2; anchors (1, 2) and 0.5."""
    network = Two()
    penalty = ImportancePenalty(network)
    step(penalty, network, [1.0, -2.0], [-4.0])
    step(penalty, network, [3.0, 0.0], None)
    penalty.finish()
    return network, penalty


def test_nothing_is_added_before_the_first_data_set_is_done() -> None:
    network = Two()
    penalty = ImportancePenalty(network)
    step(penalty, network, [1.0, 1.0], [1.0])
    move(network, [9.0, 9.0], [9.0])
    assert penalty.penalty().item() == 0


def test_penalty_and_its_gradient_by_hand() -> None:
    network, penalty = after_one_task()
    assert penalty.penalty().item() == 0  # at the anchor
    move(network, [0.5, 5.0], [1.5])
    network.zero_grad()
    value = penalty.penalty()
    # a: s = 2 * 0.5 + 1 * 3 = 4; b: s = 2 * 1 = 2; each tensor apart, not one square of the joint sum
    assert value.item() == pytest.approx(0.95 / 2 * (4 + 16) + 0.95 / 2 * (2 + 4))
    value.backward()
    # d/dw = beta / 2 * (1 + 2 s) * I * sign(w - w*)
    assert network.a.grad is not None
    assert network.b.grad is not None
    torch.testing.assert_close(network.a.grad, 0.95 / 2 * (1 + 2 * 4) * torch.tensor([-2.0, 1.0]))
    torch.testing.assert_close(network.b.grad, 0.95 / 2 * (1 + 2 * 2) * torch.tensor([2.0]))


def test_importance_is_the_running_average_over_data_sets() -> None:
    network, penalty = after_one_task()
    for gradient in ([5.0, 4.0], [8.0, -2.0]):  # importance of a: second data set (5, 4), third (8, 2)
        move(network, [0.0, 0.0], [0.0])
        step(penalty, network, gradient, [2.0])
        penalty.finish()
    move(network, [1.0, 0.0], [0.0])
    s = (2 + 5 + 8) / 3  # of a's first weight, one away from the last anchor
    assert penalty.penalty().item() == pytest.approx(0.95 / 2 * (s + s * s))


def test_beta_scales_both_terms() -> None:
    network = Two()
    penalty = ImportancePenalty(network, beta=2.0)
    step(penalty, network, [1.0, 0.0], [0.0])
    penalty.finish()
    move(network, [4.0, 7.0], [1.0])
    assert penalty.penalty().item() == pytest.approx(3 + 9)


def test_resumed_in_the_middle_of_an_epoch_it_ends_the_same() -> None:
    network, penalty = after_one_task()
    step(penalty, network, [1.0, 1.0], [1.0])
    saved = copy.deepcopy(penalty.state_dict())
    other = Two()
    resumed = ImportancePenalty(other)
    resumed.load_state_dict(saved)
    for p, n in ((penalty, network), (resumed, other)):
        step(p, n, [3.0, 5.0], [7.0])
        p.finish()
        move(n, [0.0, 0.0], [0.0])
    assert resumed.penalty().item() == penalty.penalty().item() != 0
    assert resumed.tasks == 2
    assert saved["sums"]["a"].tolist() == [1.0, 1.0]  # steps after the resume do not write into what was saved


def test_a_data_set_without_steps_is_refused() -> None:
    _, penalty = after_one_task()
    with pytest.raises(UsageError, match="no gradient"):
        penalty.finish()


def test_the_state_of_another_network_is_refused() -> None:
    _, penalty = after_one_task()
    with pytest.raises(InputError, match="fits no parameter"):
        ImportancePenalty(nn.Linear(2, 2)).load_state_dict(penalty.state_dict())
    state = penalty.state_dict()
    del state["importance"]["b"]
    with pytest.raises(InputError, match="no importance is stored for 1"):
        ImportancePenalty(Two()).load_state_dict(state)
