"""The index on a Weaviate server: a generation is a filter, the alias and its collection's description the pointer.

One collection for each fingerprint. Every record says in which generation it was `born` and, once it is replaced or
removed, in which it `died`; a reader of generation g asks for born ≤ g and not died ≤ g. Marking a death only ever adds
a property, so that no query finds a record between two states. Both the alias (which collection) and the description
(which generation of it) stand in Weaviate's Raft schema: one request reads them together, and each moves atomically
for all nodes of a cluster.

Batches report a failed object without raising: every response is looked through, and one failure fails the run.
"""

import atexit
import json
import uuid
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import ValidationError

from contracts.documents import Chunk
from contracts.errors import StoreError
from contracts.params import Retrieval, secret
from retrieval.store import Hit, Pointer, Publication, Records

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.collections import Collection as WeaviateCollection
    from weaviate.collections.classes.filters import _Filters

OLDEST = (1, 33)  # the first server with the operator Not
_NAMESPACE = uuid.UUID("5f1c1c0e-6f43-5d0c-9a39-6f6f0f5b7a11")
_BATCH = 500
_LIMIT = 10_000  # the most that Weaviate returns or deletes at once by default (QUERY_MAXIMUM_RESULTS)
_ALL = ["document", "ordinal", "record_hash", "text", "chunk", "born"]


