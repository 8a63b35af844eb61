"""What was once computed under a fingerprint is kept: the vector of a text, and the chunks of a document.

Both are keyed by content, so a text is embedded once wherever it stands and however often it returns, and an unchanged
document is neither converted nor cut again. One SQLite file per fingerprint; it may be deleted at any time.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contracts import paths
from contracts.documents import Chunk, Fingerprint
from contracts.errors import StoreError
from contracts.files import full_disk
from retrieval.embed import Embedder

BATCH = 256  # texts embedded between two commits: what a kill can cost

# With a write-ahead log a commit survives a kill without waiting for the disk; a power cut may take the last ones back.
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS vectors (hash TEXT PRIMARY KEY, vector BLOB);
CREATE TABLE IF NOT EXISTS documents (hash TEXT PRIMARY KEY, outline TEXT, chunks TEXT);
"""


class Outline(NamedTuple):
    """What a plan must know of a document: hashes of its source, of its chunks' records and texts, and of its body."""

    source: str
    records: list[str]
    texts: list[str]
    body: str


class EmbeddingCache:
    """Vectors by the hash of their text, chunks by the hash of their source. A kill costs at most the batch under way.

    Opened by the first use, closed by `close`.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        self.path, self.dimensions = path, dimensions
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._connection:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(self.path, timeout=60)
                self._connection.executescript(_SCHEMA)
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            self.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise full_disk(self.path) from None
            raise StoreError(
                f"the embedding cache {self.path} cannot be used ({error}): delete it, it will be made again"
            ) from None

    def _select(self, columns: str, table: str, hashes: Iterable[str]) -> Iterator[tuple[str, ...]]:
        wanted = list(dict.fromkeys(hashes))
        with self._transaction() as connection:
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
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def outlines(self, sources: Sequence[str]) -> dict[str, Outline]:
        """The outlines there are, by the hash of the source. Creates nothing."""
        if not self.path.exists():
            return {}
        rows = self._select("hash, outline", "documents", sources)
        return {digest: Outline(digest, *json.loads(outline)) for digest, outline in rows}

    def chunks(self, sources: Sequence[str]) -> dict[str, list[Chunk]]:
        """The chunks of documents whose outline is known."""
        rows = self._select("hash, chunks", "documents", sources)
        return {digest: [Chunk.model_validate(chunk) for chunk in json.loads(text)] for digest, text in rows}

    def put_documents(self, documents: Iterable[tuple[Outline, list[Chunk]]]) -> None:
        """Keep the chunks of documents, in one transaction."""
        rows = [
            (outline.source, json.dumps(outline[1:]), json.dumps([chunk.model_dump() for chunk in chunks]))
            for outline, chunks in documents
        ]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)

    def forget_documents(self, keep: Iterable[str]) -> None:
        """Drop the chunks of all documents but those with the source hashes `keep`. Vectors stay: texts come back."""
        with self._transaction() as connection:
            kept = json.dumps(list(keep))
            connection.execute("DELETE FROM documents WHERE hash NOT IN (SELECT value FROM json_each(?))", [kept])


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
