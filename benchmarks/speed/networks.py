"""Time and peak memory of every network at 256 x 256, and what each of their tricks is worth.

    python -m rainrag.benchmarks.speed.networks [--names restormer …] [--size 256] [--repeats 1] [--compile] [--json]
    python -m rainrag.benchmarks.speed.networks --tricks

CPU: one thread, processor time, float32, in NCHW and in channels_last memory. Every network runs in a process of its
own; its peak is what one image adds to what the process held before. A network of one fixed size is given as many
patches as cover the image. The results of both memories are compared, in float32, with float64 on a part of the image
as the yardstick. On a GPU, where there is one: bf16 and channels_last, with ``--compile`` compiled too, against float32.

Tricks: a block as it stands in ``baselines`` against the plain way to write it (below: loops over windows, normalised
copies, a product for each mask), turn by turn in one run. Their float64 results must be equal, else nothing is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rainrag import baselines
from rainrag.baselines import complexity
from rainrag.baselines.drsformer import TKSA
from rainrag.baselines.idt import PositionalAttention, SpatialTransformer
from rainrag.baselines.layers.windows import WindowAttention, from_windows, to_windows
from rainrag.baselines.nerd_rain import CELL, INR, RELATIVE
from rainrag.baselines.wgws import WeatherConv2d
from rainrag.models.unirain.blocks import MDTA, LayerNorm2d

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
WINDOW = 8


# ---------------------------------------------------------------- whole networks
def build(name: str) -> nn.Module:
    """A network with fresh weights that let every part be seen in the output."""
    torch.manual_seed(0)
    return baselines.create(name)


def pictures(name: str, size: int) -> Tensor:
    """An image in the network's range, in the size it takes."""
    card = baselines.card_of(name)
    low, high = card.value_range
    side = card.fixed or size
    x = torch.rand(math.ceil(size / side) ** 2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return x * (high - low) + low


def resident(field: str) -> int:
    """KiB of this process: ``VmRSS`` now, ``VmHWM`` at most since the last reset (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest value of b."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())


@torch.inference_mode()
def one(name: str, size: int, repeats: int) -> dict[str, Any]:
    """Seconds by memory layout, MiB, and the distance between the layouts' results, in this process."""
    torch.set_num_threads(1)
    network, x = build(name), pictures(name, size)
    card = baselines.card_of(name)
    least = card.fixed or max(card.multiple, card.min_side, 32)
    small = x[:1, :, :least, :least].contiguous()
    network(small)  # libraries make their buffers
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of importing
    before = resident("VmRSS")
    network(x)
    found: dict[str, Any] = {"mib": (resident("VmHWM") - before) / 1024, "seconds": {}}
    outputs = {}
    for layout, memory in LAYOUTS.items():
        network.to(memory_format=memory)  # type: ignore[call-overload]
        spent = []
        for _ in range(repeats):
            start = time.process_time()
            network(x.to(memory_format=memory))
            spent.append(time.process_time() - start)
        found["seconds"][layout] = min(spent)
        outputs[layout] = network(small.to(memory_format=memory))
    exact = network.double()(small.double())
    found["difference"] = relative(outputs["channels_last"], outputs["nchw"])
    found["float32"] = relative(outputs["nchw"], exact)
    return found


def of(name: str, size: int, repeats: int) -> dict[str, Any]:
    """As ``one``, in a fresh process."""
    command = [sys.executable, "-m", "rainrag.benchmarks.speed.networks", "--only", name, "--size", str(size)]
    done = subprocess.run([*command, "--repeats", str(repeats)], capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


@torch.inference_mode()
def on_gpu(name: str, size: int, compiled: bool) -> dict[str, float]:
    """Milliseconds and peak MiB in bf16 and channels_last, and the distance to float32."""
    network = build(name).to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = pictures(name, size).to("cuda", memory_format=torch.channels_last)
    plain = network(x)
    run: Any = torch.compile(network) if compiled else network
    with torch.autocast("cuda", dtype=torch.bfloat16):
        for _ in range(3):
            y = run(x)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(10):
            run(x)
        torch.cuda.synchronize()
    spent = (time.perf_counter() - start) / 10
    mib = (torch.cuda.max_memory_allocated() - before) / 2**20
    return {"ms": 1000 * spent, "mib": mib, "difference": relative(y, plain)}


# ---------------------------------------------------------------- tricks: the plain way
def norm_with_copies(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """To tokens, normalise, and back."""
    h, w = x.shape[-2:]
    tokens = x.flatten(2).transpose(1, 2).contiguous()
    y = F.layer_norm(tokens, tokens.shape[-1:], norm.weight, norm.bias, norm.eps)
    return y.transpose(1, 2).reshape(x.shape[0], -1, h, w).contiguous()


def _heads(qkv: Tensor, heads: int) -> list[Tensor]:
    return [t.reshape(t.shape[0], heads, -1, t.shape[2] * t.shape[3]) for t in qkv.chunk(3, dim=1)]


def attention_with_copies(mdta: MDTA, qkv: Tensor) -> Tensor:
    """Channel attention of queries and keys that are normalised first."""
    q, k, v = _heads(qkv, mdta.heads)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    y = (q @ k.transpose(-2, -1) * mdta.temperature).softmax(dim=-1) @ v
    return y.reshape(qkv.shape[0], -1, *qkv.shape[2:])


def four_masks(tksa: TKSA, x: Tensor) -> Tensor:
    """Top-k attention with a mask, a softmax and a product with the values for each of the four."""
    q, k, v = _heads(tksa.qkv_dwconv(tksa.qkv(x)), tksa.heads)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    logits = q @ k.transpose(-2, -1) * tksa.temperature
    c = logits.shape[-1]
    total = torch.zeros_like(v)
    shares = (tksa.attn1, tksa.attn2, tksa.attn3, tksa.attn4)
    for kept, share in zip((c // 2, c * 2 // 3, c * 3 // 4, c * 4 // 5), shares, strict=True):
        mask = torch.zeros_like(logits).scatter_(-1, logits.topk(kept, dim=-1).indices, 1.0)
        masked = torch.where(mask > 0, logits, float("-inf"))
        total = total + share * (masked.softmax(dim=-1) @ v)
    out: Tensor = tksa.project_out(total.reshape(x.shape[0], -1, *x.shape[2:]))
    return out


def window_by_window(attention: WindowAttention, x: Tensor) -> Tensor:
    """(B, H, W, C): attention on one window after another."""
    y = torch.empty_like(x)
    for b in range(x.shape[0]):
        for i in range(0, x.shape[1], WINDOW):
            for j in range(0, x.shape[2], WINDOW):
                window = x[b, i : i + WINDOW, j : j + WINDOW]
                y[b, i : i + WINDOW, j : j + WINDOW] = attention(window.reshape(1, WINDOW**2, -1)).view_as(window)
    return y


def all_windows(attention: WindowAttention, x: Tensor) -> Tensor:
    """The same as one batch."""
    return from_windows(attention(to_windows(x, WINDOW)), WINDOW, x.shape[1], x.shape[2])


def channel_by_channel(block: SpatialTransformer, x: Tensor) -> Tensor:
    """(B, H, W, C): attention between the patches of one channel after another."""
    b, h, w, c = x.shape
    total = x.clone()
    for channel in range(c):
        patches = F.unfold(x[..., channel][:, None], WINDOW, stride=WINDOW).transpose(1, 2)
        total[..., channel] += block.attn(patches).reshape(b, h, w)
    out: Tensor = total + block.mlp(block.norm2(total))
    return out


def by_coordinates(inr: INR, x: Tensor) -> Tensor:
    """The INR asked for every pixel: unfolded neighbourhoods, relative coordinates and cells, 30,000 at a time."""
    b, c, h, w = x.shape
    pixels = F.unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, 9 * c)
    relatives = pixels.new_zeros(len(pixels), RELATIVE)  # at the pixels' own places
    cells = pixels.new_full((len(pixels), CELL), 2.0)
    asked = torch.cat([pixels, relatives, cells], dim=1)
    layers: Any = inr.imnet.layers
    return torch.cat([layers(part) for part in asked.split(30_000)]).view(b, h, w, 3).permute(0, 3, 1, 2)


def two_convolutions(conv: WeatherConv2d, x: Tensor) -> Tensor:
    """The general convolution, and the gated 1x1 one beside it."""
    y = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
    residual = getattr(conv, f"B{conv.branch}_residual")
    return y + F.conv2d(x, residual, None, conv.stride)


Way = Callable[[Any, Tensor], Tensor]
#: trick -> (networks, block, input, ours, plain)
TRICKS: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...], Way, Way]] = {
    "norm over channels without copies": (
        "restormer and its kin", lambda: LayerNorm2d(48), (1, 48, 256, 256), lambda m, x: m(x), norm_with_copies,
    ),
    "channel attention without normalised copies": (
        "restormer and its kin", lambda: MDTA(48, 1), (1, 144, 256, 256), lambda m, x: m.attend(x),
        attention_with_copies,
    ),
    "one product for four masks": (
        "drsformer", lambda: TKSA(48, 1), (1, 48, 256, 256), lambda m, x: m(x), four_masks,
    ),
    "all windows in one batch": (
        "idt, rlp-uformer-t", lambda: PositionalAttention(32, WINDOW, 1), (1, 128, 128, 32), all_windows,
        window_by_window,
    ),
    "all channels' patches in one batch": (
        "idt", lambda: SpatialTransformer(32, 128, 1), (1, 128, 128, 32), lambda m, x: m(x), channel_by_channel,
    ),
    "INR as a convolution": (
        "nerd-rain", lambda: INR(48), (1, 48, 128, 128), lambda m, x: m(x), by_coordinates,
    ),
    "1x1 kernel in the general one": (
        "wgws-net", lambda: WeatherConv2d(36, 36, 3, 1, "rain", False), (1, 36, 256, 256), lambda m, x: m(x),
        two_convolutions,
    ),
}  # fmt: skip
EQUAL = 1e-9


@torch.inference_mode()
def trick(name: str, repeats: int) -> dict[str, Any]:
    """Seconds of both ways, their ratio, and the largest difference in float64.

    Raises:
        SystemExit: when the two ways do not agree.
    """
    where, make, shape, ours, plain = TRICKS[name]
    torch.manual_seed(0)
    block = make().eval()
    for p in block.parameters():
        p.copy_(torch.randn_like(p) * 0.1 if p.ndim > 1 else torch.rand_like(p) + 0.5)
    x = torch.randn(shape)
    best = {"ours": math.inf, "plain": math.inf}
    for turn in range(repeats + 1):
        for which, way in (("ours", ours), ("plain", plain)):
            start = time.process_time()
            way(block, x)
            if turn:  # the first is to warm up
                best[which] = min(best[which], time.process_time() - start)
    block.double()
    difference = relative(ours(block, x.double()), plain(block, x.double()))
    if difference > EQUAL:
        raise SystemExit(f"{name}: the two ways differ by {difference:.1e}")
    return {"trick": name, "in": where, "input": list(shape), **best, "ratio": best["plain"] / best["ours"],
            "difference": difference}  # fmt: skip


# ---------------------------------------------------------------- showing
def show_tricks(found: list[dict[str, Any]]) -> None:
    """A Markdown table."""
    print("| trick | in | plain, ms | ours, ms | times faster | difference, float64 |\n|---|---|---|---|---|---|")
    for r in found:
        print(f"| {r['trick']} | {r['in']} | {1000 * r['plain']:.1f} | {1000 * r['ours']:.1f} | {r['ratio']:.1f} | "
              f"{r['difference']:.0e} |")  # fmt: skip


def show_networks(found: dict[str, Any]) -> None:
    """A Markdown table."""
    gpu = any("gpu" in r for r in found.values())
    head = "| name | NCHW, s | channels_last, s | peak, MiB | between the two | float32 against float64 |"
    print(head + (" GPU, ms | GPU, MiB | GPU against float32 |" if gpu else ""))
    print("|" + "---|" * (9 if gpu else 6))
    for name, r in found.items():
        s = r["seconds"]
        line = f"| `{name}` | {s['nchw']:.2f} | {s['channels_last']:.2f} | {r['mib']:.0f} | {r['difference']:.0e} | "
        line += f"{r['float32']:.0e} |"
        if gpu:
            line += f" {r['gpu']['ms']:.1f} | {r['gpu']['mib']:.0f} | {r['gpu']['difference']:.0e} |"
        print(line)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=complexity.names(), choices=complexity.names())
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--tricks", action="store_true", help="the tricks alone")
    parser.add_argument("--compile", action="store_true", help="compile on the GPU")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(one(args.only, args.size, args.repeats)))
        return
    torch.set_num_threads(1)
    tricks = [trick(name, max(3, args.repeats)) for name in TRICKS]
    networks: dict[str, Any] = {}
    for name in () if args.tricks else args.names:
        networks[name] = of(name, args.size, args.repeats)
        if torch.cuda.is_available():
            networks[name]["gpu"] = on_gpu(name, args.size, args.compile)
        print(name, file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"tricks": tricks, "networks": networks}, indent=2))
        return
    show_tricks(tricks)
    if networks:
        print()
        show_networks(networks)
        if not torch.cuda.is_available():
            print("\nno GPU here: not measured there")


if __name__ == "__main__":
    main()