class WeaviateStore:
    """The index `retrieval.store` names: http(s)://host:port/index. Safe for many readers beside one writer."""

    def __init__(self, settings: Retrieval) -> None:
        name = urlsplit(settings.store).path.strip("/")
        self.place, self._alias = settings.store, name[0].upper() + name[1:]
        self._replicas = settings.weaviate.replication_factor
        self._client = _connect(
            settings.store.removesuffix(urlsplit(settings.store).path),
            settings.weaviate.grpc_port,
            secret(settings.weaviate.api_key_env),
        )

    def pointer(self) -> Pointer | None:
        from weaviate.exceptions import UnexpectedStatusCodeError

        with self._telling("read"):
            try:
                config = self._client.collections.use(self._alias).config.get(simple=True)
            except UnexpectedStatusCodeError as error:
                if error.status_code == 404:
                    return None
                raise
        try:
            return Pointer.model_validate_json(config.description or "")
        except ValidationError:
            raise StoreError(
                f"{self.place}: the collection {config.name} was not made by freshtune: name another index in"
                " retrieval.store, or delete the collection"
            ) from None

    def begin(self, publication: Publication) -> None:
        pointer = self.pointer()
        if pointer and pointer.previous:
            self.point(pointer.model_copy(update={"previous": None}))
        kept = self._name(pointer.current) if pointer else None
        with self._telling("recover"):
            for name in self._client.collections.list_all(simple=True):
                if name.startswith(f"{self._alias}_") and name != kept:
                    self._client.collections.delete(name)
            if pointer:
                self._recover(pointer.current)
            if self._name(publication) != kept:
                self._create(publication)

    def _recover(self, current: Publication) -> None:
        """Leave exactly what `current` holds. The death of a record in a generation that never came is taken back."""
        from weaviate.classes.query import Filter

        born, died = Filter.by_property("born"), Filter.by_property("died")
        collection = self._of(current)
        for some in (born.greater_than(current.generation), died.less_or_equal(current.generation)):
            while (done := collection.data.delete_many(where=some)).matches:
                if done.failed:
                    raise StoreError(
                        f"{self.place}: {done.failed} outdated records could not be deleted: run `freshtune reindex` again"
                    )
        self._rewrite(collection, died.greater_than(current.generation), {})

    def _create(self, publication: Publication) -> None:
        from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances

        def text(name: str, **options: Any) -> Property:
            return Property(name=name, data_type=DataType.TEXT, **options)

        self._client.collections.create(
            self._name(publication),
            vector_config=Configure.Vectors.self_provided(
                vector_index_config=Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE)
            ),
            replication_config=Configure.replication(factor=self._replicas),
            properties=[
                text("document", tokenization=Tokenization.FIELD, index_searchable=False),
                Property(name="ordinal", data_type=DataType.INT, index_filterable=False),
                text("record_hash", index_filterable=False, index_searchable=False),
                text("text", tokenization=Tokenization.WORD, index_filterable=False),
                text("chunk", index_filterable=False, index_searchable=False),
                *(
                    Property(name=name, data_type=DataType.INT, index_filterable=False, index_range_filters=True)
                    for name in ("born", "died")
                ),
            ],
        )

    def write(
        self, publication: Publication, drop: Collection[str], chunks: Sequence[Chunk], vectors: np.ndarray
    ) -> None:
        from weaviate.classes.data import DataObject
        from weaviate.classes.query import Filter

        with self._telling("write"):
            collection = self._of(publication)
            for some in _slices(sorted(drop), 100):
                old = _alive(publication) & Filter.by_property("born").less_than(publication.generation)
                old &= Filter.by_property("document").contains_any(list(some))
                self._rewrite(collection, old, {"died": publication.generation})
            for i in range(0, len(chunks), _BATCH):
                rows = zip(chunks[i : i + _BATCH], vectors[i : i + _BATCH], strict=True)
                self._insert(
                    collection,
                    [
                        DataObject(
                            properties={
                                "document": chunk.document,
                                "ordinal": chunk.ordinal,
                                "record_hash": chunk.record_hash,
                                "text": chunk.embedded_text,
                                "chunk": chunk.model_dump_json(),
                                "born": publication.generation,
                            },
                            uuid=_id(publication, chunk),
                            vector=vector.tolist(),
                        )
                        for chunk, vector in rows
                    ],
                )

    def _rewrite(self, collection: "WeaviateCollection", some: "_Filters", change: dict[str, int]) -> None:
        """Give every record of `some` the properties `change` and no other mark; they must leave `some` by it."""
        from weaviate.classes.data import DataObject

        while found := collection.query.fetch_objects(
            filters=some, limit=_BATCH, include_vector=True, return_properties=_ALL
        ).objects:
            self._insert(
                collection,
                [DataObject(properties={**o.properties, **change}, uuid=o.uuid, vector=o.vector) for o in found],
            )

    def _insert(self, collection: "WeaviateCollection", objects: list[Any]) -> None:
        from weaviate.exceptions import WeaviateInsertManyAllFailedError

        try:
            errors = collection.data.insert_many(objects).errors
        except WeaviateInsertManyAllFailedError as error:
            raise StoreError(
                f"{self.place} refused all {len(objects)} objects of a batch ({_first_line(error)});"
                " nothing was published: mend that on the server and run `freshtune reindex` again"
            ) from None
        if errors:
            told = "; ".join(
                f"{objects[i].properties['document']} chunk {objects[i].properties['ordinal']} as {objects[i].uuid}"
                f" ({_first_line(error.message)})"
                for i, error in list(errors.items())[:5]
            )
            raise StoreError(
                f"{self.place} refused {len(errors)} of {len(objects)} objects: {told}{'; …' if len(errors) > 5 else ''}."
                " Nothing was published: mend that on the server and run `freshtune reindex` again"
            )

    def seal(self, publication: Publication) -> None:
        """A record is searchable once its batch was answered: nothing is left to do."""

    def point(self, pointer: Pointer) -> None:
        with self._telling("publish"):
            name, aliases = self._name(pointer.current), self._client.alias
            self._of(pointer.current).config.update(description=pointer.model_dump_json())
            if not aliases.exists(alias_name=self._alias):
                aliases.create(alias_name=self._alias, target_collection=name)
            elif not aliases.update(alias_name=self._alias, new_target_collection=name):
                raise StoreError(f"{self.place}: the alias {self._alias} went away: run `freshtune reindex` again")

    def count(self, publication: Publication) -> int:
        from weaviate.exceptions import WeaviateQueryError

        with self._telling("count"):
            try:
                found = self._of(publication).aggregate.over_all(total_count=True, filters=_alive(publication))
                return int(found.total_count or 0)
            except WeaviateQueryError:  # a cluster with a node away cannot aggregate, but it can be read
                return sum(map(len, self.records(publication).values()))

    def records(self, publication: Publication) -> Records:
        rows = []
        with self._telling("read"):
            names = ["document", "ordinal", "record_hash", "born", "died"]
            for found in self._of(publication).iterator(return_properties=names, cache_size=2000):
                row: Any = found.properties
                died = row["died"]
                if row["born"] <= publication.generation and (died is None or died > publication.generation):
                    rows.append((row["document"], row["ordinal"], row["record_hash"]))
        records: Records = {}
        for document, _, digest in sorted(rows):
            records.setdefault(document, []).append(digest)
        return records

    def chunks(self, publication: Publication, documents: Collection[str]) -> list[Chunk]:
        from weaviate.classes.query import Filter

        chunks: list[Chunk] = []
        with self._telling("read back"):
            for some in _slices(sorted(documents), 100):
                wanted = _alive(publication) & Filter.by_property("document").contains_any(list(some))
                found = self._of(publication).query.fetch_objects(
                    filters=wanted, limit=_LIMIT, return_properties=["chunk"]
                )
                if len(found.objects) == _LIMIT:
                    raise StoreError(
                        f"{self.place}: {_LIMIT} chunks or more stand in {len(some)} documents ({some[0]} …), more than"
                        " it returns at once: cut the documents into smaller ones"
                    )
                chunks += [Chunk.model_validate_json(str(o.properties["chunk"])) for o in found.objects]
        return sorted(chunks, key=lambda chunk: (chunk.document, chunk.ordinal))

    def search(self, publication: Publication, vector: np.ndarray, text: str, candidates: int) -> list[Hit]:
        from weaviate.classes.query import HybridFusion, MetadataQuery

        with self._telling("search"):
            found = self._of(publication).query.hybrid(
                query=text,
                query_properties=["text"],
                vector=vector.tolist(),
                alpha=0.5,  # both searches weigh the same, as in plain reciprocal rank fusion
                fusion_type=HybridFusion.RANKED,
                limit=candidates,
                filters=_alive(publication),
                return_properties=["chunk"],
                return_metadata=MetadataQuery(score=True),
            )
        hits = [
            Hit(Chunk.model_validate_json(str(o.properties["chunk"])), float(o.metadata.score or 0))
            for o in found.objects
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.document, hit.chunk.ordinal))

    def _name(self, publication: Publication) -> str:
        return f"{self._alias}_{publication.fingerprint.id}"

    def _of(self, publication: Publication) -> "WeaviateCollection":
        return self._client.collections.use(self._name(publication))

    @contextmanager
    def _telling(self, action: str) -> Iterator[None]:
        """The client's exceptions as one message."""
        from weaviate.exceptions import WeaviateBaseError

        try:
            yield
        except WeaviateBaseError as error:
            raise StoreError(
                f"the index {self.place} failed to {action} ({_first_line(error)}); readers keep what is published:"
                " see that the server is up, then run `freshtune reindex` again"
            ) from error


