"""Tiles: weights that sum to one, starts at multiples, overlaps that are kept; the words of --tile; going smaller."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainrag.core.errors import UsageError
from rainrag.models.input_spec import pad, quantise, unit
from rainrag.restore import Contract, Tiling, tiles


@given(
    length=st.integers(1, 300), tile=st.integers(1, 80), share=st.floats(0, 0.99), multiple=st.sampled_from([1, 4, 8]),
    receptive=st.sampled_from([None, 0, 3, 9]),
)  # fmt: skip
def test_weights_sum_to_one_at_every_pixel(
    length: int, tile: int, share: float, multiple: int, receptive: int | None
) -> None:
    contract = Contract(multiple=multiple, receptive=receptive)
    side = contract.up(tile)
    try:
        tiling = tiles.fitted(contract, side, int(share * side))
    except UsageError:
        return
    plan = tiles.plan(contract, length, 1, tiling)
    axis, weights = plan.rows, plan.rows.weights()
    total = np.zeros(axis.length)
    for start, w in zip(axis.starts, weights, strict=True):
        assert start % multiple == 0
        assert 0 <= start <= axis.length - axis.tile
        total[start : start + axis.tile] += w
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.tile == axis.length
    assert np.abs(total - 1).max() < 1e-6
    assert weights.min() >= 0
    assert axis.shared is None or axis.shared >= tiling.overlap >= int(share * side)


@given(extra=st.integers(0, 20), receptive=st.integers(0, 10), length=st.integers(41, 200))
def test_what_a_rim_spoils_weighs_nothing(extra: int, receptive: int, length: int) -> None:
    """Where twice the receptive field is shared, no tile counts within a receptive field of an inner rim."""
    axis = tiles.axis(length, 40, min(2 * receptive + extra, 39), 1, receptive)
    for i, (start, w) in enumerate(zip(axis.starts, axis.weights(), strict=True)):
        if i:
            assert not w[:receptive].any()
        if start + 40 < length:
            assert not w[40 - receptive :].any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("auto", None),
        ("full", Tiling()),
        (" FULL ", Tiling()),
        ("256", Tiling(256, 64)),
        ("256,32", Tiling(256, 32)),
        ("tile256-32", Tiling(256, 32)),  # as results name it
        ("100,10", Tiling(104, 16)),  # both rounded up to what the network takes
        ("64,0", Tiling(64, 0)),
        ("64", Tiling(64, 32)),  # never more than half a tile by default
    ],
)
def test_the_words_of_a_tiling(text: str, wanted: Tiling | None) -> None:
    assert tiles.parse(text, Contract(multiple=8)) == wanted


@pytest.mark.parametrize("text", ["", "half", "1,2,3", "0", "-5", "64,64", "64,99", "6.5"])
def test_other_words_are_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(UsageError) as e:
        tiles.parse(text, Contract(multiple=8))
    assert "--tile" in str(e.value) or "auto, full" in str(e.value)


def test_the_default_overlap_is_no_more_than_makes_tiles_exact() -> None:
    assert tiles.default_overlap(Contract(receptive=5), 256) == 10
    assert tiles.default_overlap(Contract(receptive=500), 256) == tiles.OVERLAP
    assert tiles.default_overlap(Contract(), 256) == tiles.OVERLAP
    assert tiles.default_overlap(Contract(fixed=128, tile=(128, 48)), 128) == 48


def test_a_network_of_one_size_takes_that_size_only() -> None:
    contract = Contract(fixed=64)
    with pytest.raises(UsageError, match="tiles of 64 only"):
        tiles.parse("128", contract)
    with pytest.raises(UsageError, match="needs tiles"):
        tiles.plan(contract, 65, 10, Tiling())
    plan = tiles.plan(contract, 30, 100, tiles.fitted(contract, 64))
    assert plan.tile == (64, 64)
    assert plan.padded == (64, 100)
    assert tiles.smaller(Tiling(), contract, 30, 100) is None


def test_memory_that_ran_out_halves_tiles_until_none_is_left() -> None:
    contract = Contract(multiple=8)
    tiling: Tiling | None = Tiling()
    seen = []
    while tiling is not None:
        seen.append(str(tiling))
        tiling = tiles.smaller(tiling, contract, 500, 700)
    assert seen == ["full", "tile352-64", "tile176-64", "tile88-48"]


def test_an_image_of_one_tile_is_the_whole_frame() -> None:
    plan = tiles.plan(Contract(), 50, 60, Tiling(64, 8))
    assert plan.whole
    assert plan.tiling == Tiling()


# ---------------------------------------------------------------- what a network takes
def test_sides_that_a_network_takes() -> None:
    assert Contract(multiple=8).padded(1, 17) == (8, 24)
    assert Contract(multiple=4, min_side=10).padded(3, 9) == (12, 12)
    assert Contract(square=True).padded(5, 9) == (9, 9)
    assert Contract(fixed=64).padded(5, 90) == (64, 90)


def test_padding_reflects_over_and_over() -> None:
    row = np.arange(3, dtype=np.float32)[None, :, None].repeat(3, 2)
    grown = pad(row, 1, 9)
    assert grown[0, :, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert pad(row, 1, 3) is row
    one = np.full((1, 1, 3), 0.5, np.float32)
    assert (pad(one, 8, 8) == 0.5).all()


@given(st.sampled_from(["uint8", "uint16"]), st.integers(0, 65535))
def test_integers_survive_the_way_to_the_unit_range_and_back(kind: str, value: int) -> None:
    v = np.array([[[value % (np.iinfo(kind).max + 1)] * 3]], kind)
    there = unit(v)
    assert there.dtype == np.float32
    assert 0 <= there.min() <= there.max() <= 1
    assert np.array_equal(quantise(there, v.dtype), v)


def test_rounding_and_cutting_off() -> None:
    x = np.array([-0.5, 0.0, 0.4999 / 255, 1.6 / 255, 1.0, 2.0], np.float32)
    assert quantise(x).tolist() == [0, 0, 0, 2, 255, 255]
    assert quantise(x, how="truncate").tolist() == [0, 0, 0, 1, 255, 255]
    assert quantise(x, np.float64).tolist() == x.astype(np.float64).tolist()
