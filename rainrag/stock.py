"""Filling the store: photographs are measured in shards and become references, or are left out with a reason."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from rainrag import audit, dataset, images
from rainrag.encoders.triplet import Triplet, Triplets
from rainrag.errors import DecodeError, InputError
from rainrag.files import atomic, fingerprint, lock, read_json, sha256_bytes, write_json
from rainrag.images import U8
from rainrag.stage import Engine, Job, Shard
from rainrag.store import PROTOTYPE, VERSION, Store, count, locate


@dataclass(frozen=True)
class Photo:
    """A photograph to add: a file, or a row of a dataset."""

    key: str
    path: str
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
        rows, bad = [], []
        for photo, data in _bytes_of(shard.rows):
            try:
                decoded = images.decode(data, photo.path)
            except DecodeError as e:
                bad.append({"key": photo.key, "reason": e.reason, "detail": e.what})
                continue
            if min(decoded.size) < 96:
                bad.append({"key": photo.key, "reason": "too-small", "detail": f"{decoded.size[0]}x{decoded.size[1]}"})
                continue
            rows.append(self.row(photo, data, decoded))
        path = f"triplets/{shard.name}.parquet"
        write_rows(out / path, rows)
        return {"files": {path: len(rows)}, "bad": bad}

    def row(self, photo: Photo, data: bytes, decoded: images.Decoded) -> dict[str, Any]:
        """One photograph's row."""
        t = self.triplets([decoded.rgb])[0]
        few = colours(decoded.rgb)
        flags = ["few-colours"] * (0.5 <= few < 1.6) + ["no-rain-seen"] * (not _rain_seen(t))
        return {
            "key": photo.key,
            "sha256": sha256_bytes(data),
            "phash": images.phash(decoded.rgb),
            "licence": photo.licence,
            "width": decoded.size[0],
            "height": decoded.size[1],
            "stratum": t.stratum,
            "flags": "; ".join(flags),
            "graphic": few < 0.5,
            "caption": t.caption,
            "text": t.text.tolist(),
            "feature": t.feature.tolist(),
            **{f"signal_{k}": v.tolist() for k, v in t.signals.items()},
            "structure": t.structure.tobytes(),
            "image": {"bytes": prototype(data, decoded.rgb), "path": PurePosixPath(photo.path).name},
        }


def colours(rgb: U8) -> float:
    """Distinct colours (5 bits a channel) per thousand pixels: photographs of rain have 2 to 40, drawn rain about 1."""
    small = images.fit(rgb, 512) // 8
    codes = (small[..., 0].astype(np.int32) << 10) | (small[..., 1].astype(np.int32) << 5) | small[..., 2]
    return 1000 * len(np.unique(codes)) / codes.size


def _rain_seen(t: Triplet) -> bool:
    return t.drops or "no clear streaks" not in t.caption or "drops" in t.caption


def prototype(data: bytes, rgb: U8) -> bytes:
    """The image I of the triplet: the photograph's own bytes, or a shrunk copy of a large one."""
    if max(rgb.shape[:2]) <= PROTOTYPE:
        return data
    out = io.BytesIO()
    Image.fromarray(images.fit(rgb, PROTOTYPE)).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def _bytes_of(photos: Sequence[Photo]) -> Any:
    if photos and photos[0].shard:
        import pyarrow.parquet as pq

        part = pq.ParquetFile(photos[0].shard).read_row_group(photos[0].group, columns=["key", "lq"]).to_pylist()
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


_BLANK: dict[str, Any] = {"key": "", "sha256": "", "phash": ""}


# ---------------------------------------------------------------- building
def photographs(data: Sequence[Path]) -> list[Shard]:
    """Shards of photographs of folders and datasets. Of pairs, only the rainy side of unlabelled rows is taken.

    Raises:
        MissingError, InputError: when there is nothing.
    """
    shards: list[Shard] = []
    for root in data:
        if dataset.is_dataset(root):
            shards += _dataset_photos(root)
            continue
        found, _ = audit.entries(root)
        photos = [Photo(e.key, e.lq, "unstated") for s in found for e in s.rows if e.gt is None]
        if not photos:
            raise InputError(
                "these are pairs; the store is of unlabelled photographs of real rain",
                where=root,
                hint="name a folder of photographs, or rainrag ingest folder … first",
            )
        for at in range(0, len(photos), 32):
            part = tuple(photos[at : at + 32])
            shards.append(Shard(fingerprint([[p.key, _stamp(p.path)] for p in part]), part))
    return shards


def _stamp(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _dataset_photos(root: Path) -> list[Shard]:
    import pyarrow.parquet as pq

    shards = []
    for path in dataset.shards(root):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["key", "licence", "gt_sha256", "lq_sha256", "real"]).to_pylist()
            part = tuple(
                Photo(r["key"], r["key"], r["licence"], str(path), group)
                for r in rows
                if r["gt_sha256"] is None and r["real"]
            )
            if part:
                shards.append(Shard(fingerprint([[r["key"], r["lq_sha256"]] for r in rows]), part))
    if not shards:
        raise InputError(
            "no unlabelled real photographs in this dataset",
            where=root,
            hint="the store is of real rain without targets",
        )
    return shards


def build(
    data: Sequence[Path],
    where: str | Path,
    triplets: Triplets,
    engine: Engine,
    *,
    add: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """Build a store, or add photographs to one.

    Args:
        where: folder, or address of a Chroma server.
        add: add to an existing store; its encoders must be these.
        overwrite: start anew.

    Raises:
        IntegrityError: when the store exists with other encoders.
        InputError: when not one photograph can be used.
    """
    path, server = locate(where)
    if overwrite and path.exists() and ((path / "store.json").exists() or (path / "triplets").exists()):
        shutil.rmtree(path)
    exists = (path / "store.json").exists()
    store = Store.open(where) if exists else Store(path, server)
    identity = triplets.identity()
    if exists:
        store.check(identity)
    shards = photographs(data)
    with lock(path / ".lock"):
        stage = Measure(triplets)
        records = Job(stage, path, None).run(shards, engine, (lambda _, n: progress(n)) if progress else None)
        bad = {b["key"]: b for r in records.values() for b in r["bad"]}
        if add and (path / "bad.json").exists():
            bad = {**{b["key"]: b for b in read_json(path / "bad.json")}, **bad}
        write_json(path / "bad.json", [bad[k] for k in sorted(bad)])
        if not add:
            _forget_others(path, {s.name for s in shards})
        encoders = {"captioner": triplets.captioner, "encoder": triplets.encoder, "refine": list(triplets.refine)}
        store.manifest.update(
            version=VERSION, identity=identity, encoders={**encoders, "settings": triplets.settings}, server=server
        )
        store.settle()
    if not store.keys:
        why = count(x["reason"] for x in store.manifest["left_out"])
        raise InputError(f"not one photograph can be a reference: {why}", where=", ".join(map(str, data)))
    store.rebuild()
    return store


def _forget_others(path: Path, names: set[str]) -> None:
    """Remove triplets of photographs that were given to an earlier build and are not given now."""
    for part in (path / "triplets").glob("*.parquet"):
        if part.stem not in names:
            part.unlink()
            (path / ".rainrag" / "store" / f"shard-{part.stem}.json").unlink(missing_ok=True)
