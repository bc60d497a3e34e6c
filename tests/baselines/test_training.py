"""Every network with parameters learns: one step of the trainer's optimiser lowers the loss on its batch."""

from __future__ import annotations

import pytest
import torch

from rainrag import baselines

TRAINABLE = [n for n in baselines.names() if baselines.get(n).build and baselines.get(n).trainable]


def test_the_classical_methods_alone_are_not_trainable() -> None:
    built = {n for n in baselines.names() if baselines.get(n).build}
    assert built - set(TRAINABLE) == {"input", "median", "guided"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_one_step_lowers_the_loss(name: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    card = baselines.card_of(name)
    low, high = card.value_range
    torch.manual_seed(0)
    network = baselines.create(name).train()
    side = card.fixed or max(card.multiple, card.min_side, 16)
    gt = torch.rand(2 if side <= 32 else 1, 3, side, side) * 0.5
    lq = (gt + 0.3 * (torch.rand_like(gt[:, :, :1]) > 0.7)).clamp(0, 1)  # bright columns
    lq, gt = lq * (high - low) + low, gt * (high - low) + low
    learned = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, 1e-5)  # of the trainer, at a step too small to overshoot

    def loss() -> torch.Tensor:
        torch.manual_seed(1)  # the same paths are dropped each time
        return (network(lq) - gt).abs().mean()

    first = loss()
    first.backward()
    gradients = [p.grad for p in learned if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)
    optimiser.step()
    network.requires_grad_(False)
    assert loss().item() < first.item()
    torch.set_num_threads(before)
