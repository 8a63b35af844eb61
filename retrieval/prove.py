"""The index against what it should hold: read back from the store itself, never from what a run believes it wrote."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from contracts import paths
from contracts.documents import Fingerprint
from contracts.errors import DataError, StoreError
from contracts.files import content_hash, read_json, write_text
from retrieval.cache import EmbeddingCache, cache_of
from retrieval.store import Publication, Records, Store

MIN_RECALL = 0.95  # of sampled chunks, asked for by their own vector; a graph index may miss a few
_SAMPLE = 64
_NEAREST = 10
_WORDS = 12
_GROUP = 100  # documents read back at once


@dataclass(frozen=True)
class Verification:
    """`wrong` are the documents of which the store holds something else than was published."""

    generation: int
    documents: int
    chunks: int
    wrong: list[str]
    recall: float

    @property
    def holds(self) -> bool:
        return not self.wrong and self.recall >= MIN_RECALL


def content_of(fingerprint: Fingerprint, records: Records) -> str:
    """The content hash of an index: IndexRecord.content."""
    return content_hash({"fingerprint": fingerprint.id, "records": records})


def live_records(store: Store, publication: Publication, known: Records | None = None, proved: bool = False) -> Records:
    """What the published generation holds, with the number of chunks reconciled.

    Where its records are `known`, or the manifest of the run that published it is there, the store is counted instead
    of read. `proved` reads every stored chunk.

    Raises:
        StoreError: the store cannot be read.
    """
    if proved:
        return _proved(store, publication, store.records(publication))
    records = known if known is not None else _manifest(publication)
    if records is not None and store.count(publication) == _size(records):
        return records
    return store.records(publication)


def remember(publication: Publication, records: Records, previous: Publication | None) -> None:
    """Keep the manifest of `publication`, and of `previous` for a rollback; forget the others."""
    kept = {_path(one).name for one in (publication, previous) if one}
    write_text(_path(publication), json.dumps(records, ensure_ascii=False))
    for path in paths.MANIFESTS.glob("*.json"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def prove(store: Store, target: Publication, records: Records, written: list[str], dropped: list[str]) -> None:
    """Read the generation `target` back: what was written, that what was dropped is gone, and the number of chunks.

    Raises:
        StoreError: it does not hold what it should. Nothing was published yet.
    """
    wrong = []
    for some in _slices(written, _GROUP):
        stored = _proved(store, target, some)
        wrong += [name for name in some if stored.get(name) != records[name]]
    wrong += sorted(_proved(store, target, dropped))
    if wrong:
        raise StoreError(
            f"the index does not hold what was written for {len(wrong)} documents ({', '.join(wrong[:3])});"
            " nothing was published and the old answers stay: run `freshtune reindex` again"
        )
    if (found := store.count(target)) != _size(records):
        raise StoreError(
            f"the index {store.place} holds {found} chunks where {_size(records)} belong; nothing was published and the"
            " old answers stay: run `freshtune index verify --repair`"
        )


def require_recall(store: Store, target: Publication, records: Records, cache: EmbeddingCache) -> None:
    """Raises:
    StoreError: a newly built index does not find its own chunks.
    """
    if (found := recall(store, target, records, cache)) < MIN_RECALL:
        raise StoreError(
            f"the new index in {store.place} finds only {found:.0%} of its own chunks again; nothing was published and"
            " the old answers stay: run `freshtune reindex` again"
        )


def recall(store: Store, publication: Publication, records: Records, cache: EmbeddingCache) -> float:
    """The share of sampled chunks (one each of up to 64 documents) that a search with their own vector finds again."""
    pick = random.Random(publication.generation)
    names = pick.sample(sorted(records), min(_SAMPLE, len(records)))
    stored = store.chunks(publication, names)
    sample = [pick.choice([chunk for chunk in stored if chunk.document == name]) for name in names if name in records]
    vectors = cache.get([chunk.text_hash for chunk in sample])
    known = [chunk for chunk in sample if chunk.text_hash in vectors]
    found = 0
    for chunk in known:
        words = " ".join(chunk.text.split()[:_WORDS])
        hits = store.search(publication, vectors[chunk.text_hash], words, _NEAREST)
        found += any(hit.chunk.text_hash == chunk.text_hash for hit in hits)
    return found / len(known) if known else 1.0


def verify(store: Store) -> Verification:
    """Read the whole published generation back and compare it with what was published.

    Recall is asked for with cached vectors; where none is left it counts as 1.

    Raises:
        StoreError: nothing is published, or it cannot be read.
    """
    pointer = store.pointer()
    if pointer is None:
        raise StoreError(f"no index is published in {store.place}: run `freshtune reindex`")
    publication = pointer.current
    claimed = store.records(publication)
    stored = _proved(store, publication, claimed)
    wanted = _manifest(publication) or claimed
    wrong = sorted(name for name in wanted.keys() | stored.keys() if wanted.get(name) != stored.get(name))
    if not wrong and content_of(publication.fingerprint, stored) != publication.content:
        wrong = sorted(stored)  # something is gone, and no manifest is left to say what
    with closing(cache_of(publication.fingerprint)) as cache:
        found = 1.0 if wrong or not cache.path.exists() else recall(store, publication, stored, cache)
    return Verification(publication.generation, len(stored), _size(stored), wrong, found)


def _proved(store: Store, publication: Publication, names: Iterable[str]) -> Records:
    """The record hashes of documents, computed from their stored chunks; those without any are left out."""
    records: Records = {}
    for some in _slices(sorted(names), _GROUP):
        for chunk in store.chunks(publication, some):
            records.setdefault(chunk.document, []).append(chunk.record_hash)
    return records


def _manifest(publication: Publication) -> Records | None:
    """The manifest kept for exactly this content, if it is there and whole."""
    try:
        records: Records = read_json(_path(publication))
    except DataError:
        return None
    return records if content_of(publication.fingerprint, records) == publication.content else None


def _path(publication: Publication) -> Path:
    return paths.MANIFESTS / f"{publication.content}.json"


def _size(records: Records) -> int:
    return sum(map(len, records.values()))


def _slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))
