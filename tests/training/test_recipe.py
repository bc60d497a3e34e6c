from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.training import recipe, run
from rainrag.training.module import rate


def test_the_paper_recipe_is_the_papers() -> None:
    r = recipe.load("paper")
    assert (r.steps, r.batch, r.patch, r.lr, r.lr_last) == (300_000, 8, 128, 2e-4, 1e-6)
    assert r.network == {"preset": "base"}


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_builds_a_network_that_takes_its_crops(name: str) -> None:
    r = recipe.load(name, ["network.preset=tiny"])
    _, contract = run.build("unirain", dict(r.network))
    run.check_sizes(r, contract)


def test_a_file_and_words_over_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 5e-4\nbatch: 4\nnetwork: {preset: tiny}\nshares: {rain200h: 0.25}\n")
    r = recipe.load(str(path), ["network.top_k=2", "clip=1", "ema=null"], steps=7, seed=None)
    assert r.name == "mine"
    assert r.lr == 5e-4  # which YAML reads as text
    assert (r.steps, r.seed, r.clip, r.ema) == (7, 0, 1.0, None)
    assert r.network == {"preset": "tiny", "top_k": 2}
    assert recipe.of(yaml.safe_load(yaml.safe_dump(r.to_dict()))) == r


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stepz=3"], "no field 'stepz'"),
        (["steps=many"], "wrong kind"),
        (["steps=2.5"], "no whole number"),
        (["lr=0"], "lr 0"),
        (["ema=1.5"], "ema"),
        (["precision=8"], "no precision"),
        (["channels_last=1"], "neither true nor false"),
        (["window=32"], "window"),
        (["steps"], "KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.load("laptop", words)
    assert said in str(caught.value)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no recipe 'lapdog'"):
        recipe.load("lapdog")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="mapping"):
        recipe.load(str(tmp_path / "list.yaml"))


def test_the_rate_rises_then_falls_to_its_last_value() -> None:
    r = recipe.Recipe(steps=101, warmup=0, lr=2e-4, lr_last=1e-6)
    assert rate(0, r) == pytest.approx(2e-4)
    assert rate(50, r) == pytest.approx((2e-4 + 1e-6) / 2)
    assert rate(100, r) == pytest.approx(1e-6)
    warm = recipe.Recipe(steps=100, warmup=4)
    assert [rate(s, warm) / warm.lr for s in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_a_network_of_one_size_takes_no_other_crop() -> None:
    _, contract = run.build("idt", {})
    with pytest.raises(UsageError, match="--set patch=128"):
        run.check_sizes(recipe.Recipe(patch=64), contract)
    run.check_sizes(recipe.Recipe(patch=128), contract)


def test_networks_without_weights_are_not_trained() -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        run.build("median", {})
    with pytest.raises(UsageError, match="no network 'prenets'"):
        run.build("prenets", {})
