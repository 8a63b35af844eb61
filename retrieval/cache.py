"""The embedding cache: a text is embedded once under a fingerprint, wherever it stands and however often it returns."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from contracts.errors import StoreError
from retrieval.embed import Embedder

BATCH = 256  # texts embedded between two commits: what a kill can cost


class EmbeddingCache:
    """Vectors by the hash of their text, one SQLite file per fingerprint. A kill costs at most the batch under way."""

    def __init__(self, path: Path, dimensions: int) -> None:
        self.path, self.dimensions = path, dimensions

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (hash TEXT PRIMARY KEY, vector BLOB)")
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"the embedding cache {self.path} cannot be used ({error}): delete it, it will be made again"
            ) from None

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The distinct hashes without a vector, in order. Creates nothing."""
        found = self.get(hashes) if self.path.exists() else {}
        return [digest for digest in dict.fromkeys(hashes) if digest not in found]

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors there are; one of a wrong size counts as absent."""
        wanted = list(dict.fromkeys(hashes))
        found: dict[str, np.ndarray] = {}
        with self._open() as connection:
            for i in range(0, len(wanted), 500):
                some = wanted[i : i + 500]
                query = f"SELECT hash, vector FROM vectors WHERE hash IN ({','.join('?' * len(some))})"
                found.update((h, np.frombuffer(v, dtype="<f4")) for h, v in connection.execute(query, some))
        return {digest: vector for digest, vector in found.items() if vector.shape == (self.dimensions,)}

    def put(self, hashes: Sequence[str], vectors: np.ndarray) -> None:
        """Store one vector per hash, in one transaction."""
        rows = [(digest, vector.astype("<f4").tobytes()) for digest, vector in zip(hashes, vectors, strict=True)]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)


def embed_texts(texts: dict[str, str], embedder: Embedder, cache: EmbeddingCache) -> tuple[dict[str, np.ndarray], int]:
    """Vectors for `texts` (hash → text), and how many of them had to be computed.

    Raises:
        ModelError: the embedder cannot be loaded.
        StoreError: the cache cannot be used.
    """
    missing = cache.missing(list(texts))
    for i in range(0, len(missing), BATCH):
        some = missing[i : i + BATCH]
        cache.put(some, embedder.encode([texts[digest] for digest in some]))
    return cache.get(list(texts)), len(missing)
