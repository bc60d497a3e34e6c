"""Rain800 and Rain12000 (DID-MDN): both sides of a pair in one file, side by side.

No document says which half is which for both, and one demo folder stores the same photograph twice. So the halves are
measured, folder by folder, before anything is called a pair.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.core.types import Archive, PairFiles, Source
from rainrag.data.sources.layouts import Found, Layout, Rule, Tree, equal_name

SAMPLE = 64  # files of a folder that are looked at
SAME_PSNR = 30.0  # dB between the halves, above which they show the same image (one photo stored twice: 30 to 75)
ALIKE = 0.5  # correlation of the halves' structure; real pairs measured 0.54 to 1, halves of one photo below 0.4


def decide_halves(tree: Tree, found: Found) -> None:
    """Decide for each folder which half is rainy, or take its pairs back.

    Rain adds horizontal gradients, so the half with the larger mean absolute horizontal gradient is the rainy one, by
    majority of a folder (single files with strong texture may disagree). A folder is refused when the halves are mostly
    the same image, or do not show the same scene.
    """
    folders: dict[str, list[PairFiles]] = {}
    for p in found.pairs:
        folders.setdefault(str(PurePosixPath(p.lq).parent), []).append(p)
    found.pairs = []
    for members in folders.values():
        n = min(SAMPLE, len(members))
        side, why = _rainy_half([tree.root / members[i * len(members) // n].lq for i in range(n)])
        for p in members:
            if side:
                found.pairs.append(replace(p, gt=p.lq, half=side))
            else:
                found.reject(p.lq, "not-a-pair", why)


def _rainy_half(paths: list[Path]) -> tuple[str | None, str]:
    """``left`` or ``right``, or None and why not."""
    seen = [m for path in paths if (m := _measure(path))]
    if not seen:
        return None, f"none of {len(paths)} files can be decoded into two halves"
    psnr, alike, left = (np.array(column) for column in zip(*seen, strict=True))
    shown = f"median PSNR of the halves {np.median(psnr):.1f} dB over {len(seen)} files"
    if np.mean(psnr > SAME_PSNR) > 0.5:
        return None, f"the halves show the same image: {shown}"
    if np.median(alike) < ALIKE:
        return None, f"the halves do not show the same scene: {shown}"
    if np.mean(left) == 0.5:
        return None, f"as many files look rainy on the left as on the right: {shown}"
    return ("left" if np.mean(left) > 0.5 else "right"), ""


def _measure(path: Path) -> tuple[float, float, bool] | None:
    """PSNR of the halves, correlation of their structure, whether the left one has the larger gradients.

    None for what does not decode or has an odd width: ingest says so of each file.
    """
    try:
        rgb = images.read(path).rgb
    except DecodeError:
        return None
    width = rgb.shape[1]
    if width % 2:
        return None
    left, right = rgb[:, : width // 2], rgb[:, width // 2 :]
    energy = [float(np.abs(np.diff(images.luma(half), axis=1)).mean()) for half in (left, right)]
    a, b = _structure(left), _structure(right)
    alike = float((a * b).sum() / np.sqrt(max(float((a * a).sum() * (b * b).sum()), 1e-9)))
    return images.psnr8(left, right), alike, energy[0] > energy[1]


def _structure(rgb: images.U8) -> images.F32:
    """Small luma without its row and column means: bright sky over dark ground is alike in any two photographs."""
    g = images.grey(rgb, (32, 32))
    return np.asarray(g - g.mean(0, keepdims=True) - g.mean(1, keepdims=True) + g.mean(), np.float32)


_NATURE = r"(^|/)test_nature/"  # real photographs, not pairs

RAIN800 = Source(
    name="rain800",
    title="Rain800 (ID-CGAN)",
    paper="Zhang et al., Image de-raining using a conditional generative adversarial network, arXiv 1701.05957",
    homepage="https://github.com/hezhangsprinter/ID-CGAN",
    licence="unstated",
    layouts=(
        Layout(
            "side-by-side",
            "{training,test_syn}/N.jpg: one side-by-side file a pair",
            (Rule(r"(?:train|training|test|test_syn)/(?P<n>\d+)", (), "{n}", "{split}/{n}"),),
            check=decide_halves,
            ignore=_NATURE,
        ),
        Layout(
            "side-by-side-bare",
            "N.jpg in a folder of any other name: one side-by-side file a pair; counts as train",
            (Rule(r"(?P<n>\d+)", (), "{n}", "{split}/{n}"),),
            check=decide_halves,
            ignore=_NATURE,
        ),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    archives=(Archive("gdrive", "1_pP8fR-gpHUB0q1kpvZxKALvjLZ-JVM8", "rain800.zip"),),
    notes=(
        "One JPEG a pair; the halves become lossless PNG, with the sha256 of the file they came from.",
        "The README warns that the data were deleted at times.",
        "test_nature holds real photographs, not pairs: take them with 'rainrag ingest folder'.",
        "Test100 in Rain13K is the test part of this set.",
    ),
    citation="@article{zhang2017idcgan, title={Image de-raining using a conditional generative adversarial network}, "
    "author={Zhang and others}, journal={arXiv preprint arXiv:1701.05957}, year={2017}}",
)

RAIN12000 = Source(
    name="rain12000",
    title="Rain12000 (DID-MDN)",
    paper="Zhang and Patel, Density-aware single image de-raining using a multi-stream dense network, CVPR 2018",
    homepage="https://github.com/hezhangsprinter/DID-MDN",
    licence="MIT (README, of the code)",
    layouts=(
        Layout(
            "side-by-side",
            "DID-MDN-training/Rain_{Light,Medium,Heavy}/train2018new/N.jpg, DID-MDN-test/N.jpg or Test{A,B}/N.jpg: "
            "one side-by-side file a pair",
            (
                Rule(
                    r"Rain_(?P<density>Light|Medium|Heavy)/(?:train2018new/)?(?P<n>\d+)",
                    (),
                    "{density!l}/{n}",
                    "{split}/{n}",
                ),
                Rule(r"(?P<test>Test[AB]|DID-MDN-test)/(?P<n>\d+)", (), "{test!l}/{n}", "{split}/{test!l}/{n}"),
                Rule(r"facades/(?P<folder>[^/]+)/(?P<n>\d+)", (), "{folder}/{n}", "{folder}/{n}"),
            ),
            check=decide_halves,
        ),
        equal_name("{train,test}/{input,target}/NAME (paired copies); without a split's name it counts as train"),
    ),
    streak=True,
    drop=False,
    night=False,
    real=False,
    counts={"train": 12000, "test": 1200},
    archives=(
        Archive("gdrive", "1cMXWICiblTsRl1zjN8FizF5hXOpVOJz4", "DID-MDN-datasets.zip"),
        Archive("baidu", "https://pan.baidu.com/s/1aPFJExxxTBOzJjngMAOQDA", password="5luo"),
    ),
    notes=(
        "One JPEG a pair; the halves become lossless PNG, with the sha256 of the file they came from.",
        "In paired copies the densities cannot be told apart: every pair is its own scene until the audit joins them.",
        "The three densities of a number are taken to show the same clean image, so they share a scene.",
        "The demo folder facades/github of the repository stores one photograph twice a file; it is refused.",
        "Test1200 in Rain13K is the test part of this set.",
    ),
    citation="@inproceedings{zhang2018density, title={Density-aware single image de-raining using a multi-stream dense "
    "network}, author={Zhang and Patel}, booktitle={CVPR}, year={2018}}",
)
