"""Mistakes planted into good results are named with their figures; good and bad results are not suspected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rainrag.core import images
from rainrag.evaluation import metrics, mistakes
from tests.conftest import picture, rainy

P = metrics.PRESETS["y"]


def pairs(damage: Callable[[images.U8], images.U8]) -> list[tuple[images.U8, images.U8]]:
    grain = np.random.default_rng(0).integers(-2, 3, (32, 48, 3))
    clean = [picture(seed) for seed in range(3)]
    return [(damage(np.clip(gt + grain, 0, 255).astype(np.uint8)), gt) for gt in clean]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("channels", lambda x: np.ascontiguousarray(x[..., ::-1])),
        ("mirrored", lambda x: np.ascontiguousarray(x[:, ::-1])),
        ("upside", lambda x: np.ascontiguousarray(x[::-1])),
        ("shift-1+0", lambda x: np.roll(x, (1, 0), (0, 1))),
        ("shift+0-1", lambda x: np.roll(x, (0, 1), (0, 1))),
        ("studio", lambda x: np.round(x * (219 / 255) + 16).astype(np.uint8)),
    ],
)
def test_a_planted_mistake_is_named(kind: str, damage: Callable[[images.U8], images.U8]) -> None:
    found = mistakes.find(pairs(damage), P)
    assert found is not None
    assert found.kind == kind
    whole = mistakes.find(pairs(lambda x: x), P)
    assert whole is None
    assert found.repaired > found.psnr + 3


def test_the_sentence_has_both_figures() -> None:
    assert str(mistakes.Mistake("channels", 23.51, 38.14)) == "these look BGR: 23.5 dB, 38.1 if swapped"


def test_equal_bad_and_no_images_are_not_suspected() -> None:
    same = [(picture(1), picture(1))]
    assert mistakes.find(same, P) is None
    assert mistakes.find([(rainy(picture(1)), picture(1))], P) is None
    assert mistakes.find([], P) is None
