"""The public API: signatures that say everything, nothing heavy at import, and the calls from end to end."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rainrag
from rainrag import api
from rainrag.core import images
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.progress import Steps
from tests.conftest import picture, rainy
from tests.restore import nets
from tests.test_imports import HEAVY

FUNCTIONS = [n for n in rainrag.__all__ if not n.startswith("_") and n[0].islower()]
RECORDS = [n for n in rainrag.__all__ if n.endswith(("Report", "Summary", "Run", "Scores", "Download", "Result"))]


def public() -> list[str]:
    """Functions that ``rainrag.api`` defines."""
    return [n for n, f in vars(api).items() if inspect.isfunction(f) and f.__module__ == api.__name__ and n[0] != "_"]


def test_every_function_of_the_api_is_at_the_top() -> None:
    assert sorted(FUNCTIONS) == sorted(public())
    assert len(FUNCTIONS) == 13


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_named_typed_and_described(name: str) -> None:
    function = getattr(api, name)
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL), parameter
        assert parameter.annotation not in (parameter.empty, "Any"), parameter
    assert signature.return_annotation not in (signature.empty, "Any", "dict[str, Any]")
    assert function.__doc__
    described = function.__doc__ + (api.ingest.__doc__ or "" if name == "ingest_folder" else "")
    assert not [p for p in signature.parameters if p not in described], "arguments that the docstring does not name"


@pytest.mark.parametrize("name", RECORDS)
def test_results_are_frozen(name: str) -> None:
    kind = getattr(rainrag, name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_names_of_records_are_unique() -> None:
    assert not {"Report", "Settings", "Summary"} & set(rainrag.__all__)


def test_import_loads_nothing_heavy_and_every_name_resolves() -> None:
    heavy = sorted({*HEAVY, "numpy", "cv2", "PIL", "pyarrow", "scipy"})
    code = (
        "import sys, rainrag\n"
        f"bad = sorted(set(sys.modules) & set({heavy!r})); assert not bad, bad\n"
        "from rainrag import list_sources, Progress\n"
        "assert len(list_sources()) > 30\n"
        "bad = sorted({'torch', 'transformers', 'chromadb', 'datasets'} & set(sys.modules)); assert not bad, bad\n"
        "from rainrag import UniRain, Reweighter, load_model\n"
        "missing = [n for n in rainrag.__all__ if not hasattr(rainrag, n) or n not in dir(rainrag)]\n"
        "assert not missing, missing\n"
        "import rainrag.distill.pipeline, inspect\n"
        "assert callable(rainrag.distill) and rainrag.distill.pipeline.make\n"
        "assert list(inspect.signature(rainrag.distill).parameters)[:3] == ['data', 'store', 'out']\n"
        "try: rainrag.distill('none', 'none', 'none', voters=['naturalness'])\n"
        "except rainrag.core.errors.MissingError as e: assert 'no dataset at none' in str(e), e\n"
        "else: raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="bench"):
        _ = rainrag.bench  # type: ignore[attr-defined]


# ---------------------------------------------------------------- progress
def test_increments_become_done_and_total() -> None:
    seen: list[tuple[str, int, int | None]] = []
    steps = Steps(lambda *call: seen.append(call))
    steps("a", 2)
    steps("a", -5)
    steps.of("b")(-1)
    steps("a", 3)
    steps.of("b")(1)
    assert seen == [("a", 2, None), ("a", 2, 5), ("b", 0, 1), ("a", 5, 5), ("b", 1, 1)]


# ---------------------------------------------------------------- data
def test_folder_to_dataset_to_audit(
    write_pairs: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, seen = write_pairs(tmp_path / "pairs", 4), []
    with caplog.at_level(logging.INFO, "rainrag"):
        report = rainrag.ingest_folder(
            root, tmp_path / "data", name="mine", subset="drs", workers=1, progress=lambda *call: seen.append(call)
        )
    assert isinstance(report, rainrag.IngestReport)
    assert (report.pairs, report.source) == (4, "mine")
    assert sum(report.counts["DRS"].values()) == 4
    assert seen[0] == ("ingest", 0, 4)
    assert seen[-1] == ("ingest", 4, 4)
    assert [r.name for r in caplog.records] == ["rainrag"] * len(caplog.records)
    assert report.taken in caplog.text

    found = rainrag.audit(tmp_path / "data", against=[tmp_path / "data"], workers=1)
    assert isinstance(found, rainrag.AuditReport)
    assert found.images == 4
    assert not found.undecodable
    assert len(rainrag.audit([root], check_pairs=False, unlabelled=True, workers=1).undecodable) == 0


def test_errors_are_ours(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="rain100l"):
        rainrag.ingest("rain100l")
    with pytest.raises(UsageError, match="no subset"):
        rainrag.ingest_folder(tmp_path, subset="wet")
    with pytest.raises(UsageError, match="exclude"):
        rainrag.audit(tmp_path, pattern="a{}=b{}", suffix="_x")
    with pytest.raises(UsageError, match="no network"):
        rainrag.load_model("prenett")


def test_a_set_that_no_program_can_fetch_says_the_steps(tmp_path: Path) -> None:
    by_hand = next(s for s in rainrag.list_sources() if s.archives and not any(a.fetchable for a in s.archives))
    with pytest.raises(MissingError, match="by hand") as e:
        rainrag.download(by_hand.name, tmp_path)
    assert e.value.hint
    assert by_hand.archives[0].ref in e.value.hint


# ---------------------------------------------------------------- networks
@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> rainrag.LoadedModel:
    return rainrag.load_model("unirain", nets.saved(tmp_path_factory.mktemp("weights") / "mine"), device="cpu")


def test_a_loaded_model_gives_back_what_it_gets(model: rainrag.LoadedModel) -> None:
    rgb = picture(3, 40, 24)
    array = model(rgb)
    assert (array.dtype, array.shape) == (np.uint8, rgb.shape)
    assert not np.array_equal(array, rgb)
    shown = model(Image.fromarray(rgb))
    assert isinstance(shown, Image.Image)
    assert np.array_equal(np.asarray(shown), array)
    bytes_ = torch.from_numpy(rgb).permute(2, 0, 1)
    tensor = model(bytes_)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), array)
    floats = model(torch.stack([bytes_, bytes_]) / 255)
    assert (floats.dtype, tuple(floats.shape)) == (torch.float32, (2, 3, 24, 40))
    assert float((floats[1] * 255 - tensor).abs().max()) <= 0.5 + 1e-3
    assert model(bytes_.half() / 255).dtype == torch.float16
    assert np.array_equal(rainrag.derain(rgb, model=model), array)


def test_tensors_of_other_shapes_are_refused(model: rainrag.LoadedModel) -> None:
    for wrong in (torch.zeros(24, 40, 3), torch.zeros(3, 8, 8, dtype=torch.int32), torch.zeros(1, 1, 3, 8, 8)):
        with pytest.raises(InputError, match="tensor"):
            model(wrong)


def test_strength_zero_is_the_input(model: rainrag.LoadedModel) -> None:
    rgb = picture(4, 40, 24)
    still = rainrag.LoadedModel(model.network, model.contract, name="still", device="cpu", strength=0.0)
    assert np.array_equal(still(rgb), rgb)


def test_a_baseline_is_loaded_alike() -> None:
    rgb = picture(5, 40, 24)
    assert np.array_equal(rainrag.load_model("input", device="cpu")(rgb), rgb)
    median = rainrag.load_model("median", device="cpu")
    assert (median.name, median.weights) == ("median", None)
    assert np.array_equal(median(torch.from_numpy(rgb).permute(2, 0, 1)).permute(1, 2, 0).numpy(), median(rgb))


# ---------------------------------------------------------------- scores
@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for side in ("out", "gt"):
        (tmp_path / side).mkdir()
    for i in range(3):
        gt = picture(i)
        (tmp_path / "gt" / f"{i}.png").write_bytes(images.encode_png(gt))
        (tmp_path / "out" / f"{i}.png").write_bytes(images.encode_png(rainy(gt, i)))
    return tmp_path / "out", tmp_path / "gt"


def test_score_of_folders(folders: tuple[Path, Path]) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    seen: list[tuple[str, int, int | None]] = []
    scores = rainrag.score(*folders, "rgb", progress=lambda *call: seen.append(call))
    want = [peak_signal_noise_ratio(picture(i), rainy(picture(i), i)) for i in range(3)]
    assert scores.mean["psnr"] == pytest.approx(np.mean(want), abs=1e-6)
    assert seen[-1] == ("score", 3, 3)


def test_evaluate_takes_names_and_models(folders: tuple[Path, Path], tmp_path: Path) -> None:
    lq, gt = folders
    mine = rainrag.load_model("input", device="cpu")
    found = rainrag.evaluate(
        [mine, "median"], f"folder:{lq},{gt}", protocols=["rgb"], out=tmp_path / "results", device="cpu", limit=2
    )
    assert [type(r) for r in found] == [rainrag.Result] * 2
    assert [r.model for r in found] == ["input", "median"]
    want = rainrag.score(lq, gt, "rgb").images[:2]
    assert found[0].mean["psnr"] == pytest.approx(np.mean([w["psnr"] for w in want]), abs=1e-6)
    assert typing.cast(int, found[0].n) == 2
