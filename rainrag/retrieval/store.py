"""The reference store D_r: real rainy photographs as relation triplets (paper, section 3.1).

Parquet is the truth: one row a photograph, with its caption, vectors, what the voters measure, its structure and its
prototype. Chroma is an index that ``rebuild`` makes from it, written by one process under a lock. Which encoders made
the vectors is the store's identity; queries made otherwise are refused. ``rainrag.retrieval.build`` fills a store.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images, workspace
from rainrag.core.errors import DecodeError, InputError, IntegrityError, MissingError
from rainrag.core.files import atomic, fingerprint, lock, natural, read_json, sha256_bytes, sha256_file, write_json
from rainrag.core.images import F32
from rainrag.data import audit
from rainrag.retrieval import encoders
from rainrag.retrieval.chroma import Index
from rainrag.retrieval.references import References, Structural
from rainrag.retrieval.triplet import STRUCTURE, Triplets

VERSION = 2
PROTOTYPE = 1024  # longer side up to which a photograph's own bytes are kept; larger ones are shrunk for the voters
SMALLEST = 96  # pixels a side of a photograph
STATISTICS_UP_TO = 20_000  # references whose local statistics are kept in a file of 256 KB each
INDEX_FROM = 2000  # below this many references search is exact, whatever was measured: it takes microseconds

#: Why a photograph is not among the references.
REASONS = {
    **images.REASONS,
    "near-duplicate": "shows the same picture as another reference",
    "graphic": "is drawn in one tint, or a texture without a scene",
    "too-small": f"has less than {SMALLEST} pixels a side",
    "removed": "taken out by 'rainrag store remove'",
}
FLAGS = {
    "one-tint": "has hardly any colours of its own: perhaps a graphic, or dusk",
    "no-rain-seen": "looks more like a dry photograph, by the rain descriptor",
}


# ---------------------------------------------------------------- the store
@dataclass(frozen=True)
class LeftOut:
    """A photograph that is no reference, with its reason."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True)
class StoreReport:
    """What a store holds.

    Args:
        references: how many.
        strata: kind of rain and lighting -> references.
        flags, left_out: reason -> photographs.
        search: how queries search it, and how that was measured.
        encoders: models and settings that made the vectors.
        fingerprint: identity of encoders and content.
    """

    store: str
    server: str | None
    references: int
    strata: dict[str, int]
    flags: dict[str, int]
    left_out: dict[str, int]
    search: dict[str, Any] | None
    encoders: dict[str, Any]
    fingerprint: str


