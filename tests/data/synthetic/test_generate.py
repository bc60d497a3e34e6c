"""A folder of rendered pairs, and the source that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rainrag.core.errors import InputError, IntegrityError, LayoutError, UsageError
from rainrag.core.images import encode_png, is_night, psnr8, read
from rainrag.core.types import Subset
from rainrag.data.sources.layouts import match
from rainrag.data.synthetic import FAULTS, backgrounds, generate
from rainrag.data.synthetic.source import RENDERED
from rainrag.data.synthetic.street import street
from tests.data.synthetic.scenes import day_scene, night_scene

SIZE = (96, 72)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Eight day and eight night photographs, and three files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        (folder / f"day{i}.png").write_bytes(encode_png(day_scene(i)))
        (folder / f"night{i}.png").write_bytes(encode_png(night_scene(i)))
    (folder / "broken.png").write_bytes(encode_png(day_scene(9))[:900])
    (folder / "tiny.png").write_bytes(encode_png(day_scene(9, 40, 40)))
    (folder / "notes.txt").write_text("no picture")
    return folder


def contents(root: Path) -> dict[str, bytes]:
    """Every file that is output, by relative path."""
    found = (p for p in root.rglob("*") if p.is_file() and p.name != "timings.log")
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


def lines(root: Path) -> list[dict[str, object]]:
    return [json.loads(text) for text in (root / "rendered.jsonl").read_text().splitlines()]


def make(out: Path, photos: Path, **kw: object) -> generate.RenderReport:
    return generate.write(out, kw.pop("scenes", 12), photos, 5, size=SIZE, **kw)  # type: ignore[arg-type]


def test_a_folder_with_all_four_types(tmp_path: Path, photographs: Path) -> None:
    report = make(tmp_path / "out", photographs, per_scene=2)
    assert report.pairs == 24
    assert report.counts == {s.value: {"train": 4, "test": 2} for s in Subset}
    assert report.faults == {}
    for line in lines(tmp_path / "out"):
        subset, name = str(line["stem"]).split("/")
        lq, gt = (read(tmp_path / "out" / subset / side / f"{name}.png").rgb for side in ("input", "target"))
        assert lq.shape == gt.shape == (SIZE[1], SIZE[0], 3)
        assert psnr8(lq, gt) < generate.VISIBLE or line["params"]["strength"] == 1  # type: ignore[index]


def test_unusable_photographs_are_reported(tmp_path: Path, photographs: Path) -> None:
    report = make(tmp_path / "out", photographs, scenes=100)
    assert {r.key: r.reason for r in report.rejects} == {
        "broken.png": "truncated", "tiny.png": "too-small", "notes.txt": "not-read",
    }  # fmt: skip
    assert report.pairs == 16
    assert "16 photographs could be used" in report.notes[0]


def test_scenes_never_cross_splits(tmp_path: Path, photographs: Path) -> None:
    make(tmp_path / "out", photographs, per_scene=3)
    splits: dict[object, set[object]] = {}
    for line in lines(tmp_path / "out"):
        splits.setdefault(line["scene"], set()).add(line["split"])
    assert len(splits) == 12
    assert all(len(s) == 1 for s in splits.values())


def test_night_types_get_night_photographs(tmp_path: Path, photographs: Path) -> None:
    make(tmp_path / "out", photographs)
    for line in lines(tmp_path / "out"):
        assert str(line["scene"]).startswith("night" if line["night"] else "day")
        assert not line["params"]["relit"]  # type: ignore[index]


def test_day_photographs_fill_in_where_nights_are_short(tmp_path: Path, photographs: Path) -> None:
    for path in photographs.glob("night*.png"):
        path.unlink()
    report = make(tmp_path / "out", photographs, scenes=8)
    assert {k: sum(v.values()) for k, v in report.counts.items()} == dict.fromkeys(["DRS", "DRD", "NRS", "NRD"], 2)
    assert any("made from day photographs" in n for n in report.notes)


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path, photographs: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        make(tmp_path / name, photographs, faults=True, per_scene=2, workers=workers)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[k] == two[k] for k in one)


def test_another_seed_gives_other_rain(tmp_path: Path, photographs: Path) -> None:
    make(tmp_path / "a", photographs, scenes=4)
    generate.write(tmp_path / "b", 4, photographs, 6, size=SIZE)
    assert (tmp_path / "a" / "rendered.jsonl").read_bytes() != (tmp_path / "b" / "rendered.jsonl").read_bytes()


def test_a_broken_run_is_finished_later(tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make(whole, photographs, per_scene=3, faults=True)
    original, calls = generate.Render.pair, []

    def dies(self: generate.Render, sample: generate.Sample) -> object:
        calls.append(sample.index)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(self, sample)

    monkeypatch.setattr(generate.Render, "pair", dies)
    with pytest.raises(KeyboardInterrupt):
        make(broken, photographs, per_scene=3, faults=True)
    make(broken, photographs, per_scene=3, faults=True)
    assert contents(broken) == contents(whole)
    assert calls.count(0) == 1, "the first shard was not rendered twice"


def test_other_settings_do_not_mix(tmp_path: Path, photographs: Path) -> None:
    make(tmp_path / "out", photographs, scenes=4)
    with pytest.raises(IntegrityError, match="other"):
        make(tmp_path / "out", photographs, scenes=8)


def test_the_share_of_faults_is_exact_and_each_is_named_once(tmp_path: Path, photographs: Path) -> None:
    report = make(tmp_path / "out", photographs, per_scene=5, faults=True, fault_share=0.5)
    assert sum(report.faults.values()) == 30
    assert set(report.faults) == set(FAULTS)
    for line in lines(tmp_path / "out"):
        assert (line["subset"] != line["rendered_as"]) == (line["fault"] == "day-labelled-night")


def test_the_plan_deals_faults_that_fit() -> None:
    dealt = backgrounds.bundled(tuple(Subset), 40, 0)
    for sample in generate.plan(dealt, 0, 3, 0.6):
        if sample.fault is not None:
            assert sample.fault in generate.planting.possible(sample.subset)
        if sample.fault == "wrong-target":
            assert sample.donor is not None
            assert sample.donor.scene != sample.background.scene


def test_the_source_reads_what_was_written(tmp_path: Path, photographs: Path) -> None:
    out = tmp_path / "out"
    make(out, photographs, faults=True, fault_share=0.5)
    _, found = match(RENDERED, out)
    assert found.rejects == []
    by_stem = {str(line["stem"]): line for line in lines(out)}
    assert {p.stem for p in found.pairs} == set(by_stem)
    for pair in found.pairs:
        line = by_stem[pair.stem]
        assert (pair.fault, pair.split, pair.scene, pair.night) == tuple(
            line[k] for k in ("fault", "split", "scene", "night")
        )
        assert (out / pair.lq).exists()
        assert pair.gt is not None
        assert pair.lq.split("/")[-2:] == ["input", pair.gt.split("/")[-1]]


def test_missing_and_foreign_files_are_named(tmp_path: Path, photographs: Path) -> None:
    out = tmp_path / "out"
    make(out, photographs, scenes=4)
    victim = sorted(out.glob("*/target/*.png"))[0]
    victim.unlink()
    (out / "stray.png").write_bytes(encode_png(day_scene()))
    _, found = match(RENDERED, out)
    assert {r.reason for r in found.rejects} == {"missing-gt", "unknown-file"}
    assert len(found.pairs) == 3


def test_a_folder_without_manifest_or_with_a_broken_one_is_refused(tmp_path: Path, photographs: Path) -> None:
    with pytest.raises(LayoutError, match=r"rendered\.jsonl"):
        match(RENDERED, photographs)
    (photographs / "rendered.jsonl").write_text("{half a line\n")
    with pytest.raises(InputError, match="not JSON"):
        match(RENDERED, photographs)


def test_misuse_is_refused(tmp_path: Path, photographs: Path) -> None:
    with pytest.raises(UsageError, match="at least one scene"):
        make(tmp_path / "out", photographs, scenes=0)
    with pytest.raises(UsageError, match="64"):
        generate.write(tmp_path / "out", 1, photographs, size=(32, 320))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no usable photograph"):
        make(tmp_path / "out", empty)


def test_without_photographs_there_are_streets() -> None:
    dealt = backgrounds.bundled(tuple(Subset), 9, 3)
    assert [t for _, t in dealt[:4]] == list(Subset)
    assert len({b.scene for b, _ in dealt}) == 9
    assert all(b.night == (t in backgrounds.NIGHT) for b, t in dealt)
    assert {b.scene for b, _ in dealt if b.kind == "photo"} <= {"sklearn-china", "sklearn-flower"}


@pytest.mark.parametrize("night", [False, True])
def test_a_street_is_lit_as_asked(night: bool) -> None:
    picture = street(np.random.default_rng(2), (144, 96), night)
    assert picture.shape == (96, 144, 3)
    assert is_night(picture) == night
    assert picture.std() > 10


def test_crops_have_the_size_and_come_from_the_picture() -> None:
    picture = np.full((50, 200, 3), 77, np.uint8)
    for size in ((96, 72), (480, 320), (64, 64)):
        part = backgrounds.crop(picture, size, np.random.default_rng(0))
        assert part.shape == (size[1], size[0], 3)
        assert (part == 77).all()
