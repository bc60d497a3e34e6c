"""What a run trains on: pairs of some folders by rain type, without test scenes, and the probe carved from them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rainrag.core import images, workspace
from rainrag.core.errors import DecodeError, InputError
from rainrag.core.files import fingerprint, natural, read_json, sha256_file, write_json
from rainrag.core.types import Reject, subset_of
from rainrag.data import dataset
from rainrag.data.contamination import Ledger

COLUMNS = [
    "key", "source", "scene", "subset", "weather", "lq_sha256", "gt_sha256", "gt_phash", "lq_width", "lq_height",
]  # fmt: skip

#: Why a pair is not trained on: the closed list. Reasons of decoding come besides.
REASONS = {
    **images.REASONS,
    "size-mismatch": "the two sides differ in size",
    "test-scene": "the scene belongs to a known test set or to the test part of these data",
    "no-type": "it has no rain type and no other weather",
}


@dataclass(frozen=True)
class Item:
    """A pair to train on, and where its bytes are.

    Args:
        type: subset, or another weather's label.
        scene: unit of the probe and of exclusion.
        phash: of the clean side; None until it was decoded.
        identity: tells that the bytes changed.
        lq, gt: files; None for a row of a shard.
        shard, group: row group of a parquet shard.
        pixels: of one side, None where unknown.
    """

    key: str
    type: str
    source: str
    scene: str
    phash: str | None
    identity: str
    lq: str | None = None
    gt: str | None = None
    shard: str | None = None
    group: int = 0
    pixels: int | None = None


@dataclass(frozen=True)
class Found:
    """Pairs of some folders.

    Args:
        items: training pairs, in a fixed order.
        tests: ``{"key", "phash"}`` of the test and validation rows beside them: never trained on.
        rejects: what cannot be trained on, with a reason.
    """

    items: tuple[Item, ...]
    tests: tuple[dict[str, Any], ...]
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class Division:
    """Training pairs and probe.

    Args:
        types: labels, in the order of all lists of losses and weights.
        train, probe: type -> items; no scene is in both.
        rejects: what was left out, with a reason.
    """

    types: tuple[str, ...]
    train: dict[str, list[Item]]
    probe: dict[str, list[Item]]
    rejects: tuple[Reject, ...] = field(default=())


def collect(roots: Sequence[Path]) -> Found:
    """Training pairs of datasets of ours, and of folders in UniRain's layout.

    Raises:
        InputError: when a folder is neither, or two pairs have one key, or there is no pair.
    """
    items: list[Item] = []
    tests: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for root in roots:
        part = _rows(root) if dataset.is_dataset(root) else _files(root)
        items += part.items
        tests += part.tests
        rejects += part.rejects
    twice = [k for k, n in Counter(i.key for i in items).items() if n > 1]
    if twice:
        raise InputError(f"two pairs have the key {twice[0]}", hint="name each folder once, and each set in one folder")
    if not items:
        listed = ", ".join(map(str, roots))
        raise InputError("no pair to train on", where=listed, hint="rainrag ingest, then rainrag distill, make a set")
    return Found(tuple(sorted(items, key=lambda i: natural(i.key))), tuple(tests), tuple(rejects))


def _rows(root: Path) -> Found:
    """Rows of a dataset: the training part; of the other parts the hashes."""
    import pyarrow.parquet as pq

    items: list[Item] = []
    tests: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for path in dataset.shards(root):
        with dataset.undamaged(path):
            file = pq.ParquetFile(path)
        training = path.name.startswith("train-")
        named = [*COLUMNS, *(["group"] if "group" in file.schema_arrow.names else [])]
        for group in range(file.num_row_groups):
            for r in dataset.group(path, group, named):
                if r["gt_sha256"] is None:
                    continue  # an unlabelled photograph
                if not training:
                    tests.append({"key": r["key"], "phash": r["gt_phash"]})
                    continue
                kind = _type(r["subset"], r["weather"])
                if kind is None:
                    rejects.append(Reject(r["key"], "no-type", REASONS["no-type"]))
                    continue
                scene = r.get("group") or r["scene"]
                items.append(
                    Item(
                        r["key"], kind, r["source"], scene, r["gt_phash"], f"{r['lq_sha256']}:{r['gt_sha256']}",
                        shard=str(path), group=group, pixels=r["lq_width"] * r["lq_height"],
                    )
                )  # fmt: skip
    return Found(tuple(items), tuple(tests), tuple(rejects))


def _type(subset: str | None, weather: str) -> str | None:
    return subset or (weather if weather != "rain" else None)


def _files(root: Path) -> Found:
    """Files in the layout of UniRain's release: {drs,drd,nrs,nrd}/{input,target}/NAME."""
    from rainrag.data.sources import layouts
    from rainrag.data.sources.unirain import UNIRAIN

    if not root.is_dir():
        raise InputError("no such folder", where=root, hint="rainrag train --data DIR, a folder with a dataset")
    _, found = layouts.match(UNIRAIN, root)
    hashes = Hashes(root)
    items: list[Item] = []
    tests: list[dict[str, Any]] = []
    for p in found.pairs:
        if p.gt is None:
            continue
        key = f"{root.resolve().name}/{p.split}/{p.stem}"
        lq, gt = root / p.lq, root / p.gt
        if p.split != "train":
            tests += _hashed(key, gt)
            continue
        subset = subset_of(p.streak, p.drop, p.night)
        stamp = f"{hashes.of(lq)}:{hashes.of(gt)}"  # content: a copied folder is the same data
        kind = subset.value if subset else p.stem.split("/")[0].upper()
        items.append(Item(key, kind, root.resolve().name, f"{root.resolve().name}/{p.scene}", None, stamp,
                          lq=str(lq), gt=str(gt)))  # fmt: skip
    hashes.close()
    return Found(tuple(items), tuple(tests), tuple(found.rejects))


