"""The tables of docs/baselines.md: every network's distance from its authors' network, and its size and cost.

    python -m rainrag.benchmarks.tables.networks [--names restormer …] [--json]

The distance needs the fixtures below ``$RAINRAG_TESTDATA``: outputs of the authors' networks with weights that follow
from the keys alone. ``float64`` is max |difference| / max |output| on the first input; ``second input`` is max
|difference| on another size, against an output that was computed (and, but for Histoformer, stored) in float32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rainrag import baselines
from rainrag.baselines import complexity
from rainrag.core.errors import MissingError, RainRAGError


def fixtures() -> Path:
    """The folder of the fixtures.

    Raises:
        MissingError: where $RAINRAG_TESTDATA does not name a folder that holds it.
    """
    folder = Path(os.environ.get("RAINRAG_TESTDATA", "")) / "fixtures"
    if not (folder / "seeded_state.py").is_file():
        raise MissingError(
            "the fixtures are not available locally", hint="RAINRAG_TESTDATA names the folder that holds fixtures/"
        )
    return folder


def state_of(folder: Path, manifest: dict[str, Any], arrays: Any) -> dict[str, torch.Tensor]:
    """The weights that the authors' network had, from its keys and shapes."""
    spec = importlib.util.spec_from_file_location("seeded_state", folder / "seeded_state.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fixed = {k.removeprefix("buffer::"): arrays[k] for k in arrays.files if k.startswith("buffer::")}
    state: dict[str, torch.Tensor] = module.seeded_state(
        manifest["state_dict"], gain=manifest["scale"], aliases=manifest["aliases"], fixed=fixed
    )
    return state


@torch.inference_mode()
def distance(name: str) -> dict[str, Any]:
    """How far a network is from its authors' network.

    Returns:
        {"keys": entries of the state dict, "float64": relative, "second": absolute, "second_in": float32 or float64}
    """
    folder = fixtures()
    place = folder / "baselines" / str(baselines.card_of(name).fixture)
    manifest = json.loads((place / "manifest.json").read_text())
    arrays = np.load(place / "io.npz")
    network = baselines.create(name)
    network.load_state_dict(state_of(folder, manifest, arrays), strict=True)
    network.double()
    first, second = (network(torch.from_numpy(arrays[x]).double()).numpy() for x in ("x", "x2"))
    wide = "y2_64" in arrays.files
    return {
        "keys": len(manifest["state_dict"]),
        "float64": float(np.abs(first - arrays["y64"]).max() / np.abs(arrays["y64"]).max()),
        "second": float(np.abs(second - arrays["y2_64" if wide else "y2"]).max()),
        "second_in": "float64" if wide else "float32",
    }


def rows(names: list[str]) -> list[dict[str, Any]]:
    """One row a network."""
    found = []
    for name in names:
        card = baselines.card_of(name)
        row: dict[str, Any] = {"name": name, "title": card.title, "venue": card.venue}
        row["distance"] = distance(name) if card.fixture else None
        row["complexity"] = complexity.of(name).to_dict()
        found.append(row)
        print(name, file=sys.stderr, flush=True)
    return found


def proofs(found: list[dict[str, Any]]) -> str:
    """Distances as a Markdown table."""
    lines = [
        "| name | network | entries of the state dict | float64, relative | second input |",
        "|---|---|---|---|---|",
    ]
    for r in found:
        d = r["distance"]
        if d is None:
            continue
        second = f"{d['second']:.1e}" + (" (float64)" if d["second_in"] == "float64" else "")
        lines.append(f"| `{r['name']}` | {r['title']}, {r['venue']} | {d['keys']} | {d['float64']:.1e} | {second} |")
    return "\n".join(lines)


def costs(found: list[dict[str, Any]]) -> str:
    """Parameters and GMACs as a Markdown table."""
    head = "| name | parameters, M | GMACs, authors' | of these convolutions | GMACs, ours | why they differ |"
    lines = [head, "|---|---|---|---|---|---|"]
    for r in found:
        c = r["complexity"]
        theirs = ["-" if c[k] is None else f"{c[k] / 1e9:.2f}" for k in ("authors_macs", "authors_macs_conv")]
        shown = [f"`{r['name']}`", f"{c['params'] / 1e6:.3f}", *theirs, f"{c['macs'] / 1e9:.2f}", c["reason"] or ""]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=complexity.names(), choices=complexity.names())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = rows(args.names)
    print(json.dumps(found, indent=2) if args.json else f"{proofs(found)}\n\n{costs(found)}")


if __name__ == "__main__":
    try:
        main()
    except RainRAGError as e:
        sys.exit(f"error: {e}")
