from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core.errors import InputError, UsageError
from rainrag.training import reweight
from rainrag.training.reweight import MODES, Reweighter

losses = st.floats(1e-3, 10)
#: Any course of four types' losses, 3 to 30 rounds.
courses = st.lists(st.lists(losses, min_size=4, max_size=4), min_size=3, max_size=30)
modes = st.sampled_from(MODES)
quick = settings(max_examples=60, deadline=None)


def run(course: list[list[float]], **options: object) -> Reweighter:
    made = Reweighter(**{"n_types": len(course[0]), "warmup": 0, **options})  # type: ignore[arg-type]
    for row in course:
        made.update(row)
    return made


# ---------------------------------------------------------------- equations by hand
def test_slope_by_hand() -> None:
    # k less its mean: -1.5, -0.5, 0.5, 1.5, whose squares sum to 5
    assert reweight.slope([-1.0, 4.0, -2.0, 6.0]) == pytest.approx((1.5 - 2.0 - 1.0 + 9.0) / 5)
    assert reweight.slope([3.0, 1.0]) == -2.0
    assert reweight.slope([3.0]) == reweight.slope([]) == 0.0


@quick
@given(st.integers(2, 12), st.floats(-5, 5), st.floats(-5, 5))
def test_slope_of_a_line_is_its_slope(n: int, a: float, b: float) -> None:
    assert reweight.slope([a * k + b for k in range(n)]) == pytest.approx(a, abs=1e-9)


def test_balance_and_stability_by_hand() -> None:
    assert reweight.balance([-0.1, -0.3]) == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    # two rounds; each type's slopes sum to 0.4 and 0.2 in size: logits -2 * -0.3 / 0.4 and -2 * 0.1 / 0.2
    a, b = math.exp(1.5), math.exp(-1.0)
    assert reweight.stability([[0.1, -0.1], [-0.3, 0.1]]) == pytest.approx([a / (a + b), b / (a + b)])


def test_adaptivity_factors_by_hand() -> None:
    m = [-0.3, 0.1]
    assert reweight.af_positive(m, 5.0) == pytest.approx(2 * math.exp(-2.5) / (1 + math.exp(-2.5)))
    assert reweight.af_paper(m, 5.0) == pytest.approx(2 / (1 + math.exp(10)))
    assert reweight.af_literal(m, 5.0) == 1.0  # the sum is negative: rising counts for falling


def test_a_whole_round_by_hand() -> None:
    made = run([[2.0, 1.0], [1.0, 0.9]], floor=0.0, af="fixed", af_value=0.25)
    # normalised 1, 0.5 and 1, 0.9: slopes -0.5, -0.1; TSS over slopes 0 and these: logits 2, 2
    b = math.exp(2 * -0.1 / 0.6) / (math.exp(2 * -0.1 / 0.6) + math.exp(2 * -0.5 / 0.6))
    assert made.weights == pytest.approx([0.25 * (1 - b) + 0.75 * 0.5, 0.25 * b + 0.75 * 0.5])
    floored = run([[2.0, 1.0], [1.0, 0.9]], floor=0.2, af="fixed", af_value=0.25)
    assert floored.weights == pytest.approx([w * 0.6 + 0.2 for w in made.weights])


def test_the_authors_variant_by_hand() -> None:
    made = run([[2.0, 1.0], [1.0, 0.9]], af="authors", floor=0.1)
    # raw losses: slopes -1, -0.1; largest loss 2, 1: slope -1; histories 0, -1
    af = 1 / (1 + math.exp(-10))  # z = -5 * 2 * m / 1 = 0, 10
    b = math.exp(2 * -0.1 / 1.1) / (math.exp(2 * -0.1 / 1.1) + math.exp(2 * -1 / 1.1))
    w = [af * (1 - b) + (1 - af) / 2, af * b + (1 - af) / 2]
    for _ in range(2):
        w = reweight.softmax([2 * v for v in w])
    assert made.weights == pytest.approx([v * 0.8 + 0.1 for v in w], rel=1e-6)
    assert made.scores is not None
    assert made.scores.af == pytest.approx(af, rel=1e-6)