@cache
def _connect(url: str, grpc_port: int, key: str | None) -> "WeaviateClient":
    """One connection for each server and key, for the life of the process."""
    with warnings.catch_warnings(record=True):  # a dependency of the client announces a deprecation at import, always
        import weaviate
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout
        from weaviate.exceptions import (
            AuthenticationFailedError,
            UnexpectedStatusCodeError,
            WeaviateBaseError,
        )

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        client = weaviate.connect_to_custom(
            http_host=str(parts.hostname),
            http_port=parts.port or (443 if secure else 80),
            http_secure=secure,
            grpc_host=str(parts.hostname),
            grpc_port=grpc_port,
            grpc_secure=secure,
            auth_credentials=Auth.api_key(key) if key else None,
            additional_config=AdditionalConfig(timeout=Timeout(init=10, query=60, insert=300)),
        )
    except WeaviateBaseError as error:
        refused = isinstance(error, AuthenticationFailedError) or (
            isinstance(error, UnexpectedStatusCodeError) and error.status_code in (401, 403)
        )
        if refused or "401" in str(error):
            raise StoreError(
                f"Weaviate at {url} refuses the API key: see that the variable which retrieval.weaviate.api_key_env"
                " names holds a key of that server"
            ) from None
        raise StoreError(
            f"no Weaviate answers at {url} with gRPC on port {grpc_port} ({_first_line(error)}): start it"
            " (`make weaviate`), or correct retrieval.store and retrieval.weaviate.grpc_port in params.yaml"
        ) from None
    atexit.register(client.close)
    version = str(client.get_meta()["version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        client.close()
        raise StoreError(
            f"Weaviate at {url} is {version}: freshtune needs {OLDEST[0]}.{OLDEST[1]} or newer;"
            " upgrade it one minor version at a time"
        )
    return client


def _alive(publication: Publication) -> "_Filters":
    from weaviate.classes.query import Filter

    now = publication.generation
    dead = Filter.by_property("died").less_or_equal(now)
    return Filter.by_property("born").less_or_equal(now) & ~dead


def _id(publication: Publication, chunk: Chunk) -> uuid.UUID:
    """The same for the same record of the same generation, and for no other: JSON keeps the parts apart."""
    parts = [chunk.document, chunk.ordinal, chunk.record_hash, publication.generation]
    return uuid.uuid5(_NAMESPACE, json.dumps(parts))


def _slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _first_line(error: object) -> str:
    """What a library said, in one line of bounded length."""
    words = " ".join(str(error).split())
    return words if len(words) <= 300 else f"{words[:300]} …"
