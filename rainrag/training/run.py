"""A run: data, network, Lightning's trainer, and a folder with recipe, log, checkpoints, weights and result."""

from __future__ import annotations

import logging
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainrag.core import workspace
from rainrag.core.errors import IntegrityError, MissingError, UsageError
from rainrag.core.files import canonical, fingerprint, read_json, sha256_file, write_json, write_text
from rainrag.core.types import Reject
from rainrag.models.input_spec import Contract
from rainrag.training import cache, checkpoints, data
from rainrag.training.recipe import PRECISIONS, Recipe

if TYPE_CHECKING:
    from torch import nn

    from rainrag.evaluation.submissions import Entrant
    from rainrag.training.module import Training

LOGGERS = ("tensorboard", "wandb", "none")


@dataclass(frozen=True)
class Request:
    """What to train, on what, where.

    Args:
        model: ``unirain`` or a baseline's name.
        roots: folders of training pairs.
        recipe: what to compute.
        out: run folder; None for one in the workspace, named by model, recipe and data.
        resume: go on from the last checkpoint there.
        logger: one of ``LOGGERS``.
        devices, nodes: GPUs of each machine, and machines; None for what torchrun or the machine says.
        device: ``auto``, ``cpu`` or ``gpu``.
        weights: to begin with, as ``rainrag bench --weights`` names them; None for fresh ones.
    """

    model: str
    roots: tuple[Path, ...]
    recipe: Recipe
    out: Path | None = None
    resume: bool = False
    logger: str = "tensorboard"
    devices: int | None = None
    nodes: int = 1
    device: str = "auto"
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.logger not in LOGGERS:
            raise UsageError(f"no logger '{self.logger}'", hint=f"one of {', '.join(LOGGERS)}")


@dataclass(frozen=True)
class TrainingRun:
    """A finished training run.

    Args:
        out: the run folder, with recipe, log, checkpoints, weights and ``result.json``.
        weights: the file of the weights.
        steps, best_step: optimiser steps done, and the step whose weights are kept.
        psnr_before, psnr: type of rain -> PSNR of the held-out probe in dB, at the start and with the kept weights.
        seconds: of training, over all sittings.
        result: what ``result.json`` holds.
    """

    model: str
    out: Path
    weights: Path
    weights_sha256: str
    parameters: int
    steps: int
    best_step: int
    psnr_before: dict[str, float]
    psnr: dict[str, float]
    seconds: float
    result: dict[str, Any]

    @classmethod
    def of(cls, result: dict[str, Any]) -> TrainingRun:
        """The record of what ``train`` returns in the first process."""
        out = Path(result["out"])
        return cls(
            result["model"], out, out / result["weights"]["path"], result["weights"]["sha256"], result["parameters"],
            result["steps"], result["best_step"], result["first_probe"]["psnr"], result["probe"]["psnr"],
            result["seconds"], result,
        )  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """Data ready to train on."""

    pixels: cache.Pixels
    division: data.Division
    fingerprint: str

    def counts(self) -> dict[str, dict[str, Any]]:
        """By type: pairs and scenes of training part and probe, and sources."""
        found = {}
        for t in self.division.types:
            train, probe = self.division.train[t], self.division.probe[t]
            sources: dict[str, int] = {}
            for i in train:
                sources[i.source] = sources.get(i.source, 0) + 1
            found[t] = {
                "train": len(train), "scenes": len({i.scene for i in train}), "probe": len(probe), "sources": sources,
            }  # fmt: skip
        return found


# ---------------------------------------------------------------- before
def begin(request: Request) -> tuple[nn.Module, Contract, Entrant | None]:
    """The network as training begins: fresh, or with the weights asked for and what is known of them.

    Raises:
        RainRAGError: of the kind that fits, with a hint.
    """
    network, contract = build(request.model, dict(request.recipe.network))
    if request.weights is None:
        return network, contract, None
    from rainrag.evaluation import submissions

    entrant = submissions.find(request.model, request.weights)
    try:
        network.load_state_dict(entrant.network.state_dict(), strict=True)
    except RuntimeError as e:
        raise UsageError(
            "these weights are of a network with other options than the recipe's",
            where=request.weights,
            hint="say the same: --set network.preset=…",
        ) from e
    return network, contract, entrant