@dataclass
class Store:
    """A reference store on disk.

    Args:
        path: its folder.
        server: address of a Chroma server for the index; None keeps the index in the folder.
    """

    path: Path
    server: str | None = None
    manifest: dict[str, Any] = field(default_factory=dict)

    # ------------------------------------------------ opening
    @classmethod
    def open(cls, where: str | Path) -> Store:
        """Open a store by folder, or by the address of its Chroma server.

        Raises:
            MissingError: when there is none.
        """
        path, server = locate(where)
        if not (path / "store.json").exists():
            raise MissingError(
                "no reference store here", where=path, hint=f"rainrag store build PHOTOGRAPHS --store {where}"
            )
        manifest = read_json(path / "store.json")
        return cls(path, server or manifest.get("server"), manifest)

    @property
    def fingerprint(self) -> str:
        """Identity: encoders and content."""
        return str(self.manifest["fingerprint"])

    @property
    def keys(self) -> list[str]:
        """Keys of the references, sorted."""
        return list(self.manifest["keys"])

    def report(self) -> StoreReport:
        """What it holds, in numbers."""
        m = self.manifest
        return StoreReport(
            store=str(self.path),
            server=self.server,
            references=len(self.keys),
            strata=m["strata"],
            flags=count(f for flags in m["flags"].values() for f in flags.split("; ")),
            left_out=count(x["reason"] for x in m["left_out"]),
            search=m.get("search"),
            encoders=m["identity"],
            fingerprint=self.fingerprint,
        )

    def triplets(self, **settings: Any) -> Triplets:
        """The encoders that made this store, for its queries.

        Args:
            settings: instead of those it was made with, such as ``device``.

        Raises:
            IntegrityError: when today's encoders are not those that made it.
            MissingError: when it was made by a class of one's own whose module is not imported.
        """
        specs = self.manifest["encoders"]
        encoders.check_origin(specs["captioner"], specs["encoder"], *specs["refine"])
        made = Triplets(specs["captioner"], specs["encoder"], tuple(specs["refine"]), {**specs["settings"], **settings})
        self.check(made.identity())
        return made

    def check(self, identity: dict[str, Any]) -> None:
        """Refuse vectors of other encoders.

        Raises:
            IntegrityError: naming what differs.
        """
        mine = self.manifest["identity"]
        if identity != mine:
            differs = [k for k in sorted({*mine, *identity}) if mine.get(k) != identity.get(k)]
            raise IntegrityError(
                f"the store's vectors were made by other encoders: {', '.join(differs)} differ",
                where=self.path,
                hint="build a new store with these encoders; vectors of two encoders cannot be compared",
            )

    # ------------------------------------------------ reading
    def parts(self, columns: list[str], size: int = 256) -> Iterator[tuple[list[int], Any]]:
        """The references' rows, some hundreds at a time: (places in ``keys``, record batch), in the files' order.

        Raises:
            IntegrityError: when references have no row, or a file is damaged.
        """
        place = {k: i for i, k in enumerate(self.keys)}
        for path in sorted((self.path / "triplets").glob("*.parquet")):
            for batch in _batches(path, list(dict.fromkeys(["key", *columns])), size):
                keys = batch.column("key").to_pylist()
                at = [i for i, k in enumerate(keys) if k in place]
                if at:
                    yield [place.pop(keys[i]) for i in at], batch.take(at)
        if place:
            raise IntegrityError(
                f"{len(place)} references have no row, e.g. {min(place)}", where=self.path, hint="rainrag store verify"
            )

    def rows(self, columns: list[str]) -> list[dict[str, Any]]:
        """Columns of all references, in key order; not for images, which would all be in memory."""
        found: list[dict[str, Any]] = [{} for _ in self.keys]
        for at, batch in self.parts(columns):
            for i, row in zip(at, batch.to_pylist(), strict=True):
                found[i] = row
        return found

    def vectors(self, *columns: str) -> list[F32]:
        """(N, D) float32 of columns of vectors, in key order."""
        import pyarrow as pa

        found: dict[str, Any] = {}
        for at, batch in self.parts(list(columns)):
            for name in columns:
                column = batch.column(name)
                # take() leaves chunks of equal lists; their values lie one after another
                values = pa.array(column).flatten().to_numpy(zero_copy_only=False).reshape(len(at), -1)
                if name not in found:
                    found[name] = np.empty((len(self.keys), values.shape[1]), np.float32)
                found[name][at] = values
        return [found[name] for name in columns]

    def some(self, keys: set[str], columns: list[str]) -> dict[str, dict[str, Any]]:
        """Rows of some references by key.

        Raises:
            IntegrityError: for keys that have no row.
        """
        import pyarrow.parquet as pq

        found: dict[str, dict[str, Any]] = {}
        for part in sorted((self.path / "triplets").glob("*.parquet")):
            if len(found) == len(keys):
                break
            own = pq.read_table(part, columns=["key"]).column("key").to_pylist()
            at = [i for i, k in enumerate(own) if k in keys]
            if at:
                table = pq.read_table(part, columns=list(dict.fromkeys(["key", *columns]))).take(at)
                found.update({r["key"]: r for r in table.to_pylist()})
        if len(found) != len(keys):
            raise IntegrityError(
                f"references are missing: {sorted(keys - set(found))[:3]}", where=self.path, hint="rainrag store verify"
            )
        return found

    def references(self, search: str | None = None) -> References:
        """Matrices for the cascade.

        Args:
            search: ``exact`` or ``index`` for stage 1; None as was measured when the index was built.
        """
        rows = self.rows(["sha256", "phash"])
        texts, features = self.vectors("text", "feature")
        use = search or self.manifest.get("search", {}).get("use", "exact")
        return References(
            self.keys,
            [r["sha256"] for r in rows],
            [r["phash"] for r in rows],
            texts,
            features,
            self._structures(),
            scenes=[self.manifest["scenes"].get(k, k) for k in self.keys],
            search=self.index().searcher(self.keys) if use == "index" else None,
            statistics=self._statistics(),
        )

    def signals(self) -> dict[str, F32]:
        """What the statistical voters measure, name -> (N, D), rows in key order."""
        import pyarrow.parquet as pq

        first = next(p for p in sorted((self.path / "triplets").glob("*.parquet")) if pq.read_metadata(p).num_rows)
        names = [n for n in pq.read_schema(first).names if n.startswith("signal_")]
        return {n.removeprefix("signal_"): v for n, v in zip(names, self.vectors(*names), strict=True)}

    def _structures(self) -> Any:
        """(N, 256, 256) uint8, memory-mapped from a file made once from the parquet."""
        path = self.path / f".structures-{self.fingerprint}.u8"
        n = len(self.keys)
        if not path.exists() or path.stat().st_size != n * STRUCTURE**2:
            for old in self.path.glob(".structures-*.u8"):
                old.unlink()
            with atomic(path) as tmp, open(tmp, "wb") as f:
                f.truncate(n * STRUCTURE**2)
                for at, batch in self.parts(["structure"]):
                    for i, pixels in zip(at, batch.column("structure").to_pylist(), strict=True):
                        f.seek(i * STRUCTURE**2)
                        f.write(pixels)
        if n == 0:
            return np.zeros((0, STRUCTURE, STRUCTURE), np.uint8)
        return np.memmap(path, np.uint8, "r", shape=(n, STRUCTURE, STRUCTURE))

    def _statistics(self) -> Any:
        """(N, 2, 256, 256) uint16 of the structures, memory-mapped; None where the writer made no file of them."""
        shape = (len(self.keys), 2, STRUCTURE, STRUCTURE)
        path = self._statistics_file()
        if not path.exists() or path.stat().st_size != 2 * int(np.prod(shape)) or not shape[0]:
            return None
        return np.memmap(path, np.uint16, "r", shape=shape)

    def _statistics_file(self) -> Path:
        return self.path / f".statistics-{self.fingerprint}.u16"

    def _make_statistics(self) -> None:
        """Measure each structure once for all queries; of very large stores, queries measure what they meet."""
        path = self._statistics_file()
        for old in self.path.glob(".statistics-*.u16"):
            old.unlink()
        if len(self.keys) > STATISTICS_UP_TO:
            return
        measure = Structural()
        with atomic(path) as tmp, open(tmp, "wb") as f:
            for y in self._structures():
                f.write(measure.measure(np.asarray(y)).tobytes())

    def known(self) -> dict[str, str]:
        """sha256 by key of every photograph that was measured, references or not, and of none that was unreadable."""
        return {r["key"]: r["sha256"] for r in _all_rows(self.path, ["sha256"])}

    # ------------------------------------------------ the index
    def reach(self) -> None:
        """See that the index can be written.

        Raises:
            MissingError: when the server does not answer.
        """
        Index(self.path, self.server, "", 0).client()

    def index(self) -> Index:
        """The index that belongs to this state of the store."""
        return Index(self.path, self.server, self.fingerprint, len(self.keys))

    def rebuild(self, progress: Callable[[int], None] | None = None) -> None:
        """Make the index again from the parquet, in batches, by one writer."""
        with lock(self.path / ".lock"):
            self.rebuild_locked(progress)

    def rebuild_locked(self, progress: Callable[[int], None] | None = None) -> None:
        """The same by a writer that has the lock already."""

        def parts() -> Iterator[list[dict[str, Any]]]:
            for at, batch in self.parts(["sha256", "licence", "stratum", "caption", "text"]):
                yield batch.to_pylist()
                if progress:
                    progress(len(at))

        self.manifest.pop("search", None)  # until it is measured, no half-made index is searched
        write_json(self.path / "store.json", self.manifest)
        self.index().make(parts())
        self._make_statistics()
        self.manifest["search"] = self._measure_search()
        write_json(self.path / "store.json", self.manifest)

    def _measure_search(self, k: int = 100, sample: int = 128) -> dict[str, Any]:
        """Exact search against the index: the recall, and which to use. Small stores are searched exactly, in any case."""
        n = len(self.keys)
        sample, k = min(sample, n), min(k, n)
        if not n:
            return {"use": "exact", "references": 0}
        refs = self.references("exact")
        queries = refs.texts[np.linspace(0, n - 1, sample).astype(int)] + 0.02 * np.random.default_rng(
            0
        ).standard_normal((sample, refs.texts.shape[1])).astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        started = time.perf_counter()
        exact = np.argsort(-(queries @ refs.texts.T), axis=1, kind="stable")[:, :k]
        middle = time.perf_counter()
        index = self.index().searcher(refs.keys)(queries, k)
        ended = time.perf_counter()
        recall = float(np.mean([len(set(a) & set(b)) / k for a, b in zip(exact.tolist(), index, strict=True)]))
        exact_ms, index_ms = (middle - started) / sample * 1e3, (ended - middle) / sample * 1e3
        with open(self.path / "timings.log", "a") as f:
            f.write(f"search\t{n} references\texact {exact_ms:.3f} ms\tindex {index_ms:.3f} ms a query\n")
        use = "index" if n >= INDEX_FROM and index_ms < exact_ms and recall >= 0.99 else "exact"
        return {"use": use, "references": n, "recall": round(recall, 4), "k": k, "queries": sample}

    # ------------------------------------------------ changing
    def remove(self, keys: Sequence[str]) -> None:
        """Take references out (their rows stay, marked).

        Raises:
            InputError: for keys that are no references.
        """
        unknown = sorted(set(keys) - set(self.keys))
        if unknown:
            raise InputError(
                f"no such references: {', '.join(unknown[:5])}", where=self.path, hint="rainrag store info --keys"
            )
        with lock(self.path / ".lock"):
            write_json(self.path / "removed.json", sorted({*self._removed(), *keys}))
            self.settle()
            self.rebuild_locked()

    def _removed(self) -> list[str]:
        path = self.path / "removed.json"
        return read_json(path) if path.exists() else []

    def settle(self) -> None:
        """Decide which rows are references, write the manifest; the index is stale until ``rebuild``."""
        rows = _all_rows(self.path, ["sha256", "phash", "graphic", "flags", "stratum"])
        left = [LeftOut(**b) for b in read_json(self.path / "bad.json")] if (self.path / "bad.json").exists() else []
        removed = set(self._removed())
        kept, out = choose(rows, removed)
        left = sorted([*left, *out], key=lambda x: natural(x.key))
        flags = {r["key"]: r["flags"] for r in rows if r["flags"] and r["key"] in set(kept)}
        content = [[r["key"], r["sha256"]] for r in rows if r["key"] in set(kept)]
        items = [audit.Item(r["key"], None, None, r["sha256"], r["phash"], r["sha256"], False) for r in rows]
        scenes = {k: clip[0] for clip in audit.clips(items) for k in clip}
        self.manifest.pop("search", None)  # the index is of another state now
        self.manifest.update(
            keys=kept,
            scenes={k: scenes[k] for k in kept if k in scenes},
            flags=flags,
            left_out=[asdict(x) for x in left],
            files=self._file_hashes(),
            strata=count(r["stratum"] for r in rows if r["key"] in set(kept)),
            fingerprint=fingerprint([VERSION, self.manifest["identity"], sorted(content)]),
        )
        write_json(self.path / "store.json", self.manifest)

    def _file_hashes(self) -> dict[str, str]:
        """sha256 of each file of triplets as it was when it was first settled."""
        before = self.manifest.get("files", {})
        return {
            p.name: before.get(p.name) or sha256_file(p) for p in sorted((self.path / "triplets").glob("*.parquet"))
        }

    # ------------------------------------------------ checking
    def verify(self) -> list[str]:
        """What is wrong with the store: rows, prototypes, index. Empty when all is well."""
        problems: list[str] = []
        index = self.index()
        try:
            index.collection()
        except (IntegrityError, MissingError) as e:
            problems.append(e.what)
        whole = not problems
        try:
            for _, batch in self.parts(["sha256", "phash", "text", "image", "width", "height"]):
                rows = batch.to_pylist()
                problems += [f"{r['key']}: {p}" for r in rows if (p := _damage(r))]
                if whole:
                    texts = np.array([r["text"] for r in rows], np.float32)
                    wrong = index.wrong([r["key"] for r in rows], texts)
                    problems += [f"{k}: the index holds another vector" for k in wrong]
            if not problems:
                problems += self._changed_files()
        except IntegrityError as e:
            problems.append(e.what)
        return problems

    def _changed_files(self) -> list[str]:
        """Files of triplets that are not as they were written: captions, features and signals have no hash of their own."""
        return [
            f"triplets/{name}: not the bytes that were written"
            for name, sha in self.manifest.get("files", {}).items()
            if not (self.path / "triplets" / name).is_file() or sha256_file(self.path / "triplets" / name) != sha
        ]


