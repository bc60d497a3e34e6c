"""CLIP by open_clip with a real weights file of random numbers."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.hub import Model
from rainrag.retrieval.encoders import clip, pretrained
from rainrag.retrieval.encoders.clip import Clip
from tests.conftest import picture
from tests.retrieval.encoders import tiny

PICTURES = [picture(i, width=48 + 8 * (i % 3)) for i in range(5)]
CAPTIONS = ["a car in heavy rain", "night", "drops on a window", "a dark street with lamps, wet road", ""]
CPU = Compute(device="cpu", batch_size=2)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def encoder(weights: Path) -> Clip:
    made = Clip(f"{tiny.CLIP_NAME}/{weights}", CPU)
    made.setup()
    return made


@pytest.fixture
def own(weights: Path, tmp_path: Path) -> Path:
    """The weights alone in a folder of the test's own."""
    (tmp_path / "own").mkdir()
    return Path(shutil.copy(weights, tmp_path / "own"))


def at(path: Path, **compute: object) -> Clip:
    return Clip(f"{tiny.CLIP_NAME}/{path}", Compute(device="cpu", **compute))


def test_vectors_are_unit_float32_in_one_space(encoder: Clip) -> None:
    seen, read = encoder.images(PICTURES), encoder.texts(CAPTIONS)
    for made, n in ((seen, len(PICTURES)), (read, len(CAPTIONS))):
        assert made.shape == (n, 16)
        assert made.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    for made in (seen, read):  # no two inputs give one vector
        assert (made @ made.T - np.eye(5)).max() < 0.999
    assert encoder.images([]).shape == encoder.texts([]).shape == (0, 16)


def test_batches_change_nothing_beyond_last_bits(encoder: Clip, weights: Path) -> None:
    np.testing.assert_array_equal(encoder.images(PICTURES), encoder.images(PICTURES))
    for other in (at(weights, batch_size=1), at(weights, batch_size=64)):
        np.testing.assert_allclose(other.images(PICTURES), encoder.images(PICTURES), atol=1e-5)
        np.testing.assert_allclose(other.texts(CAPTIONS), encoder.texts(CAPTIONS), atol=1e-5)


def test_captions_are_cut_at_77_tokens(encoder: Clip) -> None:
    long = "rain " * 75
    same, longer, shorter = encoder.texts([long, long + "at night", "rain " * 74])
    np.testing.assert_allclose(longer, same, atol=1e-6)
    assert np.abs(shorter - same).max() > 1e-4


def test_low_precision_is_near_and_said(encoder: Clip, weights: Path) -> None:
    half = at(weights, dtype="bfloat16")
    for made, full in (
        (half.images(PICTURES), encoder.images(PICTURES)),
        (half.texts(CAPTIONS), encoder.texts(CAPTIONS)),
    ):
        assert made.dtype == np.float32
        assert 0.98 < (made * full).sum(1).min() < 0.999999
    assert half.identity() != encoder.identity()


def test_identity_is_the_content(encoder: Clip, own: Path, tmp_path: Path) -> None:
    assert at(own).identity() == encoder.identity()
    assert json.loads(json.dumps(encoder.identity())) == encoder.identity()
    assert at(tiny.clip(tmp_path / "other", seed=1)).identity() != encoder.identity()


def test_a_folder_stands_for_its_one_weights_file(encoder: Clip, own: Path) -> None:
    assert at(own.parent).identity() == encoder.identity()
    (own.parent / "weights.bin").write_bytes(b"the same in another format")
    assert at(own.parent).identity() == encoder.identity()
    shutil.copy(own, own.with_name("more.safetensors"))
    with pytest.raises(InputError, match=r"more\.safetensors, weights\.bin, weights\.safetensors"):
        at(own.parent).identity()


