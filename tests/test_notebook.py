"""The notebook in docs/ runs from its first cell to its last, as it stands, in its own kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """The folder it ran in, and the outputs of each code cell by the last line of its code."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("lightning")
    place = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINRAG_HOME", str(place / "workspace"))
        patch.setenv("HF_DATASETS_CACHE", str(place / "hf-cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        nbclient.NotebookClient(book, timeout=900, resources={"metadata": {"path": str(place)}}).execute()
    return place, {c.source.splitlines()[-1]: c.outputs for c in book.cells if c.cell_type == "code"}


def test_the_committed_notebook_has_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not [c["id"] for c in cells if c.get("outputs") or c.get("execution_count")]


def test_it_leads_from_a_folder_to_splits_and_a_trained_network(ran) -> None:
    place, outputs = ran
    work = place / "notebook-work"
    kept, candidates = eval(outputs["summary.kept, summary.candidates"][0]["data"]["text/plain"])
    assert 0 < kept < candidates
    assert (work / "splits" / "splits.lock").is_file()
    assert (work / "run" / "weights" / "model.safetensors").is_file()
    before, after = eval(outputs["trained.psnr_before, trained.psnr"][0]["data"]["text/plain"])
    assert before.keys() == after.keys() == {"DRS", "DRD"}


def test_planted_faults_are_told_and_images_shown(ran) -> None:
    _, outputs = ran
    told = next(o for last, o in outputs.items() if "print(f" in last and "planted" in last)[0]["text"]
    rows = [line.split() for line in told.splitlines()]
    assert any(tier == "rejected" for fault, tier, _ in rows if fault != "none")
    shown = next(o for last, o in outputs.items() if last.startswith("Image.fromarray"))
    assert any("image/png" in o.get("data", {}) for o in shown)  # beside what load_dataset says
    assert not [o for each in outputs.values() for o in each if o["output_type"] == "error"]
