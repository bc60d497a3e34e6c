"""The engine: rules, splits, roots, and what it says of files that fit nothing."""

from __future__ import annotations

import string

import pytest

from rainrag.core.errors import LayoutError, UsageError
from rainrag.core.types import Source
from rainrag.data.sources import TABLE, get, names
from rainrag.data.sources.folder import globs
from rainrag.data.sources.layouts import REASONS, Layout, Rule, Tree, equal_name, match, same_names, split_of, unsplit
from tests.data.sources.build import files, found, pairs, rejects, scenes


def source(*layouts: Layout) -> Source:
    return Source("toy", "Toy", "", "", "unstated", layouts, streak=True, drop=False, night=False, real=False)


def toy(**known) -> Source:
    return source(equal_name("{input,target}/NAME", **known))


def test_equal_names_pair_across_extensions_and_case(tmp_path):
    files(tmp_path / "set", "Input/1.png", "TARGET/1.jpg", "Input/a.JPG", "TARGET/a.jpg")
    _, f = match(toy(), tmp_path / "set")
    assert {(p.lq, p.gt) for p in f.pairs} == {("Input/1.png", "TARGET/1.jpg"), ("Input/a.JPG", "TARGET/a.jpg")}
    assert f.rejects == []


def test_the_same_extension_wins_and_other_candidates_are_ambiguous(tmp_path):
    root = files(tmp_path / "set", "input/{1,2,3}.png", "target/1.{png,jpg}", "target/2.{bmp,jpg}", "target/3.png")
    _, f = match(toy(), root)
    assert [(p.lq, p.gt) for p in f.pairs] == [("input/1.png", "target/1.png"), ("input/3.png", "target/3.png")]
    assert {r.key: r.reason for r in f.rejects} == {"input/2.png": "ambiguous-gt", "target/1.jpg": "missing-lq"}
    assert "target/2.bmp, target/2.jpg" in f.rejects[0].detail


def test_every_missing_side_is_named(tmp_path):
    root = files(tmp_path / "set", "input/{1,2}.png", "target/{2,3}.png", "notes/logo.png")
    _, f = match(toy(), root)
    assert [p.stem for p in f.pairs] == ["2"]
    assert {r.key: r.reason for r in f.rejects} == {
        "input/1.png": "missing-gt",
        "target/3.png": "missing-lq",
        "notes/logo.png": "unknown-file",
    }
    assert "target/1.*" in f.rejects[0].detail
    assert all(r.reason in REASONS for r in f.rejects)


def test_names_that_differ_in_case_only_are_left_out_on_either_side(tmp_path):
    root = files(tmp_path / "set", "input/{a,A,b,c}.png", "target/{a,b,B,c}.png")
    _, f = match(toy(), root)
    assert [p.stem for p in f.pairs] == ["c"]
    assert {r.key: r.reason for r in f.rejects} == {
        "input/A.png": "case-clash",
        "input/a.png": "case-clash",
        "input/b.png": "case-clash",
    }


def test_a_key_is_given_once(tmp_path):
    root = files(tmp_path / "set", "x/{input,target}/1.png", "y/{input,target}/1.png")
    _, f = match(toy(), root)
    assert [p.lq for p in f.pairs] == ["x/input/1.png"]
    assert ("y/input/1.png", "duplicate-key") in {(r.key, r.reason) for r in f.rejects}


def test_the_innermost_side_folder_decides(tmp_path):
    # a set may lie below a folder that is itself called data, rain or in
    root = files(tmp_path / "data", "rain/input/1.png", "rain/target/1.png")
    assert pairs("folder", root) == {"train/rain/1": ("rain/input/1.png", "rain/target/1.png")}
    assert pairs("folder", root / "rain") == {"train/1": ("input/1.png", "target/1.png")}


def test_the_root_may_be_any_level_and_keys_stay(tmp_path):
    split = Rule(
        r"(?P<set>[AB])/(?P<part>(?:train|test)/)?in/(?P<n>\d)", ("{pre}{set}/{part}gt/{n}",), "{set}/{n}", "{n}"
    )
    sets = source(Layout("toy", "A/train/in/N", (split,)))
    root = files(tmp_path / "toy", "A/train/{in,gt}/1.png", "A/test/{in,gt}/1.png", "B/{in,gt}/1.png")
    stems = lambda at: {(p.split, p.stem) for p in match(sets, at)[1].pairs}  # noqa: E731
    assert stems(root) == {("train", "A/1"), ("test", "A/1"), ("train", "B/1")}
    assert stems(root / "A") == {("train", "A/1"), ("test", "A/1")}
    assert stems(root / "A" / "test") == {("test", "A/1")}
    assert stems(root / "B") == {("train", "B/1")}


