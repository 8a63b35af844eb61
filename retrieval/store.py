"""The index on disk: one writer, many readers, and exactly one published generation that readers see.

The writer works on the newest version of a LanceDB table, which nobody reads. When the result is proved, it tags that
version with the next generation's name and atomically replaces `published.json`, the one pointer that readers follow.
A reader opens the tagged version and stays on it, so it sees one generation, whole, whatever the writer does. A crash
before the pointer moves leaves versions that no one reads; the next run puts the table back to the published one first.
The superseded generation stays readable until the next run that writes.

Another kind of store is one class with the methods of `Store`, chosen in `open_store`.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.documents import Chunk, Fingerprint
from contracts.errors import BusyError, DataError, StoreError
from contracts.files import read_json, write_json
from contracts.params import Retrieval

if TYPE_CHECKING:
    import lancedb
    import pyarrow

PUBLISHED = "published.json"
_PREFIX = "chunks_"
_KEEP_VERSIONS = timedelta(minutes=1)  # how long a superseded version stays for a query that is still on it
_KEEP_ALL = timedelta(days=36500)
_RRF_K = 60  # Cormack, Clarke, Büttcher: Reciprocal Rank Fusion, SIGIR 2009
_ROWS = 2048

Records = dict[str, list[str]]  # document id → record hashes of its chunks, in order


class Publication(BaseModel):
    """What readers see: which generation, made how, holding what. `content` is IndexRecord.content."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    generation: int
    fingerprint: Fingerprint
    content: str

    @property
    def table(self) -> str:
        """Two fingerprints never share a table."""
        return f"{_PREFIX}{self.fingerprint.id}"

    @property
    def tag(self) -> str:
        return f"generation-{self.generation}"


@dataclass(frozen=True)
class Hit:
    """A chunk that was found; `score` is its fused rank score, higher is better."""

    chunk: Chunk
    score: float


class Store(Protocol):
    """What an index must offer. Everything raises StoreError when the store cannot do it."""

    def published(self) -> Publication | None:
        """The published generation, read anew; None before the first."""

    def records(self) -> Records:
        """What the published generation really holds; empty before the first."""

    def recover(self) -> None:
        """Remove what an unpublished run left, and what generations before the published one held."""

    def stage(
        self, fingerprint: Fingerprint, drop: Collection[str], chunks: Sequence[Chunk], vectors: np.ndarray
    ) -> None:
        """Next to the published generation: remove the documents `drop`, then add `chunks` with their unit vectors."""

    def staged(self, fingerprint: Fingerprint, written: Collection[str]) -> Records:
        """Read back what was staged. The hashes of the documents `written` are computed from the stored chunks."""

    def publish(self, publication: Publication) -> None:
        """Make what was staged the one generation that readers see, atomically."""

    def search(self, publication: Publication, vector: np.ndarray, text: str, candidates: int) -> list[Hit]:
        """The best `candidates` by vector and as many by full text, fused to at most that number; best first."""


def open_store(settings: Retrieval, root: Path) -> Store:
    """The store that `retrieval.store` names. Creates nothing until something is staged."""
    return LanceStore(root)  # `lancedb` is the only kind so far


@contextmanager
def writer_lock(root: Path) -> Iterator[None]:
    """Hold the right to write to the store at `root`. The operating system gives it back, even after a kill.

    Raises:
        BusyError: another process holds it.
    """
    from filelock import FileLock, Timeout

    path = root.parent / f"{root.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip() or "unknown"
        raise BusyError(
            f"another run is writing to the index {root} (process {holder}): wait for it to end, or stop it"
        ) from None
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


