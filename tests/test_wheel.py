"""The package as others get it: sdist, wheel built from it, installed into an environment without a checkout."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from rainrag.cli import verbs
from rainrag.core import images
from tests.conftest import picture, rainy

ROOT = Path(__file__).parents[1]


LINKED = ("baselines", "benchmarks", "leaderboard")


def shipped() -> set[str]:
    """The files of the package as they stand in the tree; the linked folders lie below rainrag/."""
    found = set()
    for folder in ("rainrag", *LINKED):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                found.add(name if folder == "rainrag" else f"rainrag/{name}")
    return found


def call(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def uv() -> str:
    found = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    if not found:
        pytest.skip("no uv: 'make env' installs it")
    return found


@pytest.fixture(scope="module")
def built(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel; the wheel is built from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    done = call(uv, "build", "--offline", "-q", "-o", out, ROOT)
    if done.returncode and "hatchling" in done.stderr and ("cache" in done.stderr or "network" in done.stderr):
        pytest.skip("hatchling is not in uv's cache: 'make env' puts it there")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def installed(uv: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; its dependencies are lent by this environment."""
    home = tmp_path_factory.mktemp("user") / "env"
    assert call(uv, "venv", "-q", "--offline", "--python", sys.executable, home).returncode == 0
    python = home / "bin" / "python"
    done = call(uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", python, *built.glob("*.whl"))
    assert done.returncode == 0, done.stderr
    own = Path(call(python, "-c", "import site; print(site.getsitepackages()[0])").stdout.strip())
    (own / "lent.pth").write_text("\n".join(site.getsitepackages()))  # of a .pth in there Python takes no notice
    return home / "bin"


def test_the_wheel_holds_the_package_alone_and_whole(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        about = wheel.read(next(n for n in wheel.namelist() if n.endswith("/METADATA"))).decode()
    assert names == shipped()
    assert {"rainrag/py.typed", "rainrag/data/ledger.jsonl"} <= names
    assert "License-Expression: Apache-2.0" in about
    required = [line for line in about.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not [line for line in required if "pyiqa" in line or "gdown" in line or "lightning" in line]


def test_no_pixels_are_shipped(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = sdist.getnames()
    names += zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    # Parameters of metrics are arrays, and no pixels: NIQE, BRISQUE and LPIPS, with their notices.
    pixels_apart = ("/docs/assets/", "rainrag/evaluation/params/")
    kinds = {Path(n).suffix.lower() for n in names if not any(part in n for part in pixels_apart)}
    assert not kinds & {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".npz", ".zip"}


def test_the_sdist_is_a_checkout(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {n.split("/", 1)[1] for n in sdist.getnames() if "/" in n}
    for name in ("pyproject.toml", "Makefile", "constraints.txt", "README.md", "LICENSE", "mkdocs.yml"):
        assert name in names
    for folder in ("baselines", "benchmarks", "tests", "docs"):
        here = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts}
        assert here <= names


def test_the_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    done = call(installed / "python", "-c", "import rainrag; print(rainrag.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed.parent), done.stdout + done.stderr
    done = call(installed / "rainrag", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(f"  {verb} " in done.stdout for verb in verbs.VERBS)


#: Runs commands in one process, for imports take long: a list of words on stdin, (exit code, output) on stdout.
RUN = """
import contextlib, io, json, sys
from rainrag import cli
ran = []
for words in json.load(sys.stdin):
    sys.argv, text, code = ["rainrag", *words], io.StringIO(), 0
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            cli.main()
        except SystemExit as e:
            code = e.code or 0
    ran.append((code, text.getvalue()))
print(json.dumps(ran))
"""


def test_every_verb_works_or_says_what_it_needs(installed: Path, tmp_path: Path) -> None:
    for side, make in (("input", rainy), ("target", lambda rgb, _: rgb)):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "pairs" / side / f"{i}.png").write_bytes(images.encode_png(make(picture(i), i)))
    commands = {
        "sources": ["sources", "--json"],
        "ingest": ["ingest", "folder", "--root", "pairs", "--name", "mine", "--subset", "DRS", "--workers", "1"],
        "audit": ["audit", "rainrag-data/datasets/mine", "--json"],
        "score": ["score", "pairs/input", "pairs/target", "--json"],
        "derain": ["derain", "pairs/input/0.png", "--out", "clean"],
        "distill": ["distill"],
        "train": ["train"],
        "bench": ["bench", "--model", "median", "--testset", "folder:pairs/input,pairs/target"],
        "models": ["models"],
        "weights": ["weights", "list"],
        "leaderboard": ["leaderboard", "build"],
        "demo": ["demo", "--help"],
    }
    environment = {k: v for k, v in os.environ.items() if k not in ("RAINRAG_HOME", "PYTHONPATH")}
    done = call(
        installed / "python", "-c", RUN, cwd=tmp_path, env=environment, input=json.dumps(list(commands.values()))
    )
    assert done.returncode == 0, done.stderr
    ran = dict(zip(commands, json.loads(done.stdout), strict=True))
    for verb, code in (("distill", 4), ("train", 3)):  # no store, no folder of splits yet
        assert ran[verb][0] == code, (verb, ran[verb][1])
        assert "hint:" in ran[verb][1]
    for verb in set(commands) - {"distill", "train"}:
        assert ran[verb][0] == 0, (verb, ran[verb][1])
    assert (tmp_path / "clean" / "0.png").is_file()
