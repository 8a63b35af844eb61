"""The index as a LanceDB directory: a generation is a tagged version of a table, `published.json` the pointer.

The writer works on the newest version, which nobody reads. A reader opens the tagged version and stays on it, whatever
the writer does. Two fingerprints never share a table. What others do to the table is never seen, and undone by the
next run, which first puts the table back to the published version.
"""

import errno
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from contracts.documents import Chunk
from contracts.errors import DataError, StoreError
from contracts.files import full_disk, read_json, write_json
from retrieval.store import Hit, Pointer, Publication, Records

if TYPE_CHECKING:
    import lancedb
    import pyarrow

PUBLISHED = "published.json"
_PREFIX = "chunks_"
_INDEX = "text_idx"  # LanceDB's name for the full-text index of the column text
_KEEP_ALL = timedelta(days=36500)
_KEEP = timedelta(minutes=10)  # beyond the age of the published version: compaction comes before the clean-up
_EVERY = 16  # generations between two compactions, and
_UNINDEXED = 1000  # rows that full-text search reads one by one: up to these a query hardly slows
_RRF_K = 60  # Cormack, Clarke, Büttcher: Reciprocal Rank Fusion, SIGIR 2009
_NAMES = 500  # documents named in one SQL condition


class LanceStore:
    """Safe for many readers, in threads and processes, beside one writer."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, str(root)
        self._open: tuple[Publication, lancedb.Table] | None = None

    def pointer(self) -> Pointer | None:
        path = self.root / PUBLISHED
        if not path.is_file():
            return None
        try:
            return Pointer.model_validate(read_json(path))
        except (DataError, ValidationError):
            raise StoreError(f"{path} cannot be read: delete {self.root} and run `freshtune reindex`") from None

    def begin(self, publication: Publication) -> None:
        pointer = self.pointer()
        with self._telling("recover"):
            if pointer and pointer.previous:
                self.point(pointer.model_copy(update={"previous": None}))
            database, current = self._connect(), pointer.current if pointer else None
            for name in database.list_tables().tables:
                if name.startswith(_PREFIX) and (current is None or name != _table(current)):
                    database.drop_table(name)
            if current:
                table = database.open_table(_table(current))
                for tag in set(table.tags.list()) - {_tag(current)}:
                    table.tags.delete(tag)
                if table.version != table.tags.get_version(_tag(current)):
                    table.checkout(_tag(current))
                    table.restore()
            if current is None or _table(current) != _table(publication):
                database.create_table(_table(publication), schema=_schema(publication.fingerprint.dimensions))

    def write(
        self, publication: Publication, drop: Collection[str], chunks: Sequence[Chunk], vectors: np.ndarray
    ) -> None:
        with self._telling("write"):
            table = self._connect().open_table(_table(publication))
            for some in _conditions(drop):
                table.delete(some)
            if chunks:
                table.add(_to_arrow(chunks, vectors, publication.fingerprint.dimensions))

    def seal(self, publication: Publication) -> None:
        with self._telling("write"):
            table = self._connect().open_table(_table(publication))
            _put_in_order(table, publication.generation)
            table.tags.create(_tag(publication), table.version)

    def point(self, pointer: Pointer) -> None:
        with self._telling("publish"):
            write_json(self.root / PUBLISHED, pointer.model_dump())

    def count(self, publication: Publication) -> int:
        with self._telling("read"):
            return int(self._at(publication).count_rows())

    def records(self, publication: Publication) -> Records:
        columns = ["document", "ordinal", "record_hash"]
        with self._telling("read"):
            found = self._at(publication).search().select(columns).to_arrow()
        records: Records = {}
        for document, _, digest in sorted(zip(*(found[name].to_pylist() for name in columns), strict=True)):
            records.setdefault(document, []).append(digest)
        return records

    def chunks(self, publication: Publication, documents: Collection[str]) -> list[Chunk]:
        with self._telling("read back"):
            table = self._at(publication)
            found = [
                Chunk.model_validate_json(text)
                for some in _conditions(documents)
                for text in table.search().where(some).select(["chunk"]).to_arrow()["chunk"].to_pylist()
            ]
        return sorted(found, key=lambda chunk: (chunk.document, chunk.ordinal))

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
            table = self._connect().open_table(_table(publication))
            table.checkout(_tag(publication))
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
            if os.strerror(errno.ENOSPC) in str(error):
                raise full_disk(self.root) from None
            raise StoreError(
                f"the index {self.root} failed to {action} ({error}): run `freshtune reindex` again;"
                f" if that fails, delete {self.root} first (embeddings are kept elsewhere)"
            ) from error


def _put_in_order(table: "lancedb.Table", generation: int) -> None:
    """Have a full-text index and few files. What that costs depends on the whole table, so it waits until it pays."""
    from lancedb.index import FTS

    if not table.list_indices():
        table.optimize(cleanup_older_than=_KEEP_ALL)  # first: an index would have to follow the rows that this moves
        table.create_index("text", config=FTS())
        return
    index = table.index_stats(_INDEX)
    if generation % _EVERY == 0 or index is None or index.num_unindexed_rows > _UNINDEXED:
        table.optimize(cleanup_older_than=_age(table) + _KEEP)


def _age(table: "lancedb.Table") -> timedelta:
    """How long ago the published version was made. Lance cleans up nothing at all if a tagged version would have to go."""
    tagged = {tag["version"] for tag in table.tags.list().values()}
    made = [version["timestamp"].timestamp() for version in table.list_versions() if version["version"] in tagged]
    return timedelta(seconds=max(0, time.time() - min(made)))


def _table(publication: Publication) -> str:
    return f"{_PREFIX}{publication.fingerprint.id}"


def _tag(publication: Publication) -> str:
    return f"generation-{publication.generation}"


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


def _conditions(documents: Collection[str]) -> Iterator[str]:
    """SQL conditions that together hold for the rows of these documents."""
    names = sorted(documents)
    for i in range(0, len(names), _NAMES):
        quoted = ("'" + name.replace("'", "''") + "'" for name in names[i : i + _NAMES])
        yield f"document IN ({', '.join(quoted)})"
