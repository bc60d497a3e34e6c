"""PSNR and SSIM against hand-computed values, scikit-image, pyiqa and the figures of the field."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rainrag.core import images
from rainrag.core.errors import InputError, UsageError
from rainrag.evaluation import metrics
from tests.conftest import picture, rainy

P = metrics.PRESETS


def grey(value: int, size: tuple[int, int] = (16, 16)) -> images.U8:
    return np.full((*size, 3), value, np.uint8)


def test_psnr_of_a_constant_error_by_hand() -> None:
    out, gt = grey(110), grey(100)
    assert metrics.psnr(out, gt, P["rgb"]) == pytest.approx(10 * np.log10(255**2 / 100))
    assert metrics.psnr(out, gt, P["y-full"]) == pytest.approx(10 * np.log10(255**2 / 100))
    # BT.601 studio luma spans 16..235: a grey error shrinks by 219/255, worth 1.322 dB.
    gain = metrics.psnr(out, gt, P["y"]) - metrics.psnr(out, gt, P["rgb"])
    assert gain == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)
    # MATLAB's rgb2ycbcr rounds: 110 -> 16 + 219 * 110 / 255 = 110.47 -> 110, 100 -> 101.88 -> 102.
    assert metrics.psnr(out, gt, P["matlab-y"]) == pytest.approx(10 * np.log10(255**2 / 64))


def test_studio_luma_of_primaries_as_matlab_gives_it() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    y = metrics.to_space(rgb, "y601-studio-u8")[0]
    assert y.tolist() == [81, 145, 41, 235, 16]


def test_ssim_of_constants_is_the_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    want = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert metrics.ssim(grey(110), grey(100), P["y-full"], exact=True) == pytest.approx(want, abs=1e-12)


def test_ssim_equals_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    gt = picture(3, 96, 64)
    out = rainy(gt)
    for name in ("y", "matlab-y", "y-full"):
        a, b = metrics.to_space(out, P[name].ssim_space), metrics.to_space(gt, P[name].ssim_space)
        want = structural_similarity(
            a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert metrics.ssim(out, gt, P[name], exact=True) == pytest.approx(want, abs=1e-12)


def test_equals_pyiqa_where_it_computes_the_same() -> None:
    pyiqa = pytest.importorskip("pyiqa", reason="the extra 'metrics' is not installed")
    import torch

    gt = picture(5, 96, 64)
    out = rainy(gt)
    x, y = (torch.from_numpy(v.copy()).permute(2, 0, 1)[None].double() / 255 for v in (out, gt))
    rgb = pyiqa.create_metric("psnr")(x, y).item()
    luma = pyiqa.create_metric("psnr", test_y_channel=True, color_space="ycbcr")(x, y).item()
    assert metrics.psnr(out, gt, P["rgb"]) == pytest.approx(rgb, abs=1e-3)  # pyiqa adds 1e-8 to the error
    assert metrics.psnr(out, gt, P["y"]) == pytest.approx(luma, abs=1e-3)
    want = pyiqa.create_metric("ssim")(x, y).item()
    # Both round luma to integers; on ties (x.5 exactly) float noise decides in pyiqa, hence not 1e-9.
    assert metrics.ssim(out, gt, P["unirain"], exact=True) == pytest.approx(want, abs=2e-5)


def test_truncation_costs_what_it_costs() -> None:
    gt = grey(100)
    out = np.full((16, 16, 3), 100.9 / 255)
    assert metrics.psnr(out, gt, metrics.protocol("rgb", quantise="u8trunc")) == float("inf")
    assert metrics.psnr(out, gt, metrics.protocol("rgb")) == pytest.approx(20 * np.log10(255))
    assert metrics.psnr(out, gt, metrics.protocol("rgb", quantise="float")) == pytest.approx(20 * np.log10(255 / 0.9))


def test_border_and_multiple_cut_both_sides_alike() -> None:
    image = np.arange(20 * 23).reshape(20, 23)
    assert metrics.region(image, border=2).shape == (16, 19)
    cut = metrics.region(image, multiple=16)
    assert cut.shape == (16, 16)
    assert cut[0, 0] == 2 * 23 + 3  # centred: (20 - 16) / 2 rows and (23 - 16) // 2 columns
    with pytest.raises(InputError):
        metrics.region(image, border=10)


def test_same_window_sees_the_border() -> None:
    gt = picture(1, 40, 40)
    out = gt.copy()
    out[0] = 255 - out[0]  # only the first row is wrong: valid windows hardly notice it
    same = metrics.ssim(out, gt, metrics.protocol("y", window="same"))
    assert same < metrics.ssim(out, gt, P["y"]) < 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.integers(0, 60), name=st.sampled_from(sorted(P)))
def test_fast_path_is_the_exact_path(seed: int, noise: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    gt = picture(seed, 48, 40)
    out = np.clip(gt + rng.normal(0, noise, gt.shape), 0, 255).astype(np.uint8)
    fast, exact = metrics.score(out, gt, P[name]), metrics.score(out, gt, P[name], exact=True)
    assert fast["ssim"] == pytest.approx(exact["ssim"], abs=1e-6)
    assert fast["psnr"] == pytest.approx(exact["psnr"], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(P)))
def test_scores_are_symmetric_and_best_for_equal_images(seed: int, name: str) -> None:
    gt = picture(seed)
    out = rainy(gt, seed)
    there, back = metrics.score(out, gt, P[name], exact=True), metrics.score(gt, out, P[name], exact=True)
    assert there["psnr"] == pytest.approx(back["psnr"])
    assert there["ssim"] == pytest.approx(back["ssim"])
    assert metrics.ssim(gt, gt, P[name]) == pytest.approx(1, abs=1e-6)
    assert there["ssim"] < 1


def test_signature_says_all_that_changes_a_number() -> None:
    assert P["y"].signature("psnr") == "psnr|y601-studio|u8round|full|pair:key|mean-img|v1"
    same = {"pyiqa-y", "ntire-raindrop"}  # PSNR and SSIM as another preset has them
    seen = {(p.signature("psnr"), p.signature("ssim")) for n, p in P.items() if n not in same}
    assert len(seen) == len(P) - len(same)
    changed = metrics.protocol("y", border=4, quantise="u8trunc", window="same")
    assert changed.signature("ssim", "tile256-32") == (
        "ssim|y601-studio|u8trunc|g11-1.5-same|border4|tile256-32|pair:key|mean-img|v1"
    )


def test_bad_protocols_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match="matlab-y"):
        metrics.protocol("matlaby")
    with pytest.raises(UsageError, match="y601-studio"):
        metrics.protocol("y", psnr_space="y601")
    with pytest.raises(InputError, match="sizes differ"):
        metrics.psnr(grey(1), grey(1, (16, 17)))
    with pytest.raises(InputError, match="window"):
        metrics.ssim(grey(1, (8, 8)), grey(1, (8, 8)))


PUBLISHED = {  # BASELINES.md, section 5
    "DRSformer_Rain200L": [(45.684, 0.9934), (36.763, 0.9845), (43.617, 0.9902)],
    "DRSformer_Rain200H": [(39.332, 0.9714), (26.202, 0.8828), (36.163, 0.9500)],
}


def test_published_outputs_of_spa(real_data: Path) -> None:
    folder = real_data / "published-outputs" / "SPA"
    wanted = {"y": (48.990, 50.836, 52.239), "matlab-y": (48.874, 50.677, 51.892)}
    for name, values in wanted.items():
        for n, value in enumerate(values, 1):
            out, gt = (images.read(folder / side / f"{n}.png").rgb for side in ("results", "targets"))
            assert metrics.psnr(out, gt, P[name]) == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize("which", sorted(PUBLISHED))
def test_published_outputs_of_drsformer(real_data: Path, which: str) -> None:
    for n, (psnr, ssim) in enumerate(PUBLISHED[which], 1):
        out = images.read(real_data / "published-outputs" / which / f"{n}.png").rgb
        gt = images.read(real_data / "RainHeavy-small/test/small/norain" / f"norain-{n}.png").rgb
        got = metrics.score(out, gt, P["y"], exact=True)
        assert got["psnr"] == pytest.approx(psnr, abs=6e-4)
        assert got["ssim"] == pytest.approx(ssim, abs=6e-5)


def test_the_page_on_protocols_says_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| `(psnr[^`]+)` \| `(ssim[^`]+)` \|", page, re.MULTILINE)
    said = {name: (a.replace("\\|", "|"), b.replace("\\|", "|")) for name, a, b in rows}
    assert said == {name: (p.signature("psnr"), p.signature("ssim")) for name, p in P.items()}
    out, gt = grey(108), grey(100)
    for names, value in re.findall(r"^\| (`[^|]+`) \| ([\d.]+) dB \|", page, re.MULTILINE):
        for name in re.findall(r"`([\w-]+)`", names):
            assert metrics.psnr(out, gt, P[name]) == pytest.approx(float(value), abs=5e-4), name
    assert f"{20 * np.log10(255 / 219):.3f} dB" in page
