"""The README is true: its tables are those of the code, and every command in it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core import images
from rainrag.core.types import Subset
from rainrag.data.synthetic import backgrounds, render

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: one photo, pairs, results with targets, and photographs of rain."""
    root = tmp_path_factory.mktemp("user")
    for i, (background, subset) in enumerate(backgrounds.bundled((Subset.DRS,), 26, 3)):
        rng = np.random.default_rng(i)
        pair = render(backgrounds.crop(background.load(), (128, 96), rng), subset, rng, 0.6)
        sides = {"my-rainy-photos": pair.lq}
        if i < 4:
            sides |= {"my-pairs/input": pair.lq, "my-pairs/target": pair.gt, "results": pair.lq, "targets": pair.gt}
        for side, rgb in sides.items():
            path = root / side / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    (root / "photo.jpg").write_bytes((root / "results" / "00.png").read_bytes())
    return root


def test_tables_are_those_of_the_code() -> None:
    done = subprocess.run([sys.executable, "docs/readme_tables.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python docs/readme_tables.py"


def test_links_and_pictures_are_there() -> None:
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)]+)\)", TEXT)]
    missing = [t for t in targets if t and not t.startswith("http") and not (ROOT / t).exists()]
    assert not missing


def test_every_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RAINRAG_HOME")
    ran = 0
    for words in commands():
        if words[0] == "make":
            plan = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert plan.returncode == 0, plan.stderr
            continue
        if words[0] == "git":
            continue
        if words[0] == "source":  # what 'make' made
            assert f"VENV := {Path(words[1]).parts[0]}\n" in (ROOT / "Makefile").read_text()
            assert words[1].endswith("/bin/activate")
            continue
        assert words[0] == "rainrag", words
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, (words, result.output, result.exception)
        ran += 1
    assert ran >= 12
    names = {"image": images.read("photo.jpg").rgb}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["clean"].shape == names["image"].shape  # type: ignore[attr-defined]
    assert Path("rainrag-data/results").is_dir()
    assert os.environ.get("RAINRAG_HOME") is None


def test_the_first_block_makes_the_command_known_before_it_is_used() -> None:
    first = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert [words[0] for words in first] == ["git", "make", "source", "make"]
    assert first[1] == ["make"]
