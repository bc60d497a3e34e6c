"""The test sets: a literal table, and how each is opened from an ingested dataset, an unpacked release or two folders.

A test set is known by its content: ``sha256`` goes over the key and the sha256 of both sides of every image, so that a
copy with other numbers, sizes or files is another set, whatever it is called. Samples that circulate with authors' code
have names of their own: a figure on four images must not stand in the column of the whole set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rainrag.core import images, workspace
from rainrag.core.errors import DecodeError, InputError, MissingError, RainRAGError, UsageError, did_you_mean
from rainrag.core.files import fingerprint, natural, read_json, sha256_bytes, write_json
from rainrag.core.names import printable
from rainrag.data import audit, dataset, sources
from rainrag.data.sources import layouts
from rainrag.evaluation import score


@dataclass(frozen=True)
class TestSet:
    """One test set.

    Args:
        source: of ``rainrag sources`` that it is part of.
        split: its part: ``test``, ``validation`` or ``train``.
        part: regular expression at the beginning of the stem, for sets that are one of several parts.
        subset: only pairs of this one (DRS, DRD, NRS, NRD).
        n: images, as published; None where no source says, or for samples as counted.
        paired: has targets; without, only no-reference metrics can be computed.
        protocols: that figures on it are usually quoted under.
        kin: sources whose weights suit it, best first.
        folder: where it lies below ``$RAINRAG_TESTDATA/data``, for those that are available locally.
        notes: what a reader of its figures should know.
    """

    __test__ = False  # for pytest, which takes the name for a test

    name: str
    title: str
    source: str
    split: str = "test"
    part: str = ""
    subset: str | None = None
    n: int | None = None
    paired: bool = True
    protocols: tuple[str, ...] = ("y",)
    kin: tuple[str, ...] = ()
    folder: str | None = None
    notes: tuple[str, ...] = ()


_RAINRAG: dict[str, Any] = {"source": "unirain", "n": 100, "protocols": ("unirain",)}
_OWN: dict[str, Any] = {"source": "splits", "protocols": ("unirain", "y")}
_PAPER = ("unirain", "y")

_SETS = (
    # The paper's own test set (Table 1), and the splits that 'rainrag distill' made here.
    *(TestSet(f"rainrag-{s.lower()}", f"RainRAG {s}", subset=s, **_RAINRAG) for s in dataset.SUBSETS),
    *(TestSet(f"own-{s.lower()}", f"Your distilled splits, {s}", subset=s, **_OWN) for s in dataset.SUBSETS),
    # Table 2 and Table 7.
    TestSet("realrain-1k-l", "RealRain-1k-L", "realrain-1k-l", n=224, protocols=_PAPER),
    TestSet("realrain-1k-h", "RealRain-1k-H", "realrain-1k-h", n=224, protocols=_PAPER),
    TestSet("rainds-real-rd", "RainDS-real, drops", "rainds-real", part="raindrop/", n=98, protocols=_PAPER),
    TestSet(
        "rainds-real-rds", "RainDS-real, drops and streaks", "rainds-real", part="rainstreak_raindrop/", n=98,
        protocols=_PAPER,
    ),
    TestSet("weatherbench-rain", "WeatherBench, rain", "weatherbench", part="rain/", n=200, protocols=_PAPER),
    TestSet("weatherbench-derain", "WeatherBench, rain (its own protocol)", "weatherbench", part="rain/", n=200,
            protocols=("weatherbench",)),
    TestSet("weatherbench-dehaze", "WeatherBench, haze", "weatherbench", part="haze/", n=200,
            protocols=("weatherbench",)),
    TestSet("weatherbench-desnow", "WeatherBench, snow", "weatherbench", part="snow/", n=200,
            protocols=("weatherbench",)),
    # The field's usual ones.
    TestSet("rain100l", "Rain100L", "rain100l", n=100, protocols=("y", "y-trunc"), kin=("rain100l", "rain200l"),
            folder="Rain100L", notes=("91 of the 100 targets are distinct scenes",)),
    TestSet("rain100h", "Rain100H", "rain100h", n=100, protocols=("y", "y-trunc"), kin=("rain100h", "rain200h")),
    TestSet("rain200l", "Rain200L", "rain200l", n=200, protocols=("y", "matlab-y"), kin=("rain200l", "rain100l")),
    TestSet("rain200h", "Rain200H", "rain200h", n=200, protocols=("y", "matlab-y"), kin=("rain200h", "rain100h")),
    TestSet("test100", "Test100 (Rain800)", "rain13k", part="Test100/", n=100, kin=("rain13k",)),
    TestSet("test1200", "Test1200 (DID-Data)", "rain13k", part="Test1200/", n=1200, kin=("rain13k", "rain12000")),
    TestSet("test2800", "Test2800 (DDN-Data)", "rain13k", part="Test2800/", n=2800, kin=("rain13k", "rain1400")),
    TestSet("rain1400", "Rain1400, test", "rain1400", part=r"\d+_", n=1400, protocols=("y", "y-trunc"),
            kin=("rain1400",)),
    TestSet("rain12", "Rain12", "rain12", split="train", n=12, kin=("rain100l",)),
    TestSet("spa-data", "SPA-Data, test", "spa-data", n=1000, protocols=("y", "matlab-y"), kin=("spa-data",)),
    TestSet("raindrop-a", "RainDrop, test a", "raindrop", part="a/", n=58, kin=("raindrop",)),
    TestSet("raindrop-b", "RainDrop, test b", "raindrop", part="b/", n=249, kin=("raindrop",),
            notes=("its pairs are not aligned to the pixel: test a is the one to quote",)),
    TestSet("gtav-nightrain", "GTAV-NightRain (re-rendered), test", "gtav-nightrain-rerendered", n=500,
            kin=("gtav-nightrain-rerendered",)),
    *(
        TestSet(f"hq-nightrain-{p.lower()}", f"HQ-NightRain {p}, test", "hq-nightrain", part=f"{p}/",
                kin=("hq-nightrain",))
        for p in ("RS", "RD", "SD")
    ),
    TestSet("gt-rain", "GT-Rain, test", "gt-rain", n=2100, kin=("gt-rain",)),
    TestSet("lhp-rain", "LHP-Rain, test", "lhp-rain", kin=("lhp-rain",)),
    TestSet("outdoor-rain", "Outdoor-Rain, Test1", "outdoor-rain", n=1500, kin=("outdoor-rain",)),
    # Samples that their authors published with code.
    TestSet("rain200l-sample", "Rain200L, two test pairs", "rain200l", n=2, folder="Rain200L",
            kin=("rain200l", "rain100l"), notes=("a sample of 200",)),
    TestSet("rain200h-sample", "Rain200H, five test pairs", "rain200h", n=5, folder="RainHeavy-small",
            kin=("rain200h", "rain100h"), notes=("a sample of 200",)),
    TestSet("hq-nightrain-sample", "HQ-NightRain, four validation pairs", "hq-nightrain", split="validation", n=4,
            folder="HQ-NightRain", kin=("hq-nightrain",), notes=("night streaks; JPEG on both sides",)),
    TestSet("raindrop-sample", "RainDrop, four training pairs", "raindrop", split="train", n=4,
            folder="RainDrop-train-sample", kin=("raindrop",),
            notes=("of the training part: what was trained on RainDrop has seen them",)),
    TestSet("ddn-demo", "Rain1400, the three pairs of DDN's demo", "rain1400", part=r"\d+$", n=3, folder="DDN-demo",
            kin=("rain1400",), notes=("JPEG on both sides",)),
    TestSet("outdoor-rain-sample", "Outdoor-Rain, four Test1 pairs", "outdoor-rain", n=4, folder="Outdoor-Rain",
            kin=("outdoor-rain",), notes=("rain with fog",)),
    TestSet("nitedr-roadscene", "NiteDR RoadScene-rain, test", "folder", split="train", n=40,
            folder="NiteDR-RoadScene-rain", notes=("rendered rain by day and night on photographs of lifted contrast",)),
    # Without targets.
    TestSet("real-147", "Real-147", "real-147", split="train", n=147, paired=False, protocols=("no-reference",),
            folder="Real-147"),
    TestSet("real3000", "Real3000, test part", "real3000", n=300, paired=False, protocols=("no-reference",)),
)  # fmt: skip

TABLE: dict[str, TestSet] = {t.name: t for t in _SETS}

#: Test set -> source -> keys of its scenes that are known to be in the source's training part: what has been seen in
#: the samples available locally. Other scenes may be there as well.
LEAKS: dict[str, dict[str, tuple[str, ...]]] = {
    "rain100l": {"rain200l": ("1", "2"), "rain200h": ("1", "2")},
    "rain100h": {"rain200l": ("1", "2"), "rain200h": ("1", "2")},
}


@dataclass(frozen=True)
class Item:
    """One image of an opened test set.

    Args:
        key: what results call it: the path below the set without extension and without folders of split and side.
        scene: all images of one clean picture share it, by the set's names and by the pixels.
        lq, gt: files; or (shard, row group, row) of a dataset.
        phash: of the clean side (of the photograph where there is none).
        lq_name, gt_name: what the files are called, for results that are named like them; empty where not known.
    """

    key: str
    scene: str
    lq: Any
    gt: Any
    lq_sha256: str
    gt_sha256: str | None
    phash: str
    lq_name: str = ""
    gt_name: str = ""

    def read(self) -> tuple[images.Decoded, images.Decoded | None]:
        """Both sides, decoded.

        Raises:
            DecodeError: when a side cannot be.
        """
        lq, gt = self.data()
        return images.decode(lq, f"{self.key} (input)"), None if gt is None else images.decode(gt, f"{self.key} (gt)")

    def data(self) -> tuple[bytes, bytes | None]:
        """Both sides as they are encoded."""
        if isinstance(self.lq, Path):
            return images.read_bytes(self.lq), None if self.gt is None else images.read_bytes(self.gt)
        row = _group(*self.lq[:2])[self.lq[2]]
        return dataset.image_bytes(row["lq"]), dataset.image_bytes(row["gt"]) if row["gt"] else None


@lru_cache(maxsize=2)
def _group(shard: str, group: int) -> list[dict[str, Any]]:
    """Both images of a row group; 64 pairs at most are kept twice."""
    return dataset.group(shard, group, ["lq", "gt"])


@dataclass(frozen=True)
class Opened:
    """A test set whose images are available locally.

    Args:
        name: of the set; with ``-firstN`` for the first N images alone.
        skipped: key -> why it could not be used.
    """

    testset: TestSet
    name: str
    items: tuple[Item, ...]
    skipped: dict[str, str]

    @property
    def sha256(self) -> str:
        """Identity by content."""
        lines = sorted(f"{i.key} {i.lq_sha256} {i.gt_sha256 or '-'}\n" for i in self.items)
        return sha256_bytes("".join(lines).encode())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its figures should know, with what is missing from this copy."""
        found = list(self.testset.notes)
        if self.testset.n is not None and len(self.items) != self.testset.n and self.name == self.testset.name:
            found.append(f"{len(self.items)} images, published {self.testset.n}")
        found += [f"left out: {key} ({why})" for key, why in self.skipped.items()]
        return tuple(found)

    def first(self, n: int | None) -> Opened:
        """The first n images, under a name that says so."""
        if n is None or n >= len(self.items):
            return self
        return replace(self, name=f"{self.name}-first{n}", items=self.items[:n])


