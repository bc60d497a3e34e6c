"""Rain12: two suffixes in one folder."""

from __future__ import annotations

from tests.data.sources.build import files, take


def test_in_and_gt_in_one_folder(tmp_path):
    numbers = ",".join(f"{n:03}" for n in range(1, 13))
    root = files(tmp_path / "li_cvpr16_rain", f"rain12/{{{numbers}}}_{{in,GT}}.png")
    report, rows = take("rain12", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 0, "test": 12}
    assert report.expected == ()
    assert report.rejects == ()
    assert rows["rain12/test/007"]["scene"] == "rain12/007"
