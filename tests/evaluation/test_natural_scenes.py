"""NIQE and BRISQUE: against pyiqa, the fast way against the reference, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rainrag.cli import verbs
from rainrag.core import images
from rainrag.core.errors import InputError, MissingError
from rainrag.evaluation import brisque, niqe, perceptual, score
from rainrag.evaluation import natural_scenes as nss
from tests.conftest import picture, rainy


def textured(seed: int, width: int = 403, height: int = 301) -> images.U8:
    """Random phases with a spectrum that falls as that of photographs, on even seeds with lines of rain."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    f[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(3, height, width))) / f ** rng.uniform(0.9, 1.3)
    plane = np.moveaxis(np.fft.ifft2(spectrum).real, 0, 2)
    made = np.clip(128 + 35 * plane / plane.std(), 1, 253).astype(np.uint8)
    return rainy(made, seed) if seed % 2 else made


def without_ties(image: images.U8) -> images.U8:
    """No luma at half a grey level: pyiqa rounds it up or down as the float error of the sum falls."""
    tie = image.astype(np.int64) @ np.array([299, 587, 114]) % 1000 == 500
    image = image.copy()
    image[..., 2] += (tie & (image[..., 2] < 255)).astype(np.uint8)

    return image


def save(path: Path, image: images.U8) -> None:
    path.write_bytes(images.encode_png(image))


def test_a_gaussian_is_found_in_gaussian_noise() -> None:
    x = np.random.default_rng(0).normal(0, 3, 200_000)
    shape, variance = nss.symmetric(x)
    assert shape == pytest.approx(2, abs=0.03)
    assert variance == pytest.approx(9, rel=0.02)
    # Both halves meet at zero, so the one that is twice as wide holds two thirds of the values.
    wide = np.abs(x[:120_000]) * np.where(np.arange(120_000) < 80_000, -2, 1)
    shapes, left, right = nss.asymmetric(wide[None])
    assert shapes[0] == pytest.approx(2, abs=0.05)
    assert (left[0], right[0]) == pytest.approx((6, 3), rel=0.02)


def test_moments_by_hand() -> None:
    _, left, right = nss.asymmetric(np.array([[-2.0, -2.0, 1.0, 3.0, 0.0]]))
    assert (left[0], right[0]) == pytest.approx((2, np.sqrt(5)))


def test_half_size_of_a_ramp_is_its_value_between_two_samples() -> None:
    ramp = np.arange(32.0)[None].repeat(24, 0)
    half = nss.halve(ramp)
    assert half.shape == (12, 16)
    assert half[5, 4:12] == pytest.approx(2 * np.arange(4, 12) + 0.5)
    assert nss.halve(np.full((5, 7), 3.0)) == pytest.approx(np.full((3, 4), 3.0))


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_way_equals_the_reference(seed: int) -> None:
    image = textured(seed, 200, 111)
    image[:20, :50] = 255  # a flat region: no rounding error may decide there
    assert niqe.niqe(image) == pytest.approx(niqe.niqe(image, exact=True), abs=1e-9)
    assert brisque.brisque(image) == pytest.approx(brisque.brisque(image, exact=True), abs=1e-9)


