"""Pairing by names: the field's ways of naming, what is refused, and what holds for any names."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainrag.core.errors import UsageError
from rainrag.core.names import grouped, printable, unread
from rainrag.data.pairing import pair_folder, pair_lists


def joined(lq: list[str], gt: list[str], **how: str) -> dict[str, str]:
    return {p.lq: p.gt for p in pair_lists(lq, gt, **how).pairs}


# ---------------------------------------------------------------- two lists
@pytest.mark.parametrize(
    ("lq", "gt"),
    [
        (["1.png", "2.jpg"], ["1.png", "2.png"]),
        (["rain-1.png", "rain-2.png"], ["norain-1.png", "norain-2.png"]),
        (["X_rainy.png", "Y_rainy.png"], ["X_clean.png", "Y_clean.png"]),
        (["1_wet.png", "2_wet.png"], ["1_dry.png", "2_dry.png"]),
        (["in-1.png", "in-2.png"], ["out-1.png", "out-2.png"]),
        (["lq_1.png", "lq_2.png"], ["1_gt.png", "2_gt.png"]),
        (["1_no_rain_x.png", "2_no_rain_x.png"], ["1_rain_x.png", "2_rain_x.png"]),
        (["000.png", "001.png"], ["000gt.png", "001gt.png"]),
        (["norain-1x2.png", "norain-2x2.png"], ["norain-1.png", "norain-2.png"]),
        (["0001.png", "0010.png"], ["1.png", "10.png"]),
        (["1_MyNet_Rain100L.png", "2_MyNet_Rain100L.png"], ["1.png", "2.png"]),
        (["a_foo.png", "b_foo.png"], ["a_bar.png", "b_bar.png"]),
        (["1.png", "2.png"], ["1_groundtruthimage.png", "2_groundtruthimage.png"]),
        (["A.PNG", "b.png"], ["a.jpg", "B.png"]),
        (["①.png", "0².png"], ["①.png", "0².png"]),
        (["x/1.png", "x/2.png"], ["1.png", "2.png"]),
    ],
)
def test_names_of_the_field_pair_one_to_one(lq: list[str], gt: list[str]) -> None:
    found = pair_lists(lq, gt)
    assert [(p.lq, p.gt) for p in found.pairs] == list(zip(sorted(lq), sorted(gt, key=str.lower), strict=True))
    assert found.left == ()
    assert len({p.key for p in found.pairs}) == 2


@pytest.mark.parametrize(
    ("lq", "gt", "scenes"),
    [
        (["901_1.png", "901_14.png", "902_1.png"], ["901.png", "902.png"], ["901", "901", "902"]),
        (["im_0001_s80_a04.png", "im_0002_s80_a05.png"], ["im_0001.png", "im_0002.png"], ["im_0001", "im_0002"]),
        (["0001_00.png", "0001_01.png"], ["0001.png"], ["0001", "0001"]),
        (["light_901.png", "heavy_901.png"], ["901.png"], ["901", "901"]),
        (["rd-1.png", "rain-1.png", "rd-rain-1.png"], ["norain-1.png"], ["1", "1", "1"]),
        (["901/1.png", "901/2.png"], ["901.png"], ["901", "901"]),
    ],
)  # fmt: skip
def test_several_rainy_images_of_one_clean_one(lq: list[str], gt: list[str], scenes: list[str]) -> None:
    found = pair_lists(lq, gt)
    assert sorted(p.scene for p in found.pairs) == scenes
    assert found.left == ()
    assert f"{len(lq)} pairs ({len(lq)} rainy images of {len(gt)} clean ones)" in found.describe() or len(gt) == len(lq)


def test_composed_and_decomposed_names_are_one() -> None:
    names = ["Straße_é.png", "ナイトガ.png"]
    other = [unicodedata.normalize("NFD", n) for n in names]
    assert other != names
    assert sorted(joined(names, other).items()) == sorted(zip(names, other, strict=True))


def test_a_longer_name_is_no_version_unless_all_are() -> None:
    found = pair_lists(["a.png", "b.png", "b2.png"], ["a.png", "b.png"])
    assert {p.lq for p in found.pairs} == {"a.png", "b.png"}
    assert [(x.name, x.reason) for x in found.left] == [("b2.png", "missing-gt")]


def test_two_partners_are_never_chosen_between() -> None:
    found = pair_lists(["1.png"], ["1.bmp", "1.jpg"])
    assert found.pairs == ()
    assert [(x.reason, x.others) for x in found.left] == [("ambiguous-gt", ("1.bmp", "1.jpg"))]
    assert joined(["1.png"], ["1.png", "1.jpg"]) == {"1.png": "1.png"}
    same = pair_lists(["rain-1.png", "1.png", "2.png"], ["01.png", "02.png"])
    assert {x.name: x.reason for x in same.left} == {"1.png": "duplicate-key", "rain-1.png": "duplicate-key",
                                                     "01.png": "missing-lq"}  # fmt: skip


def test_names_that_differ_in_case_alone_are_left_out() -> None:
    found = pair_lists(["a.png", "A.png", "b.png"], ["a.png", "b.png"])
    assert [p.lq for p in found.pairs] == ["b.png"]
    assert {x.name for x in found.left if x.reason == "case-clash"} == {"a.png", "A.png"}


def test_a_pattern_and_a_suffix_decide() -> None:
    assert joined(["a_1_x.png", "a_2_yy.png"], ["b_1.png", "b_2.png"], pattern="a_{}_*=b_{}") == {
        "a_1_x.png": "b_1.png",
        "a_2_yy.png": "b_2.png",
    }
    assert joined(["7x4.png"], ["7.png"], pattern="{}x4") == {"7x4.png": "7.png"}
    assert joined(["1_2_net.png", "2_net.png"], ["1_2.png", "2.png"], suffix="_net") == {
        "1_2_net.png": "1_2.png",
        "2_net.png": "2.png",
    }
    assert [x.reason for x in pair_lists(["1_2_3.png"], ["1.png", "1_2.png"], pattern="{}_*").left] == ["ambiguous-gt"]
    with pytest.raises(UsageError, match="no pattern"):
        pair_lists(["1.png"], ["1.png"], pattern="rain_*")


def test_what_is_left_shows_the_pattern_it_would_need() -> None:
    found = pair_lists(["q901-7.png"], ["gt-901.png"])
    assert found.pairs == ()
    assert found.pattern == "q{}-*=gt-{}"
    assert joined(["q901-7.png"], ["gt-901.png"], pattern=found.pattern) == {"q901-7.png": "gt-901.png"}


# ---------------------------------------------------------------- one folder
@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["wet/1.png", "dry/1.png"], {"1": ("wet/1.png", "dry/1.png")}),
        (["1_rainy.png", "1_clean.png"], {"1": ("1_rainy.png", "1_clean.png")}),
        (["in/1.png", "out/1.png"], {"1": ("in/1.png", "out/1.png")}),
        (["1_in.png", "1_GT.png"], {"1": ("1_in.png", "1_GT.png")}),
        (["rain-001.png", "norain-001.png"], {"001": ("rain-001.png", "norain-001.png")}),
        (["000.png", "000gt.png"], {"000": ("000.png", "000gt.png")}),
        (["rain/X2/norain-1x2.png", "norain/norain-1.png"], {"X2/1x2": ("rain/X2/norain-1x2.png", "norain/norain-1.png")}),
        (["data/0_rain.png", "gt/0_clean.png"], {"0": ("data/0_rain.png", "gt/0_clean.png")}),
        (["a/rain.png", "a/clean.png"], {"a/rain": ("a/rain.png", "a/clean.png")}),
        (["a/rain-1.png", "a/rain-2.png", "a/clean.png"],
         {"a/1": ("a/rain-1.png", "a/clean.png"), "a/2": ("a/rain-2.png", "a/clean.png")}),
        (["s1/rain/1.png", "s1/clean.png", "s2/rain/1.png", "s2/clean.png"],
         {"s1/1": ("s1/rain/1.png", "s1/clean.png"), "s2/1": ("s2/rain/1.png", "s2/clean.png")}),
        (["heavy/1.png", "light/1.png", "clean/1.png"],
         {"heavy/1": ("heavy/1.png", "clean/1.png"), "light/1": ("light/1.png", "clean/1.png")}),
        (["train_lq/1.png", "train_gt/1.png", "test_lq/1.png", "test_gt/1.png"],
         {"train/1": ("train_lq/1.png", "train_gt/1.png"), "test/1": ("test_lq/1.png", "test_gt/1.png")}),
        (["1.png", "gt/1.png"], {"1": ("1.png", "gt/1.png")}),
        (["rain/input/1.png", "rain/target/1.png"], {"rain/1": ("rain/input/1.png", "rain/target/1.png")}),
        (["Rainy image/1.png", "Ground Truth/1.png"], {"1": ("Rainy image/1.png", "Ground Truth/1.png")}),
    ],
)  # fmt: skip
def test_sides_are_told_by_folders_and_by_marks(names: list[str], pairs: dict[str, tuple[str, str]]) -> None:
    found = pair_folder(names)
    assert {p.key: (p.lq, p.gt) for p in found.pairs} == pairs
    assert found.left == ()
    assert found.refused is None


@pytest.mark.parametrize(
    "names",
    [
        ["holiday/1.jpg", "test/2.jpg", "3.png"],
        ["clips/01/0001.jpg", "clips/02/0001.jpg"],
        ["train/1.jpg", "test/1.jpg"],
        ["rain/1.jpg", "rain/2.jpg"],
    ],
)
def test_photographs_are_no_pairs(names: list[str]) -> None:
    found = pair_folder(names)
    assert found.pairs == ()
    assert found.refused is None


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a/1.png", "b/1.png"], "a/{}=b/{}"),
        (["1_foo.png", "1_bar.png", "2_foo.png", "2_bar.png"], "{}_bar={}_foo"),
        (["rain/a.png", "norain/b.png"], "rain/{}=norain/{}"),
    ],
)
def test_names_that_could_pair_are_refused_with_the_pattern(names: list[str], pattern: str) -> None:
    found = pair_folder(names)
    assert found.refused
    assert found.pattern == pattern
    assert found.pairs == ()


def test_files_of_neither_side_are_named() -> None:
    found = pair_folder(["input/1.png", "input/2.png", "target/1.png", "target/3.png", "output/1.png", "logo.png"])
    assert {x.name: x.reason for x in found.left} == {
        "input/2.png": "missing-gt", "target/3.png": "missing-lq", "output/1.png": "unknown-file", "logo.png": "unknown-file",
    }  # fmt: skip


def test_a_pattern_tells_the_sides_of_a_folder() -> None:
    found = pair_folder(["a/x.png", "b/x.png", "c/x.png"], pattern="a/{}=b/{}")
    assert [(p.lq, p.gt) for p in found.pairs] == [("a/x.png", "b/x.png")]
    assert [(x.name, x.reason) for x in found.left] == [("c/x.png", "unknown-file")]
    found = pair_folder(["x.png", "x_gt.png"], pattern="{}={}_gt")
    assert [(p.lq, p.gt) for p in found.pairs] == [("x.png", "x_gt.png")]
    assert pair_folder(["x.png", "y.png"], pattern="{}_q").refused


# ---------------------------------------------------------------- what holds for any names
PART = st.sampled_from(["1", "01", "2", "12", "im", "x2", "a", "B", "é", "①"])
MARK = st.sampled_from(["", "rain", "norain", "gt", "clean", "net"])
FOLDER = st.sampled_from(["", "rain/", "clean/", "input/", "target/", "x/", "a/b/"])
NAMES = st.lists(
    st.builds(
        lambda folder, mark, parts, end: f"{folder}{'_'.join(filter(None, [mark, *parts, end]))}.png",
        FOLDER, MARK, st.lists(PART, min_size=1, max_size=3), MARK,
    ),
    max_size=12,
)  # fmt: skip


@given(NAMES, NAMES, st.randoms(use_true_random=False))
def test_lists_pair_the_same_in_any_order_and_lose_nothing(lq: list[str], gt: list[str], rng: random.Random) -> None:
    found = pair_lists(lq, gt)
    rng.shuffle(lq)
    rng.shuffle(gt)
    assert pair_lists(lq, gt) == found
    placed = [p.lq for p in found.pairs]
    assert len(set(placed)) == len(placed), "a rainy image has one partner"
    assert len({p.key for p in found.pairs}) == len(placed)
    assert all(p.lq in lq and p.gt in gt for p in found.pairs)
    named = {x.name for x in found.left} | {o for x in found.left for o in x.others}
    assert set(lq) | set(gt) == set(placed) | {p.gt for p in found.pairs} | named


@given(NAMES, st.randoms(use_true_random=False))
def test_a_folder_pairs_the_same_in_any_order_and_no_file_with_itself(names: list[str], rng: random.Random) -> None:
    found = pair_folder(names)
    rng.shuffle(names)
    assert pair_folder(names) == found
    rainy, clean = {p.lq for p in found.pairs}, {p.gt for p in found.pairs}
    assert not rainy & clean, "no file is both sides"
    assert len(rainy) == len(found.pairs)
    assert len({p.key for p in found.pairs}) == len(found.pairs)
    if found.pairs:
        named = {x.name for x in found.left} | {o for x in found.left for o in x.others}
        assert set(names) == rainy | clean | named


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9)))
def test_any_text_is_a_name(names: list[str]) -> None:
    files = [f"{n}.png" for n in names]
    found = pair_lists(files, files)
    clash = {x.name for x in found.left}
    assert {p.lq: p.gt for p in found.pairs} == {f: f for f in set(files) - clash}
    assert all(x.reason == "case-clash" for x in found.left)


# ---------------------------------------------------------------- names
def test_names_that_are_no_text_print_as_escapes() -> None:
    name = b"gbk-\xd3\xea.png".decode("utf-8", "surrogateescape")
    assert printable(name) == r"gbk-\xd3\xea.png"
    assert printable("esc\x1b[31m\u202ered.png") == r"esc\x1b[31m\u202ered.png"
    assert printable("Straße ナイト.png") == "Straße ナイト.png"
    assert joined([name], [name]) == {name: name}


def test_files_that_are_no_images_have_a_reason() -> None:
    names = ["a.JFIF", "b.mp4", "c.MP4", "d.gif", "e", "f.heic", "g.dng"]
    assert unread(names) == [
        ("b.mp4", "video"), ("c.MP4", "video"), ("d.gif", "animated image"), ("e", "no ending of an image"),
        ("g.dng", "camera raw file"),
    ]  # fmt: skip
    assert grouped(unread(names))[0] == "2 video: b.mp4, c.MP4"


def test_a_clash_of_one_side_names_the_other_side_s_file_too() -> None:
    found = pair_folder(["input/8.png", "input/8.PNG", "input/9.png", "target/8.png", "target/9.png"])
    assert {x.name: x.reason for x in found.left} == dict.fromkeys(
        ["input/8.png", "input/8.PNG", "target/8.png"], "case-clash"
    )
