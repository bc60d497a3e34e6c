"""Every network equals its authors' network, number by number, where the fixtures are; else its committed checksums."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rainrag import baselines
from tests.baselines import seeded

NAMES = [n for n in baselines.names() if baselines.card_of(n).fixture]
DATA = os.environ.get("RAINRAG_TESTDATA")
needs_fixtures = pytest.mark.skipif(
    not DATA, reason="RAINRAG_TESTDATA is not set: the fixtures are not available locally"
)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load_fixture(name: str) -> tuple[dict[str, Any], Any, dict[str, torch.Tensor]]:
    """Manifest, arrays and the seeded state dict of a fixture."""
    root = Path(DATA or "") / "fixtures"
    spec = importlib.util.spec_from_file_location("seeded_state", root / "seeded_state.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = root / "baselines" / str(baselines.card_of(name).fixture)
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays = np.load(folder / "io.npz")
    fixed = {k.removeprefix("buffer::"): arrays[k] for k in arrays.files if k.startswith("buffer::")}
    state = module.seeded_state(
        manifest["state_dict"], gain=manifest["scale"], aliases=manifest["aliases"], fixed=fixed
    )
    return manifest, arrays, state


@needs_fixtures
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_authors_network(name: str) -> None:
    manifest, z, state = load_fixture(name)
    network = baselines.create(name)
    own = {k: list(v.shape) for k, v in network.state_dict().items()}
    assert own == {k: shape for k, shape, _ in manifest["state_dict"]}
    network.load_state_dict(state, strict=True)
    network.double()
    with torch.no_grad():
        y64 = network(torch.from_numpy(z["x"]).double()).numpy()
        assert np.abs(y64 - z["y64"]).max() / np.abs(z["y64"]).max() <= 1e-9
        second = network(torch.from_numpy(z["x2"]).double()).numpy()
    if "y2_64" in z.files:  # Histoformer sorts: only float64 is reproducible
        assert np.abs(second - z["y2_64"]).max() / np.abs(z["y2_64"]).max() <= 1e-9
    else:
        assert np.abs(second - z["y2"]).max() <= 1e-4 * max(1.0, np.abs(z["y2"]).max())


@needs_fixtures
@pytest.mark.parametrize("name", NAMES)
def test_named_intermediates_equal_the_authors(name: str) -> None:
    _, z, state = load_fixture(name)
    network = baselines.create(name, intermediates=True)
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        out = network.double()(torch.from_numpy(z["x"]).double())
    assert "y" in out
    assert np.abs(out["y"].numpy() - z["y64"]).max() / np.abs(z["y64"]).max() <= 1e-9
    for key in set(out) - {"y"}:
        assert key in z.files, f"{key} is no output of the authors' network"
        assert np.abs(out[key].numpy() - z[key]).max() <= 2e-3 * max(1.0, np.abs(z[key]).max()), key


@pytest.mark.parametrize("name", NAMES)
def test_output_has_its_committed_checksum(name: str) -> None:
    want = json.loads((seeded.FOLDER / f"{name}.json").read_text())
    got = seeded.checksum(seeded.output(name))
    assert got["shape"] == want["shape"]
    for key in ("mean", "std", "ramp", "first"):
        assert got[key] == pytest.approx(want[key], rel=1e-7, abs=1e-9), key


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_card(name: str) -> None:
    card = baselines.card_of(name)
    assert sum(p.numel() for p in baselines.create(name).parameters()) == card.params