def test_equal_to_pyiqa_on_twenty_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiqa's parameter files cannot be had here: it is given ours, in its own layout."""
    pyiqa, torch = pytest.importorskip("pyiqa"), pytest.importorskip("torch")
    from pyiqa.archs import brisque_arch
    from scipy.io import savemat

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "pyiqa"
    folder.mkdir(parents=True)
    ours, other = niqe.pristine(), niqe.pristine().mean * 1.02
    covariance = ours.covariance * 1.1
    savemat(folder / "niqe_modelparameters.mat", {"mu_prisparam": ours.mean[None], "cov_prisparam": ours.covariance})
    savemat(folder / "niqe_matlab_params.mat", {"mu_prisparam": other[None], "cov_prisparam": covariance})
    svm = brisque.regression()
    torch.save((torch.tensor(svm.weights), torch.tensor(svm.vectors)), folder / "brisque_svm_weights.pth")
    monkeypatch.setattr("pyiqa.archs.niqe_arch.load_file_from_url", lambda url: str(folder / url.split("/")[-1]))
    monkeypatch.setattr("pyiqa.archs.brisque_arch.load_file_from_url", lambda url: str(folder / url.split("/")[-1]))
    theirs = {n: pyiqa.create_metric(n, device="cpu").net for n in ("niqe", "niqe_matlab", "brisque")}
    # The ranges and the offset of its BRISQUE are fixed in pyiqa: the ranges follow from what it makes of 0 and 1.
    at = [brisque_arch.scale_features(torch.full((1, 36), v, dtype=torch.float64)).numpy()[0] for v in (0.0, 1.0)]
    low, high = ((v - at[0]) / (at[1] - at[0]) for v in (-1.0, 1.0))
    svm = brisque.Regression(svm.vectors, svm.weights, 0.05, theirs["brisque"].rho, low, high)
    matlab = perceptual.create("niqe_matlab")
    for seed in range(20):
        image = without_ties(textured(seed))
        x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
        want = {n: float(net(x)) for n, net in theirs.items()}
        assert niqe.niqe(image) == pytest.approx(want["niqe"], abs=1e-3)
        assert matlab(image, None) == pytest.approx(want["niqe_matlab"], abs=1e-3)
        assert brisque.brisque(image, svm) == pytest.approx(want["brisque"], abs=1e-3)


def test_the_regression_by_hand() -> None:
    model = brisque.Regression(np.zeros((1, 36)), np.array([10.0]), 0.5, -3.0, np.full(36, 0.0), np.full(36, 2.0))
    assert model(np.full(36, 1.0)) == pytest.approx(13)  # the middle of the range is 0: the kernel is 1
    assert model(np.full(36, 2.0)) == pytest.approx(10 * np.exp(-18) + 3)


def test_noise_makes_both_worse() -> None:
    clean = images.resize(picture(5, 48, 32), (288, 192), "bicubic")
    grain = np.random.default_rng(0).normal(0, 3, clean.shape)
    mild = np.clip(clean + grain, 0, 255).astype(np.uint8)
    strong = np.clip(clean + 12 * grain, 0, 255).astype(np.uint8)
    assert niqe.niqe(strong) > niqe.niqe(mild)
    assert brisque.brisque(strong) > brisque.brisque(mild)


def test_what_has_no_score_is_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        niqe.niqe(picture(0, 150, 96))
    with pytest.raises(InputError, match="texture"):
        niqe.niqe(np.full((200, 200, 3), 7, np.uint8))
    with pytest.raises(InputError, match="texture"):
        brisque.brisque(np.full((40, 40, 3), 7, np.uint8))
    with pytest.raises(InputError, match="too small"):
        brisque.brisque(picture(0, 15, 40))


def test_parameters_that_are_not_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingError, match="niqe_matlab_params"):
        perceptual.create("niqe_matlab")
    (tmp_path / "x.mat").write_bytes(b"not a matrix")
    with pytest.raises(InputError, match="not a model"):
        niqe.read_pristine(tmp_path / "x.mat")


def test_score_gives_both_with_their_signature_and_names_what_has_none(tmp_path: Path) -> None:
    for side in ("out", "gt"):
        (tmp_path / side).mkdir()
    for seed in range(2):
        save(tmp_path / "gt" / f"{seed}.png", picture(seed, 200, 100))
        save(tmp_path / "out" / f"{seed}.png", rainy(picture(seed, 200, 100)))
    found = score.score_folders(tmp_path / "out", tmp_path / "gt", score.metrics.protocol("y"), ["niqe", "brisque"])
    want = niqe.niqe(images.read(tmp_path / "out" / "0.png").rgb)
    assert found.images[0]["niqe"] == pytest.approx(want)
    assert found.signature["niqe"].endswith("|rainrag-live2012")
    save(tmp_path / "gt" / "2.png", picture(2))
    save(tmp_path / "out" / "2.png", picture(2))
    arguments = [str(tmp_path / "out"), str(tmp_path / "gt"), "--metric", "niqe", "--json"]
    done = CliRunner().invoke(verbs.load("score"), arguments)
    assert isinstance(done.exception, InputError)
    assert "too small for NIQE" in str(done.exception)
    done = CliRunner().invoke(verbs.load("score"), [*arguments, "--allow-missing"])
    assert done.exit_code == 0
    assert '"n": 2' in done.stdout