# ---------------------------------------------------------------- invariants
@quick
@given(courses, modes, st.sampled_from([0.0, 0.1]), st.booleans(), st.booleans())
def test_weights_sum_to_one_and_keep_the_floor(
    course: list[list[float]], af: str, floor: float, tbs: bool, tss: bool
) -> None:
    made = Reweighter(warmup=2, af=af, floor=floor, use_tbs=tbs, use_tss=tss)
    for row in course:
        assert math.fsum(made.update(row)) == pytest.approx(1.0, abs=1e-12)
        assert min(made.weights) >= floor * (1 - 1e-12)
        assert made.scores is None or 0 < made.scores.af <= 1


@quick
@given(courses, modes, st.permutations(range(4)))
def test_weights_follow_the_types_order(course: list[list[float]], af: str, order: list[int]) -> None:
    weights = run(course, af=af).weights
    assert run([[row[i] for i in order] for row in course], af=af).weights == [weights[i] for i in order]


@quick
@given(courses, st.sampled_from([m for m in MODES if m != "authors"]), st.floats(1e-3, 1e3))
def test_a_types_unit_does_not_matter(course: list[list[float]], af: str, c: float) -> None:
    # slopes of rounding error alone would be compared with each other: keep away from constant courses
    course = [[v * 0.9**t for v in row] for t, row in enumerate(course)]
    scaled = [[row[0] * c, *row[1:]] for row in course]
    assert run(scaled, af=af, window=4).weights == pytest.approx(run(course, af=af, window=4).weights, abs=1e-6)


def test_the_authors_raw_losses_make_a_types_unit_matter() -> None:
    course = [[0.9**t * (1 + i) for i in range(4)] for t in range(15)]
    scaled = [[row[0] * 10, *row[1:]] for row in course]
    plain, other = run(course, af="authors").scores, run(scaled, af="authors").scores
    assert plain is not None
    assert other is not None
    assert other.tbs[0] < plain.tbs[0] / 2


@quick
@given(st.lists(losses, min_size=2, max_size=20), modes)
def test_equal_curves_get_equal_weights(curve: list[float], af: str) -> None:
    assert run([[v] * 4 for v in curve], af=af).weights == pytest.approx([0.25] * 4)


@quick
@given(st.lists(losses, min_size=4, max_size=4), modes)
def test_constant_losses_get_equal_weights(row: list[float], af: str) -> None:
    assert run([row] * 12, af=af).weights == pytest.approx([0.25] * 4)


@quick
@given(st.lists(st.floats(0.01, 0.09), min_size=4, max_size=4, unique=True), st.integers(2, 10))
def test_the_faster_a_type_converges_the_less_balance_it_gets(rates: list[float], rounds: int) -> None:
    made = run([[1 - r * t for r in rates] for t in range(rounds)])
    assert made.scores is not None
    by_rate = [made.scores.tbs[i] for i in sorted(range(4), key=rates.__getitem__)]
    assert by_rate == sorted(by_rate, reverse=True)


@quick
@given(st.lists(st.floats(0.01, 0.09), min_size=3, max_size=3), st.floats(0.01, 0.5), st.integers(3, 9))
def test_the_one_rising_type_has_the_smallest_stability(falls: list[float], rise: float, rounds: int) -> None:
    made = run([[1 + rise * t, *(1 - f * t for f in falls)] for t in range(rounds)])
    assert made.scores is not None
    assert made.scores.tss[0] < min(made.scores.tss[1:])


@quick
@given(courses)
def test_positive_is_all_balance_whenever_no_type_rises(course: list[list[float]]) -> None:
    made = Reweighter(warmup=0)
    for row in course:
        made.update(row)
        if made.scores is not None and max(made.scores.slopes) <= 0:
            assert made.scores.af == 1.0


@quick
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.floats(0.1, 50))
def test_factors_lie_above_0_and_at_most_at_1(m: list[float], tau: float) -> None:
    for read in (reweight.af_positive, reweight.af_paper, reweight.af_literal):
        assert 0 < read(m, tau) <= 1


@quick
@given(courses, modes, st.integers(1, 2))
def test_a_restored_state_goes_on_bit_equal(course: list[list[float]], af: str, cut: int) -> None:
    one = Reweighter(warmup=1, af=af)
    at = len(course) // (cut + 1)
    for row in course[:at]:
        one.update(row)
    two = Reweighter(warmup=1, af=af)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for row in course[at:]:
        assert one.update(row) == two.update(row)
    assert one.state_dict() == two.state_dict()


