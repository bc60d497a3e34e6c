"""The verbs of the campaign; see the package."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import rainrag.benchmarks.campaign
from rainrag.core.errors import RainRAGError


def do_ledger(given: argparse.Namespace) -> None:
    """Scenes of test sets."""
    from rainrag.benchmarks.campaign import prepare

    print(f"{prepare.known_scenes(given.data)} scenes are new in the ledger")


def do_ingest(given: argparse.Namespace) -> None:
    """Datasets of all sets."""
    from rainrag.benchmarks.campaign import prepare

    for report in prepare.datasets(given.pairs, given.data, given.work):
        print(report.source, report.counts, [(r.key, r.reason, r.detail) for r in report.rejects])


def do_render(given: argparse.Namespace) -> None:
    """Rendered rain."""
    from rainrag.benchmarks.campaign import prepare

    prepare.rain(given.data, given.work)


def do_train(given: argparse.Namespace) -> None:
    """Train to the deadline."""
    import torch

    from rainrag.benchmarks.campaign import prepare
    from rainrag.benchmarks.campaign.crops import Crops
    from rainrag.benchmarks.campaign.train import Run, Schedule

    torch.set_num_threads(1)
    pixels, train, probe = prepare.divided(given.work)
    clean, _ = prepare.clean_photographs(given.work)
    print(f"{len(train)} pairs, {len(probe)} held out, {len(clean)} clean photographs", flush=True)
    schedule = Schedule(datetime.fromisoformat(given.until).timestamp(), lr=given.lr)
    run = Run(given.run or given.work / "run", {"preset": given.preset}, schedule)
    run.until(Crops(pixels, train, clean), _said)


def _said(step: int, loss: float, done: float) -> None:
    print(f"step {step}: loss {loss:.5f}, {100 * done:.0f} % of the time", flush=True)


def do_probe(given: argparse.Namespace) -> None:
    """Gains of the weights in ``--run``, or of a folder of weights."""
    import torch

    from rainrag.benchmarks.campaign import prepare
    from rainrag.benchmarks.campaign.probe import gains, kept

    torch.set_num_threads(1)
    network = _network(given).to(memory_format=torch.channels_last).eval()
    pixels, _, probe = prepare.divided(given.work)
    found = gains(network, pixels, probe)
    worst, mean = kept(network, prepare.clean_photographs(given.work)[1][:32])
    print(json.dumps({k: asdict(v) for k, v in found.items()}, indent=1))
    print(f"mean of sets {sum(g.mean for g in found.values()) / len(found):.3f} dB; "
          f"clean photographs: worst {worst:.1f} dB, mean {mean:.1f} dB")  # fmt: skip


def do_export(given: argparse.Namespace) -> None:
    """Averaged weights, in half precision, and the scenes they were trained on."""
    import torch
    from safetensors.torch import save_file

    from rainrag.benchmarks.campaign import prepare
    from rainrag.core.files import atomic, canonical, write_json, write_text

    network = _network(given)
    out = given.out or given.work / "weights"
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to(torch.float16).contiguous() for k, v in network.state_dict().items()}
    with atomic(out / "model.safetensors") as tmp:
        save_file(state, tmp)
    write_json(out / "config.json", network.config)
    _, train, probe = prepare.divided(given.work)
    rows = [{"key": i.key, "phash": i.phash or ""} for i in sorted([*train, *probe], key=lambda i: i.key)]
    write_text(out / "scenes.jsonl", "".join(canonical(r) + "\n" for r in rows))
    print(f"{out}: {(out / 'model.safetensors').stat().st_size} bytes")


def _network(given: argparse.Namespace) -> Any:
    from rainrag.models.networks import unirain

    if given.weights:
        return unirain(given.weights).network
    from rainrag.benchmarks.campaign.train import Run, Schedule

    return Run(given.run or given.work / "run", {}, Schedule(0.0)).average


VERBS = {
    "ledger": do_ledger, "ingest": do_ingest, "render": do_render, "train": do_train, "probe": do_probe,
    "export": do_export,
}  # fmt: skip


def main() -> int:
    """Run the verbs in the order given."""
    parser = argparse.ArgumentParser(
        prog="python -m rainrag.benchmarks.campaign", description=rainrag.benchmarks.campaign.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    data = Path(os.environ.get("RAINRAG_TESTDATA", ".")) / "data"
    parser.add_argument("verbs", nargs="+", choices=[*VERBS, "all"])
    parser.add_argument("--pairs", type=Path, default=data / "train-pairs", help="folders of plan.SETS")
    parser.add_argument("--data", type=Path, default=data, help="clean photographs and the test sets' folders")
    parser.add_argument("--work", type=Path, required=True, help="datasets, cache and state; never committed")
    parser.add_argument("--run", type=Path, help="folder of the state; default: run below --work")
    parser.add_argument("--until", default=None, help="train: deadline, such as 2030-01-31T18:00")
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--weights", help="probe, export: a shipped set or folder in the place of the run's")
    parser.add_argument("--out", type=Path, help="export: folder; default: weights below --work")
    given = parser.parse_args()
    verbs = list(VERBS) if "all" in given.verbs else given.verbs
    if "train" in verbs and not given.until:
        parser.error("train needs --until")
    os.environ["RAINRAG_HOME"] = str(given.work.resolve() / "home")
    try:
        for verb in verbs:
            VERBS[verb](given)
    except RainRAGError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
