from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from rainrag.baselines import checkpoint
from rainrag.baselines.promptir import PromptBlock, PromptIR

UNUSED = tuple(f"{n}{i}." for n in ("chnl_reduce", "reduce_noise_channel_") for i in (1, 2, 3))


def small() -> PromptIR:
    torch.manual_seed(0)
    return PromptIR(dim=8, blocks=(1, 1, 1, 1), refinement=1, expansion=1.0).eval()


def test_prompt_is_the_chosen_component_resized() -> None:
    torch.manual_seed(0)
    block = PromptBlock(channels=6, prompt=4, side=8)
    with torch.no_grad():
        block.linear_layer.weight.zero_()
        block.linear_layer.bias.copy_(torch.tensor([-1e3, -1e3, 1e3, -1e3, -1e3]))
        wanted = F.interpolate(block.prompt_param[2:3], (5, 7), mode="bilinear", align_corners=False)
        torch.testing.assert_close(block(torch.rand(1, 6, 5, 7)), block.conv3x3(wanted))


def test_each_image_of_a_batch_chooses_for_itself() -> None:
    torch.manual_seed(0)
    block = PromptBlock(channels=6, prompt=4, side=8)
    a, b = torch.rand(1, 6, 5, 7), 9 * torch.rand(1, 6, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(block(torch.cat((a, b))), torch.cat((block(a), block(b))))
        assert not torch.allclose(block(a), block(b))


def test_unused_layers_are_in_the_weights_but_have_no_gradient() -> None:
    network = small().train()
    network(torch.rand(1, 3, 16, 16)).square().mean().backward()
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert len(frozen) == 6
    assert all(n.startswith(UNUSED) for n in frozen)
    assert {n for n, p in network.named_parameters() if p.grad is None} == frozen
    assert frozen < set(network.state_dict())


def test_a_lightning_checkpoint_loads(tmp_path: Path) -> None:
    network = small()
    state = {f"net.{k}": v for k, v in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "model.ckpt")
    other = PromptIR(dim=8, blocks=(1, 1, 1, 1), refinement=1, expansion=1.0).eval()
    checkpoint.load(other, tmp_path / "model.ckpt")
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(other(x), network(x))


def test_channels_last_takes_the_five_dimensional_prompts() -> None:
    network, x = small(), torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        before = network(x)
        after = network.to(memory_format=torch.channels_last)(x)
    assert network.state_dict()["prompt3.prompt_param"].shape == (1, 5, 320, 16, 16)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
