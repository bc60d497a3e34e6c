"""Table and contact sheet of the worst images, from the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from rainrag.cli import verbs
from rainrag.core import images
from rainrag.evaluation import worst
from tests.conftest import picture, rainy


def test_the_worst_come_first_and_equal_images_last() -> None:
    rows = [{"key": k, "psnr": v} for k, v in (("a", 30.0), ("b", None), ("d", 20.0), ("c", 20.0))]
    assert [r["key"] for r in worst.order(rows)] == ["c", "d", "a", "b"]
    assert worst.table([{"key": "=1+1", "psnr": None, "ssim": 0.5}]) == "key,psnr,ssim\n'=1+1,inf,0.5\n"


def test_the_command_writes_table_and_sheet_and_names_swapped_channels(tmp_path: Path) -> None:
    for side in ("out", "gt"):
        (tmp_path / side).mkdir()
    for n in range(3):
        gt = picture(n)
        out = gt if n == 1 else rainy(gt) if n == 2 else np.clip(gt.astype(int) + 1, 0, 255).astype(np.uint8)
        (tmp_path / "gt" / f"{n}.png").write_bytes(images.encode_png(gt))
        (tmp_path / "out" / f"{n}.png").write_bytes(images.encode_png(np.ascontiguousarray(out[..., ::-1])))
    table, sheet = tmp_path / "t.csv", tmp_path / "s.png"
    arguments = ["out", "gt", "--csv", str(table), "--sheet", str(sheet)]
    done = CliRunner().invoke(verbs.load("score"), [str(tmp_path / a) if a in ("out", "gt") else a for a in arguments])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(table.open()))
    values = [float(r["psnr"]) for r in rows]
    assert len(values) == 3
    assert values == sorted(values)
    assert images.read(sheet).rgb.shape == (3 * (32 + 18), 3 * (worst.SIDE + 4), 3)
    assert "these look BGR" in " ".join(done.output.split())
