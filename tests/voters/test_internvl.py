"""InternVL: what needs remote code is refused with three ways out; the remote interface, on code of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rainrag.core.errors import InputError, UsageError
from rainrag.voters import create
from rainrag.voters.internvl_remote import MEAN, STD, shape_of_tiles, tiles
from tests.voters import tiny

#: A repository's own code with the interface of the model card: a Qwen2 that adds up the tiles' means.
CODE = """
import torch
from transformers import PreTrainedModel, PretrainedConfig, Qwen2Config, Qwen2ForCausalLM

class Config(PretrainedConfig):
    model_type = "internvl_chat"
    def __init__(self, text=None, mute=False, broken=False, **kw):
        super().__init__(**kw)
        self.text, self.mute, self.broken = text or {}, mute, broken

class Model(PreTrainedModel):
    config_class = Config
    _tied_weights_keys = None
    def __init__(self, config):
        super().__init__(config)
        self.language_model = Qwen2ForCausalLM(Qwen2Config(**config.text))
        self.post_init()
    def chat(self, tokenizer, pixel_values, question, generation_config, num_patches_list=None):
        if self.config.broken:
            raise AttributeError("past_key_values went away")
        assert question.count("<image>") == len(num_patches_list), question
        assert pixel_values.shape == (sum(num_patches_list), 3, 448, 448), pixel_values.shape
        if self.config.mute:
            return "False."
        ids = tokenizer(question, return_tensors="pt")["input_ids"]
        table = self.language_model.get_input_embeddings()
        means = torch.stack([p.mean() for p in pixel_values.split(num_patches_list)]).to(table.weight.dtype)
        embeds = torch.cat([table(ids), means[None, :, None].expand(-1, -1, table.weight.shape[1])], 1)
        out = self.language_model.generate(inputs_embeds=embeds, **generation_config)
        return tokenizer.batch_decode(out, skip_special_tokens=True)[0]