def build(model: str, options: dict[str, Any]) -> tuple[nn.Module, Contract]:
    """A network with fresh weights, and what it takes.

    Raises:
        UsageError: for an unknown name or option, or a network that has nothing to train.
    """
    if model == "unirain":
        from rainrag.models.unirain.network import UniRain

        try:
            network = UniRain(**options)
            return network, Contract(multiple=network.multiple)
        except TypeError as e:
            raise UsageError(f"options of UniRain: {e}", hint="docs/unirain.md lists them") from e
    from rainrag import baselines

    if not baselines.find(model).trainable:
        raise UsageError(f"'{model}' has nothing to train", hint="rainrag models lists the networks")
    # The recipes name a size of UniRain's; a baseline has its published one, unless its own options say otherwise.
    own = {k: v for k, v in options.items() if k != "preset"}
    return baselines.create(model, **own), Contract.of(baselines.card_of(model))


def check_sizes(recipe: Recipe, contract: Contract) -> None:
    """Crops must be what the network takes.

    Raises:
        UsageError: with the nearest size that it takes.
    """
    for name, side in (("patch", recipe.patch), ("probe_side", recipe.probed)):
        if contract.padded(side, side) != (side, side) or (contract.fixed and side != contract.fixed):
            way = contract.fixed or contract.up(side)
            raise UsageError(f"the network takes no {name} of {side} pixels", hint=f"--set {name}={way}")


def prepare(
    roots: Sequence[Path], recipe: Recipe, workers: int | None = 1, progress: Callable[[int], None] | None = None
) -> Prepared:
    """Collect, decode once, leave out test scenes, carve the probe.

    Raises:
        InputError: when nothing can be trained on.
        MissingError: when the disk has no room for the cache.
    """
    found = data.collect(roots)
    if progress:
        progress(-len(found.items))
    pixels, items, bad = cache.build(found.items, recipe.window, workers, progress)
    division = data.divide(items, found.tests, recipe.probe_pairs, recipe.probe_share, recipe.seed)
    rejects = (*found.rejects, *bad, *division.rejects)
    division = data.Division(division.types, division.train, division.probe, rejects)
    return Prepared(pixels, division, fingerprint([[i.key, i.identity] for i in found.items]))


def plan(request: Request) -> dict[str, Any]:
    """What a run would do: pairs, bytes of the cache, parameters. Decodes and writes nothing."""
    network, contract, _ = begin(request)
    check_sizes(request.recipe, contract)
    found = data.collect(request.roots)
    counts: dict[str, int] = {}
    for i in found.items:
        counts[i.type] = counts.get(i.type, 0) + 1
    return {
        "model": request.model,
        "parameters": sum(p.numel() for p in network.parameters()),
        "recipe": request.recipe.to_dict(),
        "out": str(folder(request, fingerprint([[i.key, i.identity] for i in found.items]))),
        "pairs": counts,
        "left_out": len(found.rejects),
        "cache_bytes": cache.size(found.items, request.recipe.window),
        "crops": request.recipe.steps * request.recipe.batch,
    }


def folder(request: Request, identity: str) -> Path:
    """The run's folder."""
    name = f"{request.model}-{request.recipe.name}-{identity[:8]}"
    return request.out or workspace.place("runs", name)


