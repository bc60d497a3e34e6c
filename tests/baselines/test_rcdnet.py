from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from rainrag.baselines.rcdnet import RCDNET, STORED, RCDNet, RCDNetSimple, Unrolled, streak_kernels


def simple_name(name: str) -> str | None:
    """A parameter of the original release under its name in the simple one; None where it is never used."""
    name = name.replace("resx", "layer.").replace("resm", "layer.")
    head, _, rest = name.partition(".")
    nets = {"xnet": "proxNet_B_0", "x_stage": "proxNet_B_S", "m_stage": "proxNet_M_S", "fxnet": "proxNet_B_last_layer"}
    singles = {"weight0": "C0", "w_z_f": "C_z", "tau": "tau", "eta11": "etaM_S"}
    if head in singles and not rest:
        return singles[head]
    if head not in nets:
        return None
    parts = rest.split(".")
    i = parts.index("layer") + 1 if "layer" in parts else None
    if i is not None:
        parts[i] = str(int(parts[i]) - 1)
    return ".".join((nets[head], *parts))


def disturb(network: torch.nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.rand_like(p) * p.abs().mean())


def test_both_releases_are_the_same_arithmetic() -> None:
    original, simple = RCDNet(stages=3).eval(), RCDNetSimple(stages=3).eval()
    disturb(original)
    state = original.state_dict()
    renamed = {s: v for k, v in state.items() if (s := simple_name(k))}
    renamed |= {"C": state["conv"][1], "etaB_S": torch.cat((state["eta2"][None], state["eta12"]))}
    simple.load_state_dict(renamed)
    x = 255 * torch.rand(1, 3, 13, 11)
    with torch.no_grad():
        torch.testing.assert_close(simple(x), original(x))


def test_of_the_kernel_copies_only_the_second_counts() -> None:
    network = RCDNet(stages=2).eval().double()
    x = 255 * torch.rand(1, 3, 12, 12, dtype=torch.float64)
    state = network.state_dict()
    with torch.no_grad():
        before = network(x)
        for i in range(16):
            if i != 1:
                state["conv"][i] += 1
        assert torch.equal(network(x), before)
        state["conv"][1] *= 1.5
        assert not torch.allclose(network(x), before)


def test_channels_last_takes_the_five_dimensional_kernels() -> None:
    network = RCDNet(stages=2).eval()
    x = 255 * torch.rand(2, 3, 12, 10)
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert other.state_dict()["conv"].shape == (16, 3, 32, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(other(x), network(x), rtol=1e-4, atol=1e-2)


def test_first_kernels_never_enlarge() -> None:
    kernels = streak_kernels() / STORED
    assert kernels.shape == (3, 32, 9, 9)
    spectrum = torch.fft.fft2(kernels, s=(32, 32)).permute(2, 3, 0, 1)
    assert torch.linalg.matrix_norm(spectrum, ord=2).max() <= 1 + 1e-5
    assert (kernels > 0).all()


def test_first_kernels_differ() -> None:
    flat = streak_kernels()[0].flatten(1)
    cosine = F.cosine_similarity(flat[:, None], flat[None], dim=-1) - torch.eye(32)
    assert cosine.max() < 0.999


def test_receptive_field_grows_by_24_pixels_a_stage() -> None:
    stages = 2
    radius = (RCDNET.card.receptive or 0) - (17 - stages) * 24
    network = RCDNet(stages=stages).eval().double()
    # Thresholds would hide part of the field from the gradient.
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "tau" in name:
                p.fill_(-255)
    x = 255 * torch.rand(1, 3, 3, radius + 2, dtype=torch.float64)
    for column, reached in ((radius, True), (radius + 1, False)):
        x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(x)[..., column].sum(), x)
        assert bool(gradient[..., 0].any()) is reached


@pytest.mark.parametrize("release", [RCDNet, RCDNetSimple])
def test_all_but_the_unused_parameters_learn(release: type[Unrolled]) -> None:
    torch.manual_seed(0)
    network = release(stages=2).train()
    first, backgrounds, rains = network.stages(255 * torch.rand(2, 3, 12, 12))
    assert len(backgrounds) == 3
    assert len(rains) == 2
    sum(t.square().mean() for t in (first, *backgrounds, *rains)).backward()
    still = {n for n, p in network.named_parameters() if p.grad is None}
    assert still == {n for n, p in network.named_parameters() if not p.requires_grad}
    assert all(n == "eta1" or n.startswith("mnet.") for n in still)


def test_rain_and_background_of_a_single_stage_are_returned() -> None:
    network = RCDNetSimple(stages=1, intermediates=True).eval()
    with torch.no_grad():
        assert set(network(255 * torch.rand(1, 3, 8, 8))) == {"y", "B0", "B_1", "R_1"}