# ---------------------------------------------------------------- which
def get(name: str) -> TestSet:
    """A test set by name.

    Raises:
        UsageError: with the nearest names, for an unknown one.
    """
    if name not in TABLE:
        raise UsageError(
            f"no test set '{name}'", hint=f"{did_you_mean(name, list(TABLE))} Your own: --testset folder:INPUTS,TARGETS"
        )
    return TABLE[name]


def places(testset: TestSet) -> Iterator[Path]:
    """Where a test set is looked for, in this order."""
    if testset.source == "splits":
        yield workspace.place("splits")
        return
    yield workspace.place("datasets", testset.source)
    yield workspace.place("raw", testset.source)
    root = os.environ.get("RAINRAG_TESTDATA")
    if root and testset.folder:
        yield Path(root) / "data" / testset.folder


def at_hand() -> list[str]:
    """Test sets that can be opened here."""
    found = []
    for name, testset in TABLE.items():
        try:
            _listed(testset, _place(testset))
        except RainRAGError:
            continue
        found.append(name)
    return found


def how(testset: TestSet) -> str:
    """How to get a test set that is missing, one line."""
    if testset.source == "splits":
        return "rainrag distill makes it"
    if testset.source == "folder":
        return f"--testset {testset.name}=FOLDER"
    return (
        f"rainrag download {testset.source}, then rainrag ingest {testset.source} "
        f"(or --testset {testset.name}=FOLDER for an unpacked copy)"
    )


