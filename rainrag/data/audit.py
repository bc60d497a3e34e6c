"""Audit: what is wrong with data before anyone trains on them.

Undecodable files, unsound pairs, duplicates on the clean side, scenes shared between training and test parts. Pictures
are compared by their 256-bit hash (``images.phash``), on the clean side, because the same scene comes under different
rain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rainrag.core import images, workspace
from rainrag.core.errors import DecodeError, InputError
from rainrag.core.files import fingerprint, natural, sha256_bytes
from rainrag.core.jobs.stage import Engine, Job, Shard, shards_by_size
from rainrag.core.names import printable
from rainrag.core.types import PairFiles
from rainrag.data import dataset, pair_checks
from rainrag.data.contamination import Ledger
from rainrag.data.sources import layouts
from rainrag.data.sources.folder import FOLDER

VERSION = 2
SAME_HALVES = (
    30.0  # dB between the halves of a file, above which one photograph is stored twice; such demos hold 30 to 75
)
CLIP_BITS = 56  # successive frames of one clip; different photographs are at least 70 bits apart


@dataclass(frozen=True)
class Item:
    """One image or pair, in the numbers that the audit compares."""

    key: str
    split: str | None
    scene: str | None
    sha256: str
    phash: str
    lq_sha256: str
    paired: bool
    reason: str | None = None
    detail: str = ""
    thumb: str = ""


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; ``to_dict`` is the JSON.

    Args:
        undecodable: {"key", "reason", "detail"} of every file that is no usable image.
        pairs: {"key", "reason", "detail"} of every pair that fails the gate, and of every side-by-side file whose halves
            are the same photograph.
        duplicates: groups of keys whose clean sides (or photographs) show the same picture under different scene names,
            or whose rainy sides are the same file.
        scenes: runs of frames of one clip among unlabelled photographs.
        leaks: {"key", "against", "kind", "distance"}: a training scene that is also a test scene.
        many_to_one: scenes with several rainy versions: how many, the most, the mean.
    """

    images: int
    undecodable: list[dict[str, str]]
    pairs: list[dict[str, str]]
    duplicates: list[list[str]]
    scenes: list[list[str]]
    leaks: list[dict[str, Any]]
    many_to_one: dict[str, float]
    unplaced: list[dict[str, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.undecodable or self.pairs or self.duplicates or self.leaks)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for ``--json``."""
        return {**asdict(self), "clean": self.clean}


# ---------------------------------------------------------------- reading
@dataclass(frozen=True)
class Entry:
    """Where one item's bytes are: files below a root, or a row of a parquet shard."""

    key: str
    split: str | None
    scene: str | None
    lq: str
    gt: str | None
    shard: str | None = None
    group: int = 0
    night: bool | None = None
    drop: bool | None = None


Found = tuple[list[Shard], list[dict[str, str]]]


@dataclass
class Inspect:
    """The stage: decode, hash, run the gate."""

    gates: bool = True
    name: str = "audit"
    version: int = VERSION

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        return {"gates": self.gates, "gate": pair_checks.VERSION}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """One shard of entries."""
        items: list[dict[str, Any]] = []
        bad: list[dict[str, str]] = []
        for entry, lq, gt in _read(shard.rows):
            try:
                if isinstance(lq, DecodeError):
                    raise lq
                items.append(asdict(self.item(entry, lq, gt)))
            except DecodeError as e:
                bad.append({"key": entry.key, "reason": e.reason, "detail": e.what})
        return {"items": items, "undecodable": bad}

    def item(self, entry: Entry, lq: bytes, gt: bytes | None) -> Item:
        """Decode and measure one entry.

        Raises:
            DecodeError: when a side is no usable image.
        """
        rainy = images.decode(lq, entry.lq).rgb
        clean = None if gt is None else images.decode(gt, entry.gt or "").rgb
        reason, detail = None, ""
        if clean is not None and self.gates:
            finding = pair_checks.check(rainy, clean, entry.night, entry.drop)
            reason, detail = finding.reason, finding.detail
        elif clean is None:
            reason, detail = _twice(rainy)
        shown = rainy if clean is None else clean
        return Item(
            entry.key,
            entry.split,
            entry.scene,
            sha256_bytes(lq if gt is None else gt),
            images.phash(shown),
            sha256_bytes(lq),
            clean is not None,
            reason,
            detail,
        )


def _twice(rgb: images.U8) -> tuple[str | None, str]:
    """Whether a file holds one photograph twice, side by side: it looks like a pair and is none."""
    half = rgb.shape[1] // 2
    left, right = rgb[:, :half], rgb[:, -half:]
    if not half or not images.phash(left):  # no structure: any two halves are alike
        return None, ""
    psnr = images.psnr8(left, right)
    if psnr < SAME_HALVES:
        return None, ""
    return "not-a-pair", f"the halves show the same image: {psnr:.1f} dB"


def _read(entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes | DecodeError, bytes | None]]:
    """Bytes of the entries of one shard, or why they cannot be read: files, or the rows of one row group."""
    if entries[0].shard is None:
        for e in entries:
            try:
                yield e, images.read_bytes(e.lq), images.read_bytes(e.gt) if e.gt else None
            except DecodeError as why:
                yield e, why, None
        return
    rows = {r["key"]: r for r in dataset.group(entries[0].shard, entries[0].group, ["key", "lq", "gt"])}
    for e in entries:
        r = rows[e.key]
        yield e, dataset.image_bytes(r["lq"]), dataset.image_bytes(r["gt"]) if r["gt"] else None


