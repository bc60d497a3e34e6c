"""What the field adds to names: marks of the two sides, leading zeros, a scale; and names without them."""

from __future__ import annotations

import re

from rainrag.core.names import composed, stem

#: Words that mark the rainy side, and the clean side; ``_`` stands for any separator or none.
LQ_WORDS = (
    "rain rainy raining wet lq input inputs in degraded deg noisy corrupted with_rain raindrop raindrops drop drops "
    "rainstreak rainstreaks streak streaks low_quality before rain_image rainy_image rd rs"
)
GT_WORDS = (
    "no_rain non_rain no_rainy norains rain_free clean clear gt target targets dry ground_truth ground_truths hq sunny "
    "reference label labels high_quality after background clean_image clear_image gt_image"
)
#: Names of results: the clean side only beside ``in`` or ``input``, and only where no other folder is.
OUT_WORDS = "out output outputs derained derain restored result results pred prediction dr fake_b real_b"
#: Folders that hold the rainy side beside a folder of clean images; as a mark in a file's name they say nothing.
LQ_FOLDERS = frozenset({"data", "inputcrop", "src", "source", "lr"})
GT_FOLDERS = frozenset({"cleancrop", "ref", "hr", "original", "originals"})
#: Folders that name a part of a set, never a side.
PARTS = frozenset(
    {
        "train",
        "training",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
        "trainset",
        "testset",
        "train_set",
        "test_set",
    }
)

_GAP = "[-_. ]"


def _alternatives(words: str) -> str:
    return "|".join(w.replace("_", f"{_GAP}?") for w in sorted(words.split(), key=lambda w: (-len(w), w)))


_ALL = _alternatives(f"{LQ_WORDS} {GT_WORDS} {OUT_WORDS}")
_FIRST = re.compile(rf"(^|/)({_ALL})(?:{_GAP}+|(?=\d)|(?=$)|(?=/))", re.IGNORECASE)
_LAST = re.compile(rf"(?:{_GAP}+|(?<=\d))({_ALL})(?=$|/)", re.IGNORECASE)
_MIDDLE = re.compile(rf"{_GAP}({_ALL})(?={_GAP})", re.IGNORECASE)
_SCALE = re.compile(rf"(?<=\d){_GAP}?x[2348]$", re.IGNORECASE)
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SIDES = {
    side: re.compile(rf"(?:{_alternatives(words)})", re.IGNORECASE)
    for side, words in (("lq", LQ_WORDS), ("gt", GT_WORDS), ("out", OUT_WORDS))
}


def unmarked(name: str) -> str:
    """A path without marks of its side at the beginning and the end of its parts."""
    for _ in range(3):
        shorter = _LAST.sub("", _FIRST.sub(r"\1", name))
        if shorter == name:
            break
        name = shorter
    return name


def side_of(name: str, middle: bool = False) -> str:
    """The side that a single name's marks tell: ``lq``, ``gt``, ``out`` (a result); empty without marks or with several."""
    found = [m.groups()[-1] for m in (_FIRST.match(name), _LAST.search(name)) if m]
    if not found and middle:
        found = [m.group(1) for m in _MIDDLE.finditer(name)]
    told = {side for word in found for side, words in _SIDES.items() if words.fullmatch(word)}
    return told.pop() if len(told) == 1 else ""


def numbers(name: str) -> str:
    """A name without leading zeros of its numbers and without a scale such as ``x2`` at its end."""
    return _ZEROS.sub("", _SCALE.sub("", name))


def folded(name: str) -> str:
    """A path without ending, composed, in one case: what names are compared in."""
    return composed(stem(name)).casefold()


def without_marks(name: str) -> str:
    """A path in one case without marks of its side."""
    return re.sub("//+", "/", unmarked(folded(name))).strip("/")


def bare(name: str) -> str:
    """A path without marks, leading zeros and scale."""
    return numbers(without_marks(name))


def bare_anywhere(name: str) -> str:
    """As ``bare``, also without marks between other words."""
    return numbers(_MIDDLE.sub("", without_marks(name)))
