"""The two figures that the audit stands on: how far apart hashes are, and how often the lighting rule is right.

    python -m rainrag.benchmarks.tables.audit --data $RAINRAG_TESTDATA/data [--most 400]

Prints the tables of docs/audit.md. Hashes are compared on some photographs, spread evenly; lighting is judged on all
photographs of the folders whose lighting is known.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.core.images import U8

FOLDERS = ("clean-more", "clean-photos")

#: Folders whose photographs all show the same lighting: folder -> night. CamVid has a drive at dusk, counted as day.
LIGHTING = {
    "clean-more/Pexels-day": False,
    "clean-more/CamVid": False,
    "clean-more/CarND": False,
    "clean-more/Kodak24": False,
    "clean-more/OpenSfM-lund": False,
    "clean-photos/day-MWD-clouds": False,
    "clean-photos/day-MWD-shine": False,
    "NTURain-sample": False,
    "RainDrop-train-sample/clean_image": False,
    "clean-more/Pexels-night": True,
    "clean-more/AMOS-night": True,
    "clean-more/DarkTrack-night": True,
    "clean-more/Night-lowlight-misc": True,
    "clean-photos/night-haze-jinyeying": True,
    "clean-photos/night-jinyeying-night-enhancement": True,
    "clean-photos/night-jinyeying-nighttime_dehaze": True,
    "night-rain-photos": True,
    "HQ-NightRain/train/target": True,
    "HQ-NightRain/validation/target": True,
}

#: What copies of a photograph go through between one set and the next.
COPIES: dict[str, Callable[[U8], U8]] = {
    "one row and column cut at the end": lambda x: x[:-1, :-1],
    "one row and column cut at the start": lambda x: x[1:, 1:],
    "JPEG, quality 75": lambda x: images.decode(images.encode_jpeg(x, 75)).rgb,
    "JPEG, quality 30": lambda x: images.decode(images.encode_jpeg(x, 30)).rgb,
    "half the size": lambda x: images.resize(x, (max(1, x.shape[1] // 2), max(1, x.shape[0] // 2))),
    "10 % brighter": lambda x: np.clip(x * 1.1, 0, 255).astype(np.uint8),
    "turned upside down (another picture)": lambda x: x[::-1],
}


def photographs(data: Path, most: int) -> list[tuple[str, Path]]:
    """(folder, file) of at most so many photographs, spread evenly over them all."""
    found = [
        (path.relative_to(data / top).parts[0], path)
        for top in FOLDERS
        for path in sorted((data / top).rglob("*"))
        if path.suffix.lower() in images.SUFFIXES
    ]
    step = max(1, -(-len(found) // most))
    return found[::step]


def lighting(data: Path) -> None:
    """Print how often the lighting rule is right."""
    total: dict[bool, Counter[bool]] = {False: Counter(), True: Counter()}
    print("\n| folder | lighting | photographs | judged right |\n|---|---|---|---|")
    for folder, night in LIGHTING.items():
        right: Counter[bool] = Counter()
        for path in sorted((data / folder).rglob("*")):
            if path.suffix.lower() in images.SUFFIXES:
                right[images.is_night(images.read(path).luma) == night] += 1
        if right:
            total[night] += right
            print(f"| {folder.split('/', 1)[-1]} | {_word(night)} | {right.total()} | {right[True]} |")
    for night, right in total.items():
        share = right[True] / max(1, right.total())
        print(f"| **all of {_word(night)}** | | {right.total()} | {right[True]} ({share:.1%}) |")


def _word(night: bool) -> str:
    return "night" if night else "day"


def hashes(data: Path, most: int) -> None:
    """Print how far apart the hashes of copies and of different photographs are."""
    known, folders = [], []
    apart: dict[str, list[int]] = {name: [] for name in COPIES}
    for folder, path in photographs(data, most):
        try:
            rgb = images.read(path).rgb
        except DecodeError as e:
            print(f"left out {path.name}: {e.reason}")
            continue
        own = images.phash(rgb)
        if not own:
            continue
        known.append(own)
        folders.append(folder)
        for name, copy in COPIES.items():
            bits = images.hamming(images.hash_bits([own]), images.hash_bits([images.phash(copy(rgb))]))
            apart[name].append(int(bits[0, 0]))
    print(f"\n{len(known)} photographs\n")
    print(f"| copy | median bits | 99th percentile | most | within {images.NEAR_BITS} |\n|---|---|---|---|---|")
    for name, found in apart.items():
        share = np.mean(np.array(found) <= images.NEAR_BITS)
        print(f"| {name} | {np.median(found):.0f} | {np.percentile(found, 99):.0f} | {max(found)} | {share:.1%} |")
    packed = images.hash_bits(known)
    pairs = np.stack(np.triu_indices(len(known), 1))
    bits = images.hamming(packed, packed)[tuple(pairs)]
    other = np.array(folders)[pairs]
    across = bits[other[0] != other[1]]
    print(
        f"| two photographs of different folders | {np.median(across):.0f} | - | {across.max()} (least {across.min()}) "
        f"| {np.mean(across <= images.NEAR_BITS):.4%} |"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--most", type=int, default=400, help="photographs whose hashes are compared; 0 for none")
    given = parser.parse_args()
    if given.most:
        hashes(given.data, given.most)
    lighting(given.data)


if __name__ == "__main__":
    main()