# ---------------------------------------------------------------- opening
def open_set(asked: str, limit: int | None = None) -> Opened:
    """Open a test set.

    Args:
        asked: ``NAME``; ``NAME=FOLDER`` for a copy (dataset or unpacked release) elsewhere; ``folder:INPUTS,TARGETS``.
        limit: number of images, from the first.

    Raises:
        UsageError: for an unknown name.
        MissingError: when it is not available locally, with the way to get it.
        InputError: when no image of it can be read.
    """
    if asked.startswith("folder:"):
        testset, rows = _own(asked.removeprefix("folder:"))
    else:
        name, _, folder = asked.partition("=")
        testset = get(name)
        place = Path(folder) if folder else _place(testset)
        rows = _listed(testset, place)
    items, skipped = _examined(rows, testset)
    if not items:
        raise InputError(
            f"not one image of '{testset.name}' can be read", hint="; ".join(f"{k}: {w}" for k, w in skipped.items())
        )
    return Opened(testset, testset.name, tuple(_grouped(items)), skipped).first(limit)


def _place(testset: TestSet) -> Path:
    for place in places(testset):
        if place.is_dir() and any(place.iterdir()):
            return place
    raise MissingError(f"the test set '{testset.name}' is not available locally", hint=how(testset))


def _own(folders: str) -> tuple[TestSet, list[dict[str, Any]]]:
    """Two folders of anybody's, joined by key."""
    lq, _, gt = folders.partition(",")
    slug = re.sub(r"[^a-z0-9.]+", "-", Path(lq).resolve().parent.name.lower()).strip("-") or "folder"
    if not gt:
        found = [(k, Path(lq) / name) for k, name in sorted(score.keys(Path(lq)).items(), key=lambda p: natural(p[0]))]
        testset = TestSet(slug, slug, "folder", paired=False, protocols=("no-reference",))
        return testset, [{"key": k, "scene": k, "lq": p, "gt": None} for k, p in found]
    matched = score.match(Path(lq), Path(gt))
    sides = zip(matched.pairs, matched.scenes, strict=True)
    rows = [{"key": k, "scene": s, "lq": a, "gt": b} for (k, a, b), s in sides]
    return TestSet(slug, slug, "folder", notes=tuple(matched.notes)), rows