# ---------------------------------------------------------------- the run
def train(
    request: Request,
    workers: int | None = 1,
    decoding: Callable[[int], None] | None = None,
    advance: Callable[[int], None] | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train, and write the run folder.

    Args:
        workers: processes that decode into the cache.
        decoding: progress of the cache.
        advance: progress in steps.
        report: called after each round.

    Returns:
        What ``result.json`` holds.

    Raises:
        RainRAGError: of the kind that fits, with a hint.
    """
    import torch

    from rainrag.training.module import Training

    torch.manual_seed(request.recipe.seed)  # initial weights
    network, contract, before = begin(request)
    check_sizes(request.recipe, contract)
    ready = prepare(request.roots, request.recipe, workers, decoding)
    out = folder(request, ready.fingerprint)
    checkpoint = _claim(request, out, ready, before)
    clock = _Clock(out)

    def said(figures: dict[str, Any]) -> None:
        clock.seconds()
        if report:
            report(figures)

    module = Training(network, request.recipe, ready.division, ready.pixels, contract.value_range, said)
    trainer = _trainer(request, out, advance)
    _fit(trainer, module, request, ready, checkpoint)
    if not trainer.is_global_zero:
        return {}
    return _finish(request, out, ready, module, trainer, clock.seconds(), before)


def _claim(request: Request, out: Path, ready: Prepared, begun: Entrant | None) -> Path | None:
    """Take the folder, or go on in it; returns the checkpoint to go on from.

    Raises:
        UsageError: when a run is there and ``resume`` was not asked for.
        IntegrityError: when the run there is another one.
    """
    identity: dict[str, Any] = {
        "model": request.model, "recipe": request.recipe.to_dict(), "data": ready.fingerprint,
        "types": list(ready.division.types),
    }  # fmt: skip
    if begun:
        identity["weights"] = begun.weights_sha256 or begun.weights
    marker = out / "run.json"
    if marker.exists():
        before = read_json(marker)["identity"]
        differs = [k for k in {**before, **identity} if before.get(k) != identity.get(k)]
        if differs and request.resume:
            if "recipe" in differs:
                was, now = before["recipe"], identity["recipe"]
                differs += [f"recipe.{k}" for k in {*was, *now} if was.get(k) != now.get(k)]
            raise IntegrityError(
                f"the run here has another {', '.join(sorted(differs))}",
                where=out,
                hint="another --out for another run",
            )
        if not request.resume and checkpoints.there(out / "checkpoints"):
            raise UsageError("a run is here already", where=out, hint="--resume goes on with it; --out names another")
    out.mkdir(parents=True, exist_ok=True)
    write_json(marker, {"identity": identity, "pairs": ready.counts()})
    write_json(out / "left-out.json", [_plain(r) for r in ready.division.rejects])
    return checkpoints.newest(out / "checkpoints") if request.resume else None


def _plain(r: Reject) -> dict[str, str]:
    return {"key": r.key, "reason": r.reason, "detail": r.detail}


def _trainer(request: Request, out: Path, advance: Callable[[int], None] | None) -> Any:
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

    from rainrag.training.progress import Advance

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    r = request.recipe
    every: dict[str, Any] = {
        "every_n_epochs": 1, "save_on_train_epoch_end": True, "enable_version_counter": False, "save_top_k": 1,
    }  # fmt: skip
    best = ModelCheckpoint(out / "checkpoints", filename="best", monitor="probe/psnr", mode="max", **every)
    last = ModelCheckpoint(out / "checkpoints", filename="last", **every)  # after best, whose state it holds
    logger = _logger(request, out)
    others: list[Any] = [LearningRateMonitor("step")] if logger else []
    others += [Advance(advance)] if advance else []
    return lightning.Trainer(
        accelerator=request.device,
        devices=request.devices or "auto",
        num_nodes=request.nodes,
        strategy=_strategy(request),
        precision=PRECISIONS[r.precision],
        max_steps=r.steps,
        max_epochs=-1,
        accumulate_grad_batches=r.accumulate,
        gradient_clip_val=r.clip,
        callbacks=[*others, best, last],
        plugins=[checkpoints.storage()],
        logger=logger,
        log_every_n_steps=min(50, r.round),
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _strategy(request: Request) -> str:
    """One device alone, or DDP. Hard mixtures leave experts without a gradient in some steps, which DDP must be told."""
    import os

    import torch

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 or request.nodes > 1 or (request.devices or 1) > 1
    if request.devices is None and request.device != "cpu":
        several = several or torch.cuda.device_count() > 1
    return "ddp_find_unused_parameters_true" if several else "auto"


def _logger(request: Request, out: Path) -> Any:
    if request.logger == "none":
        return False
    try:
        if request.logger == "wandb":
            from lightning.pytorch.loggers import WandbLogger

            return WandbLogger(project="rainrag", name=out.name, save_dir=str(out))
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(str(out), name="log", version="")
    except ModuleNotFoundError as e:
        raise MissingError(f"the logger {request.logger} is not installed: {e}", hint=f"pip install {request.logger}, or "
                           "--logger none") from e  # fmt: skip


def _fit(trainer: Any, module: Training, request: Request, ready: Prepared, checkpoint: Path | None) -> None:
    import torch

    from rainrag.training.batches import Batches, Part

    r = request.recipe
    part = Part(trainer.global_rank, trainer.world_size, r.accumulate)
    module.batches = Batches(ready.pixels, ready.division, r, part)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning.*|torch\.optim\.lr_scheduler")
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as e:
        text = str(e).lower()
        if not isinstance(e, torch.OutOfMemoryError | MemoryError) and not any(
            w in text for w in ("out of memory", "can't allocate memory", "cannot allocate memory")
        ):
            raise
        smaller = next(
            (a for a in range(r.accumulate + 1, r.batch + 1) if r.batch % (a * trainer.world_size) == 0), None
        )
        ways = [f"--set accumulate={smaller} (same result, less memory)"] if smaller else []
        if r.precision != "bf16":
            ways.append("--set precision=bf16")
        ways += [f"--set patch={max(32, r.patch // 2)}", "a smaller network"]
        raise MissingError(
            f"not enough memory for {r.batch // trainer.world_size // r.accumulate} crops of {r.patch} pixels at once",
            where=request.model,
            hint="; or ".join(ways),
        ) from e


class _Clock:
    """Seconds of a run over all its sittings; metadata, so in its own file."""

    def __init__(self, out: Path) -> None:
        self.path = out / "seconds.json"
        self.before = float(read_json(self.path)) if self.path.exists() else 0.0
        self.start = time.monotonic()

    def seconds(self) -> float:
        """So far; written down too."""
        total = self.before + time.monotonic() - self.start
        write_json(self.path, round(total, 1))
        return total


# ---------------------------------------------------------------- after
def _finish(
    request: Request,
    out: Path,
    ready: Prepared,
    module: Training,
    trainer: Any,
    seconds: float,
    before: Entrant | None,
) -> dict[str, Any]:
    """Write the best round's weights and the result."""
    import torch

    best = out / "checkpoints" / "best.ckpt"
    checkpoint = checkpoints.read(best)
    prefix = "network." if module.average is None else "average.module."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    module.network.load_state_dict(state, strict=True)
    weights = save(request.model, module.network, out / "weights")
    _write_scenes(ready.division, before, weights.parent)
    figures = next(f for f in checkpoint["rainrag"]["rounds"][::-1] if f["step"] == checkpoint["global_step"])
    result = {
        "model": request.model,
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "recipe": request.recipe.to_dict(),
        "data": {"fingerprint": ready.fingerprint, "pairs": ready.counts(), "left_out": _reasons(ready.division)},
        "steps": trainer.global_step,
        "best_step": checkpoint["global_step"],
        "probe": figures,
        "first_probe": checkpoint["rainrag"]["rounds"][0],
        "weights": {"path": str(weights.relative_to(out)), "sha256": sha256_file(weights)},
        "begun_with": before and {"weights": before.weights, "sha256": before.weights_sha256},
        "seconds": round(seconds, 1),
        "machine": {
            "device": str(module.device.type if trainer.world_size == 1 else trainer.strategy.root_device.type),
            "processes": trainer.world_size,
            "threads": torch.get_num_threads(),
            "platform": platform.platform(),
            "torch": torch.__version__.split("+")[0],
        },
    }
    write_json(out / "result.json", result)
    return {**result, "out": str(out)}


def _write_scenes(division: data.Division, before: Entrant | None, out: Path) -> None:
    """Hash of every pair that was trained on or chosen by: 'rainrag bench' marks test scenes among them as seen.

    Weights that training began with bring their scenes along; where nobody wrote those down there is no list, and the
    marks say that it is not known.
    """
    from rainrag.data import contamination
    from rainrag.evaluation.submissions import SCENES

    earlier: list[dict[str, Any]] = []
    if before:
        beside = before.file and before.file.parent / SCENES
        if not beside or not beside.is_file():
            return
        earlier = contamination.read(beside)
    items = {i.key: i for part in (division.train, division.probe) for members in part.values() for i in members}
    rows = [
        {"key": k if k.startswith(f"{i.source}/") else f"{i.source}/{k}", "phash": i.phash or ""}
        for k, i in sorted(items.items())
    ]
    known = {canonical(r) for r in rows}
    lines = [*map(canonical, rows), *(line for line in map(canonical, earlier) if line not in known)]
    write_text(out / SCENES, "".join(line + "\n" for line in lines))


def _reasons(division: data.Division) -> dict[str, int]:
    found: dict[str, int] = {}
    for r in division.rejects:
        found[r.reason] = found.get(r.reason, 0) + 1
    return found


def save(model: str, network: nn.Module, out: Path) -> Path:
    """Weights as they are loaded again: UniRain's folder, or one safetensors file; returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    if model == "unirain":
        network.save_pretrained(out)  # type: ignore[operator]
        (out / "README.md").unlink(missing_ok=True)  # the hub's empty model card
        return out / "model.safetensors"
    from safetensors.torch import save_file

    from rainrag.core.files import atomic

    state = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    path = out / f"{model}.safetensors"
    with atomic(path) as tmp:
        save_file(state, tmp)
    return path
