from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from rainrag.baselines import checkpoint, prenet
from rainrag.baselines.card import Baseline
from rainrag.baselines.pigwm import PIGWM
from rainrag.core.errors import InputError
from rainrag.core.files import sha256_file

DATA = os.environ.get("RAINRAG_TESTDATA")
needs_weights = pytest.mark.skipif(not DATA, reason="RAINRAG_TESTDATA is not set: no weights of the authors")
FAMILY = {b.card.name: b for b in (prenet.PRENET, prenet.PRENET_R, prenet.PRN, prenet.PRN_R)}


def authors_file(url: str) -> Path:
    return Path(DATA or "") / "weights" / "PReNet" / url.split("/logs/")[1]


def check(baseline: Baseline, path: Path) -> None:
    assert baseline.check is not None
    baseline.check({"path": path, "network": None})


def saved(path: Path, network: torch.nn.Module) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return path


@needs_weights
@pytest.mark.parametrize("how", ["copied", "saved again", "wrapped"])
@pytest.mark.parametrize("path", prenet.FOREIGN)
def test_weights_of_other_forwards_are_refused_under_any_name(path: str, how: str, tmp_path: Path) -> None:
    file, copy = Path(DATA or "") / "weights" / "PReNet" / path, tmp_path / "rain100l.pth"
    if how == "copied":
        shutil.copy(file, copy)
    else:
        state = checkpoint.read(file)
        torch.save({"params": {f"module.{k}": v for k, v in state.items()}} if how == "wrapped" else state, copy)
    with pytest.raises(InputError, match="wrong images") as error:
        check(prenet.PRENET, copy)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize("folder", ["real", "Ablation/mine"])
def test_no_folder_is_refused_by_its_name(folder: str, tmp_path: Path) -> None:
    check(prenet.PRENET, saved(tmp_path / folder / "net_latest.pth", prenet.build()))


@pytest.mark.parametrize("baseline", [*FAMILY.values(), PIGWM], ids=lambda b: b.card.name)
def test_they_are_known_by_content(baseline: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = prenet.build()
    path = saved(tmp_path / "mine.pth", network)
    check(baseline, path)
    monkeypatch.setitem(prenet._FOREIGN_FIRST, prenet.digest(network.conv0[0].weight), "made for something else")
    with pytest.raises(InputError, match="made for something else"):
        check(baseline, path)


@needs_weights
def test_refused_weights_would_load_without_the_check() -> None:
    checkpoint.load(prenet.build(), Path(DATA or "") / "weights" / "PReNet" / "real" / "PReNet1.pth")


@needs_weights
@pytest.mark.parametrize("name", FAMILY)
def test_recorded_weights_are_the_files_and_load(name: str) -> None:
    baseline = FAMILY[name]
    assert baseline.build is not None
    usable = 0
    for weights in baseline.card.weights:
        path = authors_file(weights.archive.ref)
        assert sha256_file(path) == weights.archive.sha256
        assert path.stat().st_size == weights.archive.size
        if weights.refused is None:
            check(baseline, path)
            checkpoint.load(baseline.build(), path)
            usable += 1
        else:
            with pytest.raises(InputError):
                check(baseline, path)
    assert usable == 3


@pytest.mark.parametrize("name", FAMILY)
def test_receptive_field_is_the_cards(name: str) -> None:
    card, build = FAMILY[name].card, FAMILY[name].build
    assert card.receptive is not None
    assert build is not None
    torch.manual_seed(0)
    network = build().double()
    x = torch.rand(1, 3, 3, card.receptive + 2, dtype=torch.float64)
    for column, reached in ((card.receptive, True), (card.receptive + 1, False)):
        x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(x)[..., column].sum(), x)
        assert bool(gradient[..., 0].any()) is reached


def test_fewer_iterations_are_the_first_stages() -> None:
    torch.manual_seed(0)
    full = prenet.build(intermediates=True)
    short = prenet.build(iterations=2)
    short.load_state_dict(full.state_dict())
    x = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(short(x), full(x)["stage_2"])


@pytest.mark.parametrize("name", FAMILY)
def test_every_parameter_learns(name: str) -> None:
    build = FAMILY[name].build
    assert build is not None
    torch.manual_seed(0)
    network = build(iterations=2)
    network(torch.rand(2, 3, 8, 8)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
