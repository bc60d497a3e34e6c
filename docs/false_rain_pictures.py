"""Draws ``assets/false-rain.jpg``: every kind of false rain on made-up scenes.

python docs/false_rain_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rainrag.core import images
from rainrag.data.synthetic import false_rain
from rainrag.data.synthetic.street import street

SIZE, COLUMNS, LABEL = (232, 156), 5, 18


def main() -> None:
    """Write the picture."""
    tiles = []
    for i, kind in enumerate(false_rain.KINDS):
        clean = street(np.random.default_rng([7, i]), (2 * SIZE[0], 2 * SIZE[1]), i % 4 == 3)
        drawn = images.resize(false_rain.draw(clean, kind, np.random.default_rng([8, i])), SIZE, "area")
        tile = np.full((SIZE[1] + LABEL, SIZE[0] + 4, 3), 255, np.uint8)
        tile[LABEL:, 2:-2] = drawn
        cv2.putText(tile, kind, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
        tiles.append(tile)
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    sheet = np.vstack([np.hstack(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)])
    (Path(__file__).parent / "assets" / "false-rain.jpg").write_bytes(images.encode_jpeg(sheet, 82))


if __name__ == "__main__":
    main()
