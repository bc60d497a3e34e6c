"""One picture, one descriptor: no float operation of the encoders may depend on where in memory its operands lie."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from rainrag.core import images

ROOT = Path(__file__).parents[2]
PLACE_DEPENDENT = {"magnitude", "cartToPolar", "phase", "polarToCart"}  # by Intel's IPP inside OpenCV

Operation = Callable[[images.F32, images.F32], npt.NDArray[np.generic]]
OPERATIONS: dict[str, Operation] = {
    "magnitude": images.magnitude,
    "GaussianBlur 7": lambda a, b: cv2.GaussianBlur(a, (7, 7), 7 / 6),
    "GaussianBlur auto": lambda a, b: cv2.GaussianBlur(a, (0, 0), 2.0),
    "Sobel": lambda a, b: cv2.Sobel(a, cv2.CV_32F, 1, 0),
    "Sobel second": lambda a, b: cv2.Sobel(a, cv2.CV_32F, 2, 0, ksize=3),
    "Laplacian": lambda a, b: cv2.Laplacian(a, cv2.CV_32F),
    "blur": lambda a, b: cv2.blur(a, (5, 5)),
    "filter2D": lambda a, b: cv2.filter2D(a, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)),
    "resize": lambda a, b: cv2.resize(a, (29, 31), interpolation=cv2.INTER_AREA),
    "half": lambda a, b: cv2.resize(a, (a.shape[1] // 2, a.shape[0] // 2), interpolation=cv2.INTER_AREA),
    "multiply": lambda a, b: cv2.multiply(a, b),
    "absdiff": lambda a, b: cv2.absdiff(a, b),
    "mean": lambda a, b: np.asarray(a.mean()),
    "std": lambda a, b: np.asarray(a.std()),
    "spectrum": lambda a, b: np.abs(np.fft.rfft2(a)) ** 1.2,
}


def placed(values: images.F32, offset: int) -> images.F32:
    """A copy that begins so many bytes after a multiple of 64."""
    room = np.empty(values.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    out = room[start : start + values.nbytes].view(np.float32).reshape(values.shape)
    out[:] = values
    return out


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(64, 64), (61, 77)])
def test_values_do_not_depend_on_the_place_in_memory(name: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(0, 255, shape).astype(np.float32) for _ in range(2))
    seen = {
        np.asarray(OPERATIONS[name](placed(a, i), placed(b, j))).tobytes()
        for i in range(0, 64, 4)
        for j in (0, 4, 16, 32)
    }
    assert len(seen) == 1


def test_the_magnitude_is_that_of_the_vectors() -> None:
    x, y = np.float32([[3, -5, 0]]), np.float32([[4, 12, 0]])
    assert images.magnitude(x, y).tolist() == [[5, 13, 0]]
    assert images.magnitude(x, y).dtype == np.float32


@pytest.mark.parametrize("folder", ["rainrag", "baselines", "benchmarks", "leaderboard"])
def test_no_module_calls_what_depends_on_the_place(folder: str) -> None:
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in PLACE_DEPENDENT
        and isinstance(node.value, ast.Name)
        and node.value.id == "cv2"
    ]
    assert calls == []
