"""Voters by name: specs, groups, settings, and what may travel to a worker."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from rainrag import voters
from rainrag.core.errors import UsageError
from rainrag.voters import Kind, create, members, panel

URL = "http://127.0.0.1:8000/v1"
OWN = [n for n, address in voters.VOTERS.items() if "statistical" not in address]


def test_the_table_names_kinds_whose_settings_have_defaults() -> None:
    for name in OWN:
        module, attr = voters.VOTERS[name].split(":")
        kind = getattr(import_module(module), attr)
        assert isinstance(kind, Kind)
        assert kind.settings() == kind.settings(**{f.name: f.default for f in fields(kind.settings)})


def test_groups_stand_for_their_members_in_order() -> None:
    assert members("paper") == ["internvl", "llava", "mobilevlm"]
    assert members(" llava , statistical") == ["llava", "descriptor", "features", "naturalness", "learned", "layer"]
    assert all(m in voters.VOTERS for group in voters.GROUPS.values() for m in group)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("llava", "llava"),
        ("llava=some/folder/of-mine", "llava=of-mine"),
        ("mobilevlm-v2", "mobilevlm-v2"),
        (f"endpoint:org/model-8B@{URL}", "endpoint:org/model-8B"),
        (f"endpoint:org/model@v2@{URL}", "endpoint:org/model@v2"),
    ],
)
def test_a_spec_gives_a_voter_with_a_name_free_of_local_paths(spec: str, name: str) -> None:
    assert create(spec).name == name


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lava", "did you mean llava"),
        ("endpoint:model-without-server", "endpoint:MODEL@http"),
        (f"endpoint:@{URL}", "endpoint:MODEL@http"),
        ("endpoint:m@http://[broken", "endpoint:MODEL@http"),
        ("no.such.module:THING", "no voter at"),
        ("rainrag.core.files:CHUNK", "is no rainrag.voters.Kind"),
        (",", "no voters are named"),
    ],
)
def test_what_names_no_voter_is_refused_with_a_way_out(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        panel(spec)


@pytest.mark.parametrize("address", ["http://me:sesame@host/v1", "http://host/v1?key=sesame"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        create(f"endpoint:m@{address}")
    assert "sesame" not in str(caught.value)
    assert "RAINRAG_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"band": 0.6},
        {"words": "maybe"},
        {"layout": "pile"},
        {"orders": 3},
        {"max_pixels": 10},
        {"dtype": "fp8"},
        {"batch": 0},
        {"bandd": 0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        create("llava", **settings)


def test_none_counts_as_not_given() -> None:
    assert create("llava", band=None).prompt == create("llava").prompt


def test_a_panel_hands_each_voter_what_it_knows() -> None:
    llava, served = panel(f"llava,endpoint:m@{URL}", band=0.2, rpm=30, dtype="fp32")
    assert (llava.settings.band, served.settings.band) == (0.2, 0.2)  # type: ignore[attr-defined]
    assert llava.settings.dtype == "fp32"  # type: ignore[attr-defined]
    assert served.settings.rpm == 30  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="did you mean concurrency"):
        panel(f"endpoint:m@{URL}", concurency=3)
    with pytest.raises(UsageError, match="none of the voters"):
        panel("llava", rpm=30)


def test_one_voice_one_vote() -> None:
    with pytest.raises(UsageError, match="two voters are called 'llava'"):
        panel("llava,llava")


@pytest.mark.parametrize("spec", ["llava", "mobilevlm", "mobilevlm-v2", f"endpoint:m@{URL}"])
def test_a_voter_pickles_before_setup_and_stays_the_same(spec: str) -> None:
    voter = create(spec, band=0.1)
    copy = pickle.loads(pickle.dumps(voter))
    assert (copy.name, copy.prompt, copy.settings) == (voter.name, voter.prompt, voter.settings)  # type: ignore[attr-defined]


def test_the_prompt_hash_follows_what_changes_an_answer_and_nothing_else() -> None:
    base = create("mobilevlm").prompt
    for change in (
        {"band": 0.1}, {"words": "yes-no"}, {"layout": "images"}, {"orders": 2}, {"max_pixels": 100_000},
        {"dtype": "fp32"}, {"four_bit": True}, {"least_mass": 0.5},
    ):  # fmt: skip
        assert create("mobilevlm", **change).prompt != base, change
    for same in ({"batch": 8}, {"device": "cpu"}, {"device_map": "auto"}, {"vision_tower": "elsewhere"}):
        assert create("mobilevlm", **same).prompt == base, same
    served = create(f"endpoint:m@{URL}")
    assert create(f"endpoint:m@{URL}", rpm=3, retries=1, concurrency=2, timeout=3.0).prompt == served.prompt
    assert create(f"endpoint:m@{URL}", logprobs=False).prompt != served.prompt


def test_creating_voters_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rainrag.voters import panel\n"
        f"panel('llava,mobilevlm,mobilevlm-v2,endpoint:m@{URL}')\n"
        "bad = {'torch', 'transformers', 'httpx'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
