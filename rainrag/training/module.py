"""The Lightning module: one network, its average, the weights of the types, and the probe that drives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler

from rainrag.core.errors import IntegrityError
from rainrag.training import reweight
from rainrag.training.batches import Batches, middle
from rainrag.training.cache import Pixels
from rainrag.training.data import Division
from rainrag.training.recipe import Recipe

_CHECK_EVERY = 50  # steps between looks at the loss where a look makes a GPU wait
_PROBE_BATCH = 8


class Parts(Sampler[int]):
    """Parts of the steps of one round, on from the step that the trainer has reached.

    Args:
        step: tells that step.
        recipe: steps of a round.
    """

    def __init__(self, step: Callable[[], int], recipe: Recipe) -> None:
        self.step, self.recipe = step, recipe

    def __len__(self) -> int:
        return self.recipe.round * self.recipe.accumulate

    def __iter__(self) -> Any:
        first = self.step() * self.recipe.accumulate
        return iter(range(first, first + len(self)))


class Training(lightning.LightningModule):  # type: ignore[misc]  # lightning is not followed
    """Trains any network that takes and returns (B, 3, H, W) images.

    Args:
        network: with fresh weights.
        recipe: what to compute.
        division: types and probe.
        pixels: the cache.
        value_range: (low, high) of what the network takes and returns.
        report: called after each round with the probe's figures.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        division: Division,
        pixels: Pixels,
        value_range: tuple[float, float] = (0.0, 1.0),
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        if recipe.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.division, self.pixels = recipe, division, pixels
        self.types = division.types
        self.low, self.high = value_range
        self.report = report
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            self.average = AveragedModel(self.network, multi_avg_fn=self._blend)
            self.average.requires_grad_(False)
        self.weighting = _weighting(recipe, len(self.types), self.network)
        self.trained_weighting = self.weighting.module()  # None, or a module whose parameters train along
        self.rounds: list[dict[str, Any]] = []
        self.batches: Batches | None = None

    # ------------------------------------------------ steps
    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Whole batches by step number."""
        assert self.batches is not None
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=Parts(lambda: self.trainer.global_step, self.recipe),
            num_workers=self.recipe.workers,
            persistent_workers=False,
            pin_memory=self.device.type == "cuda",
        )

    def training_step(self, batch: dict[str, Any], n: int) -> Tensor:
        """The weighted loss of one part of a batch.

        A part's mean of a type is scaled so that the mean over all parts and processes is that type's mean over the
        whole batch. The weighting's K is divided out: with equal weights this is the plain L1 loss.
        """
        self._seed(n)
        x, gt = self._unit(batch["lq"]), self._unit(batch["gt"])
        each = (self._restore(self.network, x).float() - gt).abs().mean((1, 2, 3))
        parts = self.trainer.world_size * self.recipe.accumulate
        losses: list[Tensor | None] = []
        for kind, count in enumerate(batch["counts"]):
            mine = each[batch["kinds"] == kind]
            losses.append(mine.sum() * (parts / count) if len(mine) else None)
        loss: Tensor = self.weighting.loss(losses, batch["counts"]) / len(self.types)
        self._look(loss, n)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=False)
        balance = getattr(self.network, "balance_loss", None)
        return loss if balance is None else loss + balance()

    def _seed(self, n: int) -> None:
        """Chance inside the network (router noise, dropout) depends on step, part and process alone."""
        assert self.batches is not None
        part = self.batches.part
        at = ((self.recipe.seed * 1_000_003 + self.trainer.global_step) * part.world + part.rank) * part.accumulate
        torch.manual_seed((at + n % part.accumulate) % 2**63)

    def _look(self, loss: Tensor, n: int) -> None:
        if loss.device.type != "cpu" and n % _CHECK_EVERY:
            return
        if not bool(torch.isfinite(loss.detach())):
            raise IntegrityError(
                f"the loss is no finite number at step {self.trainer.global_step}",
                hint="start again with a lower lr (--set lr=1e-4), with clipping (--set clip=1.0), with a warm-up "
                "(--set warmup=1000), or with --set precision=32",
            )

    def _unit(self, codes: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1]."""
        x = codes.permute(0, 3, 1, 2).float() / 255
        return x.contiguous(memory_format=torch.channels_last if self.recipe.channels_last else torch.contiguous_format)

    def _restore(self, network: nn.Module, x: Tensor) -> Tensor:
        """[0, 1] to [0, 1] through a network with a range of its own."""
        span = self.high - self.low
        if (self.low, span) == (0.0, 1.0):
            y: Tensor = network(x)
            return y
        out: Tensor = (network(x * span + self.low) - self.low) / span
        return out

    # ------------------------------------------------ optimiser
    def configure_optimizers(self) -> Any:
        """AdamW with a cosine from lr to lr_last, a step at a time."""
        groups: list[dict[str, Any]] = [{"params": list(self.network.parameters())}]
        if self.trained_weighting is not None:
            groups.append({"params": list(self.trained_weighting.parameters()), "weight_decay": 0.0})
        r = self.recipe
        optimiser = torch.optim.AdamW(groups, lr=r.lr, betas=r.betas, weight_decay=r.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, r) / r.lr)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_after_backward(self) -> None:
        """Some weightings look at the gradients."""
        self.weighting.after_backward()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step, then the average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.network)

    def _blend(self, averaged: Any, current: Any, n: Any) -> None:
        """The moving average; its decay grows to the recipe's, so that the first steps are soon forgotten."""
        assert self.recipe.ema is not None
        step = self.trainer.global_step
        get_ema_multi_avg_fn(min(self.recipe.ema, (1 + step) / (10 + step)))(averaged, current, n)

    # ------------------------------------------------ rounds
    def on_train_start(self) -> None:
        """The first probe sets the scale of each type's loss; a resumed run has it already."""
        if not self.rounds:
            self._round()

    def on_train_epoch_start(self) -> None:
        """Networks come in evaluation mode."""
        self.network.train()

    def on_train_epoch_end(self) -> None:
        """End a round: probe, weights, log. The checkpoint follows."""
        self._round()

    def _round(self) -> None:
        figures = self.probe()
        losses = [figures["l1"][t] for t in self.types]
        if not all(map(math.isfinite, losses)):
            raise IntegrityError(
                f"the probe's loss is no finite number at step {self.trainer.global_step}",
                hint="start again with a lower lr, with clipping or with --set precision=32",
            )
        weights = self.weighting.update(losses)
        figures |= {"step": self.trainer.global_step, "weights": dict(zip(self.types, weights, strict=True))}
        scores = getattr(self.weighting, "scores", None)
        figures["af"] = None if scores is None else scores.af
        self.rounds.append(figures)
        mean = sum(figures["psnr"].values()) / len(self.types)
        values = {"probe/psnr": mean}
        for t in self.types:
            values |= {f"probe/psnr-{t}": figures["psnr"][t], f"probe/l1-{t}": figures["l1"][t]}
            values[f"weight/{t}"] = figures["weights"][t]
        # A float64 tensor on the module's device: the checkpoint callback compares it, the logger writes it.
        if len(self.rounds) > 1:
            self.log_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in values.items()})
        if self.report and self.trainer.is_global_zero:
            self.report({**figures, "mean": mean})

    @torch.no_grad()
    def probe(self) -> dict[str, Any]:
        """Mean L1 and mean PSNR (RGB, of clipped floats, dB) of each type's probe, with the averaged weights."""
        network = self.network if self.average is None else self.average
        training = network.training
        network.eval()
        sums = torch.zeros(len(self.types), 3, dtype=torch.float64, device=self.device)
        for k, t in enumerate(self.types):
            keys = [i.key for i in self.division.probe[t]][self.global_rank :: self.trainer.world_size]
            for at in range(0, len(keys), _PROBE_BATCH):
                sums[k] += self._measure(network, keys[at : at + _PROBE_BATCH])
        network.train(training)
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        l1, psnr = (sums[:, c] / sums[:, 2] for c in (0, 1))
        return {
            "l1": dict(zip(self.types, l1.tolist(), strict=True)),
            "psnr": dict(zip(self.types, psnr.tolist(), strict=True)),
        }

    def _measure(self, network: nn.Module, keys: Sequence[str]) -> Tensor:
        """(3,): sum of L1, sum of PSNR, number."""
        crops = torch.stack([torch.from_numpy(middle(self.pixels.pair(k), self.recipe.probed).copy()) for k in keys])
        crops = crops.to(self.device)
        x, gt = self._unit(crops[:, 0]), self._unit(crops[:, 1])
        with self.trainer.precision_plugin.forward_context():
            y = self._restore(network, x)
        y = y.float().clamp(0, 1).double()
        l1 = (y - gt).abs().mean((1, 2, 3))
        mse = (y - gt).square().mean((1, 2, 3)).clamp_min(1e-10)  # a perfect restoration counts as 100 dB
        return torch.stack([l1.sum(), (-10 * mse.log10()).sum(), torch.tensor(len(keys), device=l1.device).double()])

    # ------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What Lightning does not know of."""
        checkpoint["rainrag"] = {"weighting": self.weighting.state_dict(), "rounds": self.rounds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the weighting and the probe's history."""
        self.weighting.load_state_dict(checkpoint["rainrag"]["weighting"])
        self.rounds = list(checkpoint["rainrag"]["rounds"])
        _begin_anew(checkpoint["loops"]["fit_loop"])


def _begin_anew(loops: dict[str, Any]) -> None:
    """Make Lightning's counters those of a round that is about to begin.

    Checkpoints are written while a round ends: its batches are done, its epoch not yet. Lightning would go on inside
    that round, which then had a batch less.
    """
    epochs = loops["epoch_progress"]
    for span in ("total", "current"):
        epochs[span] = dict.fromkeys(epochs[span], epochs[span]["processed"])
    batches = loops["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False


def rate(step: int, r: Recipe) -> float:
    """Learning rate of a step: linear rise over ``warmup`` steps, then a cosine that ends at ``lr_last``."""
    if step < r.warmup:
        return r.lr * (step + 1) / r.warmup
    done = (step - r.warmup) / max(1, r.steps - 1 - r.warmup)
    return r.lr_last + (r.lr - r.lr_last) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def _weighting(recipe: Recipe, types: int, network: nn.Module) -> Any:
    options = dict(recipe.weighting_options)
    if recipe.weighting == "continual":
        from rainrag.baselines.pigwm import ImportancePenalty

        options["penalty"] = ImportancePenalty(network)
    return reweight.create(recipe.weighting, types, **options)
