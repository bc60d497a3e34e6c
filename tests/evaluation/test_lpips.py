"""LPIPS against torchmetrics on random trunks, its files, and the score of NTIRE's raindrop challenge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from rainrag.core import images
from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import sha256_file
from rainrag.evaluation import lpips, metrics, perceptual, score
from tests.conftest import picture, rainy

pytestmark = pytest.mark.usefixtures("one_thread")


def trunk(name: str) -> Any:
    """Torchvision's network with random convolutions; without the classifier, which is most of its weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = getattr(torchvision.models, lpips.TRUNKS[name].model)(weights=None)
    network.classifier = torch.nn.Identity()
    network.to_empty(device="cpu")
    for p in network.parameters():
        torch.nn.init.kaiming_normal_(p) if p.ndim > 1 else torch.nn.init.normal_(p, std=0.1)
    return network


@pytest.mark.parametrize("name", ["alex", "squeeze", "vgg"])
def test_equal_to_torchmetrics_on_a_random_trunk(name: str) -> None:
    """Torchmetrics ships the published heads, and its own copy of the arithmetic of the package ``lpips``."""
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
    network = trunk(name)
    other = theirs._LPIPS(pretrained=True, net=name, pnet_rand=True, use_dropout=True).double().eval()
    values = network.features.double().state_dict().values()
    other.net.load_state_dict(dict(zip(other.net.state_dict(), values, strict=True)))
    a, b = rainy(picture(1, 64, 48)), picture(1, 64, 48)
    x, y = (torch.from_numpy(v).permute(2, 0, 1)[None].double() / 127.5 - 1 for v in (a, b))
    with torch.inference_mode():
        want = float(other(x, y))
    found = lpips.Lpips(name, network.state_dict(), double=True)(a, b)
    assert want > 1e-4
    assert found == pytest.approx(want, rel=1e-5)
    assert lpips.Lpips(name, network.state_dict())(a, b) == pytest.approx(found, rel=1e-4)


def test_equal_images_and_what_is_refused() -> None:
    model = lpips.Lpips("squeeze", trunk("squeeze").state_dict())
    assert model(picture(1), picture(1)) == 0
    with pytest.raises(InputError, match="sizes differ"):
        model(picture(1), picture(1, 50, 32))
    with pytest.raises(InputError, match="too small"):
        model(picture(1, 31, 40), picture(1, 31, 40))
    with pytest.raises(InputError, match="not the weights"):
        lpips.Lpips("alex", trunk("squeeze").state_dict())


def test_the_trunk_is_read_offline_and_only_if_it_is_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"squeezenet1_1-b8a52dc0\.pth"):
        perceptual.create("lpips-squeeze")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / lpips.TRUNKS["squeeze"].file
    torch.save(trunk("squeeze").state_dict(), path)
    with pytest.raises(IntegrityError, match="checksum"):
        perceptual.create("lpips-squeeze")
    name = f"squeezenet1_1-{sha256_file(path)[:8]}.pth"
    path.rename(folder / name)
    monkeypatch.setitem(lpips.TRUNKS, "squeeze", replace(lpips.TRUNKS["squeeze"], file=name))
    metric = perceptual.create("lpips-squeeze")
    assert metric.needs_target
    assert metric(rainy(picture(1)), picture(1)) > 0


def test_the_score_of_the_raindrop_challenge_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("out", "gt"):
        (tmp_path / side).mkdir()
        image = picture(1) if side == "gt" else rainy(picture(1))
        (tmp_path / side / "1.png").write_bytes(images.encode_png(image))
    protocol = metrics.protocol("ntire-raindrop")
    without = score.score_folders(tmp_path / "out", tmp_path / "gt", protocol, download=False)
    if "lpips" in without.unavailable:
        assert without.mean["ntire"] is None
        assert without.unavailable["ntire"] == "it needs lpips"
    fixed = perceptual.Own("lpips", "test", lambda out, gt: 0.25, needs_target=True)
    monkeypatch.setattr(perceptual, "lpips_metric", lambda name, download: fixed)
    found = score.score_folders(tmp_path / "out", tmp_path / "gt", protocol)
    mean = found.mean
    assert mean["psnr"] is not None
    assert mean["ssim"] is not None
    assert mean["ntire"] == pytest.approx(mean["psnr"] + 10 * mean["ssim"] - 1.25)
    assert found.signature["ntire"].startswith("ntire|+1*psnr+10*ssim-5*lpips|u8round|full")