"""


def remote(folder: Path, **flags: bool) -> Path:
    """A local repository of model type internvl_chat with code of its own."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = tiny.byte_tokenizer(["<image>"])
    tokenizer.save_pretrained(folder)
    text = tiny._text(len(tokenizer)) | {"eos_token_id": 1, "pad_token_id": 0}
    inner = tiny.lively(Qwen2ForCausalLM(Qwen2Config(**text)))
    from safetensors.torch import save_file

    state = {f"language_model.{k}": v.contiguous() for k, v in inner.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "own_code.py").write_text(CODE)
    config = {"model_type": "internvl_chat", "architectures": ["Model"], "text": text} | flags
    config["auto_map"] = {"AutoConfig": "own_code.Config", "AutoModel": "own_code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def _module_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers copies a repository's code into a cache of modules: not into the user's."""
    from transformers import dynamic_module_utils

    cache = str(tmp_path / "modules")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", cache)


def test_the_papers_model_needs_remote_code_and_the_error_offers_three_ways() -> None:
    with pytest.raises(UsageError) as caught:
        create("internvl")
    for way in ("--trust-remote-code", "OpenGVLab/InternVL3-8B-hf", "endpoint:"):
        assert way in str(caught.value)
    assert create("internvl", trust_remote_code=True).name == "internvl"
    assert create("internvl=OpenGVLab/InternVL3-8B-hf").name == "internvl=InternVL3-8B-hf"


def test_a_local_folder_of_that_type_is_refused_too_and_its_code_does_not_run(tmp_path: Path) -> None:
    folder = remote(tmp_path / "repo")
    (folder / "own_code.py").write_text("raise SystemExit('the code ran')")
    with pytest.raises(UsageError, match="internvl_chat"):
        create(f"internvl={folder}")


def test_remote_code_is_asked_through_chat_and_answers_by_probability(tmp_path: Path) -> None:
    voter: Any = create(
        f"internvl={remote(tmp_path / 'repo')}", trust_remote_code=True, dtype="fp32", device="cpu", least_mass=0.0
    )
    voter.setup()
    questions = tiny.questions((3, 0, 1))
    ballots = voter.vote(questions)
    assert all(b.p_yes is not None and 0 < b.p_yes < 1 for b in ballots)
    assert len({b.p_yes for b in ballots}) == 3
    assert voter.vote(questions[::-1])[::-1] == ballots


def test_what_is_read_is_the_first_tokens_distribution(tmp_path: Path) -> None:
    import torch

    voter: Any = create(
        f"internvl={remote(tmp_path / 'repo')}", trust_remote_code=True, dtype="fp32", device="cpu", least_mass=0.0
    )
    voter.setup()
    inner = voter.model._inner
    said: list[Any] = []
    chat = inner._model.chat

    def spy(tokenizer: Any, pixels: Any, question: str, generation: dict[str, Any], **more: Any) -> Any:
        with torch.no_grad():
            scores = {"output_scores": True, "return_dict_in_generate": True}
            ids = tokenizer(question, return_tensors="pt")["input_ids"]
            table = inner._model.language_model.get_input_embeddings()
            means = torch.stack([p.mean() for p in pixels.split(more["num_patches_list"])])
            embeds = torch.cat([table(ids), means[None, :, None].expand(-1, -1, table.weight.shape[1])], 1)
            out = inner._model.language_model.generate(inputs_embeds=embeds, **generation, **scores)
            said.append(out.scores[0][0].softmax(0))
            inner._seen.clear()
        return chat(tokenizer, pixels, question, generation, **more)

    inner._model.chat = spy
    ballot = voter.vote(tiny.questions((2,)))[0]
    yes, no = said[0][inner._yes].sum(), said[0][inner._no].sum()
    assert ballot.p_yes == pytest.approx(float(yes / (yes + no)), abs=1e-5)


def test_where_no_probability_passes_the_one_word_counts(tmp_path: Path) -> None:
    voter = create(
        f"internvl={remote(tmp_path / 'repo', mute=True)}", trust_remote_code=True, dtype="fp32", device="cpu"
    )
    voter.setup()
    ballot = voter.vote(tiny.questions((1,)))[0]
    assert (ballot.answer, ballot.p_yes, ballot.raw) == ("no", None, "said: False.")


def test_code_that_fails_is_named_as_the_repositorys(tmp_path: Path) -> None:
    voter = create(
        f"internvl={remote(tmp_path / 'repo', broken=True)}", trust_remote_code=True, dtype="fp32", device="cpu"
    )
    voter.setup()
    with pytest.raises(InputError, match=r"repository's own code failed .* past_key_values went away"):
        voter.vote(tiny.questions((1,)))


@pytest.mark.parametrize(
    ("width", "height", "most", "shape"),
    [
        (448, 448, 6, (1, 1)),
        (896, 448, 6, (2, 1)),
        (448, 1344, 6, (1, 3)),
        (900, 900, 4, (2, 2)),
        (300, 300, 12, (1, 1)),
        (4000, 100, 3, (3, 1)),
        (500, 400, 1, (1, 1)),
    ],
)
def test_tiles_follow_the_aspect(width: int, height: int, most: int, shape: tuple[int, int]) -> None:
    assert shape_of_tiles(width, height, most) == shape


def test_tiles_are_the_picture_in_raster_order_and_the_whole() -> None:
    rgb = np.zeros((448, 896, 3), np.uint8)
    rgb[:, 448:] = 255
    cut = tiles(rgb, 2)
    assert cut.shape == (3, 3, 448, 448)
    restored = cut * STD[:, None, None] + MEAN[:, None, None]
    assert restored[0].max() == pytest.approx(0, abs=1e-6)
    assert restored[1].min() == pytest.approx(1, abs=1e-6)
    assert restored[2].mean() == pytest.approx(0.5, abs=0.01)
