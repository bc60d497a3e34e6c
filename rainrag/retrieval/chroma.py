"""The store's index on Chroma: made from the parquet, never the truth. A folder of its own, or a Chroma server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np

from rainrag.core.errors import IntegrityError, MissingError
from rainrag.core.files import fingerprint
from rainrag.core.images import F32

COLLECTION = "references"
#: HNSW: fixed, so that a rebuilt index answers as the one before.
SETTINGS = {"hnsw": {"space": "l2", "ef_construction": 200, "max_neighbors": 32, "ef_search": 400}}


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
            return chromadb.PersistentClient(str(self.folder / "chroma"), settings=quiet)
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
    def name(self) -> str:
        """Of the collection: a server may hold several stores."""
        return f"{COLLECTION}-{fingerprint(str(self.folder.resolve()))[:8]}" if self.server else COLLECTION

    def collection(self) -> Any:
        """The collection of this state of the store.

        Raises:
            IntegrityError: when it is missing, incomplete, or of another state.
        """
        try:
            found = self.client().get_collection(self.name, embedding_function=None)
        except MissingError:
            raise
        except Exception as e:  # chromadb has one error for each client kind
            raise IntegrityError(f"the index is missing: {e}", where=self.folder, hint="rainrag store rebuild") from e
        if (found.metadata or {}).get("fingerprint") != self.state:
            raise IntegrityError(
                "the index is of another state of the store", where=self.folder, hint="rainrag store rebuild"
            )
        held = found.count()
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
        client = self.client()
        if self.name in [c.name for c in client.list_collections()]:
            client.delete_collection(self.name)
        made = client.create_collection(
            self.name, metadata={"fingerprint": self.state}, configuration=SETTINGS, embedding_function=None
        )
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
        got = self.collection().get(ids=list(keys), include=["embeddings"])
        held = dict(zip(got["ids"], got["embeddings"], strict=True))
        return [k for k, t in zip(keys, texts, strict=True) if k not in held or not np.allclose(held[k], t, atol=1e-6)]
