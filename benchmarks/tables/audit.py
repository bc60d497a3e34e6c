"""The two figures that the audit stands on: how far apart hashes are, and how often the lighting rule is right.

    python -m benchmarks.tables.audit --data $RAINRAG_TESTDATA/data [--most 400]

Prints the tables of docs/audit.md. Folders are named for what they show: ``*night*`` or ``*day*``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rainrag import images
from rainrag.errors import DecodeError
from rainrag.images import U8

FOLDERS = ("clean-more", "clean-photos")

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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--most", type=int, default=400)
    given = parser.parse_args()
    hashes, folders = [], []
    apart: dict[str, list[int]] = {name: [] for name in COPIES}
    right: dict[str, Counter[bool]] = {}
    for folder, path in photographs(given.data, given.most):
        try:
            rgb = images.read(path).rgb
        except DecodeError as e:
            print(f"left out {path.name}: {e.reason}")
            continue
        own = images.phash(rgb)
        if not own:
            continue
        hashes.append(own)
        folders.append(folder)
        for name, copy in COPIES.items():
            bits = images.hamming(images.hash_bits([own]), images.hash_bits([images.phash(copy(rgb))]))
            apart[name].append(int(bits[0, 0]))
        if "night" in folder.lower() or "day" in folder.lower():
            night = "night" in folder.lower()
            right.setdefault(folder, Counter())[images.is_night(rgb) == night] += 1
    print(f"\n{len(hashes)} photographs\n")
    print(f"| copy | median bits | 99th percentile | most | within {images.NEAR_BITS} |\n|---|---|---|---|---|")
    for name, bits in apart.items():
        share = np.mean(np.array(bits) <= images.NEAR_BITS)
        print(f"| {name} | {np.median(bits):.0f} | {np.percentile(bits, 99):.0f} | {max(bits)} | {share:.1%} |")
    packed = images.hash_bits(hashes)
    bits = images.hamming(packed, packed)[np.triu_indices(len(hashes), 1)]
    other = np.array(folders)[np.stack(np.triu_indices(len(hashes), 1))]
    across = bits[other[0] != other[1]]
    print(
        f"| two photographs of different folders | {np.median(across):.0f} | - | {across.max()} (least {across.min()}) "
        f"| {np.mean(across <= images.NEAR_BITS):.4%} |"
    )
    print("\n| folder | photographs | lighting judged right |\n|---|---|---|")
    for folder, count in right.items():
        print(f"| {folder} | {count.total()} | {count[True] / count.total():.0%} |")


if __name__ == "__main__":
    main()