# ---------------------------------------------------------------- rules
def test_weights_are_equal_in_warm_up_and_not_after() -> None:
    made = Reweighter(warmup=5)
    for t in range(5):
        assert made.update([0.9**t, 0.8**t, 0.7**t, 0.6**t]) == [0.25] * 4
        assert made.scores is None
    assert made.update([0.9**5, 0.8**5, 0.7**5, 0.6**5]) != [0.25] * 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_what_is_no_measurement_keeps_the_weights_and_is_recorded(bad: float) -> None:
    rows = [[0.9**t, 0.8**t, 0.7**t, 0.6**t] for t in range(12)]
    clean, hit = Reweighter(warmup=2), Reweighter(warmup=2)
    for t, row in enumerate(rows):
        clean.update(row)
        hit.update(row)
        if t == 6:
            before = list(hit.weights)
            assert hit.update([1.0, bad, 1.0, bad]) == before
    assert hit.skipped == [{"round": 7, "types": [1, 3]}]
    assert hit.weights == clean.weights


def test_a_bad_first_round_does_not_set_the_scale() -> None:
    made = Reweighter(warmup=0)
    assert made.update([math.nan, 1, 1, 1]) == [0.25] * 4
    made.update([2, 1, 1, 1])
    made.update([1, 1, 1, 1])
    assert made.scores is not None
    assert made.scores.slopes == [-0.5, 0, 0, 0]


def test_ablations_are_one_head_alone() -> None:
    course = [[0.97**t, 0.9**t, 0.8**t, 0.7**t + 0.02 * t] for t in range(15)]
    full = run(course, floor=0)
    assert full.scores is not None
    assert run(course, floor=0, use_tss=False).weights == full.scores.tbs
    assert run(course, floor=0, use_tbs=False).weights == full.scores.tss
    assert run(course, floor=0, use_tbs=False, use_tss=False).weights == [0.25] * 4


@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_number_of_types(n: int) -> None:
    made = run([[1 - 0.01 * (i + 1) * t for i in range(n)] for t in range(12)], floor=0.1)
    assert math.fsum(made.weights) == pytest.approx(1)
    assert made.weights == sorted(made.weights, reverse=True)


def test_loss_of_a_batch_keeps_the_scale_of_plain_losses() -> None:
    made = Reweighter()
    assert made.loss([1.0, 2.0, 3.0, 4.0]) == 10.0
    assert made.loss([1.0, None, 3.0, None]) == 4.0
    with pytest.raises(UsageError, match="no type"):
        made.loss([None] * 4)


def test_the_authors_loss_counts_images() -> None:
    made = Reweighter(af="authors")
    assert made.loss([1.0, 2.0, None, 4.0], [1, 2, 0, 1]) == pytest.approx(0.25 * (1 / 4 + 2 * 2 / 4 + 4 / 4))


def test_a_state_of_other_settings_is_refused() -> None:
    with pytest.raises(InputError, match=r"window 20 there, 10 here.*"):
        Reweighter().load_state_dict(Reweighter(window=20).state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {"floor": 0.25},
        {"window": 1},
        {"af": "positve"},
        {"n_types": 0},
        {"af_value": 0.0},
        {"tau": 0.0},
        {"warmup": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        Reweighter(**options)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.parametrize("row", [[1.0] * 3, [1.0, 1.0, 1.0, -0.1]])
def test_losses_that_do_not_fit_are_refused(row: list[float]) -> None:
    with pytest.raises(UsageError, match="4 types"):
        Reweighter().update(row)


def test_by_name() -> None:
    for name in MODES:
        made = reweight.create(name, n_types=3, warmup=0)
        assert isinstance(made, Reweighter)
        assert made.af == name
    with pytest.raises(UsageError, match="no weighting") as caught:
        reweight.create("unifrom")
    assert "uniform" in str(caught.value)
    with pytest.raises(UsageError, match="taus"):
        reweight.create("positive", taus=3)


def test_needs_no_torch() -> None:
    code = (
        "import sys\nfrom rainrag.training.reweight import create\n"
        "for n in ('positive', 'uniform', 'dwa'): create(n).update([1, 2, 3, 4])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
