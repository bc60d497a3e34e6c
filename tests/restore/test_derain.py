"""``rainrag derain`` and ``rainrag.derain`` as users meet them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import rainrag
from rainrag import baselines
from rainrag.baselines.finder import find as baseline
from rainrag.cli import app
from rainrag.core import images
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.models import networks
from rainrag.restore import Restorer, python
from tests.conftest import picture
from tests.restore import nets

cli = CliRunner()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.saved(tmp_path_factory.mktemp("weights") / "mine")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(3):
        path = tmp_path / "in" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(images.encode_png(picture(i, 40, 24)))
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    python.restorer.cache_clear()


def derain(*args: Any, quiet: bool = True) -> Any:
    return cli.invoke(app, [*["-q"] * quiet, "derain", *map(str, args)])


def report(done: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ---------------------------------------------------------------- the command
def test_a_folder_with_a_bad_file_and_a_comparison(photos: Path, weights: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image at all, of no kind whatsoever")
    out = tmp_path / "out"
    done = derain(photos, "--out", out, "--weights", weights, "--compare", "--json", "--device", "cpu")
    assert done.exit_code == 3  # one could not be done; the others are
    got = report(done)
    assert (got["n"], got["skipped"], got["model"], got["weights"]) == (3, 0, "unirain", str(weights))
    assert [(f["reason"], Path(f["input"]).name) for f in got["failed"]] == [("not-an-image", "bad.png")]
    assert [Path(i["output"]) for i in got["images"]] == [out / f"{i}.png" for i in range(3)]
    found = networks.unirain(weights)
    engine = Restorer(found.network, found.contract, device="cpu")
    for i in range(3):
        wanted = np.rint(engine.restore(picture(i, 40, 24)) * 255).astype(np.uint8)
        assert np.array_equal(images.read(out / f"{i}.png").rgb, wanted)
    assert Path(got["compare"]) == out / "compare.html"
    assert len(list((out / "compare").glob("*.png"))) == 3


def test_a_second_run_does_what_is_missing_and_overwrite_all(photos: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = (photos, "--out", out, "--weights", weights, "--json", "--device", "cpu")
    assert derain(*base).exit_code == 0
    kept = {p: p.read_bytes() for p in sorted(out.iterdir())}
    (out / "1.png").unlink()
    (out / "0.png").write_bytes(b"touched")
    again = report(derain(*base))
    assert (again["n"], again["skipped"]) == (1, 2)
    assert (out / "0.png").read_bytes() == b"touched"
    assert report(derain(*base, "--overwrite"))["n"] == 3
    assert {p: p.read_bytes() for p in sorted(out.iterdir())} == kept


def test_tiles_and_settings_reach_the_network(photos: Path, weights: Path, tmp_path: Path) -> None:
    base = ("--weights", weights, "--json", "--device", "cpu")
    got = report(derain(photos / "*.png", "--out", tmp_path / "a", "--tile", "16,8", *base))
    assert {i["inference"] for i in got["images"]} == {"tile16-8"}
    got = report(derain(photos, "--out", tmp_path / "b", "--max-pixels", 100, "--precision", "bf16", *base))
    assert got["precision"] == "bf16"


def test_people_are_told_what_happened(photos: Path, weights: Path, tmp_path: Path) -> None:
    Image.open(photos / "0.png").quantize(8).save(photos / "few colours.png")
    (photos / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    done = derain(photos, "--out", tmp_path / "out", "--weights", weights, "--device", "cpu", quiet=False)
    assert done.exit_code == 3
    shown = done.output
    assert "palette" in shown
    assert "lfs-pointer" in shown
    assert "git lfs pull" in shown


def test_what_is_wrong_with_the_call_is_an_error_of_ours(photos: Path, weights: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", "--weights", weights)
    for args, kind in (
        ((tmp_path / "gone.png", *out), MissingError),
        ((photos, *out, "--tile", "half"), UsageError),
        ((photos, *out, "--precision", "fp8"), UsageError),
        ((photos / "0.png", "--out", photos, "--weights", weights), UsageError),
        ((photos, "--weights", tmp_path / "nowhere"), MissingError),
    ):
        assert isinstance(derain(*args).exception, kind)
    assert not (tmp_path / "out").exists()


def test_a_baseline_with_its_weights(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = baselines.create("prenet")
    torch.save(network.state_dict(), tmp_path / "prenet.pth")
    done = derain(
        photos / "0.png", "--model", "prenet", "--weights", tmp_path / "prenet.pth", "--out", tmp_path / "out", "--json"
    )
    assert done.exit_code == 0
    assert report(done)["model"] == "prenet"
    with torch.inference_mode():
        x = torch.from_numpy(picture(0, 40, 24)).permute(2, 0, 1)[None] / 255
        wanted = network(x)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    got = images.read(tmp_path / "out" / "0.png").rgb
    assert np.abs(got - 255 * wanted).max() <= 0.51


def test_baselines_say_what_they_need(tmp_path: Path) -> None:
    assert baseline("median", None).weights is None
    with pytest.raises(UsageError, match="no weights to load"):
        baseline("median", tmp_path / "x.pth")
    with pytest.raises(MissingError, match="'prenet' needs its weights") as e:
        baseline("prenet", None)
    assert "rainrag weights fetch prenet" in str(e.value)
    with pytest.raises(UsageError, match="no network 'prenett'"):
        baseline("prenett", None)


# ---------------------------------------------------------------- from Python
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "float64"])
def test_arrays_come_back_as_they_went(weights: Path, kind: str) -> None:
    x = picture(4, 24, 16)
    given = {"uint8": x, "uint16": x.astype(np.uint16) * 257}.get(kind, x.astype(kind) / 255)
    got = rainrag.derain(given, weights=weights, device="cpu")
    assert got.dtype == np.dtype(kind)
    assert got.shape == given.shape
    plain = rainrag.derain(x, weights=weights, device="cpu")
    top = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    assert np.abs(got / top - plain / 255).max() <= 0.5 / 255 + 1e-4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_pil_images_come_back_as_they_went(weights: Path, mode: str) -> None:
    image = Image.fromarray(picture(5, 24, 16)).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24).astype(np.uint8)))
    image.info["icc_profile"] = b"kept"
    got = rainrag.derain(image, weights=weights, device="cpu")
    assert got.mode == {"P": "RGB"}.get(mode, mode)
    assert got.size == image.size
    assert got.info["icc_profile"] == b"kept"
    if mode in ("RGBA", "LA"):
        assert np.array_equal(got.getchannel("A"), image.getchannel("A"))
    if mode == "RGB":
        wanted = rainrag.derain(np.asarray(image), weights=weights, device="cpu")
        assert np.array_equal(got, wanted)


def test_a_pil_image_that_lies_on_its_side_is_restored_upright(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return x

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(6, 24, 16)).save(tmp_path / "side.png", exif=exif)
    image = Image.open(tmp_path / "side.png")
    got = rainrag.derain(image, model=Restorer(Watch(), device="cpu"))
    assert seen == [(1, 3, 24, 16)]
    assert np.array_equal(got, picture(6, 24, 16))


def test_the_network_is_kept_for_the_next_call(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    found = networks.unirain
    monkeypatch.setattr(networks, "unirain", lambda w=None: loads.append(w) or found(w))
    for _ in range(3):
        rainrag.derain(picture(0, 16, 16), weights=weights, device="cpu")
    assert loads == [str(weights)]


def test_a_baseline_by_name_from_python() -> None:
    x = picture(0, 16, 16)
    assert np.array_equal(rainrag.derain(x, model="input", device="cpu"), x)
    with pytest.raises(UsageError, match="no network 'inputt'"):
        rainrag.derain(x, model="inputt")
    assert np.array_equal(python.derain(x, model="input", device="cpu"), x)


@pytest.mark.parametrize(
    "given",
    [np.zeros((4, 4, 3), np.int32), "photo.png", Image.new("I;16", (4, 4)), Image.new("F", (4, 4))],
    ids=["int32", "text", "16-bit", "float"],
)
def test_what_is_no_picture_is_refused_with_the_way_out(given: Any) -> None:
    with pytest.raises(InputError) as e:
        rainrag.derain(given, model=Restorer(nets.Darker(), device="cpu"))
    assert "give" in str(e.value)


def test_every_file_that_is_met_has_an_answer(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Other formats, a pipe, a link to nowhere, an odd and a very long name: one run, each file in the report."""
    import os

    plain = (photos / "0.png").read_bytes()
    for name in ("clip.mp4", "moving.gif", "notes.txt"):
        (photos / name).write_bytes(b"x" * 64)
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (photos / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(photos / "pipe.png")
    long, odd = "L" * 251 + ".png", os.fsdecode(b"gbk-\xd3\xea.png")
    Image.fromarray(picture(9, 40, 24)).save(photos / "scan.jfif", "JPEG")
    for name in (long, odd):
        (photos / name).write_bytes(plain)
    out = tmp_path / "out"
    done = derain(photos, "--out", out, "--weights", weights, "--compare", "--json", "--device", "cpu", quiet=False)
    assert done.exit_code == 3
    found = report(done)
    assert [Path(f["input"]).name for f in found["failed"]] == ["phone.heic"]
    assert {Path(f["input"]).name: f["reason"] for f in found["not_read"]} == {
        "clip.mp4": "video", "moving.gif": "animated image", "notes.txt": "text or table",
        "nowhere.png": "a link that leads nowhere", "pipe.png": "a pipe, socket or device",
    }  # fmt: skip
    assert found["n"] == 6
    assert {p.name for p in out.iterdir()} == {
        "0.png", "1.png", "2.png", long, odd, "scan.jfif", "compare", "compare.html",
    }  # fmt: skip
    assert "not read: 1 video:" in done.stderr


def test_what_is_to_do_is_said_before_and_counted_by_tiles(photos: Path, weights: Path, tmp_path: Path) -> None:
    base = (photos, "--weights", weights, "--device", "cpu", "--tile", "16,8")
    done = derain(*base, "--out", tmp_path / "out", quiet=False)
    assert done.exit_code == 0
    first = done.stderr.splitlines()[0]
    assert re.match(r"3 images, 0\.0 MP, (\d+) tiles, about ", first), first
    total = re.search(r"(\d+) tiles", first).group(1)  # type: ignore[union-attr]
    assert f"derain, tiles: {total} done in" in done.stderr


def test_tiles_are_reported_as_they_pass(weights: Path) -> None:
    engine = Restorer(nets.Darker(), device="cpu")
    seen: list[int] = []
    engine.on_tiles = seen.append
    for height, width, tile in ((24, 40, "full"), (24, 40, "16,8"), (50, 17, "16")):
        seen.clear()
        engine.restore(np.zeros((height, width, 3), np.uint8), tile)
        assert sum(seen) == engine.tiles_of(height, width, tile)
    assert engine.pace() > 0
