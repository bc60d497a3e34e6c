"""Clean scenes to put rain on: the user's photographs, two photographs bundled with a package, and made-up streets."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.core.files import listing
from rainrag.core.images import U8
from rainrag.core.names import is_image, printable, unread
from rainrag.core.types import Reject, Subset
from rainrag.data.synthetic.scene import SMALLEST
from rainrag.data.synthetic.street import street

NIGHT = (Subset.NRS, Subset.NRD)
_STREET = (720, 480)  # pixels: made-up scenes are larger than the usual crop, so that crops differ


@dataclass(frozen=True)
class Background:
    """One clean scene.

    Args:
        kind: ``photo`` or ``street``.
        scene: name, unique within a folder of rendered rain.
        path: of the photograph.
        seed: of the street.
        night: lighting of the scene as it is.
    """

    kind: Literal["photo", "street"]
    scene: str
    path: str = ""
    seed: int = 0
    night: bool = False

    def load(self) -> U8:
        """The whole picture.

        Raises:
            DecodeError: when a photograph has become unreadable.
        """
        if self.kind == "photo":
            return images.read(self.path).rgb
        return street(np.random.default_rng([self.seed, 1]), _STREET, self.night)


def crop(picture: U8, size: tuple[int, int], rng: np.random.Generator) -> U8:
    """A random part of 50 to 100 % of the largest that fits, resized to (width, height), half of the time mirrored.

    A part is never enlarged where the picture has the pixels.
    """
    w, h = size
    fits = min(picture.shape[1] / w, picture.shape[0] / h)
    share = float(rng.uniform(0.5, 1.0)) * fits
    scale = min(fits, max(share, 1.0))
    cw, ch = min(picture.shape[1], round(w * scale)), min(picture.shape[0], round(h * scale))
    x = int(rng.integers(picture.shape[1] - cw + 1))
    y = int(rng.integers(picture.shape[0] - ch + 1))
    part = picture[y : y + ch, x : x + cw]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(part) if part.shape[:2] == (h, w) else _resize(part, size, how)


def _resize(part: U8, size: tuple[int, int], how: int) -> U8:
    return np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=how), np.uint8)


def quotas(types: tuple[Subset, ...], scenes: int) -> dict[Subset, int]:
    """Scenes a type, as even as can be, the earlier types first."""
    return {t: scenes // len(types) + (i < scenes % len(types)) for i, t in enumerate(types)}


def from_folder(
    folder: Path, types: tuple[Subset, ...], scenes: int, seed: int
) -> tuple[list[tuple[Background, Subset]], list[Reject]]:
    """Deal the photographs of a folder to types, in an order that depends on the seed alone.

    Night photographs go to night types; day photographs to day types, and what is left of them to night types that
    are short (they are relit). Each photograph is one scene of one type.

    Returns:
        (scenes dealt, photographs left out with a reason).
    """
    rejects: list[Reject] = []
    files = listing(folder, lambda name, why: rejects.append(Reject(printable(name), "not-a-file", why)))
    names = [n for n in files if is_image(n)]
    rejects += [Reject(printable(name), "not-read", why) for name, why in unread(files)]
    order = np.random.default_rng([seed, 2]).permutation(len(names))
    left, dealt, spare = quotas(types, scenes), [], []
    for background in _photographs(folder, (names[i] for i in order), rejects):
        wanted = [t for t in types if left[t] and (t in NIGHT) == background.night]
        if wanted:
            best = max(wanted, key=lambda t: left[t])
            left[best] -= 1
            dealt.append((background, best))
        elif not background.night:
            spare.append(background)
        if not any(left.values()) or _enough(left, len(spare)):
            break
    for background in spare:
        wanted = [t for t in types if left[t] and t in NIGHT]
        if wanted:
            best = max(wanted, key=lambda t: left[t])
            left[best] -= 1
            dealt.append((background, best))
    return dealt, rejects


def _enough(left: dict[Subset, int], spare: int) -> bool:
    """Whether looking on is not worth it: day types are full, and four day photographs wait for each night place."""
    open_night = sum(n for t, n in left.items() if t in NIGHT)
    return not any(n for t, n in left.items() if t not in NIGHT) and spare >= 4 * open_night


def _photographs(folder: Path, names: Iterable[str], rejects: list[Reject]) -> Iterator[Background]:
    for name in names:
        try:
            rgb = images.read(folder / name).rgb
        except DecodeError as e:
            rejects.append(Reject(printable(name), e.reason, e.what))
            continue
        if min(rgb.shape[:2]) < SMALLEST:
            rejects.append(
                Reject(printable(name), "too-small", f"{rgb.shape[1]}x{rgb.shape[0]}, at least {SMALLEST} a side")
            )
            continue
        scene = printable(str(PurePosixPath(name).with_suffix("")))
        yield Background("photo", scene, str(folder / name), night=images.is_night(rgb))


def bundled(types: tuple[Subset, ...], scenes: int, seed: int) -> list[tuple[Background, Subset]]:
    """Scenes without any photographs of the user's: two from scikit-learn for the day types, made-up streets else."""
    photos = iter(_package_photographs())
    dealt: list[tuple[Background, Subset]] = []
    left = quotas(types, scenes)
    while any(left.values()):
        for t in types:
            if not left[t]:
                continue
            left[t] -= 1
            photo = None if t in NIGHT else next(photos, None)
            number = len(dealt)
            name = f"street-{seed}-{number:05d}"
            made_up = Background("street", name, seed=seed * 1_000_003 + number, night=t in NIGHT)
            dealt.append((photo or made_up, t))
    return dealt


def _package_photographs() -> list[Background]:
    """china.jpg and flower.jpg of scikit-learn, which sentence-transformers needs; found without importing it."""
    spec = importlib.util.find_spec("sklearn")
    roots = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(roots))) / "datasets" / "images" if roots else None
    names = ("china", "flower")
    return [
        Background("photo", f"sklearn-{name}", str(folder / f"{name}.jpg"))
        for name in names
        if folder is not None and (folder / f"{name}.jpg").exists()
    ]
