"""What the hub-based models share: where they run, how they are found, loaded whole or refused, and decoded.

Repositories are pinned (rainrag.core.hub); none may run code of its own. Where the Hub cannot be reached the error names the
ways out: a local folder, or the embedded encoder.
"""

from __future__ import annotations

from typing import Any

from rainrag.core import hub
from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, first_line

WITHOUT_HUB = "use the embedded captioner and encoder, which need no hub (the default)"


def find(name: str) -> hub.Model:
    """A model by folder or repository, pinned.

    Raises:
        MissingError: when it is neither available locally nor on the Hub, with the ways out.
        IntegrityError: when the repository's revision is not the recorded one.
    """
    from huggingface_hub.errors import HFValidationError

    try:
        return hub.resolve(name)
    except HFValidationError as e:
        raise MissingError(f"'{name}' is no folder, and no repository's name", hint="check the path") from e
    except MissingError as e:
        raise MissingError(e.what, where=e.where, hint=f"{e.hint}; or {WITHOUT_HUB}") from e


def origin(found: hub.Model) -> str:
    """What a model is, for an identity: its content where it is a folder, so that folders may be moved."""
    return found.revision if not found.kwargs else f"{found.name}@{found.revision}"


def load(factory: Any, found: hub.Model, **kwargs: Any) -> Any:
    """What a factory makes of a model: a tokenizer, a processor, a network; with our errors.

    Args:
        factory: a class with ``from_pretrained``, or one that takes the path itself (sentence-transformers).

    Raises:
        MissingError: when files of a repository cannot be had.
        InputError: when a folder's files are incomplete or of another kind.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what matters of its warnings is checked below
    try:
        make = getattr(factory, "from_pretrained", factory)
        return make(found.path, **found.kwargs, **kwargs)
    except Exception as e:  # over a damaged or foreign folder transformers fails in many ways, TypeError among them
        if found.kwargs and isinstance(e, OSError):
            hint = f"run where the Hub can be reached, or give a local folder in place of the name; or {WITHOUT_HUB}"
            raise MissingError(f"'{found.name}' cannot be had: {first_line(e)}", hint=hint) from e
        said = "config.json and weights disagree" if "ignore_mismatched_sizes" in str(e) else first_line(e)
        raise InputError(
            f"no {factory.__name__} can be loaded from it: {said}",
            where=found.path,
            hint="check that the copy is whole, and made for this use",
        ) from e


def check_words(tokenizer: Any, model: Any, found: hub.Model) -> None:
    """Refuse a tokenizer without words, which transformers makes up where the files are missing.

    Raises:
        InputError: when it has not half as many as the network.
    """
    have, need = len(tokenizer), model.get_input_embeddings().num_embeddings
    if have < need // 2:
        what = f"its tokenizer has {have} words, the network {need}"
        raise InputError(what, where=found.path, hint="copy the tokenizer's files too (tokenizer.json)")


def load_model(factory: Any, found: hub.Model, compute: Compute) -> Any:
    """A network in eval mode on its device.

    Raises:
        InputError: when weights are missing: transformers would fill them with random numbers.
    """
    model, info = load(factory, found, dtype=compute.type(), output_loading_info=True)
    missing = sorted(set(info["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if missing:
        raise InputError(
            f"the weights of '{found.name}' lack {len(missing)} tensors of a {factory.__name__}, such as {missing[0]}",
            hint="another kind of model, or an incomplete copy",
        )
    return model.eval().to(compute.place())


def decode_greedily(model: Any, most: int, beams: int = 1) -> None:
    """Let ``generate`` take the likeliest words, without sampling or penalties that a model's files may ask for.

    Args:
        model: its ``generation_config`` is replaced; only the special tokens stay.
        most: new tokens.
        beams: 1 is greedy decoding.
    """
    from transformers import GenerationConfig

    given = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        num_beams=beams,
        bos_token_id=given.bos_token_id,
        eos_token_id=given.eos_token_id,
        pad_token_id=given.pad_token_id,
    )
