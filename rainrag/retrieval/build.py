"""Filling the store: photographs are measured in shards and become references, or are left out with a reason."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from rainrag.core import images
from rainrag.core.errors import DecodeError, InputError, LayoutError
from rainrag.core.files import atomic, fingerprint, lock, read_json, sha256_bytes, sha256_file, write_json
from rainrag.core.images import U8
from rainrag.core.jobs.stage import Engine, Job, Shard
from rainrag.core.names import printable
from rainrag.data import audit, dataset
from rainrag.retrieval.encoders import graphic, rain
from rainrag.retrieval.store import PROTOTYPE, SMALLEST, VERSION, Store, count, locate
from rainrag.retrieval.triplet import Triplet, Triplets


@dataclass(frozen=True)
class Photo:
    """A photograph to add: a file, or a row of a dataset."""

    key: str
    path: str
    sha256: str
    licence: str
    shard: str | None = None
    group: int = 0


@dataclass
class Measure:
    """The stage: photographs in, parquet shards of triplets out."""

    triplets: Triplets
    name: str = "store"
    version: int = VERSION
    isolated: bool = True  # always in a worker of one thread: float sums must not depend on --workers

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        return {"triplets": self.triplets.identity(), "prototype": PROTOTYPE}

    def setup(self) -> None:
        """Load the encoders."""
        self.triplets.setup()

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Measure one shard of photographs."""
        rows: list[dict[str, Any]] = []
        bad: list[dict[str, str]] = []
        sound: list[tuple[Photo, bytes, images.Decoded]] = []
        for photo, data in _bytes_of(shard.rows):
            try:
                decoded = images.decode(data, photo.path)
            except DecodeError as e:
                bad.append({"key": photo.key, "reason": e.reason, "detail": e.what})
                continue
            if min(decoded.size) < SMALLEST:
                bad.append({"key": photo.key, "reason": "too-small", "detail": f"{decoded.size[0]}x{decoded.size[1]}"})
                continue
            sound.append((photo, data, decoded))
            if len(sound) == self.triplets.batch:
                rows += self._rows(sound)
                sound = []
        rows += self._rows(sound)
        path = f"triplets/{shard.name}.parquet"
        write_rows(out / path, rows)
        return {"files": {path: len(rows)}, "bad": bad}

    def _rows(self, sound: Sequence[tuple[Photo, bytes, images.Decoded]]) -> list[dict[str, Any]]:
        """Rows of photographs that pass the models together."""
        made = self.triplets([d.rgb for _, _, d in sound]) if sound else []
        return [self._row(*one, t) for one, t in zip(sound, made, strict=True)]

    def _row(self, photo: Photo, data: bytes, decoded: images.Decoded, t: Triplet) -> dict[str, Any]:
        """One photograph's row."""
        signs = graphic.measure(decoded.rgb)
        rain_seen = t.drops or rain.evidence(t.signals["rain"]) >= 0
        flags = ["one-tint"] * signs.doubtful + ["no-rain-seen"] * (not rain_seen)
        return {
            "key": photo.key,
            "sha256": sha256_bytes(data),
            "phash": images.phash(decoded.rgb),
            "licence": photo.licence,
            "width": decoded.size[0],
            "height": decoded.size[1],
            "stratum": t.stratum,
            "flags": "; ".join(flags),
            "graphic": signs.graphic,
            "caption": t.caption,
            "text": t.text.tolist(),
            "feature": t.feature.tolist(),
            **{f"signal_{k}": v.tolist() for k, v in t.signals.items()},
            "structure": t.structure.tobytes(),
            "image": {"bytes": prototype(data, decoded.rgb), "path": printable(PurePosixPath(photo.path).name)},
        }