def entries(
    data: Path, layout: layouts.Layout | None = None, say: Callable[[layouts.Layout, layouts.Found], None] | None = None
) -> Found:
    """Shards of entries of a dataset or folder, and the files of a folder that fit nowhere.

    Args:
        layout: how the files of a plain folder pair; found out if not given.
        say: called with the layout taken of a plain folder and what it found.

    Raises:
        MissingError, LayoutError: when there is nothing to audit.
    """
    if dataset.is_dataset(data):
        return _dataset_entries(data), []
    taken, found = layouts.match(FOLDER, data, (layout,) if layout else None)
    if say:
        say(taken, found)
    pairs = [_file_entry(data, p) for p in found.pairs]
    sizes = [Path(e.lq).stat().st_size + (Path(e.gt).stat().st_size if e.gt else 0) for e in pairs]
    rest = [*((r.key, r.reason, r.detail) for r in found.rejects), *((n, "not-read", why) for n, why in found.unread)]
    unplaced = [{"key": printable(key), "reason": reason, "detail": printable(why)} for key, reason, why in rest]
    return shards_by_size(pairs, sizes, fingerprint(str(data)), most_rows=64), unplaced


def _file_entry(root: Path, p: PairFiles) -> Entry:
    named = layouts.split_of(p.lq, "") or None
    key = printable("/".join([root.resolve().name, *([named] if named else []), p.stem]))
    return Entry(key, named, printable(p.scene) if p.gt else None, str(root / p.lq), str(root / p.gt) if p.gt else None)


def _dataset_entries(data: Path) -> list[Shard]:
    found = []
    for path in dataset.shards(data):
        for group, rows in dataset.groups(path, ["key", "split", "scene", "gt_sha256", "night", "drop"]):
            part = [
                Entry(
                    r["key"],
                    r["split"],
                    r["scene"],
                    r["key"],
                    r["key"] if r["gt_sha256"] else None,
                    str(path),
                    group,
                    r["night"],
                    r["drop"],
                )
                for r in rows
            ]
            found.append(Shard(f"{fingerprint(str(path))}-{group:05d}", tuple(part)))
    return found


