"""Cards are complete and say what BASELINES of the field say."""

from __future__ import annotations

import json
import re

import pytest

from rainrag import baselines
from rainrag.baselines.card import Card
from rainrag.data import sources

NAMES = baselines.names()
CLASSICAL = ("input", "median", "guided")
PUBLISHED = [n for n in NAMES if n not in CLASSICAL]
HOSTS = {"direct", "gdrive", "hub", "baidu", "page"}
#: Training sets without rain, which are no sources of ours.
NO_RAIN = {"snow100k", "wed", "bsd400", "reside-ots"}

#: Figures of the authors' READMEs: network, test set, PSNR, SSIM.
FIGURES = [
    ("prenet", "rain100l", 37.48, 0.979),
    ("prenet-r", "rain100h", 28.98, 0.892),
    ("prn", "rain12", 36.62, 0.952),
    ("prn-r", "rain1400", 31.31, 0.937),
    ("rcdnet", "rain100l", 40.00, 0.9860),
    ("rcdnet-simple", "spa-data", 41.52, 0.9849),
    ("restormer", "rain200h", 32.00, 0.9329),
    ("mprnet", "spa-data", 43.64, 0.9844),
    ("idt", "rain200l", 40.74, 0.9884),
    ("drsformer", "rain200h", 32.17, 0.9326),
    ("nerd-rain", "rain200l", 41.71, 0.9903),
    ("nerd-rain-s", "spa-data", 48.90, 0.9936),
    ("promptir", "rain100l", 36.37, 0.972),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_complete(name: str) -> None:
    entry = baselines.get(name)
    card = entry.card
    assert card.name == name == name.lower()
    for text in (card.title, card.paper, card.venue, card.licence, card.padding):
        assert text.strip()
    assert card.value_range[0] < card.value_range[1]
    assert card.quantise in ("round", "truncate", None)
    assert json.loads(json.dumps(card.to_dict()))["name"] == name
    if name in CLASSICAL:
        assert (card.params, card.weights, card.fixture) == (0, (), None)
        return
    if entry.build is None:
        assert name == "urir"
        assert card.claims
        assert card.notes
        return
    assert card.repo.startswith("https://github.com/")
    assert re.fullmatch(r"[0-9a-f]{7,40}", card.commit)
    assert card.fixture
    assert card.params
    assert card.gmacs
    assert card.gmacs_conv
    assert card.gmacs >= card.gmacs_conv


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_say_where_they_are_and_what_they_were_trained_on(name: str) -> None:
    card = baselines.card_of(name)
    tags = [w.tag for w in card.weights]
    assert len(tags) == len(set(tags))
    for w in card.weights:
        assert w.licence
        assert w.archive.host in HOSTS
        assert w.archive.ref
        assert w.archive.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", w.archive.sha256)
        assert w.archive.host != "baidu" or w.archive.password
        if w.refused:
            assert len(w.refused) > 20
            continue
        assert w.trained_on, f"{name} {w.tag}: contamination cannot be marked"
        unknown = set(w.trained_on) - set(sources.TABLE) - NO_RAIN
        assert not unknown, f"{name} {w.tag}: no source is called {unknown}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_claims_carry_their_protocol_and_source(name: str) -> None:
    card = baselines.card_of(name)
    tags = {w.tag for w in card.weights if not w.refused}
    for c in card.claims:
        assert 10 < c.psnr < 60
        assert c.ssim is None or 0.3 < c.ssim < 1
        assert c.protocol
        assert c.source
        assert c.weights is None or c.weights in tags
    shown = [(c.testset, c.weights, c.source) for c in card.claims]
    assert len(shown) == len(set(shown)), "two figures of one source for one test set"


@pytest.mark.parametrize(("name", "testset", "psnr", "ssim"), FIGURES)
def test_published_figures(name: str, testset: str, psnr: float, ssim: float) -> None:
    claims = baselines.card_of(name).claims
    assert (psnr, ssim) in [(c.psnr, c.ssim) for c in claims if c.testset == testset and c.verified]


def test_figures_from_memory_are_marked() -> None:
    unverified = {n for n in NAMES for c in baselines.card_of(n).claims if not c.verified}
    assert unverified == {"mprnet", "restormer", "histoformer", "wgws-net"}


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("rcdnet", {"value_range": (0.0, 255.0), "quantise": "round"}),
        ("rcdnet-simple", {"value_range": (0.0, 255.0), "quantise": "truncate"}),
        ("prenet", {"quantise": "truncate", "multiple": 1, "receptive": 78}),
        ("restormer", {"quantise": "round", "multiple": 8}),
        ("idt", {"fixed": 128, "tile": (128, 20)}),
        ("rlp-uformer-t", {"square": True, "multiple": 128, "quantise": "truncate"}),
        ("rlp-unet", {"multiple": 4, "quantise": "truncate"}),
        ("nerd-rain", {"tile": (256, 0)}),
        ("msdt", {"tile": (256, 0)}),
        ("transweather", {"value_range": (-1.0, 1.0), "multiple": 16, "quantise": None}),
        ("wgws-net", {"multiple": 4, "quantise": "truncate"}),
        ("histoformer", {"multiple": 8}),
    ],
)
def test_how_the_authors_ran_it(name: str, want: dict[str, object]) -> None:
    card: Card = baselines.card_of(name)
    assert {k: getattr(card, k) for k in want} == want