def test_a_relative_root_knows_its_own_names(tmp_path, monkeypatch):
    files(tmp_path / "set", "test/{input,target}/1.png")
    monkeypatch.chdir(tmp_path / "set" / "test")
    assert [p.split for p in match(toy(), type(tmp_path)("."))[1].pairs] == ["test"]


def test_a_folder_above_the_root_gives_no_side(tmp_path):
    # .../rain/1.png has its sibling outside the root: not 'missing', but unknown
    with pytest.raises(LayoutError, match="no known layout") as e:
        match(toy(), files(tmp_path / "rain", "1.png"))
    assert "missing-gt" not in str(e.value)


def test_split_comes_from_the_rule_the_group_the_folder_or_the_default(tmp_path):
    root = files(tmp_path / "set", "val/{input,target}/1.png", "{input,target}/2.png", "test_b/{input,target}/3.png")
    f = match(toy(default_split="test"), root)[1]
    assert {p.stem: p.split for p in f.pairs} == {"1": "validation", "2": "test", "3": "test"}
    assert {p.split for p in match(toy(split="validation"), root)[1].pairs} == {"validation"}
    grouped = source(Layout("g", "", (Rule(r"set-(?P<split>train|val)/(?P<n>\d)", (), "{n}", "{split}/{n}"),)))
    f = match(grouped, files(tmp_path / "other", "set-train/1.png", "set-val/1.png"))[1]
    assert [(p.split, p.scene) for p in f.pairs] == [("train", "train/1"), ("validation", "validation/1")]


@pytest.mark.parametrize(
    ("path", "split"),
    [("a/Train/1.png", "train"), ("test/train/1.png", "train"), ("Test1/in/1.png", "test"), ("x/train.png", "none")],
)
def test_the_nearest_folder_names_the_split(path, split):
    assert split_of(path, "none") == split


def test_folders_that_name_a_split_leave_the_stem():
    assert unsplit("a/train/b/Test_A/c") == "a/b/c"
    assert unsplit("train") == "train"


def test_templates_can_change_case(tmp_path):
    rule = Rule(r"(?P<k>[a-z]+)/(?P<n>\d)", (), "{k!u}/{n}", "{k!l}{n}")
    _, f = match(source(Layout("t", "", (rule,))), files(tmp_path / "set", "Abc/1.png"))
    assert [(p.stem, p.scene) for p in f.pairs] == [("ABC/1", "abc1")]


def test_an_unknown_folder_is_refused_with_what_was_found_and_expected(tmp_path):
    root = files(tmp_path / "set", "wet/1.png", "dry/1.png")
    with pytest.raises(LayoutError) as e:
        match(source(equal_name("{input,target}/NAME"), Layout("other", "masks/NAME and more")), root)
    text = str(e.value)
    assert "wet/ : 1 files, e.g. 1.png" in text
    assert "{input,target}/NAME" in text
    assert "masks/NAME and more" in text
    assert "rainrag ingest folder" in text


def test_a_refusal_says_why_files_that_came_close_were_turned_down(tmp_path):
    root = files(tmp_path / "set", "input/{1,2}.png", "target/9.png", "mask/1.png")
    with pytest.raises(LayoutError) as e:
        match(toy(ignore="(^|/)mask/"), root)
    assert "missing-gt: 2, e.g. input/1.png (expected target/1.*" in str(e.value)
    assert "Passed over as part of another set, masks or previews: 1, e.g. mask/1.png" in str(e.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="no files"):
        match(toy(), tmp_path)


def test_passed_over_files_are_neither_paired_nor_reported(tmp_path):
    root = files(tmp_path / "set", "{input,target}/1.png", "mask/input/1.png")
    _, f = match(toy(ignore="(^|/)mask/"), root)
    assert len(f.pairs) == 1
    assert f.rejects == []
    assert f.passed == ["mask/input/1.png"]


def test_the_layout_that_places_most_files_is_taken(tmp_path):
    both = source(
        equal_name("few", lq="few"), equal_name("many", lq="many"), Layout("last", "", (Rule(".*", (), "x", "x"),))
    )
    root = files(tmp_path / "set", "few/1.png", "many/{1,2}.png", "target/{1,2}.png")
    layout, f = match(both, root)
    assert layout.expected == "many"
    assert len(f.pairs) == 2


def test_every_template_names_groups_that_its_pattern_has():
    import re

    for name in names():
        for layout in get(name).layouts:
            for rule in layout.rules:
                known = set(re.compile(rule.lq).groupindex)
                fields = lambda t: {f for _, f, _, _ in string.Formatter().parse(t) if f}  # noqa: E731
                for template in rule.gt:
                    assert fields(template) <= known | {"pre"}, (name, template)
                for template in (rule.stem, rule.scene):
                    assert fields(template) <= known | {"where", "split"}, (name, template)


def test_no_source_imports_another():
    import ast
    from pathlib import Path

    import rainrag.data.sources as package

    for file in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rainrag.data.sources"):
                assert node.module == "rainrag.data.sources.layouts", file.name


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="rain100l"):
        get("rain100")


