"""SPA-Data: list files, and the copies that circulate."""

from __future__ import annotations

from tests.data.sources.build import files, found, pairs, rejects, scenes, take


def listed(root, name, *lines, end="\n"):
    (root / name).write_text("\n".join(lines) + end)
    return root


def author(tmp_path):
    root = files(
        tmp_path / "SPA",
        "real_world/000/000-1/000-1_{0,256}_0.png",
        "real_world/013/013-2/013-2_0_0.png",
        "real_world_gt/000.png",
        "real_world_gt/013.png",
        "real_test_1000/rain/{000,001}.png",
        "real_test_1000/gt/{000,001}gt.png",
    )
    listed(
        root,
        "real_world.txt",
        "./real_world/000/000-1/000-1_0_0.png ./real_world_gt/000.png",
        "./real_world/000/000-1/000-1_256_0.png ./real_world_gt/000.png",
        "./real_world/013/013-2/013-2_0_0.png ./real_world_gt/013.png",
        end="",  # the authors' loader loses the last letter here
    )
    return listed(
        root,
        "real_test_1000.txt",
        "/real_test_1000/rain/000.png /real_test_1000/gt/000gt.png",
        "/real_test_1000/rain/001.png /real_test_1000/gt/001gt.png",
    )


def test_list_files_with_dots_slashes_and_no_final_newline(tmp_path):
    root = author(tmp_path)
    report, rows = take("spa-data", root, tmp_path / "out")
    assert report.counts["DRS"] == {"train": 3, "test": 2}
    assert report.rejects == ()
    assert pairs("spa-data", root)["train/013/013-2/013-2_0_0"] == (
        "real_world/013/013-2/013-2_0_0.png",
        "real_world_gt/013.png",
    )
    assert {k: r["scene"] for k, r in rows.items()} == {
        "spa-data/train/000/000-1/000-1_0_0": "spa-data/train/000",
        "spa-data/train/000/000-1/000-1_256_0": "spa-data/train/000",
        "spa-data/train/013/013-2/013-2_0_0": "spa-data/train/013",
        "spa-data/test/000": "spa-data/test/000",
        "spa-data/test/001": "spa-data/test/001",
    }


def test_the_root_may_be_above_the_list(tmp_path):
    root = author(tmp_path)
    assert set(pairs("spa-data", root.parent)) == set(pairs("spa-data", root))


def test_a_list_may_lie_in_a_folder_beside_the_images(tmp_path):
    root = author(tmp_path)
    (root / "lists").mkdir()
    for name in ("real_world.txt", "real_test_1000.txt"):
        (root / name).rename(root / "lists" / name)
    assert len(found("spa-data", root).pairs) == 5


def test_listed_files_that_are_not_there_are_counted_in_one_line(tmp_path):
    root = author(tmp_path)
    (root / "real_world_gt/000.png").unlink()
    (root / "notes.txt").write_text("unpack real_world.zip first\n")
    f = found("spa-data", root)
    assert len(f.pairs) == 3
    assert [(r.key, r.reason, r.detail) for r in f.rejects if r.reason == "not-there"] == [
        (
            "real_world.txt",
            "not-there",
            "2 of 3 lines name files that are not there, e.g. ./real_world/000/000-1/000-1_0_0.png",
        )
    ]


def test_images_that_no_list_names_and_lines_listed_twice(tmp_path):
    root = files(author(tmp_path), "Real_Internet/1.png")
    text = (root / "real_test_1000.txt").read_text()
    (root / "real_test_1000.txt").write_text(text + text)
    left = rejects("spa-data", root)
    assert left.pop("Real_Internet/1.png") == "unknown-file"
    assert left == {"real_test_1000/rain/000.png": "duplicate-key", "real_test_1000/rain/001.png": "duplicate-key"}
    assert len(found("spa-data", root).pairs) == 5


def test_the_mirrors_sub_sample(tmp_path):
    root = files(
        tmp_path / "hub",
        "{train,val}/rgb_reconstruction/rain/rain-{1,2}.png",
        "{train,val}/rgb_reconstruction/norain/norain-{1,2}.png",
    )
    assert scenes("spa-data", root) == {f"{s}/{n}": f"{s}/{n}" for s in ("train", "validation") for n in (1, 2)}
    assert pairs("spa-data", root)["validation/2"] == (
        "val/rgb_reconstruction/rain/rain-2.png",
        "val/rgb_reconstruction/norain/norain-2.png",
    )


def test_the_test_copy_and_the_paired_copy(tmp_path):
    root = files(tmp_path / "a", "test/small/{rain,norain}/norain-{1,2}.png")
    assert set(pairs("spa-data", root)) == set(pairs("spa-data", root / "test/small")) == {"test/1", "test/2"}
    root = files(tmp_path / "b", "{train,test}/{input,target}/1.png")
    assert set(pairs("spa-data", root)) == {"train/1", "test/1"}
