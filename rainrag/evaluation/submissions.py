"""What takes part in a benchmark: UniRain, a published network with weights, or a folder of somebody's images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rainrag import baselines
from rainrag.core import images, workspace
from rainrag.core.errors import InputError, MissingError, UsageError, did_you_mean
from rainrag.core.files import sha256_file
from rainrag.core.names import grouped, printable
from rainrag.data import contamination
from rainrag.data.pairing import Pairing, pair_lists
from rainrag.evaluation import metrics, score
from rainrag.evaluation.testsets import Item, Opened

if TYPE_CHECKING:
    from rainrag.baselines.card import Card, Weights
    from rainrag.restore import Restorer

#: Beside weights of our own: {"key", "phash"} of every scene that was trained on, keys ``source/split/stem``.
SCENES = "scenes.jsonl"
WEIGHTS_FILES = (".pth", ".pt", ".ckpt", ".safetensors", ".tar")


@dataclass(frozen=True)
class Entrant:
    """A network ready to be run, or a folder of images.

    Args:
        weights: what the weights are called: a card's tag, a shipped set, a file's name.
        trained_on: sources; None where nobody says, empty for methods that learned nothing.
        hashes: perceptual hashes of all scenes it was trained on, where they are known one by one.
        network, contract: as ``rainrag.restore.Restorer`` takes them; None for a folder.
        folder: of images that were made elsewhere.
        file: of the weights.
        pattern, suffix: how the names of a folder belong to those of a test set (``rainrag.data.pairing.pair_lists``).
    """

    name: str
    weights: str | None = None
    weights_sha256: str | None = None
    trained_on: tuple[str, ...] | None = None
    hashes: tuple[str, ...] | None = None
    network: Any = None
    contract: Any = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    file: Path | None = None
    pattern: str | None = None
    suffix: str | None = None


def find(name: str, weights: str | None, kin: Sequence[str] = ()) -> Entrant:
    """A network by name with its weights.

    Args:
        name: ``unirain`` or a name of ``rainrag models``.
        weights: a file or folder; a tag of the card's weights; None for the shipped ones, or those of the card that
            suit the test set best, else its first.
        kin: sources that the test set is akin to, best first.

    Raises:
        MissingError: when weights are not available locally, with the way to get them.
        UsageError: for an unknown name or tag.
    """
    if name.lower() == "unirain":
        return _unirain(weights)
    return _baseline(name, weights, kin)


# ---------------------------------------------------------------- UniRain
def _unirain(weights: str | None) -> Entrant:
    from rainrag.models import networks

    here = workspace.home() / weights if weights else None
    given = str(here) if here and here.exists() and not Path(str(weights)).exists() else weights
    found = networks.unirain(given)
    file = _unirain_file(found.weights)
    shown = found.weights if file is None or found.weights in networks.shipped() else _called(file)
    trained_on, hashes = _scenes(file)
    return Entrant(
        "unirain", shown, None if file is None else sha256_file(file), trained_on, hashes, found.network, found.contract,
        file=file,
    )  # fmt: skip


def _unirain_file(weights: str | None) -> Path | None:
    """The safetensors file behind a UniRain's weights; None for one on the Hub, which its revision tells."""
    import rainrag.models.unirain

    if weights is None:
        return None
    shipped = Path(rainrag.models.unirain.__file__).parent / "weights" / weights / "model.safetensors"
    places = (shipped, Path(weights) / "model.safetensors", Path(weights))
    return next((p for p in places if p.is_file()), None)


def _called(file: Path) -> str:
    """A short name for a weights file: its own, or its run's where every run's file has the same."""
    parents = [file.parent.name, file.parent.parent.name]
    if file.stem not in ("model", "weights", "best", "last"):
        return file.stem
    return parents[1] if parents[0] == "weights" and parents[1] else parents[0]


def _scenes(file: Path | None) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Sources and scene hashes of a training set, from the list beside the weights."""
    if file is None or not (file.parent / SCENES).is_file():
        return None, None
    rows = contamination.read(file.parent / SCENES)
    return tuple(sorted({r["key"].split("/")[0] for r in rows})), tuple(r["phash"] for r in rows if r["phash"])


# ---------------------------------------------------------------- published networks
def _baseline(name: str, weights: str | None, kin: Sequence[str]) -> Entrant:
    from rainrag.restore import Contract

    entry = baselines.find(name)
    card, contract = entry.card, Contract.of(entry.card)
    if not entry.trainable:
        if weights is not None:
            raise UsageError(f"'{name}' has no weights to load", hint="leave --weights out")
        return Entrant(card.name, trained_on=(), network=baselines.create(name), contract=contract)
    file, known = _weights(card, weights, kin)
    trained_on, hashes = _scenes(file)
    if known is not None:
        trained_on = known.trained_on
    label = known.tag if known else _called(file)
    return Entrant(
        card.name, label, sha256_file(file), trained_on, hashes, baselines.load(name, file), contract,
        notes=() if known else ("weights that the card does not list",), file=file,
    )  # fmt: skip


def _weights(card: Card, given: str | None, kin: Sequence[str]) -> tuple[Path, Weights | None]:
    """The file to load, and which of the card's weights it is."""
    usable = [w for w in card.weights if w.refused is None]
    for path in (Path(given), workspace.home() / given) if given else ():
        inside = sorted(p for p in path.glob("*") if p.suffix in WEIGHTS_FILES) if path.is_dir() else []
        if len(inside) == 1:  # a folder that 'rainrag train' wrote
            path = inside[0]
        if path.is_file():
            digest = sha256_file(path)
            return path, next((w for w in usable if w.archive.sha256 == digest), None)
    if given and given not in {w.tag for w in usable}:
        raise UsageError(
            f"'{card.name}' has no weights '{given}', and there is no such file",
            hint=did_you_mean(given, [w.tag for w in usable]) if usable else "name a weights file of your own",
        )
    chosen = next((w for w in usable if w.tag == given), None) or _suited(usable, kin)
    if chosen is None:
        baselines.create(card.name)  # says so where there is nothing public to build
        raise MissingError(
            f"no weights of '{card.name}' were published",
            hint=f"train it: rainrag train --model {card.name} --data DIR, then --weights {card.name}=FILE",
        )
    return _at_hand(card, chosen), chosen


