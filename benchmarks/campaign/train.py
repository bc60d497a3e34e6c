"""Training to a deadline: a state that any later day goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rainrag.benchmarks.campaign.crops import Crops
from rainrag.core.errors import InputError, IntegrityError
from rainrag.core.files import atomic, read_json, write_json
from rainrag.models.unirain.experts import indecision
from rainrag.models.unirain.network import UniRain

#: Steps whose routing is looked at together: a batch of four says little on how evenly experts are used.
REMEMBERED = 16


@dataclass(frozen=True)
class Schedule:
    """What a day's training computes.

    Args:
        until: deadline, seconds since 1970.
        batch, patch: crops of a step and their side.
        late_patch: side after ``late`` of the time; the batch shrinks so that a step's pixels stay.
        late: share of the time.
        lr: learning rate at first; a cosine over the time takes it to zero.
        warmup: steps of linear rise.
        ema: decay of the averaged weights.
        clip: largest norm of the gradient.
        decision: weight of ``indecision``.
        frequency: weight of the spectrum's L1 beside the Charbonnier loss.
        save_every: seconds between states on disk.
        seed: of crops and fresh weights.
    """

    until: float
    batch: int = 4
    patch: int = 96
    late_patch: int = 128
    late: float = 0.65
    lr: float = 4e-4
    warmup: int = 200
    ema: float = 0.998
    clip: float = 1.0
    decision: float = 0.003
    frequency: float = 0.1
    save_every: float = 240.0
    seed: int = 0

    def rate(self, done: float, step: int) -> float:
        """Learning rate after a share of the time."""
        return self.lr * min(1.0, (step + 1) / self.warmup) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def crops(self, done: float) -> tuple[int, int]:
        """(batch, patch) after a share of the time."""
        if done < self.late:
            return self.batch, self.patch
        return max(1, round(self.batch * self.patch**2 / self.late_patch**2)), self.late_patch


def loss_of(y: Tensor, gt: Tensor, frequency: float) -> Tensor:
    """Charbonnier loss (eps 1e-3) and L1 of the orthonormal spectrum, (B, 3, P, P)."""
    d = y - gt
    spectrum = torch.view_as_real(torch.fft.rfft2(d.contiguous(), norm="ortho"))
    loss: Tensor = (d.square() + 1e-6).sqrt().mean() + frequency * spectrum.abs().mean()
    return loss


class Decisions:
    """Indecision of the hard routers over the images of the last steps; those before the present one have no gradient."""

    def __init__(self) -> None:
        self.earlier: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def __call__(self, network: UniRain, kinds: Tensor) -> Tensor:
        """The loss for the last forward pass, whose images are of these kinds."""
        total = torch.zeros(())
        for name, p in network.decisions().items():
            queue = self.earlier.setdefault(name, [])
            probabilities = torch.cat([p, *(q for q, _ in queue)])
            types = torch.cat([kinds, *(k for _, k in queue)])
            total = total + indecision(probabilities, types) * (len(queue) + 1)
            queue.insert(0, (p.detach(), kinds))
            del queue[REMEMBERED - 1 :]
        return total


def _last(network: UniRain) -> UniRain:
    """In channels_last memory."""
    moved: UniRain = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


class Run:
    """Network, averaged network, optimiser and clock.

    Args:
        folder: of the state.
        options: of UniRain, for a fresh network; a state on disk has its own.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], schedule: Schedule) -> None:
        self.folder, self.schedule = folder, schedule
        self.step, self.start, self.seconds = 0, time.time(), 0.0
        path = folder / "network.json"
        options = read_json(path) if path.is_file() else dict(options)
        torch.manual_seed(schedule.seed)
        self.network = _last(UniRain(**options)).train()
        self.average = _last(UniRain(**self.network.config)).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=schedule.lr, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.decisions = Decisions()
        folder.mkdir(parents=True, exist_ok=True)
        if self.state.is_file():
            self._load()
        write_json(path, self.network.config)

    @property
    def state(self) -> Path:
        """The file that a later run goes on from."""
        return self.folder / "last.pt"

    def _load(self) -> None:
        try:
            found = torch.load(self.state, weights_only=True)
            self.network.load_state_dict(found["net"])
            self.average.load_state_dict(found["ema"])
            self.optimiser.load_state_dict(found["opt"])
        except (KeyError, RuntimeError, ValueError) as e:
            raise InputError(
                "the state is not one of this network", where=self.state, hint="name another folder"
            ) from e
        self.step, self.seconds = found["step"], found["spent"]
        self.decisions.earlier = found.get("decisions", {})
        if found.get("until") == self.schedule.until:
            self.start = found["start"]  # the same day goes on; another deadline is another cosine, a warm restart

    def save(self) -> None:
        """Write the state aside, then put it in place."""
        held = {
            "net": self.network.state_dict(),
            "ema": self.average.state_dict(),
            "opt": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.seconds,
            "start": self.start,
            "until": self.schedule.until,
            "decisions": self.decisions.earlier,
        }
        with atomic(self.state) as tmp:
            torch.save(held, tmp)

    def advance(self, crops: Crops, done: float) -> float:
        """One step; returns its loss without routing."""
        s = self.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = s.rate(done, self.step)
        torch.manual_seed(s.seed * 1_000_003 + self.step)  # noise of the routers
        lq, gt, kinds = crops.batch(self.step, *s.crops(done), seed=s.seed)
        restoration = loss_of(self.network(lq), gt, s.frequency)
        loss = restoration + s.decision * self.decisions(self.network, kinds)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), s.clip)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return float(restoration.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average; its decay grows, so that the first steps are soon forgotten."""
        decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        for mean, now in pairs:
            mean.lerp_(now, 1 - decay)

    def until(
        self, crops: Crops, report: Callable[[int, float, float], None], clock: Callable[[], float] = time.time
    ) -> None:
        """Train to the deadline.

        Args:
            crops: what to train on.
            report: called every 100 steps with step, mean loss of those, and the share of the time that has passed.
            clock: seconds since 1970.

        Raises:
            IntegrityError: when the loss is no finite number.
        """
        saved, losses = clock(), []
        before, worked = self.seconds, time.process_time()
        while (now := clock()) < self.schedule.until:
            done = (now - self.start) / max(1e-9, self.schedule.until - self.start)
            losses.append(self.advance(crops, done))
            if not math.isfinite(losses[-1]):
                raise IntegrityError(f"the loss is no finite number at step {self.step}", hint="a lower lr")
            self.seconds = before + time.process_time() - worked
            if len(losses) == 100:
                report(self.step, sum(losses) / len(losses), done)
                losses.clear()
            if now - saved > self.schedule.save_every:
                self.save()
                saved = now
        self.save()
