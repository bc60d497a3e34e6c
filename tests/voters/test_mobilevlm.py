"""MobileVLM: projectors equal to the authors', published checkpoints' forms, the prompt's form."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rainrag.core.errors import InputError
from rainrag.voters import create
from rainrag.voters.ldp import PROJECTORS, projector
from rainrag.voters.mobilevlm import in_chat
from tests.baselines.seeded import checksum, fill
from tests.conftest import picture
from tests.voters import tiny

DATA = os.environ.get("RAINRAG_TESTDATA")
FIXTURES = {"ldpnet": "MobileVLM-LDP", "ldpnetv2": "MobileVLM-LDPv2"}

#: Outputs of our projectors, 24 -> 32, while they equal the authors' (see test_the_projector_equals_the_authors).
CHECKSUMS: dict[str, dict[str, Any]] = {
    "ldpnet": {
        "shape": [1, 16, 32],
        "mean": 0.009425468795067546,
        "std": 0.9975379645035299,
        "ramp": 0.006958305936905844,
        "first": [-0.43634536578294136, -1.5982458207914065, -0.5125778784622008, -1.2210662184729986],
    },
    "ldpnetv2": {
        "shape": [1, 144, 32],
        "mean": 0.0070495823385070926,
        "std": 0.11799310598937278,
        "ramp": -0.0003063192160471469,
        "first": [-0.15735146733747593, -0.10372543381931272, -0.09441709506143006, 0.05124279371309484],
    },
}


def load_fixture(kind: str) -> tuple[dict[str, Any], Any, dict[str, torch.Tensor]]:
    root = Path(DATA or "") / "fixtures"
    seeded_state = runpy.run_path(str(root / "seeded_state.py"))["seeded_state"]
    folder = root / "voters" / FIXTURES[kind]
    manifest = json.loads((folder / "manifest.json").read_text())
    state = seeded_state(manifest["state_dict"], gain=manifest["scale"], aliases=manifest["aliases"])
    return manifest, np.load(folder / "io.npz"), state


@pytest.mark.skipif(not DATA, reason="RAINRAG_TESTDATA is not set: the fixtures are not available locally")
@pytest.mark.parametrize("kind", FIXTURES)
def test_the_projector_equals_the_authors(kind: str) -> None:
    manifest, z, state = load_fixture(kind)
    assert manifest["kind"] == kind
    small = manifest["small"]
    net = projector(kind, small["mm_hidden_size"], small["hidden_size"], state)
    with torch.no_grad():
        y = net(torch.from_numpy(z["x"])).numpy()
        y64 = net.double()(torch.from_numpy(z["x"]).double()).numpy()
    assert y64.shape == (2, small["tokens_out"], small["hidden_size"])
    assert np.abs(y64 - z["y64"]).max() / np.abs(z["y64"]).max() <= 1e-9
    assert np.abs(y - z["y"]).max() <= 1e-5 * np.abs(z["y"]).max()


@pytest.mark.skipif(not DATA, reason="RAINRAG_TESTDATA is not set: the fixtures are not available locally")
@pytest.mark.parametrize("kind", FIXTURES)
def test_names_and_shapes_are_those_of_the_published_weights(kind: str) -> None:
    published = load_fixture(kind)[0]["published_size"]
    with torch.device("meta"):
        net = PROJECTORS[kind](published["mm_hidden_size"], published["hidden_size"])
    own = {k: list(v.shape) for k, v in net.state_dict().items()}
    assert own == {k: shape for k, shape, _ in published["state_dict"]}


@pytest.mark.parametrize("kind", PROJECTORS)
def test_the_projector_keeps_its_numbers(kind: str) -> None:
    net = PROJECTORS[kind](24, 32).double()
    fill(net)
    side = 8 if kind == "ldpnet" else 24
    x = torch.from_numpy(np.random.default_rng(7).standard_normal((1, side * side, 24)))
    with torch.no_grad():
        found = checksum(net(x))
    expected = CHECKSUMS[kind]
    assert found["shape"] == expected["shape"]
    for name in ("mean", "std", "ramp", "first"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9), name


def test_weights_of_another_projector_are_refused() -> None:
    state = PROJECTORS["ldpnetv2"](24, 32).state_dict()
    with pytest.raises(InputError, match="do not fit"):
        projector("ldpnet", 24, 32, state)
    with pytest.raises(InputError, match="known: ldpnet, ldpnetv2"):
        projector("mlp2x_gelu", 24, 32, state)


def test_tokens_that_form_no_square_are_refused() -> None:
    with pytest.raises(InputError, match="no square"):
        PROJECTORS["ldpnet"](24, 32)(torch.zeros(1, 60, 24))


def voted(folder: Path, **settings: Any) -> list[float]:
    voter = create(f"mobilevlm={folder}", dtype="fp32", device="cpu", least_mass=0.0, **settings)
    voter.setup()
    return [float(b.p_yes or -1) for b in voter.vote(tiny.questions((3, 0)))]


def test_safetensors_and_pickle_and_a_vision_tower_inside_are_the_same_model(tmp_path: Path) -> None:
    plain = voted(tiny.mobilevlm(tmp_path / "a"))
    assert voted(tiny.mobilevlm(tmp_path / "b", pickled=True)) == plain
    assert voted(tiny.mobilevlm(tmp_path / "c", vision_inside=True)) == plain
    assert voted(tiny.mobilevlm(tmp_path / "d", pickled=True, vision_inside=True)) == plain


def test_a_pickle_that_is_more_than_tensors_is_not_run(tmp_path: Path) -> None:
    folder = tiny.mobilevlm(tmp_path / "m", pickled=True)
    touched = tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> Any:
            return (touched.write_text, ("the pickle ran",))

    torch.save({"model.embed_tokens.weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"(?i)weights.?only|unsafe|unsupported"):
        voted(folder)
    assert not touched.exists()


def test_v2_at_its_own_resolution_gives_144_tokens(tmp_path: Path) -> None:
    folder = tiny.mobilevlm(tmp_path / "m", kind="ldpnetv2")
    voter: Any = create(f"mobilevlm-v2={folder}", dtype="fp32", device="cpu", least_mass=0.0)
    voter.setup()
    with torch.no_grad():
        assert voter.model._net.image_tokens([picture(1)]).shape == (1, 144, 32)
    assert 0 < voter.vote(tiny.questions((1,)))[0].p_yes < 1


def test_another_vision_tower_is_another_revision_and_another_answer(tmp_path: Path) -> None:
    folder = tiny.mobilevlm(tmp_path / "m")
    other = tiny.mobilevlm(tmp_path / "other") / "vision"
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    save_file({k: v * 1.5 for k, v in weights.items()}, other / "model.safetensors", metadata={"format": "pt"})
    own, given = create(f"mobilevlm={folder}"), create(f"mobilevlm={folder}", vision_tower=str(other))
    assert own.revision.split("+")[0] == given.revision.split("+")[0]
    assert own.revision != given.revision
    assert voted(folder) != voted(folder, vision_tower=str(other))


def test_the_selected_layer_and_the_padding_are_read_from_the_configuration(tmp_path: Path) -> None:
    folder = tiny.mobilevlm(tmp_path / "m")
    base = voted(folder)
    config = json.loads((folder / "config.json").read_text())
    for change in ({"mm_vision_select_layer": -1}, {"image_aspect_ratio": "square"}):
        (folder / "config.json").write_text(json.dumps(config | change))
        assert voted(folder) != base, change


def test_an_image_takes_the_place_of_one_token(tmp_path: Path) -> None:
    """The embedded prompt is: begin, text, image tokens, text; as long as its parts together."""
    voter: Any = create(f"mobilevlm={tiny.mobilevlm(tmp_path / 'm')}", dtype="fp32", device="cpu")
    voter.setup()
    net = voter.model._net
    parts = in_chat((picture(3), "\nTrue or False"))
    before, image, after = parts
    with torch.no_grad():
        row = net._embed(parts)
        pixels = net.image_tokens([image])[0]
    head = net.tokenizer(before)["input_ids"]
    tail = net.tokenizer(after, add_special_tokens=False)["input_ids"]
    assert head[0] == net.tokenizer.bos_token_id
    assert net.tokenizer.bos_token_id not in tail
    assert len(row) == len(head) + 4 + len(tail)  # 56 px: 4 x 4 patches, a quarter of them left
    torch.testing.assert_close(row[len(head) : len(head) + 4], pixels)


def test_the_prompt_has_vicunas_form() -> None:
    before, image, after = in_chat((picture(1), "\nIs it?"))
    assert isinstance(before, str)
    assert before.startswith("A chat between a curious user")
    assert before.endswith("USER: ")
    assert not isinstance(image, str)
    assert after == "\nIs it? ASSISTANT:"


def test_a_folder_that_is_no_mobilevlm_is_refused(tmp_path: Path) -> None:
    folder = tiny.llava(tmp_path / "m")
    with pytest.raises(InputError, match="no MobileVLM"):
        voted(folder)
