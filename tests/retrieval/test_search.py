"""The cascade: equations (1) to (3) against a plain loop, clamps, ties, what a query must not see, index against exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from rainrag.core import images
from rainrag.core.errors import DecodeError, InputError, UsageError
from rainrag.retrieval.references import KEEP, References, Structural
from rainrag.retrieval.search import Asked, Query, Sizes, retrieve, trace
from tests.conftest import picture

E, D = 6, 9


def structure(seed: int) -> images.U8:
    return images.grey(picture(seed, 64, 64), (256, 256)).astype(np.uint8)


STRUCTURES = [structure(i) for i in range(12)]


def unit(x: Any) -> Any:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def store(n: int, seed: int, captions: int | None = None, **more: Any) -> References:
    """n references; with ``captions``, only so many different ones, so that there are ties."""
    rng = np.random.default_rng(seed)
    texts = unit(rng.standard_normal((captions or n, E)))[
        rng.integers(0, captions or n, n) if captions else slice(None)
    ]
    return References(
        [f"r/{i:03d}" for i in range(n)],
        [f"{i:064x}" for i in range(n)],
        [rng.bytes(32).hex() for _ in range(n)],
        texts,
        rng.standard_normal((n, D)),
        np.stack([STRUCTURES[i % len(STRUCTURES)] for i in range(n)]),
        **more,
    )


def query(seed: int, **more: Any) -> Query:
    rng = np.random.default_rng(seed)
    made = {
        "key": f"q/{seed}",
        "sha256": "f" * 64,
        "phash": rng.bytes(32).hex(),
        "text": unit(rng.standard_normal(E)),
        "feature": rng.standard_normal(D).astype(np.float32),
        "structure": STRUCTURES[seed % len(STRUCTURES)],
    }
    return Query(**{**made, **more})


def plain(q: Query, refs: References, sizes: Sizes) -> tuple[list[str], list[str], list[tuple[str, float]]]:
    """The three equations in float64, one reference at a time; sorting by (score, key)."""
    everyone = [
        (float(np.linalg.norm(refs.texts[i].astype(float) - q.text.astype(float))), k) for i, k in enumerate(refs.keys)
    ]
    row = {k: i for i, k in enumerate(refs.keys)}
    c1 = [k for _, k in sorted((round(d, 5), k) for d, k in everyone)][: sizes.k1]
    f = q.feature.astype(float)

    def cosine(k: str) -> float:
        r = refs.features[row[k]].astype(float)
        return float(f @ r / np.linalg.norm(f) / np.linalg.norm(r))

    c2 = [k for _, k in sorted((-cosine(k), k) for k in c1)][: sizes.k2]

    def ssim(k: str) -> float:
        return float(
            structural_similarity(
                q.structure, refs.structures[row[k]], gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                data_range=255,
            )
        )  # fmt: skip

    scored = sorted((-round(ssim(k), 4), k) for k in c2)
    return c1, c2, [(k, -s) for s, k in scored[: sizes.k3]]


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 40),
    captions=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    ks=st.tuples(st.integers(1, 50), st.integers(1, 12), st.integers(1, 5)),
)
def test_equals_a_plain_loop_of_the_equations(n: int, captions: int, seed: int, ks: tuple[int, int, int]) -> None:
    k1, k2, k3 = sorted(ks, reverse=True)
    refs, sizes = store(n, seed, captions), Sizes(k1, k2, k3)
    asked = [query(seed + i) for i in range(3)]
    for q, found in zip(asked, retrieve(asked, refs, sizes), strict=True):
        c1, c2, s = plain(q, refs, sizes)
        assert [k for k, _ in trace(q, refs, sizes).meaning] == c1
        assert list(found.neighbours) == c2
        assert [m.key for m in found.matches] == [k for k, _ in s]
        for m, (_, score) in zip(found.matches, s, strict=True):
            assert m.structural == pytest.approx(score, abs=1e-4)


def test_by_hand() -> None:
    """Four references on the plane: nearest caption, then nearest direction, then the same picture."""
    texts = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    features = np.array([[2, 0], [0, 3], [1, 1], [1, 0]], np.float32)
    refs = References(
        list("abcd"), ["0", "1", "2", "3"], [""] * 4, texts, features, np.stack([STRUCTURES[i] for i in (1, 2, 3, 0)])
    )
    q = Query("q", "9", "", texts[0], np.array([0, 5], np.float32), STRUCTURES[2])
    seen = trace(q, refs, Sizes(3, 2, 1))
    assert seen.meaning[0] == ("a", 0.0)
    assert [k for k, _ in seen.meaning] == ["a", "b", "c"]
    assert seen.meaning[1][1] == pytest.approx(np.sqrt(0.4))  # |(1, 0) - (0.8, 0.6)|
    assert [k for k, _ in seen.look] == ["b", "c"]
    assert [s for _, s in seen.look] == pytest.approx([1.0, np.sqrt(0.5)])
    assert [(m.key, m.rank) for m in seen.structure] == [("b", 0)]
    assert seen.structure[0].structural == pytest.approx(1.0, abs=5e-5)  # its structure is the query's own
    assert retrieve([q], refs, Sizes(3, 2, 1))[0].matches == seen.structure


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 20), k1=st.integers(1, 30), k2=st.integers(1, 30), k3=st.integers(1, 30))
def test_sizes_are_clamped_and_nested(n: int, k1: int, k2: int, k3: int) -> None:
    k1, k2, k3 = sorted((k1, k2, k3), reverse=True)
    seen = trace(query(1), store(n, 3), Sizes(k1, k2, k3))
    assert (len(seen.meaning), len(seen.look), len(seen.structure)) == (min(k1, n), min(k2, n), min(k3, n))
    c1, c2, c3 = ({k for k, _ in seen.meaning}, {k for k, _ in seen.look}, {m.key for m in seen.structure})
    assert c3 <= c2 <= c1
    assert [d for _, d in seen.meaning] == sorted(d for _, d in seen.meaning)
    assert [c for _, c in seen.look] == sorted((c for _, c in seen.look), reverse=True)


@pytest.mark.parametrize("sizes", [(1, 2, 1), (3, 1, 2), (3, 2, 0), (0, 0, 0)])
def test_sizes_must_shrink(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        Sizes(*sizes)


def test_ties_go_by_key_wherever_the_rows_are() -> None:
    """Equal captions get equal distances at every place of a long matrix."""
    n = 600
    refs = store(n, 5, captions=1)
    seen = trace(query(2), refs, Sizes(n, 1, 1))
    assert [k for k, _ in seen.meaning] == refs.keys
    assert len({d for _, d in seen.meaning}) == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), bits=st.integers(0, images.NEAR_BITS))
def test_a_query_never_sees_itself_its_copies_or_its_scene(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    refs = store(20, seed, scenes=[f"scene/{i // 4}" for i in range(20)])
    own = int(rng.integers(20))
    other = np.unpackbits(refs.bits[own])
    other[rng.permutation(256)[:bits]] ^= 1
    sizes = Sizes(20, 20, 20)
    by_bytes = query(seed, sha256=str(refs.sha256[own]))
    by_look = query(seed, phash=np.packbits(other).tobytes().hex())
    by_scene = query(seed, scene=f"scene/{own // 4}")
    for q, hidden in (
        (by_bytes, {refs.keys[own]}),
        (by_look, {refs.keys[own]}),
        (by_scene, {k for i, k in enumerate(refs.keys) if i // 4 == own // 4}),
    ):
        found = retrieve([q], refs, sizes)[0]
        assert set(found.neighbours) == set(refs.keys) - hidden
        assert {m.key for m in found.matches} == set(refs.keys) - hidden


def test_pictures_without_structure_are_nobodys_copy() -> None:
    """An empty hash means nothing: two flat pictures are not near-duplicates by it."""
    refs = References(["a"], ["0"], [""], np.eye(1, E, dtype=np.float32), np.ones((1, D)), np.stack(STRUCTURES[:1]))
    assert retrieve([query(0, phash="")], refs, Sizes())[0].neighbours == ("a",)


def test_a_query_that_may_see_nothing_and_an_empty_store() -> None:
    refs = store(3, 1, scenes=["s", "s", "s"])
    found = retrieve([query(1, scene="s")], refs, Sizes())[0]
    assert (found.matches, found.neighbours) == ((), ())
    empty = References([], [], [], np.zeros((0, E)), np.zeros((0, D)), np.zeros((0, 256, 256), np.uint8))
    assert retrieve([query(1)], empty, Sizes())[0].matches == ()
    assert trace(query(1), empty, Sizes()).meaning == ()


def test_a_batch_finds_what_single_queries_find() -> None:
    refs = store(50, 7)
    asked = [query(i) for i in range(9)]
    together = retrieve(asked, refs, Sizes(20, 8, 3))
    alone = [retrieve([q], refs, Sizes(20, 8, 3))[0] for q in asked]
    assert [[m.key for m in f.matches] for f in together] == [[m.key for m in f.matches] for f in alone]
    without = retrieve(asked, refs, Sizes(20, 8, 3), structural=False)
    assert [f.neighbours for f in without] == [f.neighbours for f in together]
    assert all(f.matches == () for f in without)


# ---------------------------------------------------------------- the index path
@pytest.mark.parametrize("hide", [0, 15])
def test_an_exact_index_gives_what_exact_search_gives(hide: int) -> None:
    """Through a search function instead of the matrix, with many references that a query must not see."""
    n = 60
    scenes = ["own" if i < hide * 3 else f"s{i}" for i in range(n)]
    exact = store(n, 11, scenes=scenes)
    calls: list[int] = []

    def search(texts: Any, k: int) -> list[list[int]]:
        calls.append(k)
        far = np.linalg.norm(exact.texts[None] - np.asarray(texts)[:, None], axis=2)
        return [np.lexsort((np.arange(n), row))[:k].tolist() for row in far]

    by_index = store(n, 11, scenes=scenes, search=search)
    asked = [query(i, scene="own" if hide else None) for i in range(4)]
    sizes = Sizes(10, 5, 2)
    want, got = retrieve(asked, exact, sizes), retrieve(asked, by_index, sizes)
    assert [f.neighbours for f in got] == [f.neighbours for f in want]
    assert all(len(f.neighbours) == 5 for f in got)
    assert calls[0] == 26
    assert (len(calls) > 1) == bool(hide)  # asked for more where too few were left


# ---------------------------------------------------------------- SSIM
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["noise", "flat", "dark", "photo"]))
def test_ssim_is_scikit_images(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    a = {
        "noise": rng.integers(0, 256, (256, 256)),
        "flat": np.full((256, 256), rng.integers(0, 256)),
        "dark": rng.integers(0, 4, (256, 256)),
        "photo": structure(seed),
    }[kind].astype(np.uint8)
    b = np.clip(a.astype(int) // 2 + rng.integers(0, 60, (256, 256)), 0, 255).astype(np.uint8)
    theirs = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    ssim = Structural()
    of_a, of_b = ssim.measure(a), ssim.measure(b)  # its arrays are used again: nothing may mix
    with_b, with_itself, again = ssim(a, of_a, [(b, of_b), (a, of_a), (b, of_b)])
    assert with_b == again == pytest.approx(theirs, abs=5e-5)
    assert ssim(b, of_b, [(a, of_a)]) == [pytest.approx(theirs, abs=5e-5)]
    assert with_itself == pytest.approx(1, abs=3e-4)  # of one flat level, float32 leaves that much


def test_references_statistics_are_computed_once_and_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainrag.retrieval.references.KEEP", 3)  # so that memory is used again
    refs = store(10, 1)
    count = {"n": 0}
    measure = refs.structural.measure

    def counted(y: Any, out: Any = None) -> Any:
        count["n"] += 1
        return measure(y, out)

    monkeypatch.setattr(refs.structural, "measure", counted)
    for i in (0, 1, 0, 1, 0):
        refs.stats(i)
    assert count["n"] == 2
    for i in range(10):
        assert np.array_equal(refs.stats(i), Structural().measure(STRUCTURES[i]))
    assert KEEP >= 256  # a small store's statistics all stay


def test_statistics_made_with_the_store_give_the_same_scores() -> None:
    made = np.stack([Structural().measure(STRUCTURES[i % len(STRUCTURES)]) for i in range(20)])
    asked = [query(i) for i in range(5)]
    sizes = Sizes(20, 10, 5)
    assert retrieve(asked, store(20, 4, statistics=made), sizes) == retrieve(asked, store(20, 4), sizes)


# ---------------------------------------------------------------- a photograph as a query
class Stub:
    def __call__(self, pictures: Any) -> Any:
        from rainrag.retrieval.triplet import Triplet

        zero = np.zeros(E, np.float32)
        return [Triplet("c", zero, zero, STRUCTURES[0], {}, False, False) for _ in pictures]


def test_a_file_becomes_a_query(tmp_path: Path) -> None:
    good, small, broken = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    rgb = picture(1, 120, 100)
    good.write_bytes(images.encode_png(rgb))
    small.write_bytes(images.encode_png(picture(1, 120, 95)))
    broken.write_bytes(good.read_bytes()[:100])
    asked = Asked.read(good, Stub())  # type: ignore[arg-type]
    assert asked.query.phash == images.phash(rgb)
    assert np.array_equal(asked.rgb, rgb)
    with pytest.raises(InputError, match="120x95"):
        Asked.read(small, Stub())  # type: ignore[arg-type]
    with pytest.raises(DecodeError):
        Asked.read(broken, Stub())  # type: ignore[arg-type]
