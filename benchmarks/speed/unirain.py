"""UniRain against a Restormer of the same width: time and peak memory of inference, and of a training step.

    python -m rainrag.benchmarks.speed.unirain [--preset base] [--size 256] [--crop 128] [--repeats 2] [--json]

Both run in one run, turn by turn, on one thread; processor time counts, so that what else runs on the machine hardly
matters. Both are measured in NCHW and in channels_last memory, and each is given its faster one. UniRain's hard decoder
runs one expert of three: inference is the mean over the experts. Peak memory is that of a process of its own for each
network, above what it held before its first image; weights come on top, and are given as well. Where there is a GPU the
same is measured there, in bf16.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rainrag.baselines.restormer import Restormer
from rainrag.evaluation.complexity import EXPERTS, routes
from rainrag.models.unirain.network import UniRain

#: Restormer of a preset's width; for base it is the published one. tiny-v1 and small have UniRain's blocks a level.
RESTORMERS: dict[str, dict[str, Any]] = {
    "tiny-v1": {"dim": 8, "blocks": (1, 1, 1, 1), "refinement": 1, "heads": (1, 1, 2, 2)},
    "small": {"dim": 32, "blocks": (2, 3, 3, 4), "refinement": 2},
    "base": {},
}
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def build(name: str, preset: str) -> nn.Module:
    """One of the two, with fresh weights."""
    torch.manual_seed(0)
    made: nn.Module = UniRain(preset=preset) if name == "unirain" else Restormer(**RESTORMERS[preset])
    return made.eval()


def passes(network: nn.Module, x: Tensor) -> Iterator[Callable[[], Any]]:
    """Forward passes to be averaged: one for each expert, or the only one."""
    for expert in range(EXPERTS):
        given = routes(network, expert) if isinstance(network, UniRain) else None
        yield (lambda: network(x)) if given is None else (lambda given=given: network(x, routes=given))  # type: ignore[misc]
        if given is None:
            return


def step(network: nn.Module, x: Tensor) -> None:
    """Forward and backward."""
    network.train()
    loss = (network(x) - x).abs().mean()
    loss.backward()
    network.zero_grad()
    network.eval()


def timed(work: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def times(preset: str, size: int, crop: int, repeats: int) -> dict[str, dict[str, float]]:
    """Best seconds of each network, by what it does and in which memory."""
    best: dict[str, dict[str, float]] = {"unirain": {}, "restormer": {}}
    networks = {name: build(name, preset) for name in best}
    for _ in range(repeats):
        for layout, memory in LAYOUTS.items():
            for name, network in networks.items():
                network.to(memory_format=memory)  # type: ignore[call-overload]
                x, small = (torch.rand(n, 3, s, s).to(memory_format=memory) for n, s in ((1, size), (2, crop)))
                with torch.inference_mode():
                    each = [timed(work) for work in passes(network, x)]
                found = {"inference": sum(each) / len(each), "training": timed(lambda n=network, c=small: step(n, c))}  # type: ignore[misc]
                for what, seconds in found.items():
                    key = f"{what} {layout}"
                    best[name][key] = min(seconds, best[name].get(key, float("inf")))
    return best


def peak(name: str, preset: str, size: int) -> float:
    """MiB by which inference on one image raises the peak of a fresh process (``--only``), the largest expert running."""
    command = [
        sys.executable,
        "-m",
        "rainrag.benchmarks.speed.unirain",
        "--only",
        name,
        "--preset",
        preset,
        "--size",
        str(size),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def resident(field: str) -> int:
    """KiB of this process: ``VmRSS`` now, ``VmHWM`` at most since the last reset (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def peak_here(name: str, preset: str, size: int) -> float:
    """As ``peak``, in this process."""
    network = build(name, preset).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        x = torch.rand(1, 3, size, size).to(memory_format=torch.channels_last)
        network(x[:, :, :32, :32])  # libraries make their buffers
        given = routes(network, EXPERTS - 1) if isinstance(network, UniRain) else None
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of importing
        before = resident("VmRSS")
        _ = network(x) if given is None else network(x, routes=given)
    return (resident("VmHWM") - before) / 1024


def on_gpu(preset: str, size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds and peak MiB of inference in bf16 and channels_last, for each network."""
    found = {}
    for name in ("unirain", "restormer"):
        network = build(name, preset).to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.rand(1, 3, size, size, device="cuda").to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
            each = list(passes(network, x))
            for work in each * 2:
                work()
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            for _ in range(10 * repeats):
                for work in each:
                    work()
            torch.cuda.synchronize()
            spent = (time.perf_counter() - start) / (10 * repeats * len(each))
        found[name] = {"ms": 1000 * spent, "mib": (torch.cuda.max_memory_allocated() - before) / 2**20}
        del network, each
    return found


def run(preset: str, size: int, crop: int, repeats: int) -> dict[str, Any]:
    """All figures and their ratios, Restormer's over UniRain's: above one, UniRain is better."""
    torch.set_num_threads(1)
    spent = times(preset, size, crop, repeats)
    fastest = {
        name: {what: min(s for k, s in by.items() if k.startswith(what)) for what in ("inference", "training")}
        for name, by in spent.items()
    }
    memory = {name: peak(name, preset, size) for name in spent}
    found = {
        "preset": preset,
        "size": size,
        "crop": crop,
        "parameters": {name: sum(p.numel() for p in build(name, preset).parameters()) for name in spent},
        "seconds": spent,
        "peak_mib": memory,
        "ratio": {
            **{what: fastest["restormer"][what] / fastest["unirain"][what] for what in ("inference", "training")},
            "memory": memory["restormer"] / memory["unirain"],
        },
    }
    if torch.cuda.is_available():
        found["gpu"] = {"device": torch.cuda.get_device_name(), **on_gpu(preset, size, repeats)}
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(RESTORMERS), default="base")
    parser.add_argument("--size", type=int, default=256, help="of the image in inference")
    parser.add_argument("--crop", type=int, default=128, help="of the two crops of a training step")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=["unirain", "restormer"], help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.only:
        torch.set_num_threads(1)
        print(peak_here(args.only, args.preset, args.size))
        return
    found = run(args.preset, args.size, args.crop, args.repeats)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{args.preset}: inference at {args.size}x{args.size}, training on two crops of {args.crop}; one thread")
    for name, by in found["seconds"].items():
        shown = ", ".join(f"{what} {s:.3f} s" for what, s in sorted(by.items()))
        print(f"{name:10} {found['parameters'][name] / 1e6:.2f} M, {shown}, peak {found['peak_mib'][name]:.0f} MiB")
    r = found["ratio"]
    print(
        f"Restormer over UniRain: inference {r['inference']:.2f}, training {r['training']:.2f}, memory {r['memory']:.2f}"
    )
    if "gpu" in found:
        g = found["gpu"]
        print(f"{g['device']}, bf16: {g['unirain']['ms']:.1f} ms and {g['unirain']['mib']:.0f} MiB, Restormer "
              f"{g['restormer']['ms']:.1f} ms and {g['restormer']['mib']:.0f} MiB")  # fmt: skip
    else:
        print("no GPU here: not measured there")


if __name__ == "__main__":
    main()