class LanceStore:
    """A LanceDB directory. Safe for many readers, in threads and processes, beside one writer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: tuple[Publication, lancedb.Table] | None = None

    def published(self) -> Publication | None:
        path = self.root / PUBLISHED
        if not path.is_file():
            return None
        try:
            return Publication.model_validate(read_json(path))
        except (DataError, ValidationError):
            raise StoreError(f"{path} cannot be read: delete {self.root} and run `freshtune reindex`") from None

    def records(self) -> Records:
        publication = self.published()
        if publication is None:
            return {}
        with self._telling("read"):
            return _records(_rows(self._at(publication)))

    def recover(self) -> None:
        publication = self.published()
        with self._telling("recover"):
            database = self._connect()
            for name in database.list_tables().tables:
                if name.startswith(_PREFIX) and (publication is None or name != publication.table):
                    database.drop_table(name)
            if publication is None:
                return
            table = database.open_table(publication.table)
            for tag in set(table.tags.list()) - {publication.tag}:
                table.tags.delete(tag)
            if table.version == table.tags.get_version(publication.tag):
                table.optimize(cleanup_older_than=_KEEP_VERSIONS)  # the newest, here the published one, always stays
            else:
                table.checkout(publication.tag)
                table.restore()

    def stage(
        self, fingerprint: Fingerprint, drop: Collection[str], chunks: Sequence[Chunk], vectors: np.ndarray
    ) -> None:
        from lancedb.index import FTS

        with self._telling("write"):
            database, name = self._connect(), f"{_PREFIX}{fingerprint.id}"
            if name in database.list_tables().tables:
                table = database.open_table(name)
            else:
                table = database.create_table(name, schema=_schema(fingerprint.dimensions))
            for some in _batches(sorted(drop), 500):
                table.delete(_among(some))
            for i in range(0, len(chunks), _ROWS):
                table.add(_to_arrow(chunks[i : i + _ROWS], vectors[i : i + _ROWS], fingerprint.dimensions))
            if not table.list_indices():
                table.create_index("text", config=FTS())
            table.optimize(cleanup_older_than=_KEEP_ALL)  # compacts, and takes the new rows into the full-text index

    def staged(self, fingerprint: Fingerprint, written: Collection[str]) -> Records:
        with self._telling("read back"):
            table = self._connect().open_table(f"{_PREFIX}{fingerprint.id}")
            rows = _rows(table)
            stored = [
                Chunk.model_validate_json(text)
                for some in _batches(sorted(written), 500)
                for text in table.search().where(_among(some)).select(["chunk"]).to_arrow()["chunk"].to_pylist()
            ]
        again = {(chunk.document, chunk.ordinal): chunk.record_hash for chunk in stored}
        return _records([(doc, n, again.get((doc, n), "") if doc in written else digest) for doc, n, digest in rows])

    def publish(self, publication: Publication) -> None:
        with self._telling("publish"):
            table = self._connect().open_table(publication.table)
            table.tags.create(publication.tag, table.version)
            write_json(self.root / PUBLISHED, publication.model_dump())

    def search(self, publication: Publication, vector: np.ndarray, text: str, candidates: int) -> list[Hit]:
        from lancedb.rerankers import RRFReranker

        with self._telling("search"):
            table = self._at(publication)
            query: Any = table.search(query_type="hybrid", vector_column_name="vector", fts_columns="text")
            query = query.vector(vector).text(text).distance_type("cosine").rerank(RRFReranker(K=_RRF_K))
            rows = query.limit(candidates).to_list()
        hits = [Hit(Chunk.model_validate_json(row["chunk"]), float(row["_relevance_score"])) for row in rows]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.document, hit.chunk.ordinal))

    def _at(self, publication: Publication) -> "lancedb.Table":
        """The table pinned to one generation. It is kept open until another is asked for."""
        held = self._open
        if held is None or held[0] != publication:
            table = self._connect().open_table(publication.table)
            table.checkout(publication.tag)
            held = self._open = (publication, table)
        return held[1]

    def _connect(self) -> "lancedb.DBConnection":
        import lancedb

        return lancedb.connect(self.root)

    @contextmanager
    def _telling(self, action: str) -> Iterator[None]:
        """LanceDB raises ValueError, RuntimeError and OSError; the user is told what that means for the index."""
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(
                f"the index {self.root} failed to {action} ({error}): run `freshtune reindex` again;"
                f" if that fails, delete {self.root} first (embeddings are kept elsewhere)"
            ) from error


def _schema(dimensions: int) -> "pyarrow.Schema":
    import pyarrow as pa

    columns = {"document": pa.string(), "ordinal": pa.int32(), "record_hash": pa.string(), "text": pa.string()}
    return pa.schema({**columns, "chunk": pa.string(), "vector": pa.list_(pa.float32(), dimensions)})


def _to_arrow(chunks: Sequence[Chunk], vectors: np.ndarray, dimensions: int) -> "pyarrow.Table":
    import pyarrow as pa

    columns = [
        [chunk.document for chunk in chunks],
        pa.array([chunk.ordinal for chunk in chunks], pa.int32()),
        [chunk.record_hash for chunk in chunks],
        [chunk.embedded_text for chunk in chunks],
        [chunk.model_dump_json() for chunk in chunks],
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), dimensions),
    ]
    return pa.table(columns, schema=_schema(dimensions))


def _rows(table: "lancedb.Table") -> list[tuple[str, int, str]]:
    """(document, ordinal, record hash) of every row."""
    columns = ["document", "ordinal", "record_hash"]
    found = table.search().select(columns).to_arrow()
    return list(zip(*(found[name].to_pylist() for name in columns), strict=True))


def _records(rows: list[tuple[str, int, str]]) -> Records:
    records: Records = {}
    for document, _, digest in sorted(rows):
        records.setdefault(document, []).append(digest)
    return records


def _among(documents: Sequence[str]) -> str:
    """The SQL condition for rows of these documents."""
    quoted = ("'" + document.replace("'", "''") + "'" for document in documents)
    return f"document IN ({', '.join(quoted)})"


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))
