"""Which network: shipped, a folder, a file, one from elsewhere; and what is said where it is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rainrag import restore
from rainrag.core import hub
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.models import networks
from rainrag.restore import Contract, Model
from tests.restore import nets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.saved(tmp_path_factory.mktemp("weights") / "mine")


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        return torch.equal(a(x), b(x))


def test_a_folder_its_file_and_a_renamed_file_are_the_same_network(folder: Path, tmp_path: Path) -> None:
    wanted = nets.unirain()
    shutil.copy(folder / "config.json", tmp_path)
    shutil.copy(folder / "model.safetensors", tmp_path / "best.safetensors")
    for given in (folder, str(folder), folder / "model.safetensors", tmp_path / "best.safetensors"):
        found = restore.find(None, given)
        assert found.name == "unirain"
        assert found.weights == str(given)
        assert found.contract == Contract(multiple=8)
        assert not found.network.training
        assert same(found.network, wanted)


def test_the_default_is_the_shipped_set_or_says_what_is_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "weights"
    monkeypatch.setattr(networks, "_shipped_folder", lambda name: place / name)
    assert networks.shipped() == []
    with pytest.raises(MissingError, match="'tiny' are not in this installation") as e:
        restore.find(None, None)
    assert "--weights FOLDER" in str(e.value)
    shutil.copytree(folder, place / "tiny")
    shutil.copytree(folder, place / "small")
    assert networks.shipped() == ["small", "tiny"]
    assert restore.find(None, None).weights == "tiny"
    assert restore.find("UniRain", "small").weights == "small"
    with pytest.raises(MissingError, match="no such weights") as e:
        restore.find(None, "huge")
    assert "small, tiny" in str(e.value)


def test_a_file_without_its_config_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match=r"config\.json beside it"):
        restore.find(None, tmp_path / "model.safetensors")
    with pytest.raises(MissingError, match=r"no config\.json in"):
        restore.find(None, tmp_path)
    with pytest.raises(InputError, match=r"\.safetensors file"):
        restore.find(None, folder / "config.json")


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.safetensors"])
def test_weights_of_another_network_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    for changed in ({**config, "widths": [8, 16, 24, 32]}, {"d_model": 768, "layers": 12}):
        (tmp_path / "config.json").write_text(json.dumps(changed))
        shutil.copy(folder / "model.safetensors", tmp_path / name)
        with pytest.raises(InputError, match="cannot be loaded as UniRain"):
            restore.find(None, tmp_path / name)


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.safetensors"])
def test_weights_that_are_cut_short_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(folder / "config.json", tmp_path)
    (tmp_path / name).write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be loaded as UniRain"):
        restore.find(None, tmp_path / name)


def test_a_hub_repository_that_cannot_be_reached_says_so() -> None:
    with pytest.raises(MissingError):
        restore.find(None, "nobody/nothing-here")


def test_a_hub_repository_is_taken_at_the_recorded_revision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(hub, "_commit", lambda name, revision: asked.append((name, revision)) or "abc123")
    downloads = []

    def download(repo_id: str, filename: str, **kwargs: object) -> str:
        downloads.append((repo_id, filename, kwargs["revision"]))
        return str(folder / filename)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    for _ in range(2):
        found = restore.find(None, "someone/rain")
    assert asked == [("someone/rain", None), ("someone/rain", "abc123")]
    assert downloads[:2] == [("someone/rain", n, "abc123") for n in ("config.json", "model.safetensors")]
    assert found.weights == "someone/rain@abc123"
    assert same(found.network, nets.unirain())


def test_other_names_are_asked_of_whoever_knows_them() -> None:
    with pytest.raises(UsageError, match="no network 'prenett'"):
        restore.find("prenett", "w.pth")
    asked = []

    def others(name: str, weights: object) -> Model:
        asked.append((name, weights))
        return Model(name, None, nets.Darker(), Contract())

    assert restore.find("prenet", "w.pth", others).name == "prenet"
    assert asked == [("prenet", "w.pth")]
