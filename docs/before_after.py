"""Makes docs/assets/before-after.png: rendered rain on scenes of our own drawing, and what the shipped UniRain leaves of it.

    python docs/before_after.py

Each of the four rain types, above the rainy side, below the restored one. The photographs that scikit-learn brings and
the drawn streets are none of the scenes that the weights were trained on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import rainrag
from rainrag.core import images
from rainrag.core.types import Subset
from rainrag.data.synthetic import backgrounds, render

SIZE = (360, 240)
GAP = 6


def main() -> None:
    """Write the picture."""
    columns = []
    for n, subset in enumerate(Subset):
        background, _ = backgrounds.bundled((subset,), 3, 21)[2]
        rng = np.random.default_rng(40 + n)
        pair = render(backgrounds.crop(background.load(), SIZE, rng), subset, rng, 0.45)
        gap = np.full((GAP, SIZE[0], 3), 255, np.uint8)
        columns.append(np.vstack([pair.lq, gap, rainrag.derain(pair.lq)]))
        columns.append(np.full((2 * SIZE[1] + GAP, GAP, 3), 255, np.uint8))
    sheet = np.hstack(columns[:-1])
    (Path(__file__).parent / "assets" / "before-after.png").write_bytes(images.encode_png(sheet))


if __name__ == "__main__":
    main()