def _batches(path: Path, columns: list[str], size: int) -> Iterator[Any]:
    """Record batches of a file of triplets.

    Raises:
        IntegrityError: when it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows:
            yield from file.iter_batches(batch_size=size, columns=columns)
    except (pa.ArrowException, OSError) as e:
        what = " ".join(str(e).split())[:300]
        hint = "build the store again from its photographs: rainrag store build … --overwrite"
        raise IntegrityError(f"the triplets cannot be read: {what}", where=path, hint=hint) from e


def _damage(row: dict[str, Any]) -> str | None:
    """What is wrong with a row's prototype."""
    data = row["image"]["bytes"]
    if max(row["width"], row["height"]) <= PROTOTYPE:
        return None if sha256_bytes(data) == row["sha256"] else "the prototype's sha256 differs"
    try:
        shown = images.phash(images.decode(data).rgb)
    except DecodeError as e:
        return f"the prototype cannot be read: {e.what}"
    if not shown or not row["phash"]:
        return None if shown == row["phash"] else "the prototype shows nothing"
    bits = int(images.hamming(images.hash_bits([shown]), images.hash_bits([row["phash"]]))[0, 0])
    return None if bits <= images.NEAR_BITS else "the prototype shows another picture"


def count(values: Any) -> dict[str, int]:
    """How often each value occurs, sorted by value."""
    return dict(sorted(Counter(values).items()))


