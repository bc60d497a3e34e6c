"""CLIP features (Radford et al., ICML 2021) of images and captions, by open_clip: any of its models and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, UsageError, did_you_mean, first_line
from rainrag.core.files import read_json, sha256_file
from rainrag.core.images import F32, U8
from rainrag.retrieval.encoders import pretrained
from rainrag.retrieval.encoders.pretrained import WITHOUT_HUB

PAPER = "ViT-B-32/openai"
PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Weights:
    """Which weights, and what they expect.

    Args:
        origin: ``repository@commit`` or ``sha256-…`` of the file: the identity.
        quick_gelu: they were trained with x * sigmoid(1.702 x); open_clip only warns where the model differs.
        preprocess: mean, std, interpolation, resize_mode; what is not there is open_clip's default.
        path: of a local file.
        repo, filename, revision: of a file on the Hub; without a name, open_clip's usual one.
    """

    origin: str
    quick_gelu: bool
    preprocess: dict[str, Any]
    path: str = ""
    repo: str = ""
    filename: str = ""
    revision: str = ""

    def file(self) -> str:
        """The local path, fetched where need be.

        Raises:
            MissingError: when the Hub does not give it.
        """
        if self.path:
            return self.path
        from open_clip.pretrained import download_pretrained_from_hf

        try:
            return str(download_pretrained_from_hf(self.repo, self.filename or None, self.revision))
        except OSError as e:
            raise MissingError(f"'{self.repo}' cannot be had: {first_line(e)}", hint=_ways_out()) from e


class Clip:
    """Encoder: image features of eq. (2) and caption features of eq. (1), in CLIP's joint space.

    Args:
        source: ``MODEL/TAG`` of open_clip, or ``MODEL/PATH`` of a weights file or of a folder with one.
        compute: where and how.

    Raises:
        UsageError: when it is not of this form.
    """

    def __init__(self, source: str = PAPER, compute: Compute | None = None) -> None:
        self.model, _, self.tag = source.partition("/")
        if not self.model or not self.tag:
            raise UsageError(f"'{source}' names no weights", hint=f"MODEL/TAG or MODEL/FILE, such as {PAPER}")
        self.compute = compute or Compute()
        self._weights: Weights | None = None
        self._net: Any = None
        self._see: Any = None
        self._read: Any = None

    def identity(self) -> dict[str, Any]:
        """Model, weights and what changes a vector."""
        w = self.weights()
        return {
            "name": "clip",
            "model": self.model,
            "weights": w.origin,
            "quick_gelu": w.quick_gelu,
            "preprocess": w.preprocess,
            "dtype": self.compute.dtype,
        }

    def weights(self) -> Weights:
        """Which weights, found but not yet fetched.

        Raises:
            UsageError: for a model or tag that open_clip does not know.
            MissingError: for a path that is not there, or when the Hub cannot be reached.
        """
        if self._weights is None:
            self._weights = _find(self.model, self.tag)
        return self._weights

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            MissingError: when weights or a tokenizer are not to be had.
            InputError: when the weights do not fit the model.
        """
        if self._net is not None:
            return
        import open_clip

        w = self.weights()
        path, place = w.file(), self.compute.place()
        try:
            net, _, self._see = open_clip.create_model_and_transforms(
                self.model,
                pretrained=path,
                precision=PRECISION[self.compute.dtype],
                device=place,
                force_quick_gelu=w.quick_gelu,
                **{f"image_{k}": v for k, v in w.preprocess.items()},
            )
            self._read = open_clip.get_tokenizer(self.model)
        except OSError as e:  # a text tower of transformers: its settings and words lie on the Hub
            raise MissingError(f"'{self.model}' cannot be had: {first_line(e)}", hint=_ways_out()) from e
        except Exception as e:  # on another model's file open_clip fails in many ways: assertions, missing keys, shapes
            raise InputError(
                f"the weights do not fit {self.model}: {first_line(e)}",
                where=path,
                hint="a state dict of that very model: .safetensors, or .bin and .pt without code",
            ) from e
        self._net = net.eval()

    def images(self, pictures: Sequence[U8]) -> F32:
        """(N, D) float32 unit vectors of (H, W, 3) uint8 pictures, resized and cropped as the weights want it."""
        self.setup()
        import torch
        from PIL import Image

        def encode(batch: Sequence[U8]) -> Any:
            seen = torch.stack([self._see(Image.fromarray(p)) for p in batch])
            return self._net.encode_image(seen.to(self.compute.place(), self.compute.type()))

        return self._vectors(pictures, encode)

    def texts(self, captions: Sequence[str]) -> F32:
        """(N, D) float32 unit vectors of captions by the text tower.

        It reads 77 tokens, the two at the ends included: of a longer caption the rest is cut.
        """
        self.setup()
        return self._vectors(
            captions, lambda batch: self._net.encode_text(self._read(list(batch)).to(self.compute.place()))
        )

    def _vectors(self, items: Sequence[Any], encode: Any) -> F32:
        import torch

        if not len(items):
            return np.zeros((0, self._net.visual.output_dim), np.float32)
        with torch.inference_mode():
            made = torch.cat([encode(batch).float() for batch in self.compute.batches(items)])
            return np.asarray(torch.nn.functional.normalize(made, dim=-1).cpu().numpy(), np.float32)


