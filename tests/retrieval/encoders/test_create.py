"""Specs and settings: which parts ``create`` makes of them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from rainrag.core.errors import UsageError
from rainrag.retrieval import encoders
from rainrag.retrieval.encoders import create
from rainrag.retrieval.encoders.blip import BASE
from rainrag.retrieval.encoders.refine import QWEN
from tests.conftest import picture
from tests.retrieval.encoders import tiny


def test_specs_with_and_without_sources() -> None:
    pair = create("blip", "clip", refine=("qwen",))
    assert (pair.captioner.source, pair.encoder.model, pair.encoder.tag) == (BASE, "ViT-B-32", "openai")
    assert pair.refiners[0].source == QWEN
    pair = create("blip=/models/b=1", "clip:ViT-L-14//models/w.pt", refine=("qwen=org/q", "keybert=/models/k"))
    assert pair.captioner.source == "/models/b=1"
    assert (pair.encoder.model, pair.encoder.tag) == ("ViT-L-14", "/models/w.pt")
    assert [r.source for r in pair.refiners] == ["org/q", "/models/k"]
    pair = create("endpoint:org/model@http://host:8000/v1", "clip")
    assert (pair.captioner.model, pair.captioner.client.base_url) == ("org/model", "http://host:8000/v1")


def test_refiners_run_in_the_papers_order() -> None:
    pair = create("blip", "clip", refine=["keybert", "qwen"])
    assert [type(r).__name__ for r in pair.refiners] == ["Qwen", "KeyBert"]


def test_one_embedded_model_serves_both() -> None:
    pair = create()
    assert pair.captioner is pair.encoder
    assert create("embedded", "clip").encoder is not create("embedded", "clip").captioner


def test_settings_reach_the_parts_that_have_them() -> None:
    pair = create(
        "blip",
        "clip",
        refine=("keybert",),
        batch_size=3,
        dtype="bfloat16",
        device="cpu",
        beams=2,
        keywords=4,
        ngram=None,
    )
    for part in (pair.captioner, pair.encoder, *pair.refiners):
        assert (part.compute.batch_size, part.compute.dtype, part.compute.device) == (3, "bfloat16", "cpu")
    assert (pair.captioner.beams, pair.refiners[0].keywords, pair.refiners[0].ngram) == (2, 4, 2)
    assert create(batch_size=3).captioner  # the common settings are no mistake where nothing uses them


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"captioner": "blib"}, "did you mean blip"),
        ({"captioner": "clip"}, "no captioner 'clip'"),
        ({"encoder": "klip"}, "did you mean clip"),
        ({"refine": ("qwen3",)}, "did you mean qwen"),
        ({"refine": ("qwen", "qwen=other")}, "named twice"),
        ({"captioner": "embedded=/models"}, "takes no source"),
        ({"captioner": "endpoint"}, "needs a source"),
        ({"captioner": "blip", "baems": 3}, "did you mean beams"),
        ({"encoder": "clip", "batchsize": 3}, "did you mean batch_size"),
        ({"beams": 3}, "no part of 'embedded' and 'embedded'"),
        ({"captioner": ""}, "no captioner ''"),
    ],
)
def test_mistakes_are_answered(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as e:
        create(**arguments)
    assert says in str(e.value)


def test_captions_pass_all_refiners_and_the_identity_tells(tmp_path: Path) -> None:
    """Whole pair of tiny models: BLIP, then Qwen, then CLIP; pickled before it is loaded."""
    blip, qwen = tiny.blip(tmp_path / "blip"), tiny.qwen(tmp_path / "qwen", seed=3)
    settings = {"device": "cpu", "caption_tokens": 8}
    clip = f"clip:{tiny.CLIP_NAME}/{tiny.clip(tmp_path / 'clip')}"
    pair = create(f"blip={blip}", clip, (f"qwen={qwen}",), refine_tokens=6, **settings)
    plain = create(f"blip={blip}", clip, **settings)
    assert pair.identity() == {**plain.identity(), "refine": [pair.refiners[0].identity()]}
    pair = pickle.loads(pickle.dumps(pair))
    pair.setup()
    pictures = [picture(i) for i in range(3)]
    raw = plain.caption(pictures)
    assert pair.caption(pictures) == pair.refined(raw) != raw
    assert plain.refined(raw) == raw
    assert pair.texts(raw).shape == pair.images(pictures).shape == (3, 16)


def test_every_entry_of_the_tables_is_a_class_with_what_the_pair_calls() -> None:
    from importlib import import_module

    wanted = {"CAPTIONERS": ("caption",), "ENCODERS": ("images", "texts"), "REFINERS": ("refine",)}
    for table, methods in wanted.items():
        for address in getattr(encoders, table).values():
            module, attr = address.split(":")
            kind = getattr(import_module(module), attr)
            for method in (*methods, "identity", "setup"):
                assert callable(getattr(kind, method)), f"{address}.{method}"