def _listed(testset: TestSet, place: Path) -> list[dict[str, Any]]:
    """Rows of a test set in a dataset or a folder of a known layout, before any pixel is read."""
    part = re.compile(testset.part, re.IGNORECASE)
    rows = _of_dataset(testset, place) if dataset.is_dataset(place) else _of_folder(testset, place)
    rows = [r for r in rows if part.match(r["key"])]
    if not rows:
        raise MissingError(f"no image of the test set '{testset.name}' here", where=place, hint=how(testset))
    return sorted(rows, key=lambda r: natural(r["key"]))


def _of_folder(testset: TestSet, place: Path) -> list[dict[str, Any]]:
    from rainrag.core.types import subset_of

    source = sources.get(testset.source)
    rows = []
    for p in layouts.match(source, place)[1].pairs:
        if p.split != testset.split or p.half:
            continue
        flags = (
            getattr(p, f) if getattr(p, f) is not None else getattr(source, f) for f in ("streak", "drop", "night")
        )
        if testset.subset and subset_of(*flags) != testset.subset:
            continue
        gt = place / p.gt if p.gt and testset.paired else None
        rows.append({"key": printable(p.stem), "scene": printable(p.scene), "lq": place / p.lq, "gt": gt})
    return rows


def _of_dataset(testset: TestSet, place: Path) -> list[dict[str, Any]]:
    names = ["key", "split", "subset", "scene", "lq_sha256", "gt_sha256", "lq_phash", "gt_phash"]
    prefix = f"{testset.source}/{testset.split}/"
    rows = []
    for shard in dataset.shards(place, testset.split):
        for group, found in dataset.groups(shard, names):
            for i, r in enumerate(found):
                if testset.subset and r["subset"] != testset.subset:
                    continue
                at = (str(shard), group, i)
                phash = r["gt_phash"] if r["gt_sha256"] else r["lq_phash"]
                hashes = {"lq_sha256": r["lq_sha256"], "gt_sha256": r["gt_sha256"], "phash": phash}
                scene = r["scene"].removeprefix(f"{testset.source}/")
                rows.append({"key": r["key"].removeprefix(prefix), "scene": scene, "lq": at, "gt": at, **hashes})
    return rows