def _find(model: str, tag: str) -> Weights:
    import open_clip

    if model not in open_clip.list_models():
        raise UsageError(f"open_clip has no model '{model}'", hint=did_you_mean(model, open_clip.list_models()))
    known = open_clip.get_pretrained_cfg(model, tag)
    if known:
        return _of_tag(model, tag, known)
    path = Path(tag).expanduser()
    if path.is_dir():
        path = _only_file(path)
    if path.is_file():
        return _of_file(model, path)
    if "/" in tag or path.suffix in SUFFIXES:
        raise MissingError("no such file or folder of weights", where=tag, hint="check the path after MODEL/")
    tags = open_clip.list_pretrained_tags_by_model(model)
    raise UsageError(f"open_clip has no weights '{tag}' of {model}", hint=f"{did_you_mean(tag, tags)} Or give a file.")


def _of_tag(model: str, tag: str, known: dict[str, Any]) -> Weights:
    """Weights of open_clip's list, pinned to a commit of their repository."""
    repo, _, filename = known.get("hf_hub", "").rpartition("/")
    if not repo:
        raise UsageError(f"the weights '{tag}' of {model} have no repository", hint="fetch the file, and name its path")
    quick = bool(known.get("quick_gelu", False))
    try:
        found = pretrained.find(repo)
    except MissingError as e:
        named = f"{model}-quickgelu" if quick and not model.endswith("-quickgelu") else model
        raise MissingError(e.what, hint=f"clip:{named}/FILE with a file of these weights; or {WITHOUT_HUB}") from e
    return Weights(
        origin=pretrained.origin(found),
        quick_gelu=quick,
        preprocess=_chosen(known),
        repo=repo,
        filename=filename,
        revision=found.revision,
    )


def _of_file(model: str, path: Path) -> Weights:
    """A local file; what it expects is read from ``open_clip_config.json`` beside it, else taken from the model's tags.

    Raises:
        InputError: when the file beside it is no JSON.
    """
    import open_clip

    beside = path.with_name("open_clip_config.json")
    own = open_clip.get_model_config(model) or {}
    if beside.is_file():
        told = read_json(beside)
        own, preprocess = told.get("model_cfg", own), _chosen(told.get("preprocess_cfg", {}))
    else:
        tags = open_clip.list_pretrained_tags_by_model(model)
        usual = [_chosen(open_clip.get_pretrained_cfg(model, t)) for t in tags]
        preprocess = usual[0] if usual and all(u == usual[0] for u in usual) else {}
    return Weights(
        origin=f"sha256-{sha256_file(path)}",
        quick_gelu=bool(own.get("quick_gelu", False)),
        preprocess=preprocess,
        path=str(path),
    )


def _chosen(cfg: dict[str, Any]) -> dict[str, Any]:
    """The settings of preprocessing, JSON-able."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in cfg.items() if k in PREPROCESS}


def _only_file(folder: Path) -> Path:
    """The one weights file of a folder; safetensors before others.

    Raises:
        InputError: when there is none, or a choice.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
    safe = [p for p in files if p.suffix == ".safetensors"]
    for found in (safe, files):
        if len(found) == 1:
            return found[0]
    names = ", ".join(p.name for p in files) or "none"
    raise InputError(f"not one weights file but: {names}", where=folder, hint="name the file itself")


def _ways_out() -> str:
    return f"run where the Hub can be reached, or give a file: clip:MODEL/FILE; or {WITHOUT_HUB}"
