"""Models of a few thousand random weights, saved as published ones are: real files, real loaders, no hub."""

from __future__ import annotations

import json
from pathlib import Path

import torch

WORDS = (  # noqa: SIM905 - a list of so many quotes is harder to read
    "a car street night day rain heavy light drops window tree dark wet road in on the with of at and lamp house "
    "people photo system user assistant"
).split()

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def _loud(model: torch.nn.Module, seed: int, scale: float) -> None:
    """Weights so large that outputs differ from input to input, as a trained model's do."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=g) * scale)


def blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP captioner for 32 x 32 pixels, with its processor."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", *WORDS]) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(vocabulary), vocab_file=str(vocabulary))
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": 5 + len(WORDS),
        "encoder_hidden_size": 32,
        "projection_dim": 16,
        "max_position_embeddings": 64,
    }
    ids = {"bos_token_id": 4, "eos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        text_config={**size, **text, **ids, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        vision_config={**size, "image_size": 32, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
    )
    model = BlipForConditionalGeneration(config)
    _loud(model, seed, 0.6)
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def qwen(folder: Path, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    """A Qwen2 chat model with a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="<|im_end|>", additional_special_tokens=special[1:3]
    )
    tokenizer.chat_template = template
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(special) + len(WORDS),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            bos_token_id=1,
            eos_token_id=3,
            pad_token_id=1,
        )
    )
    _loud(model, seed, 0.6)
    # as the published model asks for it: sampling, which must not happen
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    model.generation_config.top_k = 20
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CLIP_NAME = "tiny-clip-of-the-tests"


def clip(folder: Path, seed: int = 0) -> Path:
    """Weights of a CLIP model for 32 x 32 pixels; makes its settings known to open_clip. Returns the weights file."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = folder / f"{CLIP_NAME}.json"
    config.write_text(
        json.dumps(
            {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
            }
        )
    )
    open_clip.add_model_config(config)
    model = open_clip.create_model(CLIP_NAME, pretrained=None)
    _loud(model, seed, 0.3)
    path = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, str(path))
    return path
