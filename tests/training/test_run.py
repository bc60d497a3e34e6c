"""Whole runs: what a step computes, going on after a kill, what is said when it goes wrong."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core.errors import IntegrityError, MissingError, RainRAGError, UsageError
from rainrag.training import checkpoints, run
from rainrag.training.recipe import Recipe
from tests.training.test_data import folder

SMALL = Recipe(
    name="small", steps=6, batch=4, patch=16, round=2, probe_pairs=1, probe_share=0.3, ema=0.9, lr=1e-3, clip=1.0,
    network={"preset": "tiny"},
)  # fmt: skip


class Half(nn.Module):
    """y = w x: one number, so that a step can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("pairs") / "set", 3)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "build", lambda model, options: (Half(), run.Contract()))


def go(pairs: Path, out: Path, recipe: Recipe = SMALL, **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"model": "unirain", "logger": "none", "device": "cpu"}
    given = {k: more.pop(k) for k in ("advance", "report") if k in more}
    return run.train(run.Request(roots=(pairs,), recipe=recipe, out=out, **{**settings, **more}), **given)


def checkpoint(out: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(out / f"checkpoints/{name}.ckpt", weights_only=True)


# ---------------------------------------------------------------- what a step computes
def test_steps_worked_out_by_hand(pairs: Path, tmp_path: Path, half: None) -> None:
    """One round of two steps of AdamW on y = w x, with equal weights, its average and its rate."""
    recipe = replace(SMALL, steps=2, round=2, clip=None, weight_decay=0.0, lr=1e-2, lr_last=1e-2)
    go(pairs, tmp_path / "run", recipe, model="unirain-half")
    state = checkpoint(tmp_path / "run")["state_dict"]
    # the picture is always too dark, so w grows; AdamW's first two steps on one sign are lr each
    assert state["network.w"].item() == pytest.approx(0.52, abs=1e-4)
    # the average takes the first weights as they are, then with decay min(0.9, (1 + 2) / (10 + 2))
    first, second = 0.51, 0.52
    assert state["average.module.w"].item() == pytest.approx(0.25 * first + 0.75 * second, abs=1e-3)


def test_accumulated_parts_give_the_step_of_the_whole_batch(pairs: Path, tmp_path: Path, half: None) -> None:
    recipe = replace(SMALL, batch=8, steps=4, lr=3e-2, weighting="static", weighting_options={"values": [8, 1, 1, 2]})
    for parts in (1, 2, 4):
        go(pairs, tmp_path / str(parts), replace(recipe, accumulate=parts), model="unirain-half")
    w = [checkpoint(tmp_path / str(p))["optimizer_states"][0]["state"][0]["exp_avg"].item() for p in (1, 2, 4)]
    assert w[1] == pytest.approx(w[0], rel=1e-5)
    assert w[2] == pytest.approx(w[0], rel=1e-5)


def test_the_weights_of_the_types_are_in_the_loss(pairs: Path, tmp_path: Path, half: None) -> None:
    """One step of plain gradient: the first moment is (1 - beta1) times the weighted mean of the types' gradients."""
    moments = []
    for values in ([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [4, 3, 2, 1]):
        out = tmp_path / "-".join(map(str, values))
        recipe = replace(SMALL, steps=1, round=1, clip=None, weighting="static", weighting_options={"values": values})
        go(pairs, out, recipe, model="unirain-half")
        moments.append(checkpoint(out)["optimizer_states"][0]["state"][0]["exp_avg"].item())
    *single, mixed = moments
    assert len({round(m, 6) for m in single}) == 4
    assert mixed == pytest.approx(sum(w * m for w, m in zip([0.4, 0.3, 0.2, 0.1], single, strict=True)), rel=1e-5)


def test_probe_and_weights_are_those_of_the_weighting(pairs: Path, tmp_path: Path) -> None:
    from rainrag.training import reweight

    options = {"warmup": 0, "window": 3}
    result = go(pairs, tmp_path / "run", replace(SMALL, weighting_options=options))
    rounds = checkpoint(tmp_path / "run")["rainrag"]["rounds"]
    assert [r["step"] for r in rounds] == [0, 2, 4, 6]
    again = reweight.create("positive", 4, **options)
    for r in rounds:
        assert list(r["weights"].values()) == again.update(list(r["l1"].values()))
    assert result["probe"] == max(rounds[1:], key=lambda r: sum(r["psnr"].values()))
    assert rounds[-1]["weights"]["DRS"] != 0.25


def test_a_network_of_another_range_trains_in_it(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    class Identity(Half):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach())
            return x + 0 * self.w

    monkeypatch.setattr(run, "build", lambda model, options: (Identity(), run.Contract(value_range=(-1.0, 1.0))))
    result = go(pairs, tmp_path / "run", replace(SMALL, steps=2), model="unirain-identity")
    assert min(x.min() for x in seen) < -0.5
    assert min(x.min() for x in seen) >= -1
    assert result["probe"]["psnr"] == pytest.approx(result["first_probe"]["psnr"])  # the input's own, in [0, 1]
    assert all(10 < v < 60 for v in result["probe"]["psnr"].values())


# ---------------------------------------------------------------- going on
RUN = """
import os, signal, sys
from pathlib import Path
from tests.training.test_run import SMALL, go
done = 0
def advance(n):
    global done
    done += n
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
go(Path(sys.argv[1]), Path(sys.argv[2]), SMALL, advance=advance, resume=sys.argv[4] == "resume")
"""


def test_a_killed_run_goes_on_bit_for_bit(pairs: Path, tmp_path: Path) -> None:
    go(pairs, tmp_path / "whole")
    words = [sys.executable, "-c", RUN, str(pairs), str(tmp_path / "killed"), "5", "new"]
    killed = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint(tmp_path / "killed")["global_step"] == 4  # of 5 that were done
    assert not (tmp_path / "killed/result.json").exists()
    result = go(pairs, tmp_path / "killed", resume=True)
    assert result["steps"] == 6
    a, b = (checkpoint(tmp_path / n) for n in ("whole", "killed"))
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for name, tensor in a["state_dict"].items():
        assert torch.equal(tensor, b["state_dict"][name]), name
    for x, y in zip(_tensors(a["optimizer_states"]), _tensors(b["optimizer_states"]), strict=True):
        assert torch.equal(x, y)
    assert a["rainrag"] == b["rainrag"]
    assert a["lr_schedulers"] == b["lr_schedulers"]
    steps = [c["loops"]["fit_loop"]["epoch_loop.state_dict"] for c in (a, b)]
    assert steps[0] == steps[1]
    want = (tmp_path / "whole/weights/model.safetensors").read_bytes()
    assert (tmp_path / "killed/weights/model.safetensors").read_bytes() == want


class StoppedError(Exception):
    """Ends a run as a fault would."""


@pytest.fixture
def stopped(pairs: Path, tmp_path: Path, half: None) -> tuple[Path, str]:
    """A run that ended after its fourth step of six, and the hash of the weights that the whole run comes to."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if done == 5:
            raise StoppedError

    whole = go(pairs, tmp_path / "whole", model="unirain-half")
    with pytest.raises(StoppedError):
        go(pairs, tmp_path / "run", model="unirain-half", advance=advance)
    return tmp_path / "run", whole["weights"]["sha256"]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("broken", [["last"], ["last", "previous"], ["last", "best"], ["gone"]])
def test_a_broken_checkpoint_is_passed_over_and_the_run_ends_the_same(
    pairs: Path, stopped: tuple[Path, str], broken: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, want = stopped
    assert {p.stem for p in (out / "checkpoints").iterdir()} == {"last", "previous", "best"}
    for name in broken:
        path = out / f"checkpoints/{'last' if name == 'gone' else name}.ckpt"
        path.unlink() if name == "gone" else damage(path)
    result = go(pairs, out, model="unirain-half", resume=True)
    assert (result["steps"], result["weights"]["sha256"]) == (6, want)
    assert any("last.ckpt: the checkpoint is damaged" in r.getMessage() for r in caplog.records) == ("last" in broken)


def test_no_sound_checkpoint_is_an_error_with_a_hint(pairs: Path, stopped: tuple[Path, str]) -> None:
    for path in (stopped[0] / "checkpoints").iterdir():
        damage(path)
    with pytest.raises(IntegrityError, match=r"no checkpoint is sound: last.ckpt: the checkpoint is damaged") as e:
        go(pairs, stopped[0], model="unirain-half", resume=True)
    assert e.value.hint


def test_a_run_goes_on_with_copied_data(pairs: Path, tmp_path: Path, stopped: tuple[Path, str]) -> None:
    """Times of files change with a copy; what they hold does not."""
    copy = tmp_path / "elsewhere" / pairs.name
    shutil.copytree(pairs, copy, copy_function=shutil.copyfile)
    again = go(copy, stopped[0], model="unirain-half", resume=True)
    assert again["weights"]["sha256"] == stopped[1]
    changed, other = sorted(copy.rglob("input/*.png"))[:2]
    changed.write_bytes(other.read_bytes())
    with pytest.raises(IntegrityError, match="another data"):
        go(copy, stopped[0], model="unirain-half", resume=True)


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    content = {**dict.fromkeys(checkpoints.NEEDED, 0), "state_dict": {"w": torch.ones(3)}}
    for step in (1, 2, 3):
        checkpoints.save({**content, "global_step": step}, path)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(torch, "save", full)
        with pytest.raises(RainRAGError, match="No space left"):
            checkpoints.save({**content, "global_step": 4}, path)
    assert {p.name: checkpoints.read(p)["global_step"] for p in tmp_path.iterdir()} == {
        "last.ckpt": 3,
        "previous.ckpt": 2,
    }
    assert checkpoints.newest(tmp_path) == path


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [t for p in parts for t in _tensors(p)]


def test_a_finished_run_is_neither_overwritten_nor_mixed_with_another(pairs: Path, tmp_path: Path, half: None) -> None:
    go(pairs, tmp_path / "run", model="unirain-half")
    with pytest.raises(UsageError, match="--resume"):
        go(pairs, tmp_path / "run", model="unirain-half")
    with pytest.raises(IntegrityError, match=r"recipe\.lr"):
        go(pairs, tmp_path / "run", replace(SMALL, lr=5e-4), model="unirain-half", resume=True)
    before = (tmp_path / "run/result.json").read_text()
    go(pairs, tmp_path / "run", model="unirain-half", resume=True)
    ours, again = json.loads(before), json.loads((tmp_path / "run/result.json").read_text())
    assert {**ours, "seconds": 0} == {**again, "seconds": 0}


def test_a_run_that_begins_with_weights(pairs: Path, tmp_path: Path) -> None:
    recipe = replace(SMALL, steps=2)
    first = go(pairs, tmp_path / "first", recipe)
    weights = tmp_path / "first/weights"
    again = go(pairs, tmp_path / "again", replace(recipe, lr=1e-9, lr_last=0.0), weights=str(weights))
    assert again["first_probe"]["psnr"] == first["probe"]["psnr"]  # it begins where the other ended
    assert again["begun_with"]["sha256"] == first["weights"]["sha256"]
    # what was trained on before is told on, and is said to be unknown where nobody wrote it down
    other = folder(tmp_path / "other", 3)
    (weights / "scenes.jsonl").write_text('{"key":"elsewhere/1","phash":"f0"}\n')
    go(other, tmp_path / "on", recipe, weights=str(weights))
    assert '"elsewhere/1"' in (tmp_path / "on/weights/scenes.jsonl").read_text()
    (weights / "scenes.jsonl").unlink()
    go(other, tmp_path / "unknown", recipe, weights=str(weights))
    assert not (tmp_path / "unknown/weights/scenes.jsonl").exists()
    with pytest.raises(UsageError, match="other options"):
        go(pairs, tmp_path / "small", replace(recipe, network={"preset": "tiny", "decoder": "soft", "experts": 2}),
           weights=str(weights))  # fmt: skip
    with pytest.raises(IntegrityError, match="another weights"):
        go(pairs, tmp_path / "again", replace(recipe, lr=1e-9, lr_last=0.0), resume=True)


# ---------------------------------------------------------------- what goes wrong
def test_a_loss_that_is_no_number_stops_the_run(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Half):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / (0.0 if self.training else 1.0)

    monkeypatch.setattr(run, "build", lambda model, options: (Broken(), run.Contract()))
    with pytest.raises(IntegrityError, match=r"step 0[\s\S]*--set lr"):
        go(pairs, tmp_path / "run", model="unirain-half")
    assert not (tmp_path / "run/checkpoints/last.ckpt").exists()


def test_too_little_memory_is_answered_with_what_to_change(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hungry(Half):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return super().forward(x)

    monkeypatch.setattr(run, "build", lambda model, options: (Hungry(), run.Contract()))
    with pytest.raises(MissingError, match=r"4 crops of 16 pixels[\s\S]*accumulate=2"):
        go(pairs, tmp_path / "run", model="unirain-half")


# ---------------------------------------------------------------- the command
def test_any_baseline_trains_and_its_weights_load_again(pairs: Path, tmp_path: Path) -> None:
    from rainrag import baselines

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "steps: 2\nround: 1\nbatch: 4\npatch: 16\nprobe_pairs: 1\nprobe_share: 0.3\nprecision: bf16\n"
        "channels_last: true\nworkers: 1\nnetwork: {preset: small}\n"  # of UniRain, as the shipped recipes have it
    )
    words = ["train", "--data", str(pairs), "--model", "prn", "--recipe", str(recipe), "--out", str(tmp_path / "run"),
             "--device", "cpu", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["parameters"] == sum(p.numel() for p in baselines.create("prn").parameters())
    network = baselines.load("prn", tmp_path / "run" / result["weights"]["path"])
    trained = checkpoint(tmp_path / "run", "best")["state_dict"]
    assert all(torch.equal(v, trained[f"network.{k}"]) for k, v in network.state_dict().items())
    assert list((tmp_path / "run/log").glob("events.out.tfevents*"))


def test_a_dry_run_says_what_would_be_done(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        "train",
        "--data",
        str(pairs),
        "--recipe",
        "shipped-tiny",
        "--out",
        str(out),
        "--max-steps",
        "9",
        "--dry-run",
    ]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["pairs"] == {"DRS": 3, "DRD": 3, "NRS": 3, "NRD": 3}
    assert plan["recipe"]["steps"] == 9
    assert plan["cache_bytes"] == 12 * 24 * 20 * 6
    assert not out.exists()


def test_a_run_by_command_and_its_weights(pairs: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from rainrag.models.unirain.network import UniRain

    out = tmp_path / "run"
    sets = [w for s in ("round=1", "batch=4", "patch=16", "network.preset=tiny", "workers=0") for w in ("--set", s)]
    words = ["train", "--data", str(pairs), "--max-steps", "1", "--out", str(out), "--device", "cpu", *sets]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    network = UniRain.from_pretrained(out / "weights", strict=True)
    saved = load_file(out / "weights/model.safetensors")
    assert all(torch.equal(v, saved[k]) for k, v in network.state_dict().items())
    averaged = checkpoint(out, "best")["state_dict"]
    assert torch.equal(saved["output.weight"], averaged["average.module.output.weight"])
    assert json.loads((out / "left-out.json").read_text()) == []


# ---------------------------------------------------------------- several processes
def test_two_processes_compute_the_steps_of_one(pairs: Path, tmp_path: Path) -> None:
    recipe = "steps: 4\nbatch: 8\npatch: 16\nround: 2\nprobe_pairs: 1\nprobe_share: 0.3\nlr: 1.0e-3\n"
    (tmp_path / "small.yaml").write_text(recipe)
    train = [
        "train",
        "--data",
        str(pairs),
        "--model",
        "prn",
        "--recipe",
        str(tmp_path / "small.yaml"),
        "--device",
        "cpu",
    ]
    train += ["--logger", "none", "--workers", "1"]
    assert CliRunner().invoke(app, [*train, "--out", str(tmp_path / "one")]).exit_code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rainrag"]
    both = subprocess.run(
        [*launch, *train, "--devices", "2", "--out", str(tmp_path / "two")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert both.returncode == 0, both.stderr[-2000:]
    one, two = (json.loads((tmp_path / n / "result.json").read_text()) for n in ("one", "two"))
    assert (one["machine"]["processes"], two["machine"]["processes"]) == (1, 2)
    assert two["probe"]["l1"] == pytest.approx(one["probe"]["l1"], rel=1e-4)
    a, b = (checkpoint(tmp_path / n)["state_dict"] for n in ("one", "two"))
    for name, tensor in a.items():
        assert torch.allclose(tensor, b[name], atol=2e-4), name