def prototype(data: bytes, rgb: U8) -> bytes:
    """The image I of the triplet: the photograph's own bytes, or a shrunk copy of a large one."""
    if max(rgb.shape[:2]) <= PROTOTYPE:
        return data
    out = io.BytesIO()
    Image.fromarray(images.fit(rgb, PROTOTYPE)).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def _bytes_of(photos: Sequence[Photo]) -> Any:
    if photos and photos[0].shard:
        part = dataset.group(photos[0].shard, photos[0].group, ["key", "lq"])
        rows = {r["key"]: r["lq"] for r in part}
        for p in photos:
            yield p, dataset.image_bytes(rows[p.key])
        return
    for p in photos:
        try:
            yield p, images.read_bytes(p.path)
        except DecodeError:
            yield p, b""  # reported as empty by the decoder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write triplets; vectors as lists of float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not rows:
        rows, empty = [_BLANK], True
    else:
        empty = False
    fields = []
    for name, value in rows[0].items():
        kind = (
            pa.list_(pa.float32()) if isinstance(value, list)
            else pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if isinstance(value, dict)
            else pa.binary() if isinstance(value, bytes)
            else pa.bool_() if isinstance(value, bool)
            else pa.int32() if isinstance(value, int)
            else pa.string()
        )  # fmt: skip
        fields.append((name, kind))
    table = pa.Table.from_pylist([] if empty else rows, schema=pa.schema(fields))
    with atomic(path) as tmp:
        pq.write_table(table, tmp, compression="zstd", use_dictionary=False)


PART = 32  # photographs a shard: what is lost at most when a build is killed
_BLANK: dict[str, Any] = {"key": "", "sha256": "", "phash": ""}


# ---------------------------------------------------------------- building
def datasets(root: Path) -> list[Path]:
    """Datasets below a folder that have photographs for the store."""

    def has(path: Path) -> bool:
        return any(r["real"] and r["gt_sha256"] is None for r in dataset.read_rows(path, ["real", "gt_sha256"]))

    found = sorted(p for p in root.iterdir() if dataset.is_dataset(p)) if root.is_dir() else []
    return [p for p in found if has(p)]


def photographs(data: Sequence[Path], known: Mapping[str, str] | None = None, say: Unread | None = None) -> list[Shard]:
    """Shards of photographs of folders, files and datasets. Of datasets, only unlabelled rows of real rain are taken.

    Shards are named by their content, so a changed file is measured again, and one that was only moved is not.

    Args:
        known: sha256 by key of photographs that are in the store already; these are passed over.
        say: called with {"key", "reason", "detail"} of the files of a folder that are not taken.

    Raises:
        MissingError: for a folder that is not there.
        InputError: when one has nothing to give, or two photographs would have the same key.
    """
    shards: list[Shard] = []
    taken = dict(known or {})
    for root in data:
        found = _dataset_photos(root) if dataset.is_dataset(root) else _files(root, say)
        for part in found:
            new = tuple(p for p in part if not _is_known(p, taken, root))
            if new:
                shards.append(Shard(fingerprint([[p.key, p.sha256] for p in new]), new))
    return shards


def _is_known(photo: Photo, taken: dict[str, str], root: Path) -> bool:
    """Whether the same photograph was met before; notes a new one.

    Raises:
        InputError: when its key is another photograph's.
    """
    if photo.key not in taken:
        taken[photo.key] = photo.sha256
        return False
    if taken[photo.key] != photo.sha256:
        raise InputError(
            f"two different photographs would be called '{photo.key}'",
            where=root,
            hint="give one of the folders another name; if the file has changed: rainrag store build … --overwrite",
        )
    return True


Unread = Callable[[list[dict[str, str]]], None]


def _files(root: Path, say: Unread | None = None) -> list[list[Photo]]:
    """Photographs of a folder, or a single file, in parts of 32.

    Args:
        say: called with {"key", "reason", "detail"} of the files that are met and not taken.

    Raises:
        MissingError, InputError: when there is none.
    """
    if root.is_file():
        return [[Photo(f"{root.resolve().parent.name}/{root.stem}", str(root), _sha256(root), "unstated")]]
    try:
        found, unplaced = audit.entries(root)  # broken images are listed, and reported when they are measured
    except LayoutError as e:
        hint = "name the folder of rainy photographs alone, or make a dataset of it: rainrag ingest folder --unlabelled"
        raise InputError(e.what, where=root, hint=hint) from e
    if say:
        say(unplaced)
    entries = [e for s in found for e in s.rows]
    if any(e.gt for e in entries):
        raise InputError(
            "these are pairs; the store is of unlabelled photographs of real rain",
            where=root,
            hint="name a folder of photographs, or a dataset made by 'rainrag ingest folder'",
        )
    photos = [Photo(e.key, e.lq, _sha256(Path(e.lq)), "unstated") for e in entries]
    return [photos[at : at + PART] for at in range(0, len(photos), PART)]


