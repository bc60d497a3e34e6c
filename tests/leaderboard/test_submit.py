"""docs/submit-a-result.md, followed to the letter."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rainrag.core import images
from rainrag.evaluation import results
from tests.conftest import picture, rainy

ROOT = Path(__file__).parents[2]


def test_the_page_can_be_followed(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs")
    (tmp_path / "mine").mkdir()
    for i in range(4):
        gt = picture(i)
        out = ((rainy(gt, i).astype(int) + gt) // 2).astype("uint8")
        (tmp_path / "mine" / f"{i}.png").write_bytes(images.encode_png(out))
    lines = (ROOT / "docs" / "submit-a-result.md").read_text().splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("    rainrag ")]
    assert [c[1] for c in commands] == ["bench", "leaderboard", "leaderboard"]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=_env(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (made,) = results.find(tmp_path / "results")
    assert results.load(made).n == 4
    assert "mine" in (tmp_path / "site" / "index.html").read_text()


def _env(home: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "RAINRAG_HOME": str(home / "workspace")}
