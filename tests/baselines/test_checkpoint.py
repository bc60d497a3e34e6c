"""Weights as trainers of the field wrap them, and files that are not opened."""

from __future__ import annotations

import argparse
import collections
import datetime
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rainrag.baselines import checkpoint, prenet
from rainrag.core.errors import InputError

State = dict[str, torch.Tensor]


def before(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + k: v for k, v in state.items()}


def lightning(state: State) -> dict[str, Any]:
    """A file of Lightning's: the module's loss has weights of its own, and the options are a Namespace."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.0",
        "state_dict": {**before("net.")(state), "loss.vgg.weight": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "hyper_parameters": argparse.Namespace(lr=1e-3),
    }


WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "module.": before("module."),
    "net.": before("net."),
    "net.module.": before("net.module."),
    "a name of their own": before("generator."),
    "compiled": before("_orig_mod."),
    "params": lambda state: {"params": state},
    "params of DataParallel": lambda state: {"params": before("module.")(state)},
    "averaged weights first": lambda s: {"params": {k: v * 0 for k, v in s.items()}, "params_ema": s},
    "state_dict beside an optimiser": lambda state: {
        "epoch": 3,
        "state_dict": before("module.")(state),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3}]},
    },
    "a key of their own": lambda state: {"model_state_dict": state, "iteration": 7},
    "scores as numpy numbers": lambda s: {"state_dict": s, "best": np.float64(37.1), "epoch": np.int64(3)},
    "Lightning": lightning,
    "paths": lambda s: {
        "state_dict": s,
        "args": argparse.Namespace(root=Path("/data"), when=datetime.date(2024, 1, 1)),
    },
    "random states": lambda s: {
        "state_dict": s,
        "rng": (random.getstate(), np.random.default_rng(0).bit_generator.state, torch.get_rng_state()),
        "numpy": np.random.get_state(),
    },
    "compiled inside": lambda s: {k.replace(".", "._orig_mod.", 1): v for k, v in s.items()},
    "compiled inside DataParallel": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "a defaultdict": lambda s: {"params": s, "log": collections.defaultdict(list, a=[1])},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=list(WRAPPED))
def test_wrapped_weights_load_as_they_are(wrap: Callable[[State], Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = prenet.build_prn_r().state_dict()
    torch.save(wrap(state), tmp_path / "net.pth")
    other = prenet.build_prn_r()
    checkpoint.load(other, tmp_path / "net.pth")
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors_load_likewise(prefix: str, tmp_path: Path) -> None:
    state = prenet.build_prn_r().state_dict()
    save_file(before(prefix)(state), tmp_path / "net.safetensors")
    other = prenet.build_prn_r()
    checkpoint.load(other, tmp_path / "net.safetensors")
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())


class Runs:
    """Touches a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_file_that_would_run_code_is_not_opened_and_says_why(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "more": Runs(tmp_path / "ran")}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"more than tensors \(posix.system\)"):
        checkpoint.read(tmp_path / "net.pth")
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_told_apart(tmp_path: Path) -> None:
    torch.save({"params": before("module.")(prenet.build_prn().state_dict())}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="another network: 16 unexpected"):
        checkpoint.load(prenet.build_prn_r(), tmp_path / "net.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"params": {"name": "x"}}])
def test_a_file_without_tensors_says_so(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(InputError, match="holds no tensors"):
        checkpoint.load(prenet.build_prn_r(), tmp_path / "net.pth")


def test_what_is_left_unread_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    state = prenet.build_prn_r().state_dict()
    torch.save({"state_dict": state, "root": Path("/data")}, tmp_path / "net.pth")
    checkpoint.load(prenet.build_prn_r(), tmp_path / "net.pth")
    (said,) = [r.getMessage() for r in caplog.records]
    assert said == "net.pth: read the tensors, ignored pathlib.PosixPath"


def test_the_hint_for_a_file_that_is_not_opened_works(tmp_path: Path) -> None:
    state = prenet.build_prn_r().state_dict()
    torch.save({"state_dict": state, "more": Runs(tmp_path / "ran")}, tmp_path / "net.pth")
    with pytest.raises(InputError) as e:
        checkpoint.read(tmp_path / "net.pth")
    assert e.value.hint
    code = e.value.hint.partition('python -c "')[2].rstrip('"')
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    other = prenet.build_prn_r()
    checkpoint.load(other, tmp_path / "net-tensors.pth")
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    state = prenet.build_prn_r().state_dict()
    name = next(iter(state))
    torch.save({**state, name: torch.zeros(1).expand(10_000_000, 100_000)}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"claims \(10000000, 100000\) values and holds 4 bytes"):
        checkpoint.load(prenet.build_prn_r(), tmp_path / "net.pth")
