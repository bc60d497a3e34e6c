"""What can be added from outside, by the docs' own pages: by address, and by an entry point of an installed package."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rainrag
from rainrag import baselines, voters
from rainrag.core import images
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.data import sources
from rainrag.evaluation import perceptual
from rainrag.retrieval import encoders
from rainrag.training import reweight
from tests.conftest import picture

DOCS = Path(__file__).parents[1] / "docs"
#: page -> (group, name, attribute) as its last section says
PAGES = {
    "add-a-source": ("rainrag.sources", "drizzle", "DRIZZLE"),
    "add-a-voter": ("rainrag.voters", "detail", "VOTER"),
    "add-a-baseline": ("rainrag.networks", "drip", "DRIP"),
    "add-an-encoder": ("rainrag.encoders", "colour-layout", "ColourLayout"),
    "add-a-metric": ("rainrag.metrics", "sharpness", "Sharpness"),
    "add-a-weighting": ("rainrag.weightings", "worst-first", "WorstFirst"),
}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], tuple[str, str]]]:
    """``added(page)`` installs the first file of a page as a package; gives its name and its address."""
    made: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(page: str) -> tuple[str, str]:
        text = (DOCS / f"{page}.md").read_text()
        group, name, attr = PAGES[page]
        assert f'[project.entry-points."{group}"]\n{name} = ' in text
        module = f"outside_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attr}\n")
        made.append(module)
        return name, f"{module}:{attr}"

    yield install
    for module in made:
        sys.modules.pop(module, None)


def test_a_source(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-a-source")
    assert sources.get(name) is sources.find(address)
    assert sources.find(address).title == "Drizzle"
    assert name in [s.name for s in rainrag.list_sources()]


def test_a_voter(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-a-voter")
    assert voters.create(name, tolerance=1.5).prompt == voters.create(address, tolerance=1.5).prompt
    assert voters.create(name).prompt != voters.create(name, tolerance=1.5).prompt


def test_a_network(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-a-baseline")
    assert baselines.get(name) is baselines.find(address)
    parameters = [sum(p.numel() for p in baselines.create(n).parameters()) for n in (name, address)]
    assert parameters == [7843, 7843]
    with pytest.raises(UsageError):
        baselines.get(address)


def test_an_encoder(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-an-encoder")
    shown = [picture(1), picture(2)]
    one, other = (encoders.create("embedded", spec, side=2) for spec in (name, address))
    features = one.images(shown)
    assert features.shape == (2, 12)
    assert np.array_equal(features, other.images(shown))
    assert np.allclose(np.linalg.norm(one.texts(["rain at night", "rain"]), axis=1), 1)
    assert one.identity() == other.identity()
    with pytest.raises(UsageError, match="no part"):
        encoders.create("embedded", address, sides=2)


def test_a_store_does_not_import_what_it_names(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-an-encoder")
    encoders.check_origin("embedded", name, "endpoint:model@http://here:1/v1", "clip:ViT-L-14/x", "clip:rn50")
    with pytest.raises(MissingError, match="not imported"):
        encoders.check_origin("embedded", address)
    encoders.create("embedded", address)  # by a user
    encoders.check_origin("embedded", address)


def test_a_metric(added: Callable[[str], tuple[str, str]], tmp_path: Path) -> None:
    name, address = added("add-a-metric")
    for side, factor in (("out", 1), ("gt", 2)):
        (tmp_path / side).mkdir()
        for i in range(2):
            (tmp_path / side / f"{i}.png").write_bytes(images.encode_png(picture(i) // factor))
    scores = rainrag.score(tmp_path / "out", tmp_path / "gt", metrics=[name, address])
    want = np.mean([perceptual.create(name)(picture(i), None) for i in range(2)])
    assert scores.mean[name] == scores.mean[address] == pytest.approx(want)
    assert "1" in scores.signature[name]
    assert not scores.unavailable


def test_a_weighting(added: Callable[[str], tuple[str, str]]) -> None:
    name, address = added("add-a-weighting")
    made: Any
    for spec in (name, address):
        made = reweight.create(spec, 3, share=0.6)
        assert made.update([1.0, 5.0, 2.0]) == pytest.approx([0.2, 0.6, 0.2])
        assert made.loss([1.0, 2.0, None]) == pytest.approx(0.2 + 1.2)
        again = reweight.create(spec, 3, share=0.6)
        again.load_state_dict(made.state_dict())
        assert again.weights == made.weights


@pytest.mark.parametrize("find", [sources.find, baselines.find, encoders.create, perceptual.create, reweight.create])
def test_an_address_at_which_nothing_is(find: Callable[[str], Any]) -> None:
    with pytest.raises((UsageError, InputError), match="nowhere"):
        find("nowhere.at_all:THING")
