from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from rainrag.baselines.pigwm import ImportancePenalty
from rainrag.core.errors import InputError, UsageError
from rainrag.training import reweight
from rainrag.training.other_weightings import Continual, DynamicAverage, Static, Uncertainty, Uniform


def test_uniform_and_static_never_move() -> None:
    one, two = reweight.create("uniform", n_types=2), reweight.create("static", n_types=2, values=[3, 1])
    assert one.update([5.0, 0.1]) == [0.5, 0.5]
    assert two.update([5.0, 0.1]) == [0.75, 0.25]
    assert one.loss([1.0, 2.0]) == 3.0
    assert two.loss([1.0, None]) == 1.5
    with pytest.raises(UsageError, match="2 losses for 4"):
        Uniform().update([1.0, 1.0])
    with pytest.raises(InputError, match="other settings"):
        Static(2, [1, 1]).load_state_dict(two.state_dict())
    for values in ([1.0], [1.0, -1.0], [0.0, 0.0], [math.nan, 1.0]):
        with pytest.raises(UsageError, match="for 2 types"):
            Static(2, values)


def test_dynamic_average_by_hand() -> None:
    made = DynamicAverage(2)
    assert made.update([1.0, 4.0]) == [0.5, 0.5]
    made.update([0.5, 4.0])  # ratios 0.5 and 1, temperature 2
    assert made.weights == pytest.approx([1 / (1 + math.exp(0.25)), 1 / (1 + math.exp(-0.25))])
    before = list(made.weights)
    assert made.update([math.nan, 1.0]) == before
    other = DynamicAverage(2)
    other.load_state_dict(made.state_dict())
    assert other.update([0.4, 1.0]) == made.update([0.4, 1.0]) != before


def test_uncertainty_by_hand_and_its_gradient() -> None:
    made = Uncertainty(3)
    assert made.weights == pytest.approx([1 / 3] * 3)
    scale = made.module()["log_scale"]
    with torch.no_grad():
        scale.copy_(torch.tensor([0.0, math.log(2), -1.0]))
    value = made.loss([torch.tensor(3.0), torch.tensor(5.0), None])
    assert value.item() == pytest.approx(3 + 0 + 5 / 2 + math.log(2))
    value.backward()
    torch.testing.assert_close(scale.grad, torch.tensor([1 - 3.0, 1 - 2.5, 0.0]))
    assert made.update([1.0, 1.0, 1.0]) == pytest.approx(
        [1 / (1.5 + math.e), 0.5 / (1.5 + math.e), math.e / (1.5 + math.e)]
    )


def test_uncertainty_learns_the_scale_of_each_loss_and_resumes() -> None:
    made = Uncertainty(2)
    optimiser = torch.optim.Adam(made.module().parameters(), 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        made.loss([torch.tensor(0.5), torch.tensor(2.0)]).backward()
        optimiser.step()
    assert made.module()["log_scale"].exp().tolist() == pytest.approx([0.5, 2.0], rel=0.01)
    assert made.weights == pytest.approx([0.8, 0.2], abs=0.01)
    other = Uncertainty(2)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.module()["log_scale"], made.module()["log_scale"])
    with pytest.raises(InputError, match="n_types"):
        Uncertainty(3).load_state_dict(made.state_dict())


class Two(nn.Module):
    """Output w * x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0]))


def train(network: Two, made: Continual, rounds: int, steps: int = 3) -> None:
    """Type 0 pulls the first weight to 3 and does not see the second; type 1 pulls both to 0."""
    optimiser = torch.optim.SGD(network.parameters(), 0.05)
    for _ in range(rounds):
        for _ in range(steps):
            optimiser.zero_grad()
            losses = [(network.w[0] - 3).abs() * 4, network.w.abs().sum()]
            made.loss(losses).backward()
            made.after_backward()
            optimiser.step()
        made.update([1.0, 1.0])


def test_continual_learns_one_type_after_the_other_and_guards_what_mattered() -> None:
    network = Two()
    made = reweight.create("continual", n_types=2, penalty=ImportancePenalty(network), rounds=2)
    assert isinstance(made, Continual)
    assert made.weights == [1.0, 0.0]
    train(network, made, 2)
    assert made.weights == [0.0, 1.0]
    moved = network.w.detach().clone()
    assert moved[0] > 1.5
    assert moved[1] == 1.0
    train(network, made, 6)
    assert made.weights == [0.0, 1.0]  # the last type stays
    # importance of the first weight is 4, of the second 0: the one stays near its anchor, the other goes to 0
    assert network.w[0].item() == pytest.approx(moved[0].item(), abs=0.35)
    assert network.w[1].item() == pytest.approx(0.1, abs=0.11)
    guard = made.penalty.penalty().item()
    # the type is not in the batch: the penalty alone
    assert made.loss([torch.tensor(1.0), None]).item() == guard


def test_continual_resumes_in_the_middle_of_a_types_last_round() -> None:
    network = Two()
    made = Continual(2, penalty=ImportancePenalty(network), rounds=1)
    made.loss([(network.w[0] - 3).abs(), None]).backward()
    made.after_backward()
    other_network = copy.deepcopy(network)
    other = Continual(2, penalty=ImportancePenalty(other_network), rounds=1)
    other.load_state_dict(copy.deepcopy(made.state_dict()))
    for one, net in ((made, network), (other, other_network)):
        one.update([1.0, 1.0])
        with torch.no_grad():
            net.w.add_(1.0)
    assert other.penalty.penalty().item() == made.penalty.penalty().item() > 0
    with pytest.raises(InputError, match="rounds"):
        Continual(2, penalty=ImportancePenalty(network), rounds=3).load_state_dict(made.state_dict())


def test_continual_needs_a_penalty() -> None:
    with pytest.raises(UsageError, match="penalty"):
        reweight.create("continual")


def test_every_weighting_trains_a_network_and_resumes() -> None:
    for name in reweight.TABLE:
        results = []
        for interrupted in (False, True):
            torch.manual_seed(0)
            network = nn.Linear(2, 2)
            made = build(name, network)
            for t in range(4):
                if interrupted and t == 2:
                    state = made.state_dict()
                    made = build(name, network)
                    made.load_state_dict(copy.deepcopy(state))
                losses = [(network.weight[0] - 2).abs().mean(), (network.weight[1] + 1).abs().mean()]
                network.zero_grad()
                made.loss(losses, [1, 1]).backward()
                made.after_backward()
                with torch.no_grad():
                    network.weight.sub_(0.1 * network.weight.grad)
                made.update([v.item() for v in losses])
            results.append((network.weight.detach().clone(), made.weights))
        assert torch.equal(results[0][0], results[1][0]), name
        assert results[0][1] == results[1][1], name


def build(name: str, network: nn.Module) -> reweight.Weighting:
    options = {
        "static": {"values": [1, 3]},
        "continual": {"penalty": ImportancePenalty(network), "rounds": 2},
        **{m: {"warmup": 1} for m in reweight.MODES},
    }.get(name, {})
    return reweight.create(name, n_types=2, **options)