# ---------------------------------------------------------------- the user's own folder
def test_folder_pairs_side_by_side_folders_in_any_depth(tmp_path):
    root = files(tmp_path / "mine", "train/a/{rain,clean}/1.png", "test/a/{rain,clean}/1.png", "b/{lq,gt}/1.png")
    assert pairs("folder", root) == {
        "train/a/1": ("train/a/rain/1.png", "train/a/clean/1.png"),
        "test/a/1": ("test/a/rain/1.png", "test/a/clean/1.png"),
        "train/b/1": ("b/lq/1.png", "b/gt/1.png"),
    }
    assert len(set(scenes("folder", root).values())) == 3  # numbers start again in each part


def test_folder_takes_photographs_where_nothing_pairs(tmp_path):
    root = files(tmp_path / "mine", "holiday/1.jpg", "test/2.jpg", "3.png")
    assert pairs("folder", root) == {
        "train/holiday/1": ("holiday/1.jpg", None),
        "test/2": ("test/2.jpg", None),
        "train/3": ("3.png", None),
    }


def test_globs_join_on_what_the_wildcards_stand_for(tmp_path):
    root = files(tmp_path / "mine", "wet/{7_rain,8_rain}.png", "dry/{7_clean,9_clean}.png", "dry/readme.png")
    layout = globs("wet/*_rain.png", "dry/*_clean.png")
    _, f = match(get("folder"), root, [layout])
    assert [(p.stem, p.lq, p.gt) for p in f.pairs] == [("7", "wet/7_rain.png", "dry/7_clean.png")]
    assert {r.key: r.reason for r in f.rejects} == {
        "wet/8_rain.png": "missing-gt",
        "dry/9_clean.png": "missing-lq",
        "dry/readme.png": "missing-lq",
    }


def test_globs_forgive_extensions_but_not_two_candidates(tmp_path):
    root = files(tmp_path / "mine", "wet/{1,2,3}.png", "wet/3.jpg", "dry/1.jpg", "dry/2.{jpg,bmp}", "dry/3.png")
    _, f = match(get("folder"), root, [globs("wet/*", "dry/*")])
    assert [(p.stem, p.gt) for p in f.pairs] == [("1", "dry/1.jpg")]
    reasons = {r.key: r.reason for r in f.rejects}
    assert reasons["wet/2.png"] == "ambiguous-gt"
    assert reasons["wet/3.png"] == reasons["wet/3.jpg"] == "duplicate-key"


def test_globs_over_splits(tmp_path):
    root = files(tmp_path / "mine", "{train,test}/{wet,dry}/1.png")
    _, f = match(get("folder"), root, [globs("**/wet/*.png", "**/dry/*.png")])
    assert [(p.split, p.stem, p.gt) for p in f.pairs] == [
        ("test", "1", "test/dry/1.png"),
        ("train", "1", "train/dry/1.png"),
    ]


def test_a_glob_alone_gives_photographs(tmp_path):
    root = files(tmp_path / "mine", "wet/{1,2}.png", "dry/1.png")
    _, f = match(get("folder"), root, [globs("wet/*.png", None)])
    assert [(p.stem, p.gt) for p in f.pairs] == [("1", None), ("2", None)]


def test_a_glob_that_matches_nothing_is_shown(tmp_path):
    with pytest.raises(LayoutError, match=r"wet/\*\.png with dry/\*\.png"):
        match(get("folder"), files(tmp_path / "mine", "a/1.png"), [globs("wet/*.png", "dry/*.png")])


def test_tree_index_forgives_case(tmp_path):
    tree = Tree(tmp_path, ["GT/1.PNG", "GT/1.jpg", "GT/notes.txt"])
    assert tree.find("gt/1", "x.png") == ["GT/1.PNG"]
    assert tree.find("gt/1", "x.bmp") == ["GT/1.PNG", "GT/1.jpg"]
    assert tree.find("gt/notes") == []


def test_same_names_rules_can_know_flags(tmp_path):
    rules = [same_names(f"{k}/", stem=f"{k}/{{name}}", drop=k == "d") for k in "sd"]
    root = files(tmp_path / "set", "{s,d}/{input,target}/1.png")
    _, f = match(source(equal_name("", *rules)), root)
    assert {p.stem: p.drop for p in f.pairs} == {"s/1": False, "d/1": True}


def test_table_names_are_the_records_names():
    assert {name: get(name).name for name in names()} == {name: name for name in TABLE}


def test_rejects_of_a_found_layout_come_with_the_pairs(tmp_path):
    root = files(tmp_path / "RainDrop", "train/data/{0,1}_rain.png", "train/gt/0_clean.png")
    assert len(found("raindrop", root).pairs) == 1
    assert rejects("raindrop", root) == {"train/data/1_rain.png": "missing-gt"}