def _sha256(path: Path) -> str:
    """Identity of a file; "" where it cannot be read, which the decoder then reports."""
    try:
        return sha256_file(path)
    except OSError:
        return ""


def _dataset_photos(root: Path) -> list[list[Photo]]:
    parts = []
    for path in dataset.shards(root):
        for group, rows in dataset.groups(path, ["key", "licence", "gt_sha256", "lq_sha256", "real"]):
            part = [
                Photo(r["key"], r["key"], r["lq_sha256"], r["licence"], str(path), group)
                for r in rows
                if r["gt_sha256"] is None and r["real"]
            ]
            parts += [part[at : at + PART] for at in range(0, len(part), PART)]
    if not parts:
        raise InputError(
            "no unlabelled real photographs in this dataset",
            where=root,
            hint="the store is of real rain without targets",
        )
    return parts


def build(
    data: Sequence[Path],
    where: str | Path,
    triplets: Triplets,
    engine: Engine,
    *,
    add: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    planned: Callable[[int], None] | None = None,
    say: Unread | None = None,
) -> Store:
    """Build a store, or add photographs to one.

    Args:
        where: folder, or address of a Chroma server.
        add: add to an existing store; its encoders must be these.
        overwrite: start again.
        progress: called with the number of photographs done, again and again.
        planned: called once with the number of photographs to measure.
        say: as for ``photographs``.

    Raises:
        IntegrityError: when the store exists with other encoders.
        InputError: when not one photograph can be used.
    """
    path, server = locate(where)
    with lock(path / ".lock"):
        if overwrite:
            clear(path)
        exists = (path / "store.json").exists()
        store = Store.open(where) if exists else Store(path, server)
        identity = triplets.identity()
        if exists:
            store.check(identity)
        if server:
            store.reach()  # before hours of measuring
        shards = photographs(data, store.known() if add and exists else None, say)
        if planned:
            planned(sum(s.size for s in shards))
        _measure(store, shards, triplets, engine, add, progress)
        store.manifest.update(version=VERSION, identity=identity, encoders=triplets.choice(), server=server)
        store.settle()
        if not store.keys:
            why = count(x["reason"] for x in store.manifest["left_out"])
            raise InputError(f"not one photograph can be a reference: {why}", where=", ".join(map(str, data)))
        store.rebuild_locked()
    return store


def _measure(
    store: Store, shards: list[Shard], triplets: Triplets, engine: Engine, add: bool,
    progress: Callable[[int], None] | None,
) -> None:  # fmt: skip
    """Measure photographs into the store's parquet and note the bad ones."""
    path = store.path
    records = Job(Measure(triplets), path, None).run(shards, engine, (lambda _, n: progress(n)) if progress else None)
    bad = {b["key"]: b for r in records.values() for b in r["bad"]}
    if add and (path / "bad.json").exists():
        bad = {**{b["key"]: b for b in read_json(path / "bad.json")}, **bad}
    write_json(path / "bad.json", [bad[k] for k in sorted(bad)])
    if not add:
        _forget_others(path, {s.name for s in shards})


def clear(path: Path) -> None:
    """Remove what earlier builds of ours wrote into a folder, and nothing else; the index is made again in its place."""
    for name in ("triplets", ".rainrag"):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in ("store.json", "bad.json", "removed.json", "timings.log"):
        (path / name).unlink(missing_ok=True)
    for old in (*path.glob(".structures-*.u8"), *path.glob(".statistics-*.u16")):
        old.unlink()


def _forget_others(path: Path, names: set[str]) -> None:
    """Remove triplets of photographs that were given to an earlier build and are not given now."""
    for part in (path / "triplets").glob("*.parquet"):
        if part.stem not in names:
            part.unlink()
            (path / ".rainrag" / "store" / f"shard-{part.stem}.json").unlink(missing_ok=True)
