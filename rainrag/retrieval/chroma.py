"""The store's index on Chroma: made from the parquet, never the truth. A folder of its own, or a Chroma server."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

import numpy as np

from rainrag.core.errors import IntegrityError, MissingError
from rainrag.core.files import fingerprint
from rainrag.core.images import F32

log = logging.getLogger("rainrag.store")
T = TypeVar("T")

COLLECTION = "references"
#: HNSW: fixed, so that a rebuilt index answers as the one before.
SETTINGS = {"hnsw": {"space": "l2", "ef_construction": 200, "max_neighbors": 32, "ef_search": 400}}


#: Databases that this process has opened -> which file each was.
_open: dict[str, tuple[int, int] | None] = {}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        st = path.stat()
    except OSError:
        return None
    return st.st_dev, st.st_ino


def _opened(action: Callable[[], T]) -> T:
    """Run something of Chroma's; a panic of its native part, which is no Exception, becomes one.

    Raises:
        OSError: for such a panic.
    """
    try:
        return action()
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as e:
        raise OSError(f"{type(e).__name__}: {e}") from e


@dataclass
class Index:
    """One collection of caption vectors.

    Args:
        folder: of the store; the index lies in ``folder/chroma`` unless there is a server.
        server: address of a Chroma server, ``http://host:port``.
        state: fingerprint of the store that the index has to be of.
        size: references that it has to hold.
    """

    folder: Path
    server: str | None
    state: str
    size: int

    def client(self) -> Any:
        """A Chroma client.

        Raises:
            MissingError: when the server does not answer.
        """
        import chromadb
        from chromadb.config import Settings

        quiet = Settings(anonymized_telemetry=False)
        if not self.server:
            self._forget_replaced()
            client = _opened(lambda: chromadb.PersistentClient(str(self.database.parent), settings=quiet))
            _open[str(self.database)] = _identity(self.database)
            return client
        at = urlparse(self.server)
        try:
            made = chromadb.HttpClient(
                host=at.hostname or "", port=at.port or (443 if at.scheme == "https" else 8000),
                ssl=at.scheme == "https", settings=quiet,
            )  # fmt: skip
            made.heartbeat()
        except Exception as e:  # chromadb wraps connection errors in ValueError and others
            raise MissingError(
                f"the Chroma server does not answer: {e}",
                where=self.server,
                hint=f"start it: chroma run --path DIR --port {at.port or 8000}",
            ) from e
        return made

    @property
    def database(self) -> Path:
        """Chroma's own file, where the index lies in the store's folder."""
        return self.folder / "chroma" / "chroma.sqlite3"

    def _forget_replaced(self, always: bool = False) -> None:
        """Let go of a client whose files were removed or replaced: Chroma keeps one per path for the whole process."""
        from chromadb.api.shared_system_client import SharedSystemClient

        before = _open.get(str(self.database))
        if not always and (before is None or before == _identity(self.database)):
            return
        _open.pop(str(self.database), None)
        path = str(self.database.parent)
        SharedSystemClient._identifier_to_refcount.pop(path, None)
        system = SharedSystemClient._identifier_to_system.pop(path, None)
        if system is not None:
            with contextlib.suppress(Exception):  # its files are gone; nothing is left to be closed in order
                system.stop()

    @property
    def name(self) -> str:
        """Of the collection: a server may hold several stores."""
        return f"{COLLECTION}-{fingerprint(str(self.folder.resolve()))[:8]}" if self.server else COLLECTION

    def collection(self) -> Any:
        """The collection of this state of the store.

        Raises:
            IntegrityError: when it is missing, incomplete, or of another state.
        """
        if not self.server and not self.database.exists():
            raise IntegrityError("the index is missing: no file", where=self.folder, hint="rainrag store rebuild")
        try:
            client = self.client()
            found = _opened(lambda: client.get_collection(self.name, embedding_function=None))
        except MissingError:
            raise
        except Exception as e:  # chromadb has one error for each client kind
            raise IntegrityError(f"the index is missing: {e}", where=self.folder, hint="rainrag store rebuild") from e
        if (found.metadata or {}).get("fingerprint") != self.state:
            raise IntegrityError(
                "the index is of another state of the store", where=self.folder, hint="rainrag store rebuild"
            )
        try:
            held = _opened(found.count)
        except Exception as e:
            raise IntegrityError(f"the index is damaged: {e}", where=self.folder, hint="rainrag store rebuild") from e
        if held != self.size:
            raise IntegrityError(
                f"the index holds {held} of {self.size} references", where=self.folder, hint="rainrag store rebuild"
            )
        return found

    def make(self, parts: Iterable[Sequence[dict[str, Any]]]) -> None:
        """Make the collection again.

        Args:
            parts: rows with ``key``, ``caption``, ``text`` and metadata, some hundreds at a time.
        """
        client, made = self._empty()
        most = client.get_max_batch_size()
        for rows in parts:
            for at in range(0, len(rows), most):
                part = rows[at : at + most]
                made.add(
                    ids=[r["key"] for r in part],
                    embeddings=[r["text"] for r in part],
                    documents=[r["caption"] for r in part],
                    metadatas=[{k: v for k, v in r.items() if k not in ("key", "caption", "text")} for r in part],
                )

    def _empty(self) -> tuple[Any, Any]:
        """(client, new collection). Damaged files of an index are removed: the parquet has all that they held."""

        def create() -> tuple[Any, Any]:
            client = self.client()
            if self.name in [c.name for c in client.list_collections()]:
                client.delete_collection(self.name)
            made = client.create_collection(
                self.name, metadata={"fingerprint": self.state}, configuration=SETTINGS, embedding_function=None
            )
            return client, made

        if self.server:
            return create()
        try:
            return _opened(create)
        except Exception as e:  # sqlite's, the native index's or Chroma's own, all of a damaged folder
            log.warning("the index could not be opened and is made from nothing: %s", str(e).splitlines()[0][:200])
            self._forget_replaced(always=True)
            shutil.rmtree(self.database.parent, ignore_errors=True)
            return _opened(create)

    def searcher(self, keys: Sequence[str]) -> Any:
        """A function (texts (Q, E), k) -> for each query the row numbers of the k nearest, ties by row."""
        collection = self.collection()
        row = {k: i for i, k in enumerate(keys)}

        def search(texts: F32, k: int) -> list[list[int]]:
            found = collection.query(
                query_embeddings=texts.tolist(), n_results=min(k, len(keys)), include=["distances"]
            )
            return [
                [row[i] for _, i in sorted(zip(d, ids, strict=True), key=lambda x: (x[0], row[x[1]]))]
                for ids, d in zip(found["ids"], found["distances"], strict=True)
            ]

        return search

    def wrong(self, keys: Sequence[str], texts: F32) -> list[str]:
        """Keys under which the index holds another vector than the store's, or none."""
        collection = self.collection()
        got = _opened(lambda: collection.get(ids=list(keys), include=["embeddings"]))
        held = dict(zip(got["ids"], got["embeddings"], strict=True))
        return [k for k, t in zip(keys, texts, strict=True) if k not in held or not np.allclose(held[k], t, atol=1e-6)]