def _suited(usable: Sequence[Weights], kin: Sequence[str]) -> Weights | None:
    for source in kin:
        for w in usable:
            if w.tag == source or source in w.trained_on:
                return w
    return usable[0] if usable else None


def _at_hand(card: Card, weights: Weights) -> Path:
    """A file of these weights in the workspace; elsewhere known by its sha256."""
    own = workspace.place("weights", card.name, weights.tag)
    found = sorted(p for p in own.glob("*") if p.suffix in WEIGHTS_FILES) if own.is_dir() else []
    if found:
        return found[0]
    for path in _elsewhere():
        if path.stat().st_size == weights.archive.size and sha256_file(path) == weights.archive.sha256:
            return path
    raise MissingError(
        f"the weights '{weights.tag}' of '{card.name}' are not available locally",
        hint=f"rainrag weights fetch {card.name} --tag {weights.tag}, or --weights {card.name}=FILE",
    )


def _elsewhere() -> Iterator[Path]:
    root = os.environ.get("RAINRAG_TESTDATA")
    for folder in (workspace.place("weights"), *([Path(root) / "weights"] if root else [])):
        if folder.is_dir():
            yield from sorted(p for p in folder.rglob("*") if p.suffix in WEIGHTS_FILES and p.is_file())


# ---------------------------------------------------------------- running
class Network:
    """An entrant's network on one device; called with an image, gives the restored one and how it was seen."""

    def __init__(self, entrant: Entrant, tile: str, device: str, precision: str) -> None:
        from rainrag.restore import Restorer

        self.tile = tile
        self.engine: Restorer = Restorer(entrant.network, entrant.contract, device=device, precision=precision)
        self.device = str(self.engine.device)

    def __call__(self, item: Item, lq: images.U8) -> tuple[Any, str]:
        """(H, W, 3) float32 in [0, 1], and ``full`` or ``tile512-64``."""
        found = self.engine.run([lq], self.tile, [item.key])
        return np.asarray(found.images[0]), found.inference


class Folder:
    """Images that were made elsewhere, found by name and never by order (``rainrag.data.pairing.pair_lists``).

    They may be named like the results of RainRAG (the keys of the set), like its inputs, or like its targets.

    Raises:
        InputError: when images of the set are not in the folder, or several are of one.
    """

    device = "none"

    def __init__(self, entrant: Entrant, opened: Opened) -> None:
        assert entrant.folder is not None  # as for every entrant that is run by this class
        folder = entrant.folder
        found, other = score.folder_images(folder)
        tried = [self._joined(found, names, entrant) for names in _spellings(opened)]
        matched, by_name = min(tried, key=lambda t: len(opened.items) - len({p.gt for p in t[0].pairs}))
        first: dict[str, str] = {}
        for p in matched.pairs:
            first.setdefault(by_name[p.gt], p.lq)
        missing = sorted(i.key for i in opened.items if i.key not in first)
        if missing or len(first) < len(matched.pairs):
            raise self._refusal(folder, opened, missing, matched)
        self.files = {key: folder / name for key, name in first.items()}
        self.layout = matched.describe()
        self.notes = [] if matched.layout.startswith("equal names") else [matched.layout]
        unused = [(n, "not an image of this test set") for n in found if n not in set(first.values())]
        self.notes += [f"not read: {line}" for line in grouped([*unused, *other])]

    @staticmethod
    def _joined(found: list[str], names: dict[str, str], entrant: Entrant) -> tuple[Pairing, dict[str, str]]:
        return pair_lists(found, names, pattern=entrant.pattern, suffix=entrant.suffix), names

    @staticmethod
    def _refusal(folder: Path, opened: Opened, missing: list[str], matched: Pairing) -> InputError:
        if missing:
            what = f"{len(missing)} of {len(opened.items)} images of {opened.name} are not here: "
            what += f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}"
        else:
            what = f"several images of one input of {opened.name}: {matched.describe()}"
        pattern = printable(matched.pattern or "{}_net={}")
        hint = f"name them like the inputs of the test set, or say how: --pattern '{pattern}', --suffix _net"
        return InputError(what, where=folder, hint=hint)

    def __call__(self, item: Item, lq: images.U8) -> tuple[images.U8, str]:
        """The image as it is stored."""
        return images.read(self.files[item.key]).rgb, "full"


def _spellings(opened: Opened) -> list[dict[str, str]]:
    """Names that the images of a set go by, each with the item's key: keys, names of the inputs, names of the targets."""
    found = [{i.key: i.key for i in opened.items}]
    for side in ("lq_name", "gt_name"):
        names = {getattr(i, side): i.key for i in opened.items}
        if "" not in names and len(names) == len(opened.items):
            found.append(names)
    return found


def crop_of(out: Any, gt: images.U8) -> int | None:
    """The multiple that an output was cropped to around its centre, as UniRain's script saves it; None for others."""
    return metrics.cropped_to(out.shape, gt.shape)
