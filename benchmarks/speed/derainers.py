"""Small derainers in one run: processor time of one thread, and pixels a second, turn by turn.

    python -m rainrag.benchmarks.speed.derainers [--size 256] [--repeats 3] [--names tiny prenet …] [--json]

UniRain's presets run as ``rainrag derain`` runs them on a CPU (lean ones in channels_last memory), the others in the faster
of both memories. Weights are fresh: they do not change the time, but for a hard mixture's choice of expert. Of the repeats
the fastest counts, as other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from torch import nn

from rainrag import baselines
from rainrag.models.unirain.network import UniRain
from rainrag.models.unirain.presets import PRESETS

NAMES = ("tiny", "tiny-v1", "small", "prenet", "restormer")
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def build(name: str) -> nn.Module:
    """A UniRain's preset or a published network, with fresh weights."""
    torch.manual_seed(0)
    return (UniRain(preset=name) if name in PRESETS else baselines.create(name)).eval()


def seconds(network: nn.Module, size: int, layout: str) -> float:
    """Processor time of one image."""
    memory = LAYOUTS[layout]
    moved = network.to(memory_format=memory)  # type: ignore[call-overload]
    x = torch.rand(1, 3, size, size).contiguous(memory_format=memory)
    with torch.inference_mode():
        moved(x[:, :, :64, :64].contiguous(memory_format=memory))
        start = time.process_time()
        moved(x)
        return time.process_time() - start


def measure(names: list[str], size: int, repeats: int) -> dict[str, dict[str, float | str]]:
    """Fastest time by network, with the memory it was measured in."""
    networks = {n: build(n) for n in names}
    best: dict[str, tuple[float, str]] = {}
    for _ in range(repeats):
        for name, network in networks.items():
            lean = name in PRESETS and PRESETS[name].lean
            for layout in ("channels_last",) if lean else LAYOUTS:
                took = seconds(network, size, layout)
                best[name] = min(best.get(name, (took, layout)), (took, layout))
    return {
        name: {
            "seconds": took,
            "megapixels_per_second": size * size / took / 1e6,
            "layout": layout,
            "parameters": sum(p.numel() for p in networks[name].parameters()) / 1e6,
        }
        for name, (took, layout) in best.items()
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--names", nargs="+", default=list(NAMES))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(given.names, given.size, given.repeats)
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, f in found.items():
        speed = f"{f['seconds']:7.2f} s  {f['megapixels_per_second']:6.3f} Mpx/s"
        print(f"{name:10} {f['parameters']:7.2f} M  {speed}  {f['layout']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