def test_what_the_weights_expect_is_read_from_the_file_beside(encoder: Clip, own: Path) -> None:
    told = {
        "model_cfg": {"quick_gelu": True},
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25] * 3, "size": 32},
    }
    (own.parent / "open_clip_config.json").write_text(json.dumps(told))
    quick = at(own)
    assert quick.identity()["quick_gelu"]
    assert quick.identity()["preprocess"] == {"mean": [0.5, 0.5, 0.5], "std": [0.25] * 3}
    assert np.abs(quick.texts(CAPTIONS) - encoder.texts(CAPTIONS)).max() > 1e-4
    told["model_cfg"]["quick_gelu"] = False
    (own.parent / "open_clip_config.json").write_text(json.dumps(told))
    np.testing.assert_allclose(at(own).texts(CAPTIONS), encoder.texts(CAPTIONS), atol=1e-6)
    assert np.abs(at(own).images(PICTURES) - encoder.images(PICTURES)).max() > 1e-3


def test_a_lone_file_is_read_as_the_models_tags_say(own: Path) -> None:
    siglip = clip._find("ViT-B-16-SigLIP", str(own))
    assert siglip.preprocess["mean"] == [0.5, 0.5, 0.5]
    assert clip._find("ViT-B-32-quickgelu", str(own)).quick_gelu
    assert not clip._find("ViT-B-32", str(own)).quick_gelu


def test_a_tag_is_pinned_and_its_activation_kept(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip.pretrained

    tag = {"hf_hub": "org/tiny-clip/", "quick_gelu": True, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    asked: list[tuple[str, str | None, str | None]] = []

    def download(repo: str, filename: str | None = None, revision: str | None = None) -> str:
        asked.append((repo, filename, revision))
        return str(own)

    monkeypatch.setattr("open_clip.get_pretrained_cfg", lambda model, name: tag if name == "tag" else {})
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained_from_hf", download)
    monkeypatch.setattr(pretrained.hub, "resolve", lambda name: Model(name, name, COMMIT))
    named = Clip(f"{tiny.CLIP_NAME}/tag", CPU)
    assert named.identity()["weights"] == f"org/tiny-clip@{COMMIT}"
    assert named.identity()["quick_gelu"]
    assert asked == []  # an identity needs no weights
    pickle.loads(pickle.dumps(named))
    vectors = named.texts(CAPTIONS)
    assert np.abs(vectors - at(own).texts(CAPTIONS)).max() > 1e-4
    assert asked == [("org/tiny-clip", None, COMMIT)]
    own.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    np.testing.assert_allclose(at(own).texts(CAPTIONS), vectors, atol=1e-6)


def test_without_the_hub_the_error_names_the_file_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> Model:
        raise MissingError(f"the model '{name}' is not available locally", hint="run elsewhere")

    monkeypatch.setattr(pretrained.hub, "resolve", unreachable)
    with pytest.raises(MissingError, match=r"timm/vit_base_patch32_clip_224\.openai") as e:
        Clip().identity()
    assert "clip:ViT-B-32-quickgelu/FILE" in str(e.value)
    assert "embedded" in str(e.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about these very files
def test_weights_of_another_model_are_refused(own: Path) -> None:
    with pytest.raises(InputError, match="do not fit ViT-S-32-alt"):
        Clip(f"ViT-S-32-alt/{own}", CPU).setup()
    script = own.with_name("script.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(script))
    own.with_name("pickled.pt").write_bytes(pickle.dumps({"not": "tensors"}))
    for bad in ("script.pt", "pickled.pt"):
        with pytest.raises(InputError, match="do not fit") as e:
            at(own.with_name(bad)).setup()
        assert "state dict" in str(e.value)


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("ViT-B-32", UsageError, "names no weights"),
        ("/w.pt", UsageError, "names no weights"),
        ("ViT-B-23/openai", UsageError, "ViT-B-32"),
        ("ViT-B-32/open-ai", UsageError, "did you mean openai"),
        ("ViT-B-32//no/such/file.pt", MissingError, "no such file"),
        ("ViT-B-32/nowhere.safetensors", MissingError, "no such file"),
    ],
)
def test_a_source_that_names_nothing(source: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Clip(source).identity()
