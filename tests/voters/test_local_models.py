"""LLaVA, LLaVA-NeXT, InternVL, MobileVLM: tiny random weights through the real loading path."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rainrag.core.errors import InputError, MissingError, RainRAGError, UsageError
from rainrag.core.types import Question
from rainrag.voters import create
from rainrag.voters.prompt import images_of
from tests.voters import tiny

MAKERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "llava": ("llava", tiny.llava),
    "llava-next": ("llava", tiny.llava_next),
    "internvl": ("internvl", tiny.internvl),
    "mobilevlm": ("mobilevlm", tiny.mobilevlm),
}


@pytest.fixture(scope="module", params=list(MAKERS))
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Spec of a tiny local model of each class."""
    name, make = MAKERS[request.param]
    return f"{name}={make(tmp_path_factory.mktemp('models') / request.param)}"


def ready(spec: str, **settings: Any) -> Any:
    voter = create(spec, **{"dtype": "fp32", "device": "cpu", "band": 0.0, "least_mass": 0.0, **settings})
    voter.setup()
    return voter


def probabilities(voter: Any, questions: list[Question]) -> list[float]:
    found = [b.p_yes for b in voter.vote(questions)]
    assert all(p is not None for p in found)
    return [float(p) for p in found]


def test_a_batch_of_one_equals_a_batch_of_many(spec: str) -> None:
    """Prompts of different lengths, 0 to 3 references each: padding and neighbours must not tell."""
    questions = tiny.questions()
    single = probabilities(ready(spec, batch=1), questions)
    many = probabilities(ready(spec, batch=5), questions)
    pairs = probabilities(ready(spec, batch=2), questions)
    assert single == pytest.approx(many, abs=2e-6)
    assert single == pytest.approx(pairs, abs=2e-6)
    assert max(single) - min(single) > 1e-3  # else equality would say nothing


def test_half_precision_batches_agree_within_its_rounding(spec: str) -> None:
    questions = tiny.questions((3, 1, 2))
    single = probabilities(ready(spec, dtype="bf16", batch=1), questions)
    many = probabilities(ready(spec, dtype="bf16", batch=3), questions)
    exact = probabilities(ready(spec), questions)
    assert single == pytest.approx(many, abs=0.03)
    assert single == pytest.approx(exact, abs=0.1)


def test_query_and_references_are_both_looked_at(spec: str) -> None:
    voter = ready(spec)
    question = tiny.questions((2,))[0]
    other_query = replace(question, query=tiny.shown(77, 40, 36))
    other_reference = replace(question, references=(question.references[0], tiny.shown(78)))
    swapped = replace(question, references=question.references[::-1])
    base, *others = probabilities(voter, [question, other_query, other_reference, swapped])
    assert all(abs(p - base) > 1e-5 for p in others), (base, others)
    assert probabilities(voter, [question]) == [base]


def test_two_orders_give_the_mean_whatever_the_order(spec: str) -> None:
    question = tiny.questions((3,))[0]
    reversed_ = replace(question, references=question.references[::-1])
    forth, back = probabilities(ready(spec), [question, reversed_])
    both = probabilities(ready(spec, orders=2), [question, reversed_])
    assert both == pytest.approx([(forth + back) / 2] * 2, abs=2e-6)


def test_the_ballot_names_the_weights(spec: str, tmp_path: Path) -> None:
    voter = ready(spec)
    ballot = voter.vote(tiny.questions((1,)))[0]
    assert ballot.voter == voter.name
    assert ballot.revision == voter.revision
    assert ballot.revision.startswith("local-")
    assert str(tmp_path) not in str(ballot)


def test_a_voter_that_travelled_votes_the_same(spec: str) -> None:
    voter = create(spec, dtype="fp32", device="cpu", least_mass=0.0)
    travelled = pickle.loads(pickle.dumps(voter))
    travelled.setup()
    voter.setup()
    assert travelled.vote(tiny.questions((2, 0))) == voter.vote(tiny.questions((2, 0)))


