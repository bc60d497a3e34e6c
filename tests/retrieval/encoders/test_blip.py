"""BLIP with real files of random weights."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rainrag.core.devices import Compute
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.retrieval.encoders.blip import LARGE, Blip
from tests.conftest import picture
from tests.retrieval.encoders import tiny

PICTURES = [picture(i, width=48 + 8 * (i % 3)) for i in range(6)]
CPU = Compute(device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.blip(tmp_path_factory.mktemp("blip") / "model")


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Blip:
    made = Blip(str(folder), CPU, caption_tokens=8)
    made.setup()
    return made


def test_captions_differ_by_picture_and_hold_no_special_tokens(captioner: Blip) -> None:
    captions = captioner.caption(PICTURES)
    assert len(set(captions)) >= 4
    words = {w for c in captions for w in c.split()}
    assert words
    assert words <= set(tiny.WORDS)
    assert all(len(c.split()) <= 8 for c in captions)


def test_a_caption_depends_neither_on_the_batch_nor_on_the_run(captioner: Blip, folder: Path) -> None:
    together = captioner.caption(PICTURES)
    assert together == [captioner.caption([p])[0] for p in PICTURES]
    assert together == Blip(str(folder), Compute("cpu", batch_size=6), caption_tokens=8).caption(PICTURES)
    assert captioner.caption(PICTURES[::-1]) == together[::-1]
    assert captioner.caption([]) == []


def test_settings_act_and_are_part_of_the_identity(captioner: Blip, folder: Path) -> None:
    short = Blip(str(folder), CPU, caption_tokens=2)
    assert short.caption(PICTURES[:1])[0].split() == captioner.caption(PICTURES[:1])[0].split()[:2]
    beams = Blip(str(folder), CPU, caption_tokens=8, beams=3)
    assert beams.caption(PICTURES) != captioner.caption(PICTURES)
    bf16 = Blip(str(folder), Compute("cpu", dtype="bfloat16"), caption_tokens=8)
    assert len(bf16.caption(PICTURES)) == len(PICTURES)
    identities = [json.dumps(b.identity()) for b in (captioner, short, beams, bf16)]
    assert len(set(identities)) == 4


def test_identity_is_the_content_of_the_weights(captioner: Blip, folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert Blip(str(moved), Compute("cpu", batch_size=1), caption_tokens=8).identity() == captioner.identity()
    weights = load_file(moved / "model.safetensors")
    weights["text_decoder.bert.embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    assert Blip(str(moved), CPU, caption_tokens=8).identity() != captioner.identity()


def test_it_pickles_before_setup(captioner: Blip, folder: Path) -> None:
    fresh = Blip(str(folder), CPU, caption_tokens=8)
    fresh.identity()
    assert pickle.loads(pickle.dumps(fresh)).caption(PICTURES[:2]) == captioner.caption(PICTURES[:2])


def test_missing_weights_are_refused_not_filled_with_random_ones(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=name):
        Blip(str(broken), CPU).setup()


def test_an_incomplete_or_foreign_folder_is_named(folder: Path, tmp_path: Path) -> None:
    no_weights = Path(shutil.copytree(folder, tmp_path / "no-weights"))
    (no_weights / "model.safetensors").unlink()
    truncated = Path(shutil.copytree(folder, tmp_path / "truncated"))
    (truncated / "model.safetensors").write_bytes(b"\0" * 100)
    empty = tmp_path / "empty"
    empty.mkdir()
    other_sizes = Path(shutil.copytree(folder, tmp_path / "other-sizes"))
    config = json.loads((other_sizes / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 48
    (other_sizes / "config.json").write_text(json.dumps(config))
    no_config = Path(shutil.copytree(folder, tmp_path / "no-config"))
    (no_config / "config.json").write_text("[]")
    for bad in (no_weights, truncated, empty, other_sizes, no_config):
        with pytest.raises(InputError, match="can be loaded") as e:
            Blip(str(bad), CPU).setup()
        assert str(bad) in str(e.value)
        assert "Hint" in str(e.value)


@pytest.mark.parametrize("source", ["nobody/no-such-captioner", "/no/such/folder", "no such name"])
def test_without_files_or_hub_the_ways_out_are_named(source: str) -> None:
    for use in (Blip(source).identity, Blip(source).setup):
        with pytest.raises(MissingError) as e:
            use()
        assert source in str(e.value)
        assert "folder" in str(e.value)


def test_the_hub_error_offers_the_embedded_captioner() -> None:
    with pytest.raises(MissingError, match="embedded"):
        Blip("nobody/no-such-captioner").setup()


def test_settings_out_of_range_are_refused() -> None:
    assert Blip("large").source == LARGE
    for settings in ({"caption_tokens": 0}, {"beams": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            Blip(**settings)
    for compute in ({"dtype": "int8"}, {"batch_size": 0}):
        with pytest.raises(UsageError):
            Compute(**compute)
    with pytest.raises(UsageError, match="no device"):
        Compute(device="abacus").place()