def inspect(
    found: Found, engine: Engine, gates: bool = True, progress: Callable[[int], None] | None = None
) -> tuple[list[Item], list[dict[str, str]], list[dict[str, str]]]:
    """Items, undecodable and unplaced files of one dataset or folder; finished parts are reused on a second call.

    Args:
        found: what ``entries`` gave.
    """
    shards, unplaced = found
    identity = [[e.key, e.lq, e.gt, _stamp(e)] for s in shards for e in s.rows]
    stage = Inspect(gates)
    out = workspace.place("cache", "audit", fingerprint([stage.settings(), identity]))
    records = Job(stage, out, fingerprint(identity)).run(
        shards, engine, (lambda _, n: progress(n)) if progress else None
    )
    items = [Item(**i) for r in records.values() for i in r["items"]]
    items.sort(key=lambda i: natural(i.key))
    return items, [u for r in records.values() for u in r["undecodable"]], unplaced


def _stamp(e: Entry) -> list[int]:
    """Size and time of the files behind an entry: what tells that they changed since the last audit."""
    paths = [e.shard] if e.shard else [e.lq, *([e.gt] if e.gt else [])]
    return [n for p in paths for st in [Path(p).stat()] for n in (st.st_size, st.st_mtime_ns)]


# ---------------------------------------------------------------- comparing
def near_pairs(
    a: Sequence[Item], b: Sequence[Item] | None = None, within: int = images.NEAR_BITS
) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits) of all items of ``a`` and ``b`` that show the same picture; with ``b`` None, i < j within ``a``.

    Works in blocks, so memory stays bounded. Items without structure (empty hash) match by their bytes alone.
    """
    other = a if b is None else b
    bits_a, bits_b = images.hash_bits([i.phash for i in a]), images.hash_bits([i.phash for i in other])
    known_a = np.array([bool(i.phash) for i in a], bool)
    known_b = np.array([bool(i.phash) for i in other], bool)
    for at in range(0, len(a), 1024):
        block = slice(at, at + 1024)
        distance = images.hamming(bits_a[block], bits_b)
        hit = (distance <= within) & known_a[block, None] & known_b[None]
        for i, j in zip(*np.nonzero(hit), strict=True):
            if b is not None or at + i < j:
                yield at + int(i), int(j), int(distance[i, j])
    yield from _equal_bytes(a, other, b is None, known_a)


def _equal_bytes(a: Sequence[Item], b: Sequence[Item], same: bool, known: Any) -> Iterator[tuple[int, int, int]]:
    by_sha: dict[str, list[int]] = {}
    for j, item in enumerate(b):
        by_sha.setdefault(item.sha256, []).append(j)
    for i, item in enumerate(a):
        if not known[i]:
            yield from ((i, j, 0) for j in by_sha.get(item.sha256, []) if not same or i < j)


def groups(n: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected groups of two and more, each sorted, in order of their first member."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in links:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    members: dict[int, list[int]] = {}
    for i in range(n):
        members.setdefault(root(i), []).append(i)
    return [m for m in members.values() if len(m) > 1]


def duplicates(items: Sequence[Item]) -> list[list[str]]:
    """Groups of keys that show the same picture.

    For pairs: the same clean side under different scene names (versions of one scene are meant to share it), or the
    same rainy file twice. For photographs: the same picture.
    """
    links = [(i, j) for i, j, _ in near_pairs(items) if items[i].scene is None or items[i].scene != items[j].scene]
    by_lq: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        by_lq.setdefault(item.lq_sha256, []).append(i)
    links += [(m[0], j) for m in by_lq.values() for j in m[1:]]
    return [[items[i].key for i in g] for g in groups(len(items), links)]


def clips(items: Sequence[Item]) -> list[list[str]]:
    """Runs of photographs in one folder whose successive names show nearly the same picture: frames of one clip."""
    links = []
    photos = [i for i, item in enumerate(items) if not item.paired and item.phash]
    bits = images.hash_bits([items[i].phash for i in photos])
    for n in range(len(photos) - 1):
        i, j = photos[n], photos[n + 1]
        if PurePosixPath(items[i].key).parent != PurePosixPath(items[j].key).parent:
            continue
        if int(np.unpackbits(bits[n] ^ bits[n + 1]).sum()) <= CLIP_BITS:
            links.append((i, j))
    return [[items[i].key for i in g] for g in groups(len(items), links)]


def leaks(items: Sequence[Item], against: Sequence[Item], ledger: Ledger) -> list[dict[str, Any]]:
    """Scenes shared between a training and a test part.

    Compared: training items with the test items of the same data; all items with ``against`` (but test with test);
    training items with the ledger.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def add(key: str, other: str, kind: str, distance: int) -> None:
        found.setdefault((key, other), {"key": key, "against": other, "kind": kind, "distance": distance})

    train = [i for i in items if i.split != "test"]
    test = [i for i in items if i.split == "test"]
    for a, b, bits in near_pairs(train, test):
        add(train[a].key, test[b].key, _kind(train[a], test[b]), bits)
    if against:
        for a, b, bits in near_pairs(items, against):
            if not (items[a].split == "test" and against[b].split == "test"):
                add(items[a].key, against[b].key, _kind(items[a], against[b]), bits)
    for item in train:
        hit = ledger.find(item.phash)
        if hit and hit.key != item.key:
            add(item.key, hit.key, "ledger", hit.distance)
    return sorted(found.values(), key=lambda x: (natural(x["key"]), natural(x["against"])))


