"""Keep the index equal to the documents, at the cost of what changed.

A run is: read, hash, cut what is new, compare with what the published generation holds, embed the texts never embedded
before, write whole documents beside that generation, prove the result against the store itself, and publish it.
Stopped anywhere, the old answers stay and the next run converges. What a run holds in memory is the hashes of all
chunks and one batch of documents, however large the corpus.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np

from contracts import paths
from contracts.documents import Fingerprint
from contracts.errors import DataError, ParamsError, StoreError
from contracts.params import Params, Retrieval
from contracts.verdicts import IndexRecord
from retrieval.cache import EmbeddingCache, Outline, cache_of, embed_texts
from retrieval.chunk import CHUNKER, chunk_document
from retrieval.convert import to_document
from retrieval.documents import all_raw, max_bytes, source_of
from retrieval.embed import Embedder, load_embedder
from retrieval.plan import Plan, Progress, ReindexReport, body_hash, plan, refuse_mass_delete, report_of, with_renames
from retrieval.prove import content_of, live_records, prove, remember, require_recall
from retrieval.store import Pointer, Publication, Store, lock_of, open_store, writer_lock

__all__ = ["ReindexReport", "fingerprint_of", "published_record", "reindex", "rollback"]

_READ = 2**25  # bytes of documents read, hashed and cut at once; a small one counts as
_SMALL = 2**17
_WRITE = 2048  # chunks embedded and written at once; more only when one document has more

Tell = Callable[[Progress], None]
_Item = TypeVar("_Item")


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


def reindex(
    params: Params,
    *,
    store: Path = paths.STORE,
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    repair: bool = False,
    only: Collection[str] = (),
    embedder: Embedder | None = None,
    tell: Tell = lambda _: None,
) -> ReindexReport:
    """Make the live index equal to the documents. Twice is the same as once; `dry_run` writes nothing.

    `store` is where LanceDB lies. `repair` reads every stored chunk instead of trusting the manifest, and writes anew
    what others changed. `only` names the sources to read: the documents of the others stay as they are published. Where
    that cannot be (nothing is published, under other settings, or others changed it since), all are read. `tell` hears of
    the progress after each batch.

    Raises:
        BusyError: another run is writing, or the disk is full.
        DataError: the documents cannot be read, or hold no text.
        ModelError: the embedder cannot be found or loaded.
        ParamsError: chunks would be longer than what the embedder reads.
        StoreError: too many documents would go, or the store does not hold what was written; nothing was published.
    """
    started = time.perf_counter()
    embedder = embedder or load_embedder(params.retrieval.embedder, params.dtype)
    fingerprint = fingerprint_of(params.retrieval, embedder)
    lock = nullcontext() if dry_run else writer_lock(lock_of(params.retrieval, store))
    with lock, closing(cache_of(fingerprint)) as cache:
        opened = open_store(params.retrieval, store)
        pointer = opened.pointer()
        published = pointer.current if pointer else None
        rebuild = published is not None and published.fingerprint != fingerprint
        live = live_records(opened, published, proved=repair) if only and published and not rebuild else {}
        if not (live and published and content_of(fingerprint, live) == published.content):
            only = ()
        outlines = _outlines(params, embedder, cache, keep=not dry_run, only=only)
        source = source_of(params)
        left = {name: records for name, records in live.items() if only and source(name) not in only}
        read = {name: outline.records for name, outline in outlines.items()}
        wanted = read | left
        content = content_of(fingerprint, wanted)
        if not only:
            known = wanted if published and published.content == content else None
            live = live_records(opened, published, known, proved=repair) if published else {}
        todo = plan({name: records for name, records in live.items() if name not in left}, read, rebuild)
        if published:
            todo = with_renames(todo, outlines, lambda names: _bodies(opened, published, names))

        report = report_of(todo, live, wanted, rebuild)
        report.left = sorted(left)
        report.fingerprint, report.content = fingerprint.id, content
        report.rebuilt, report.dry_run = rebuild, dry_run
        report.generation = published.generation if published else 0
        if dry_run:
            report.embedded = len(cache.missing([text for name in todo.writes for text in outlines[name].texts]))
        elif published is None or published.content != content or todo.writes or todo.drops:
            if not allow_mass_delete:
                refuse_mass_delete(todo, params.retrieval.max_delete_share)
            last = pointer.last if pointer else 0
            target = Publication(generation=last + 1, fingerprint=fingerprint, content=content)
            anew = published is None or rebuild
            report.embedded = _write(opened, target, todo, outlines, cache, embedder, anew, tell)
            prove(opened, target, wanted, todo.writes, todo.drops)
            if anew:
                require_recall(opened, target, wanted, cache)
            _require_alone(opened, published)
            opened.point(Pointer(current=target, previous=published, last=target.generation))
            remember(target, wanted, published)
            if not left:
                cache.forget_documents(outline.source for outline in outlines.values())
            report.generation = target.generation
    report.seconds = round(time.perf_counter() - started, 3)
    return report


def rollback(settings: Retrieval, store: Path = paths.STORE) -> Publication:
    """Lead readers back to the generation before the published one, proved first; returns it.

    Raises:
        BusyError: another run is writing.
        StoreError: there is none, or it is not whole any more.
    """
    with writer_lock(lock_of(settings, store)):
        opened = open_store(settings, store)
        pointer = opened.pointer()
        if pointer is None or pointer.previous is None:
            raise StoreError(
                f"{opened.place} keeps no generation before the published one (one is kept, until the next run that"
                " writes): restore the documents and run `freshtune reindex`"
            )
        back = pointer.previous
        if content_of(back.fingerprint, opened.records(back)) != back.content:
            raise StoreError(
                f"generation {back.generation} in {opened.place} is not whole any more: restore the documents and run"
                " `freshtune reindex`"
            )
        opened.point(Pointer(current=back, last=pointer.last))
        return back


def published_record(settings: Retrieval, store: Path = paths.STORE) -> IndexRecord:
    """What the store really holds now, as the deterministic record that stages and releases depend on.

    Raises:
        StoreError: nothing is published, or it cannot be read.
    """
    opened = open_store(settings, store)
    pointer = opened.pointer()
    if pointer is None:
        raise StoreError(f"no index is published in {opened.place}: run `freshtune reindex`")
    records = opened.records(pointer.current)
    return IndexRecord(
        fingerprint_id=pointer.current.fingerprint.id,
        fingerprint=pointer.current.fingerprint.model_dump(),
        content=content_of(pointer.current.fingerprint, records),
        documents=len(records),
        chunks=sum(map(len, records.values())),
        records=records,
    )


def _outlines(
    params: Params, embedder: Embedder, cache: EmbeddingCache, keep: bool, only: Collection[str]
) -> dict[str, Outline]:
    """The outline of every document that has text, by id. What had to be cut is kept in the cache when `keep` is true."""
    outlines: dict[str, Outline] = {}
    read = 0
    most = max_bytes(params)
    for group in _grouped(all_raw(params, only), lambda raw: max(len(raw.content), _SMALL), _READ):
        read += len(group)
        sources = [raw.hash for raw in group]
        known = cache.outlines(sources)
        fresh = []
        for raw, source in zip(group, sources, strict=True):
            outline = known.get(source)
            if outline is None:
                document = to_document(raw, most)
                chunks = chunk_document(document, params.retrieval.chunk_tokens, embedder.count_tokens)
                outline = Outline(
                    source,
                    [chunk.record_hash for chunk in chunks],
                    [chunk.text_hash for chunk in chunks],
                    body_hash([chunk.text for chunk in chunks]),
                )
                fresh.append((outline, chunks))
            if outline.records:
                outlines[raw.id] = outline
        if keep and fresh:
            cache.put_documents(fresh)
    if not outlines:
        raise DataError(f"none of the {read} documents in {params.documents.path} holds any text: nothing to index")
    return outlines


def _write(
    store: Store,
    target: Publication,
    todo: Plan,
    outlines: dict[str, Outline],
    cache: EmbeddingCache,
    embedder: Embedder,
    anew: bool,
    tell: Tell,
) -> int:
    """Bring the generation `target` into being, unpublished; returns how many texts had to be embedded."""
    store.begin(target)
    nothing = np.zeros((0, target.fingerprint.dimensions), dtype=np.float32)
    if not anew and todo.drops:
        store.write(target, todo.drops, [], nothing)
    replaced = set() if anew else set(todo.changed)
    embedded = written = documents = 0
    total = sum(len(outlines[name].records) for name in todo.writes)
    for names in _grouped(todo.writes, lambda name: len(outlines[name].records), _WRITE):
        cut = cache.chunks([outlines[name].source for name in names])
        chunks = [chunk for name in names for chunk in cut[outlines[name].source]]
        vectors, computed = embed_texts({chunk.text_hash: chunk.embedded_text for chunk in chunks}, embedder, cache)
        matrix = np.array([vectors[chunk.text_hash] for chunk in chunks], dtype=np.float32)
        store.write(target, replaced.intersection(names), chunks, matrix)
        embedded, written, documents = embedded + computed, written + len(chunks), documents + len(names)
        tell(Progress(documents, len(todo.writes), written, total, embedded))
    store.seal(target)
    return embedded


def _grouped(items: Iterable[_Item], weight: Callable[[_Item], int], most: int) -> Iterator[list[_Item]]:
    """`items` in groups that weigh `most` together; one that weighs more stands alone."""
    group: list[_Item] = []
    total = 0
    for item in items:
        if group and total + weight(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += weight(item)
    if group:
        yield group


def _bodies(store: Store, publication: Publication, names: list[str]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for chunk in store.chunks(publication, names):
        texts.setdefault(chunk.document, []).append(chunk.text)
    return {name: body_hash(parts) for name, parts in texts.items()}


def _require_alone(store: Store, published: Publication | None) -> None:
    """The lock holds on one machine. That nobody published from another one meanwhile is looked up."""
    now = store.pointer()
    if (now.current if now else None) != published:
        raise StoreError(f"somebody else published to {store.place} during this run: run `freshtune reindex` again")
