"""Keep the index equal to the documents, at the cost of what changed.

A run is: read, chunk, compare with what the store really holds, embed the texts never embedded before, stage whole
documents, read them back, publish, and leave the old generation to the next run. Stopped anywhere, the old answers
stay and the next run converges.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from contracts import paths
from contracts.documents import Chunk, Fingerprint
from contracts.errors import DataError, ParamsError, StoreError
from contracts.files import content_hash
from contracts.params import Params, Retrieval
from contracts.verdicts import IndexRecord
from retrieval.cache import EmbeddingCache, embed_texts
from retrieval.chunk import CHUNKER, chunk_document
from retrieval.documents import read_documents
from retrieval.embed import Embedder, load_embedder
from retrieval.store import Publication, Records, Store, open_store, writer_lock


@dataclass(frozen=True)
class Plan:
    """Document ids by what happens to them."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]

    @property
    def writes(self) -> list[str]:
        """The documents that are written anew, whole."""
        return self.added + self.changed


@dataclass(frozen=True)
class ReindexReport:
    """What a run did, or with `dry_run` would do. `chunks` counts all of the index, `embedded` what was computed."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    chunks: int = 0
    embedded: int = 0
    seconds: float = 0.0
    content: str = ""
    fingerprint: str = ""
    dry_run: bool = False


def fingerprint_of(settings: Retrieval, embedder: Embedder) -> Fingerprint:
    """What an index made with these settings is made with.

    Raises:
        ParamsError: chunks would be longer than what the embedder reads.
    """
    if settings.chunk_tokens > embedder.max_tokens:
        raise ParamsError(
            f"`retrieval.chunk_tokens` is {settings.chunk_tokens} in {paths.PARAMS}, but {settings.embedder} reads"
            f" {embedder.max_tokens} word pieces and drops the rest: set it to {embedder.max_tokens} or less"
        )
    return Fingerprint(
        embedder=settings.embedder,
        revision=embedder.revision,
        dimensions=embedder.dimensions,
        chunker=f"{CHUNKER} tokens={settings.chunk_tokens}",
    )


def plan(live: Records, wanted: Records, rebuild: bool = False) -> Plan:
    """Compare what the store holds with what it should hold; `rebuild` counts every shared document as changed."""
    shared = sorted(live.keys() & wanted.keys())
    return Plan(
        added=sorted(wanted.keys() - live.keys()),
        changed=[name for name in shared if rebuild or live[name] != wanted[name]],
        removed=sorted(live.keys() - wanted.keys()),
        unchanged=[name for name in shared if not rebuild and live[name] == wanted[name]],
    )


def reindex(
    params: Params,
    *,
    store: Path = paths.STORE,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    embedder: Embedder | None = None,
) -> ReindexReport:
    """Make the index at `store` equal to the documents. Twice is the same as once; `dry_run` writes nothing.

    Raises:
        BusyError: another run is writing.
        DataError: the documents cannot be read, or hold no text.
        ModelError: the embedder cannot be found or loaded.
        ParamsError: chunks would be longer than what the embedder reads.
        StoreError: too many documents would go, or the store does not hold what was written; nothing was published.
    """
    embedder = embedder or load_embedder(params.retrieval.embedder, params.dtype)
    if dry_run:
        return _run(params, store, embedder, allow_mass_delete, dry_run=True)
    with writer_lock(store):
        return _run(params, store, embedder, allow_mass_delete, dry_run=False)


def _run(params: Params, root: Path, embedder: Embedder, allow_mass_delete: bool, dry_run: bool) -> ReindexReport:
    started = time.perf_counter()
    fingerprint = fingerprint_of(params.retrieval, embedder)
    chunks = _chunks(params, embedder)
    wanted = {name: [chunk.record_hash for chunk in parts] for name, parts in chunks.items()}
    content = _content(fingerprint, wanted)

    store = open_store(params.retrieval, root)
    cache = EmbeddingCache(paths.EMBEDDINGS / f"{fingerprint.id}.sqlite", embedder.dimensions)
    published = store.published()
    todo = plan(store.records(), wanted, rebuild=published is not None and published.fingerprint != fingerprint)
    writes = [chunk for name in todo.writes for chunk in chunks[name]]
    texts = {chunk.text_hash: chunk.embedded_text for chunk in writes}

    if dry_run:
        embedded = len(cache.missing(list(texts)))
    elif published and published.content == content and not todo.writes and not todo.removed:
        embedded = 0
    else:
        if not allow_mass_delete:
            _refuse_mass_delete(todo, params.retrieval.max_delete_share)
        vectors, embedded = embed_texts(texts, embedder, cache)
        matrix = np.array([vectors[chunk.text_hash] for chunk in writes], dtype=np.float32)
        store.recover()
        store.stage(fingerprint, todo.removed + todo.changed, writes, matrix)
        _verify(store, fingerprint, wanted, todo.writes)
        generation = published.generation + 1 if published else 1
        store.publish(Publication(generation=generation, fingerprint=fingerprint, content=content))
    return ReindexReport(
        added=todo.added,
        changed=todo.changed,
        removed=todo.removed,
        unchanged=todo.unchanged,
        chunks=sum(map(len, wanted.values())),
        embedded=embedded,
        seconds=round(time.perf_counter() - started, 3),
        content=content,
        fingerprint=fingerprint.id,
        dry_run=dry_run,
    )


def published_record(settings: Retrieval, store: Path = paths.STORE) -> IndexRecord:
    """What the store really holds now, as the deterministic record that stages and releases depend on.

    Raises:
        StoreError: nothing is published, or it cannot be read.
    """
    opened = open_store(settings, store)
    published, records = opened.published(), opened.records()
    if published is None:
        raise StoreError(f"no index is published in {store}: run `freshtune reindex`")
    return IndexRecord(
        fingerprint_id=published.fingerprint.id,
        fingerprint=published.fingerprint.model_dump(),
        content=_content(published.fingerprint, records),
        documents=len(records),
        chunks=sum(map(len, records.values())),
        records=records,
    )


def _chunks(params: Params, embedder: Embedder) -> dict[str, list[Chunk]]:
    """The chunks of every document that has text."""
    documents = read_documents(params.documents)
    cut = {d.id: chunk_document(d, params.retrieval.chunk_tokens, embedder.count_tokens) for d in documents}
    chunks = {name: parts for name, parts in cut.items() if parts}
    if not chunks:
        raise DataError(
            f"none of the {len(documents)} documents in {params.documents.path} holds any text: nothing to index"
        )
    return chunks


def _content(fingerprint: Fingerprint, records: Records) -> str:
    return content_hash({"fingerprint": fingerprint.id, "records": records})


def _refuse_mass_delete(todo: Plan, max_share: float) -> None:
    before = len(todo.removed) + len(todo.changed) + len(todo.unchanged)
    if len(todo.removed) > max_share * before:
        shown = ", ".join(todo.removed[:3]) + (" …" if len(todo.removed) > 3 else "")
        raise StoreError(
            f"this run would remove {len(todo.removed)} of {before} documents from the index ({shown}), more than"
            f" retrieval.max_delete_share {max_share:g} allows: check the source, or give --allow-mass-delete"
        )


def _verify(store: Store, fingerprint: Fingerprint, wanted: Records, written: list[str]) -> None:
    staged = store.staged(fingerprint, set(written))
    if wrong := sorted(name for name in staged.keys() | wanted.keys() if staged.get(name) != wanted.get(name)):
        raise StoreError(
            f"the index does not hold what was written for {len(wrong)} documents ({', '.join(wrong[:3])});"
            " nothing was published and the old answers stay: run `freshtune reindex` again"
        )
