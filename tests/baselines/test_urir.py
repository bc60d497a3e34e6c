from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from rainrag import baselines
from rainrag.baselines.urir import URIR
from rainrag.core.errors import MissingError

DATA = os.environ.get("RAINRAG_TESTDATA")


def test_it_cannot_be_built_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(baselines.TABLE, "urir", "rainrag.baselines.urir:URIR")
    with pytest.raises(MissingError, match="no public code"):
        baselines.create("urir")


@pytest.mark.skipif(not DATA, reason="RAINRAG_TESTDATA is not set: the published tables are not available locally")
def test_claims_are_the_published_rows() -> None:
    published = []
    for name in ("table1_rainrag.csv", "table2_public.csv"):
        with (Path(DATA or "") / "published" / name).open() as f:
            rows = [r for r in csv.DictReader(f) if r["method"] == "URIR"]
        for row in rows:
            testset = f"{row['benchmark']}-{row['subset']}" if "subset" in row else row["benchmark"]
            published.append((testset.lower(), float(row["psnr_db"]), float(row["ssim"])))
    claimed = [(c.testset, c.psnr, c.ssim) for c in URIR.card.claims]
    assert [c[1:] for c in claimed] == [p[1:] for p in published]
    named = [(c[0], p[0]) for c, p in zip(claimed, published, strict=True) if "average" not in p[0]]
    assert all(ours == theirs for ours, theirs in named)
    assert len(named) == 9