def test_missing_weights_are_an_error_not_random_numbers(spec: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    name, _, source = spec.partition("=")
    folder = tmp_path / "damaged"
    _copy(Path(source), folder)
    weights = load_file(folder / "model.safetensors")
    dropped = next(k for k in sorted(weights) if k.endswith("q_proj.weight") and "vision" not in k)
    save_file(
        {k: v for k, v in weights.items() if k != dropped}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(InputError, match="weights are missing"):
        ready(f"{name}={folder}")


def test_an_empty_folder_is_no_model(spec: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RainRAGError, match="no model"):
        ready(f"{spec.partition('=')[0]}={tmp_path / 'empty'}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_four_bit_without_a_gpu_says_what_is_needed(spec: str) -> None:
    with pytest.raises(MissingError, match="4 bit needs an NVIDIA GPU"):
        ready(spec, four_bit=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("settings", [{"four_bit": True}, {"device_map": "auto"}])
def test_on_a_gpu_the_options_load_and_vote(spec: str, settings: dict[str, Any]) -> None:
    voter = create(spec, dtype="bf16", least_mass=0.0, **settings)
    voter.setup()
    assert all(b.p_yes is not None for b in voter.vote(tiny.questions((2, 0))))


def test_a_device_map_places_the_model_and_answers_stay(spec: str) -> None:
    questions = tiny.questions((2, 0))
    plain = probabilities(ready(spec), questions)
    assert probabilities(ready(spec, device_map="cpu"), questions) == pytest.approx(plain, abs=2e-6)


def test_no_hub_and_no_cache_says_how_to_give_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub as hub

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(hub.HfApi, "model_info", offline)
    monkeypatch.setattr(hub, "snapshot_download", offline)
    for name in ("llava", "mobilevlm", "mobilevlm-v2"):
        with pytest.raises(MissingError, match="local folder"):
            create(name).setup()


def test_the_layout_follows_what_the_model_was_trained_on(tmp_path: Path) -> None:
    asked = tiny.questions((3,))[0]
    for make, expected in (
        (lambda p: tiny.llava(p, "qwen2"), 4),
        (lambda p: tiny.llava(p, "llama"), 1),
        (tiny.llava_next, 1),
    ):
        folder = make(tmp_path / f"m{expected}{len(list(tmp_path.iterdir()))}")
        voter: Any = create(f"llava={folder}", dtype="fp32")
        assert [len(images_of(p)) for p in voter._prompts(asked)] == [expected]
        wished: Any = create(f"llava={folder}", layout="montage")
        assert [len(images_of(p)) for p in wished._prompts(asked)] == [1]


def test_other_families_are_sent_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="'bert' is no LLaVA"):
        ready(f"llava={folder}")
    with pytest.raises(UsageError, match="'bert' is no InternVL"):
        ready(f"internvl={folder}")


def test_images_stay_beside_their_labels_where_a_template_would_gather_them(tmp_path: Path) -> None:
    """Published LLaVA templates put all images first; ours stand within the text."""
    gathering = (
        "{% for m in messages %}{% for c in m['content'] if c['type'] == 'image' %}<image>{% endfor %}"
        "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endfor %}"
    )
    voter = ready(f"llava={tiny.llava(tmp_path / 'm')}")
    voter.model._processor.chat_template = gathering
    parts = voter._prompts(tiny.questions((2,))[0])[0]
    text = voter.model._text(parts)
    assert text.index("Real 1: <image>") < text.index("Real 2: <image>") < text.index("Candidate: <image>")


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = tiny.llava(tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        ready(f"llava={folder}")


def test_the_beginning_is_marked_once(tmp_path: Path) -> None:
    """A template that writes the begin token, and a tokenizer that would add it: one of them must yield."""
    folder = tiny.llava(tmp_path / "m")
    voter = ready(f"llava={folder}")
    tokenizer = voter.model._processor.tokenizer
    tokenizer.bos_token = "</s>"
    inputs = voter.model._inputs(voter._prompts(tiny.questions((1,))[0]))
    ids = inputs["input_ids"][0].tolist()
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


def test_internvl_cuts_more_tiles_when_more_pixels_are_allowed(tmp_path: Path) -> None:
    folder = tiny.internvl(tmp_path / "m")
    question = Question(tiny.shown(1, 96, 32), ())
    lengths = []
    for pixels in (448 * 448, 3 * 448 * 448):
        voter = ready(f"internvl={folder}", max_pixels=pixels)
        inner = voter.model._inner
        lengths.append(int(inner._inputs(voter._prompts(question))["pixel_values"].shape[0]))
    assert lengths == [1, 4]  # the whole; three tiles and the whole


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], str]:
    """Puts a folder into an empty Hub cache as a repository; returns the commit."""
    import huggingface_hub.constants
    import transformers.utils.hub

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    if hasattr(transformers.utils.hub, "TRANSFORMERS_CACHE"):
        monkeypatch.setattr(transformers.utils.hub, "TRANSFORMERS_CACHE", str(cache))

    def put(repository: str, folder: Path) -> str:
        commit = f"{len(list(tmp_path.rglob('refs'))):040x}"
        place = cache / f"models--{repository.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        _copy(folder, place / "snapshots" / commit)
        return commit

    return put


def test_a_cached_repository_loads_at_its_commit_without_a_network(
    hub_cache: Callable[[str, Path], str], tmp_path: Path
) -> None:
    questions = tiny.questions((2, 0))
    folder = tiny.llava(tmp_path / "llava")
    commit = hub_cache("org/llava", folder)
    voter = ready("llava=org/llava")
    assert voter.revision == commit
    assert [b.p_yes for b in voter.vote(questions)] == probabilities(ready(f"llava={folder}"), questions)


def test_a_checkpoint_that_names_a_repository_for_its_eyes_finds_it(
    hub_cache: Callable[[str, Path], str], tmp_path: Path
) -> None:
    questions = tiny.questions((2, 0))
    folder = tiny.mobilevlm(tmp_path / "mobile")
    expected = probabilities(ready(f"mobilevlm={folder}"), questions)
    eyes = hub_cache("org/clip", folder / "vision")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mm_vision_tower": "org/clip"}))
    commit = hub_cache("org/mobile", folder)
    voter = ready("mobilevlm=org/mobile")
    assert voter.revision == f"{commit}+{eyes}"
    assert [b.p_yes for b in voter.vote(questions)] == expected


def test_a_folder_named_relatively_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.llava(tmp_path / "here" / "m")
    monkeypatch.chdir(tmp_path / "here")
    data = pickle.dumps(create("llava=m", dtype="fp32", device="cpu", least_mass=0.0))
    monkeypatch.chdir(tmp_path)
    voter = pickle.loads(data)
    voter.setup()
    assert voter.vote(tiny.questions((1,)))[0].p_yes is not None
