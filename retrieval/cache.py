"""What was once computed under a fingerprint is kept: the vector of a text, and the chunks of a document.

Both are keyed by content, so a text is embedded once wherever it stands and however often it returns, and an unchanged
document is not cut again. One SQLite file per fingerprint; it may be deleted at any time.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contracts import paths
from contracts.documents import Chunk, Fingerprint
from contracts.errors import BusyError, StoreError
from retrieval.embed import Embedder

BATCH = 256  # texts embedded between two commits: what a kill can cost


class Outline(NamedTuple):
    """What a plan must know of a document: hashes of it, of its chunks' records and embedded texts, and of its body."""

    document_hash: str
    records: list[str]
    texts: list[str]
    body: str


class EmbeddingCache:
    """Vectors by the hash of their text, chunks by the hash of their document. A kill costs at most the batch under way."""

    def __init__(self, path: Path, dimensions: int) -> None:
        self.path, self.dimensions = path, dimensions

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (hash TEXT PRIMARY KEY, vector BLOB)")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS documents (hash TEXT PRIMARY KEY, outline TEXT, chunks TEXT)"
                )
                yield connection
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise BusyError(
                    f"the disk of {self.path} is full: make room and run `freshtune reindex` again"
                ) from None
            raise StoreError(
                f"the embedding cache {self.path} cannot be used ({error}): delete it, it will be made again"
            ) from None

    def _select(self, columns: str, table: str, hashes: Iterable[str]) -> Iterator[tuple[str, ...]]:
        wanted = list(dict.fromkeys(hashes))
        with self._open() as connection:
            for i in range(0, len(wanted), 500):
                some = wanted[i : i + 500]
                query = f"SELECT {columns} FROM {table} WHERE hash IN ({','.join('?' * len(some))})"
                yield from connection.execute(query, some)

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The distinct hashes without a vector, in order. Creates nothing."""
        found = set()
        if self.path.exists():
            rows = self._select("hash, length(vector)", "vectors", hashes)
            found = {digest for digest, size in rows if int(size) == 4 * self.dimensions}
        return [digest for digest in dict.fromkeys(hashes) if digest not in found]

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors there are; one of a wrong size counts as absent."""
        rows = self._select("hash, vector", "vectors", hashes)
        found = {digest: np.frombuffer(vector, dtype="<f4") for digest, vector in rows}  # type: ignore[call-overload]
        return {digest: vector for digest, vector in found.items() if vector.shape == (self.dimensions,)}

    def put(self, hashes: Sequence[str], vectors: np.ndarray) -> None:
        """Store one vector per hash, in one transaction."""
        rows = [(digest, vector.astype("<f4").tobytes()) for digest, vector in zip(hashes, vectors, strict=True)]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def outlines(self, document_hashes: Sequence[str]) -> dict[str, Outline]:
        """The outlines there are, by document hash. Creates nothing."""
        if not self.path.exists():
            return {}
        rows = self._select("hash, outline", "documents", document_hashes)
        return {digest: Outline(digest, *json.loads(outline)) for digest, outline in rows}

    def chunks(self, document_hashes: Sequence[str]) -> dict[str, list[Chunk]]:
        """The chunks of documents whose outline is known."""
        rows = self._select("hash, chunks", "documents", document_hashes)
        return {digest: [Chunk.model_validate(chunk) for chunk in json.loads(text)] for digest, text in rows}

    def put_documents(self, documents: dict[str, tuple[Outline, list[Chunk]]]) -> None:
        """Keep the chunks of documents, by document hash, in one transaction."""
        rows = [
            (digest, json.dumps(outline[1:]), json.dumps([chunk.model_dump() for chunk in chunks]))
            for digest, (outline, chunks) in documents.items()
        ]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)

    def forget_documents(self, keep: Iterable[str]) -> None:
        """Drop the chunks of all documents but those with the hashes `keep`. Vectors stay: texts come back."""
        with self._open() as connection:
            connection.execute("CREATE TEMP TABLE kept (hash TEXT PRIMARY KEY)")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((digest,) for digest in keep))
            connection.execute("DELETE FROM documents WHERE hash NOT IN (SELECT hash FROM kept)")


def cache_of(fingerprint: Fingerprint) -> EmbeddingCache:
    """The cache of everything computed under one fingerprint."""
    return EmbeddingCache(paths.EMBEDDINGS / f"{fingerprint.id}.sqlite", fingerprint.dimensions)


def embed_texts(texts: dict[str, str], embedder: Embedder, cache: EmbeddingCache) -> tuple[dict[str, np.ndarray], int]:
    """Vectors for `texts` (hash → text), and how many of them had to be computed.

    Raises:
        BusyError: the disk is full.
        ModelError: the embedder cannot be loaded.
        StoreError: the cache cannot be used.
    """
    missing = cache.missing(list(texts))
    size = BATCH * getattr(embedder, "workers", 1)
    for i in range(0, len(missing), size):
        some = missing[i : i + size]
        cache.put(some, embedder.encode([texts[digest] for digest in some]))
    return cache.get(list(texts)), len(missing)
