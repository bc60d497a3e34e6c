"""Tiny random-weight models, written to folders as published ones are, and questions to put to them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor

from rainrag.core import images
from rainrag.core.types import Question, Shown
from rainrag.voters.ldp import PROJECTORS
from tests.conftest import picture

CORPUS = [
    "True",
    "False",
    "true",
    "false",
    "Yes",
    "No",
    "yes",
    "no",
    " True",
    " False",
    " true",
    " Yes",
    " No",
] * 20 + ["The first images were photographed in real rain; the last image is the candidate. USER: ASSISTANT:"]
TEMPLATE = (
    "{{ bos_token if bos_token else '' }}{% for m in messages %}USER: {% for c in m['content'] %}{{ c['text'] }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def byte_tokenizer(special: list[str], **extra: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose answer words are single tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", *special], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", **extra)


def _text(vocabulary: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    }


def _clip(side: int = 28) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=side, patch_size=14
    )


def _clip_processor(side: int) -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough for answers to differ from question to question."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0, 0.15)
    return model


def llava(folder: Path, text: str = "qwen2") -> Path:
    """LLaVA: CLIP and Qwen2 (as Interleave) or LLaMA (as LLaVA-1.5)."""
    tokenizer = byte_tokenizer(["<image>"])
    cls = {"qwen2": Qwen2Config, "llama": LlamaConfig}[text]
    config = LlavaConfig(
        vision_config=_clip(),
        text_config=cls(**_text(len(tokenizer))),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    lively(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    LlavaProcessor(
        _clip_processor(28), tokenizer, patch_size=14, vision_feature_select_strategy="default",
        chat_template=TEMPLATE, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def llava_next(folder: Path) -> Path:
    """LLaVA-NeXT: an image in tiles of several shapes."""
    tokenizer = byte_tokenizer(["<image>"])
    pinpoints = [[28, 56], [56, 28], [56, 56]]
    config = LlavaNextConfig(
        vision_config=_clip(), text_config=LlamaConfig(**_text(len(tokenizer))), image_grid_pinpoints=pinpoints,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    lively(LlavaNextForConditionalGeneration(config)).save_pretrained(folder)
    vision = LlavaNextImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=pinpoints
    )
    LlavaNextProcessor(
        vision, tokenizer, patch_size=14, vision_feature_select_strategy="default",
        chat_template=TEMPLATE, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def internvl(folder: Path) -> Path:
    """Native InternVL with Qwen2."""
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = byte_tokenizer(list(names.values()), extra_special_tokens=names)
    vision = InternVLVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=[28, 28],
        patch_size=[14, 14],
    )
    config = InternVLConfig(
        vision_config=vision, text_config=Qwen2Config(**_text(len(tokenizer))), downsample_ratio=0.5,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )  # fmt: skip
    lively(InternVLForConditionalGeneration(config)).save_pretrained(folder)
    InternVLProcessor(
        GotOcr2ImageProcessor(size={"height": 28, "width": 28}, crop_to_patches=True), tokenizer,
        InternVLVideoProcessor(size={"height": 28, "width": 28}), image_seq_length=1, chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def sentencepiece_tokenizer(folder: Path) -> int:
    """tokenizer.model and its configuration as LLaMA's checkpoints have them; returns the vocabulary's size."""
    folder.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, vocab_size=160, model_type="bpe", bos_id=1, eos_id=2,
        unk_id=0, pad_id=-1, byte_fallback=False, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(out.getvalue())
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "legacy": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue()).vocab_size()


def mobilevlm(folder: Path, kind: str = "ldpnet", pickled: bool = False, vision_inside: bool = False) -> Path:
    """MobileVLM as published: LLaMA's and the projector's weights in one checkpoint, the vision tower beside it."""
    torch.manual_seed(0)
    side = 336 if kind == "ldpnetv2" else 56
    vision = lively(CLIPVisionModel(_clip(side)))
    vision.save_pretrained(folder / "vision")
    _clip_processor(side).save_pretrained(folder / "vision")
    text = _text(sentencepiece_tokenizer(folder)) | {"tie_word_embeddings": False}
    language = lively(LlamaForCausalLM(LlamaConfig(**text)))
    projector = lively(PROJECTORS[kind](16, 32))
    state = dict(language.state_dict()) | {f"model.mm_projector.{k}": v for k, v in projector.state_dict().items()}
    if vision_inside:
        old = {f"vision_model.{k.removeprefix('vision_model.')}": v for k, v in vision.state_dict().items()}
        state |= {f"model.vision_tower.vision_tower.{k}": v for k, v in old.items()}
        (folder / "vision" / "model.safetensors").unlink()
    state = {k: v.contiguous() for k, v in state.items()}
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = text | {
        "model_type": "mobilevlm",
        "architectures": ["MobileLlamaForCausalLM"],
        "mm_projector_type": kind,
        "mm_hidden_size": 16,
        "mm_vision_tower": "vision",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "image_aspect_ratio": "pad",
        "vision_tower_type": "clip",
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def shown(seed: int, width: int = 48, height: int = 32) -> Shown:
    """A picture as a voter gets it."""
    return Shown(f"image/{seed}", f"{seed:064x}", images.encode_png(picture(seed, width, height)))


def questions(counts: tuple[int, ...] = (3, 0, 1, 2, 3)) -> list[Question]:
    """Questions with different numbers of references, and images of different sizes."""
    return [
        Question(shown(10 * i, 40 + 8 * i, 36), tuple(shown(10 * i + j + 1, 48, 24 + 8 * j) for j in range(n)))
        for i, n in enumerate(counts)
    ]