def _kind(a: Item, b: Item) -> str:
    return "exact" if a.sha256 == b.sha256 else "near"


def many_to_one(items: Sequence[Item]) -> dict[str, float]:
    """How many rainy versions the scenes have."""
    per = Counter(i.scene for i in items if i.paired and i.scene)
    several = [n for n in per.values() if n > 1]
    mean = sum(per.values()) / len(per) if per else 0.0
    return {
        "scenes": len(per),
        "with_several": len(several),
        "most": max(per.values(), default=0),
        "mean": round(mean, 3),
    }


# ---------------------------------------------------------------- the whole
def audit(
    data: Sequence[Path],
    engine: Engine,
    against: Sequence[Path] = (),
    *,
    gates: bool = True,
    layout: layouts.Layout | None = None,
    say: Callable[[layouts.Layout, layouts.Found], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[AuditReport, list[Item]]:
    """Audit datasets or folders.

    Args:
        against: test sets (datasets or folders) that must not be trained on.
        gates: run the pair gate (decodes both sides in full either way).
        layout, say: as for ``entries``, of plain folders.
        progress: called with minus the number of items once, then with each number of items done.

    Raises:
        InputError: when there is not one usable image.
    """
    items: list[Item] = []
    bad: list[dict[str, str]] = []
    unplaced: list[dict[str, str]] = []
    audited, tested = [entries(p, layout, say) for p in data], [entries(p) for p in against]
    if progress:
        progress(-sum(s.size for found, _ in (*audited, *tested) for s in found))
    for found in audited:
        part, undecodable, rest = inspect(found, engine, gates, progress)
        items += part
        bad += undecodable
        unplaced += rest
    if not items:
        raise InputError(
            f"not one usable image; {len(bad)} files cannot be decoded", where=", ".join(map(str, data)),
            hint="the reasons: rainrag audit … --json",
        )  # fmt: skip
    tests = [i for found in tested for i in inspect(found, engine, False, progress)[0]]
    report = AuditReport(
        images=len(items),
        undecodable=bad,
        pairs=[{"key": i.key, "reason": i.reason, "detail": i.detail} for i in items if i.reason],
        duplicates=duplicates(items),
        scenes=clips(items),
        leaks=leaks(items, tests, Ledger.load(workspace.place("ledger.jsonl"))),
        many_to_one=many_to_one(items),
        unplaced=unplaced,
    )
    return report, items
