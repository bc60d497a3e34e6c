"""Speed of the training loader: crops a second from the pixel cache, from a naive PIL loader, and through the tiny network.

    python -m rainrag.benchmarks.speed.loader [--pairs 48] [--size 481x321] [--patch 64] [--batch 8] [--workers 0] [--json]

All in one run, turn by turn, the best turn of each counts. Targets: the cache many times the naive loader, which opens
two PNG files for each crop; and faster than the tiny network trains (forward, backward, AdamW), so that it never waits.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from rainrag.benchmarks.speed.ingest import photograph
from rainrag.models.unirain.network import UniRain
from rainrag.training.batches import Batches, dihedral
from rainrag.training.recipe import Recipe
from rainrag.training.run import prepare

TYPES = ("drs", "drd", "nrs", "nrd")


def write(root: Path, pairs: int, size: tuple[int, int]) -> list[tuple[Path, Path]]:
    """PNG pairs in UniRain's layout, dealt to the four types."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(pairs):
        clean = photograph(rng, size)
        rainy = clean + rng.integers(0, 2, (size[0], 1)) * np.linspace(0, 25, size[1])[:, None, None]
        both = []
        for side, values in (("input", rainy), ("target", clean)):
            path = root / TYPES[i % 4] / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)
            both.append(path)
        made.append((both[0], both[1]))
    return made


class Naive(Dataset[Any]):
    """What most training code does: open two files for each crop."""

    def __init__(self, files: list[tuple[Path, Path]], patch: int) -> None:
        self.files, self.patch = files, patch
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, n: int) -> Any:
        """(2, P, P, 3) uint8."""
        sides = [np.asarray(Image.open(p).convert("RGB")) for p in self.files[n % len(self.files)]]
        p = self.patch
        y, x = (int(self.rng.integers(sides[0].shape[d] - p + 1)) for d in (0, 1))
        crop = np.stack([s[y : y + p, x : x + p] for s in sides])
        return torch.from_numpy(dihedral(crop, int(self.rng.integers(8))).copy())


def rate(batches: Iterator[Any], batch: int, seconds: float) -> float:
    """Crops a second over so long."""
    next(batches)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        done += batch
    return done / (time.perf_counter() - start)


def network(batch: int, patch: int, seconds: float) -> float:
    """Crops a second that the tiny network trains on."""
    net = UniRain("tiny").train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters())
    x = torch.rand(batch, 3, patch, patch).contiguous(memory_format=torch.channels_last)

    def steps() -> Iterator[None]:
        while True:
            optimiser.zero_grad()
            (net(x) - x).abs().mean().backward()
            optimiser.step()
            yield

    return rate(steps(), batch, seconds)


def run(pairs: int, size: tuple[int, int], recipe: Recipe, turns: int, seconds: float, folder: Path) -> dict[str, Any]:
    """All figures."""
    os.environ["RAINRAG_HOME"] = str(folder / "home")
    files = write(folder / "set", pairs, size)
    ready = prepare([folder / "set"], recipe, None)
    ours = Batches(ready.pixels, ready.division, recipe)

    def cached() -> float:
        loader = DataLoader(ours, batch_size=None, sampler=range(1 << 20), num_workers=recipe.workers)
        return rate(iter(loader), recipe.batch, seconds)

    def naive() -> float:
        loader = DataLoader(Naive(files, recipe.patch), recipe.batch, num_workers=recipe.workers)
        return rate(iter(loader), recipe.batch, seconds)

    rivals: dict[str, Callable[[], float]] = {
        "cache": cached, "naive": naive, "network": lambda: network(recipe.batch, recipe.patch, seconds),
    }  # fmt: skip
    best = dict.fromkeys(rivals, 0.0)
    for _ in range(turns):
        for name, measure in rivals.items():
            best[name] = max(best[name], measure())
    return {
        "pairs": pairs,
        "size": f"{size[0]}x{size[1]}",
        "patch": recipe.patch,
        "batch": recipe.batch,
        "workers": recipe.workers,
        "threads": torch.get_num_threads(),
        **{f"{name}_crops_a_second": round(v, 1) for name, v in best.items()},
        "cache_over_naive": round(best["cache"] / best["naive"], 2),
        "cache_over_network": round(best["cache"] / best["network"], 2),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--size", default="481x321", help="WIDTHxHEIGHT")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    recipe = Recipe("speed", steps=1 << 20, patch=given.patch, batch=given.batch, workers=given.workers)
    with tempfile.TemporaryDirectory() as folder:
        found = run(given.pairs, (width, height), recipe, given.turns, given.seconds, Path(folder))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:26} {value}")
    print("targets: cache_over_naive well above 1, cache_over_network above 1")


if __name__ == "__main__":
    main()
