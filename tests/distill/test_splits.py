"""Which kept pairs become training and test pairs: invariants over random plans, and counted cases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core.types import Tier, Verdict
from rainrag.distill.splits import UNUSED, Choice, choose
from rainrag.distill.stages import DistillSettings, Outcome, Plan


def world(rows: list[tuple[str, str, int, bool]], barred: set[int] = frozenset()) -> tuple[Plan, Outcome]:  # type: ignore[assignment]
    """A plan and its outcome from (subset, split, scene, keep) rows; scenes are joined groups."""
    named: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, Verdict] = {}
    stop: dict[str, str] = {}
    for i, (subset, split, scene, keep) in enumerate(rows):
        key = f"s/{split}/{i}"
        named[key] = {"subset": subset, "split": split, "group": f"g{scene}"}
        tier = Tier.DISTILLED if keep else Tier.REJECTED
        verdicts[key] = Verdict(key, keep, (2, 1, 0), i % 3, "majority" if keep else "minority", tier)
        if split != "train" or scene in barred:
            stop.setdefault(f"g{scene}", key)
    return Plan(named, {}, {}, stop), Outcome(verdicts, {}, Path(), {}, {}, {})


def parts(choice: Choice) -> tuple[dict[str, str], dict[str, str]]:
    """(key -> subset) of train and of test."""
    return (
        {k: s for s, keys in choice.train.items() for k in keys},
        {k: s for s, keys in choice.test.items() for k in keys},
    )


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["DRS", "DRD", "NRS", "NRD"]), st.sampled_from(["train", "train", "train", "test"]),
        st.integers(0, 12), st.booleans(),
    ),
    max_size=80,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    ROWS,
    st.sets(st.integers(0, 12), max_size=3),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 2]),
    st.integers(0, 3),
)
def test_invariants(
    rows: list[tuple[str, str, int, bool]], barred: set[int], per_scene: int | None, quota: int | None, seed: int
) -> None:
    plan, outcome = world(rows, barred)
    asked = DistillSettings(per_scene=per_scene, quota=quota, seed=seed)
    choice = choose(plan, outcome, asked, test_pairs=5)
    train, test = parts(choice)
    kept = {k for k, v in outcome.verdicts.items() if v.keep}
    # every kept pair is in one place; nothing else is anywhere
    assert Counter([*train, *test, *choice.unused]) == Counter(kept)
    assert all(plan.rows[k]["subset"] == s for k, s in {**train, **test}.items())
    # scenes: train and test share none, over all subsets; train has none of a known test set
    group = {k: r["group"] for k, r in plan.rows.items()}
    assert {group[k] for k in train}.isdisjoint(group[k] for k in test)
    assert not {group[k] for k in train} & set(plan.barred)
    assert all(plan.rows[k]["split"] == "train" for k in train)
    # caps
    assert all(len(keys) <= 5 for keys in choice.test.values())
    if quota:
        assert all(len(keys) <= quota for keys in choice.train.values())
    if per_scene:
        assert all(n <= per_scene for n in Counter((s, group[k]) for k, s in train.items()).values())
    assert set(choice.unused.values()) <= set(UNUSED)
    # the same again
    assert choose(plan, outcome, asked, test_pairs=5) == choice


def test_the_sources_test_parts_come_first() -> None:
    rows = [("DRS", "test", i, True) for i in range(8)] + [("DRS", "train", 100 + i, True) for i in range(50)]
    plan, outcome = world(rows)
    choice = choose(plan, outcome, DistillSettings(), test_pairs=5)
    assert all(plan.rows[k]["split"] == "test" for k in choice.test["DRS"])
    assert len(choice.test["DRS"]) == 5
    assert len(choice.train["DRS"]) == 50
    assert set(choice.unused.values()) == {"test-part"}


def test_a_tenth_of_the_scenes_where_test_parts_are_few() -> None:
    rows = [("DRS", "test", i, True) for i in range(2)] + [("DRS", "train", 100 + i, True) for i in range(48)]
    choice = choose(*world(rows), DistillSettings(), test_pairs=20)
    assert len(choice.test["DRS"]) == 5  # a tenth of 50 scenes, the two of the test part among them
    assert len(choice.train["DRS"]) == 45


def test_a_few_training_scenes_beside_a_large_test_part_are_trained_on() -> None:
    """97 test pairs are fewer than 100, but far more than a tenth of the scenes: none is taken from training."""
    rows = [("DRS", "test", i, True) for i in range(97)] + [("DRS", "train", 100 + i, True) for i in range(6)]
    choice = choose(*world(rows), DistillSettings(), test_pairs=100)
    assert (len(choice.train["DRS"]), len(choice.test["DRS"])) == (6, 97)


def test_the_test_part_is_spread_over_scenes() -> None:
    rows = [("DRS", "test", i // 10, True) for i in range(50)]
    plan, outcome = world(rows)
    choice = choose(plan, outcome, DistillSettings(), test_pairs=5)
    assert len({plan.rows[k]["group"] for k in choice.test["DRS"]}) == 5


def test_a_test_scene_of_one_subset_is_no_training_scene_of_another() -> None:
    rows = [("DRD", "test", 7, True), *[("DRS", "train", i, True) for i in range(30)]]
    plan, outcome = world(rows)
    choice = choose(plan, outcome, DistillSettings(), test_pairs=5)
    seven = next(k for k, r in plan.rows.items() if r["subset"] == "DRS" and r["group"] == "g7")
    assert seven not in choice.train["DRS"]
    assert choice.unused[seven] == "test-scene"


def test_of_a_scene_the_clearest_verdicts_stay() -> None:
    rows = [("DRS", "train", 1, True)] * 6 + [("DRS", "train", 2, True)]
    plan, outcome = world(rows)
    choice = choose(plan, outcome, DistillSettings(per_scene=2), test_pairs=0)
    one = [k for k in choice.train["DRS"] if plan.rows[k]["group"] == "g1"]
    assert [outcome.verdicts[k].margin for k in one] == [2, 2]