class Hashes:
    """sha256 of the files below a folder; kept in the workspace by size and time, so that a file is read once.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.path = workspace.place("cache", "hashes", f"{fingerprint(str(self.root))}.json")
        self.known: dict[str, list[Any]] = _known(self.path)
        self.used: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        """sha256 of a file; of one that cannot be read, nothing: it is left out when it is decoded."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        try:
            st = path.stat()
            stamp = [st.st_size, st.st_mtime_ns]
            before = self.known.get(name, [])
            self.used[name] = before if before[:2] == stamp else [*stamp, sha256_file(path)]
        except OSError:
            return ""
        return str(self.used[name][2])

    def close(self) -> None:
        """Keep what was read."""
        if self.used != self.known:
            write_json(self.path, self.used)


def _known(path: Path) -> dict[str, list[Any]]:
    try:
        found = read_json(path)
    except (OSError, InputError):  # it holds nothing that cannot be read again
        return {}
    return found if isinstance(found, dict) and all(isinstance(v, list) and len(v) == 3 for v in found.values()) else {}


def _hashed(key: str, path: Path) -> list[dict[str, Any]]:
    try:
        return [{"key": key, "phash": images.phash(images.read(path).rgb)}]
    except DecodeError:
        return []  # a test picture that nobody can see cannot be shown by a training pair either


# ---------------------------------------------------------------- division
def divide(items: Sequence[Item], tests: Sequence[dict[str, Any]], pairs: int, share: float, seed: int) -> Division:
    """Leave out test scenes, then carve a probe for each type by whole scenes.

    Args:
        items: with the hash of their clean side.
        tests: further test scenes than the ledger's.
        pairs: of each type's probe, at most.
        share: of a type's scenes that the probe takes at most; but always one.

    Raises:
        InputError: when a type has no two scenes left.
    """
    known = Ledger([*Ledger.load(workspace.place("ledger.jsonl")).entries, *tests])
    scenes = _joined(items)
    barred: dict[str, str] = {}
    for item in items:
        hit = known.find(item.phash)
        if hit and hit.key != item.key:
            barred.setdefault(scenes[item.key], hit.key)
    rejects = [Reject(i.key, "test-scene", f"shows {barred[scenes[i.key]]}") for i in items if scenes[i.key] in barred]
    left = [replace(i, scene=scenes[i.key]) for i in items if scenes[i.key] not in barred]
    types = _ordered({i.type for i in left})
    held = _held(left, types, pairs, share, seed)
    train = {t: [i for i in left if i.type == t and i.scene not in held] for t in types}
    probe = {t: _few([i for i in left if i.type == t and i.scene in held], pairs, seed) for t in types}
    for t in types:
        if not train[t] or not probe[t]:
            raise InputError(
                f"type {t} has too few scenes to hold one out: {len({i.scene for i in left if i.type == t})}",
                hint="at least two scenes a type; leave the type out, or add data",
            )
    if not types:
        raise InputError("no pair is left to train on: all show test scenes", hint="train on other data")
    return Division(types, train, probe, tuple(rejects))


def _ordered(types: Iterable[str]) -> tuple[str, ...]:
    """The four rain types in the house's order, then the others by name."""
    present = set(types)
    return (*(s for s in dataset.SUBSETS if s in present), *sorted(present - set(dataset.SUBSETS)))


def _joined(items: Sequence[Item]) -> dict[str, str]:
    """Key -> scene, scenes with the same clean side joined."""
    name: dict[str, str] = {}

    def root(scene: str) -> str:
        while name.setdefault(scene, scene) != scene:
            scene = name[scene]
        return scene

    first: dict[str, str] = {}
    for i in items:
        if i.phash:
            a, b = sorted((root(i.scene), root(first.setdefault(i.phash, i.scene))))
            name[b] = a
    return {i.key: root(i.scene) for i in items}


def _drawn(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that depends on seed and names alone."""
    return sorted(names, key=lambda n: hashlib.sha256(f"{seed}:{n}".encode()).digest())


def _held(items: Sequence[Item], types: Sequence[str], pairs: int, share: float, seed: int) -> set[str]:
    """Scenes of the probe, type by type. Scenes of one type come first, so that holding out costs little."""
    kinds: dict[str, set[str]] = {}
    for i in items:
        kinds.setdefault(i.scene, set()).add(i.type)
    held: set[str] = set()
    for t in types:
        counts = Counter(i.scene for i in items if i.type == t)
        most = max(1, int(len(counts) * share))
        mine = [s for s in counts if s in held]
        n = sum(counts[s] for s in mine)
        order = sorted(_drawn(counts, seed), key=lambda s: len(kinds[s]))
        for scene in [s for s in order if s not in held][: max(0, most - len(mine))]:
            if n >= pairs:
                break
            held.add(scene)
            n += counts[scene]
    return held


def _few(items: list[Item], most: int, seed: int) -> list[Item]:
    """So many pairs, every scene once before any comes twice."""
    seen: Counter[str] = Counter()
    ranked = []
    by_key = {i.key: i for i in items}
    for n, key in enumerate(_drawn(by_key, seed)):
        scene = by_key[key].scene
        ranked.append((seen[scene], n, key))
        seen[scene] += 1
    chosen = [key for _, _, key in sorted(ranked)[:most]]
    return [by_key[k] for k in sorted(chosen, key=natural)]