def locate(where: str | Path) -> tuple[Path, str | None]:
    """Folder and server of a store: an address keeps its parquet in the workspace."""
    text = str(where)
    if text.startswith(("http://", "https://")):
        return workspace.place(
            "store", text.split("//", 1)[1].strip("/").replace(":", "-").replace("/", "-")
        ), text.rstrip("/")
    return Path(where), None


def _all_rows(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    for part in sorted((path / "triplets").glob("*.parquet")):
        if pq.read_metadata(part).num_rows:
            found += pq.read_table(part, columns=["key", *columns]).to_pylist()
    return sorted(found, key=lambda r: natural(r["key"]))


def choose(rows: list[dict[str, Any]], removed: set[str]) -> tuple[list[str], list[LeftOut]]:
    """Which rows are references: no graphics, one of each picture (the first by key), none that was removed."""
    out = []
    alive = []
    for r in rows:
        if r["key"] in removed:
            out.append(LeftOut(r["key"], "removed", REASONS["removed"]))
        elif r["graphic"]:
            out.append(LeftOut(r["key"], "graphic", REASONS["graphic"]))
        else:
            alive.append(r)
    items = [audit.Item(r["key"], None, None, r["sha256"], r["phash"], r["sha256"], False) for r in alive]
    twin: dict[int, int] = {}
    for i, j, _ in audit.near_pairs(items):
        if i not in twin:
            twin.setdefault(j, i)
    out += [LeftOut(items[j].key, "near-duplicate", f"of {items[i].key}") for j, i in twin.items()]
    return [x.key for j, x in enumerate(items) if j not in twin], out