# ---------------------------------------------------------------- identity and scenes
def _examined(rows: Sequence[dict[str, Any]], testset: TestSet) -> tuple[list[Item], dict[str, str]]:
    """Items with their hashes; those of files are kept in the workspace's cache until a file changes."""
    if rows and not isinstance(rows[0]["lq"], Path):
        return [Item(**r) for r in rows], {}  # names of files are not in the keys of a dataset
    stamp = [[r["key"], *(_stamp(r[side]) for side in ("lq", "gt"))] for r in rows]
    cache = workspace.place("cache", "testsets", f"{testset.name}-{fingerprint(stamp)}.json")
    known = read_json(cache) if cache.exists() else None
    if known is None:
        with ThreadPoolExecutor(2) as pool:
            known = list(pool.map(_hashes, rows))
        write_json(cache, known)
    items, skipped = [], {}
    for row, found in zip(rows, known, strict=True):
        if "skipped" in found:
            skipped[row["key"]] = found["skipped"]
        else:
            items.append(Item(**row, **found, lq_name=row["lq"].name, gt_name=row["gt"].name if row["gt"] else ""))
    return items, skipped


def _stamp(path: Path | None) -> Any:
    if path is None:
        return None
    st = path.stat()
    return [str(path), st.st_size, st.st_mtime_ns]


def _hashes(row: dict[str, Any]) -> dict[str, Any]:
    try:
        data = {side: images.read_bytes(row[side]) for side in ("lq", "gt") if row[side] is not None}
        decoded = {side: images.decode(d, str(row[side].name)) for side, d in data.items()}
    except DecodeError as e:
        return {"skipped": f"{e.reason}: {e.what}"}
    if "gt" in decoded and decoded["gt"].size != decoded["lq"].size:
        return {"skipped": f"sizes differ: input {decoded['lq'].size}, target {decoded['gt'].size}"}
    shown = decoded.get("gt", decoded["lq"])
    return {
        "lq_sha256": sha256_bytes(data["lq"]),
        "gt_sha256": sha256_bytes(data["gt"]) if "gt" in data else None,
        "phash": images.phash(shown.rgb),
    }


def _grouped(items: Sequence[Item]) -> list[Item]:
    """Items whose scenes are joined where the pixels show one picture under several names."""
    compared = [audit.Item(i.key, None, i.scene, i.gt_sha256 or i.lq_sha256, i.phash, i.lq_sha256, True) for i in items]
    by_scene: dict[str, int] = {}
    links = [(by_scene.setdefault(i.scene, n), n) for n, i in enumerate(items)]
    links += [(i, j) for i, j, _ in audit.near_pairs(compared)]
    first = {n: members[0] for members in audit.groups(len(items), links) for n in members}
    return [replace(item, scene=items[first.get(n, n)].scene) for n, item in enumerate(items)]


# ---------------------------------------------------------------- contamination
def seen(opened: Opened, trained_on: Sequence[str] | None, hashes: Sequence[str] | None = None) -> list[bool | None]:
    """For each image: whether its scene was trained on; None where that is not known.

    Args:
        trained_on: sources of the weights; None where nobody says, empty for methods that learned nothing.
        hashes: perceptual hashes of all scenes that were trained on, where the weights come with them.
    """
    if trained_on is not None and not trained_on:
        return [False] * len(opened.items)
    if hashes is not None:
        near = images.hamming(images.hash_bits([i.phash for i in opened.items]), images.hash_bits(list(hashes)))
        return [
            None if not item.phash else bool((row <= images.NEAR_BITS).any())
            for item, row in zip(opened.items, near, strict=True)
        ]
    if trained_on is None:
        return [None] * len(opened.items)
    within = set(trained_on)
    for name in trained_on:
        within.update(sources.get(name).contains if name in sources.TABLE else ())
    if opened.testset.split == "train" and opened.testset.source in within:
        return [True] * len(opened.items)
    leaks = {key for source, keys in LEAKS.get(opened.testset.name, {}).items() if source in within for key in keys}
    bad = {i.scene for i in opened.items if i.key in leaks}
    return [True if i.scene in bad else None for i in opened.items]
