"""One contract, every kind of store: the same tests run on LanceDB and on a real Weaviate."""

import threading
import uuid

import numpy as np
import pytest

from contracts import paths
from contracts.documents import Chunk, Fingerprint
from contracts.errors import StoreError
from retrieval.index import published_record, reindex, rollback
from retrieval.prove import verify
from retrieval.search import Retriever
from retrieval.store import Pointer, Publication, open_store
from retrieval.store_lance import LanceStore

pytestmark = pytest.mark.usefixtures("docs")

KINDS = ["lancedb", pytest.param("weaviate", marks=pytest.mark.weaviate)]


@pytest.fixture(params=KINDS)
def settings(request) -> dict:
    """The `retrieval` settings of an empty index of each kind."""
    if request.param == "lancedb":
        return {}
    node = request.getfixturevalue("weaviate")
    return {"store": f"{node.url}/T{uuid.uuid4().hex}", "weaviate": {"grpc_port": node.grpc}}


@pytest.fixture
def params(make_params, settings):
    return make_params(settings)


def seen(params) -> set[str]:
    """All chunk texts that readers can see."""
    store = open_store(params.retrieval)
    current = store.pointer().current
    found = store.chunks(current, store.records(current))
    assert len(found) == store.count(current)
    return {chunk.embedded_text for chunk in found}


def test_readers_see_what_was_indexed_and_what_was_dropped_is_gone(params, embedder, pages, write_pages):
    assert open_store(params.retrieval).pointer() is None
    reindex(params, embedder=embedder)
    assert len(seen(params)) == 6
    del pages["cover.md"]
    write_pages(
        pages | {"plans.md": "# Plans\n\n## Wren\n\nWren costs €5 a month.\n", "new.md": "# New\n\nNew text.\n"}
    )
    report = reindex(params, embedder=embedder)
    assert (report.added, report.changed, report.removed) == (["new.md"], ["plans.md"], ["cover.md"])
    assert (report.chunks_added, report.chunks_removed, report.chunks_unchanged) == (2, 3, 3)
    assert seen(params) == {
        "Nest lockers\nHolding time\nA Nest keeps a parcel for 6 days. Then it goes back to the sender.",
        "Nest lockers\nWeight\nA box carries up to 12 kg.",
        "Plans\nWren\nWren costs €5 a month.",
        "Returns\nSend a parcel back within 30 days. The label is in the app.",
        "New\nNew text.",
    }
    assert reindex(params, embedder=embedder).generation == report.generation == 2


def test_an_open_retriever_follows_and_finds_by_meaning_and_by_word(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    assert retriever.search("How long does a Nest keep a parcel?", 3)[0].chunk.heading == "Holding time"
    write_pages(pages | {"fresh.md": "# Customs\n\nA quizzaciously rare word stands here.\n"})
    reindex(params, embedder=embedder)
    assert retriever.search("quizzaciously", 1)[0].chunk.document == "fresh.md"


@pytest.mark.parametrize("question", ['"NEST" AND (x:y) OR *', "the of and", "漢字", "a\nb\x00c"])
def test_any_question_gets_an_answer(params, embedder, question):
    reindex(params, embedder=embedder)
    assert Retriever.open(params.retrieval, embedder=embedder).search(question, 2)


def test_the_record_is_the_same_in_every_store(params, make_params, embedder, tmp_path):
    reindex(params, embedder=embedder)
    reindex(make_params(), embedder=embedder, store=tmp_path / "other")
    assert published_record(params.retrieval) == published_record(make_params().retrieval, tmp_path / "other")


def test_what_a_crash_left_is_never_seen_and_goes_with_the_next_run(params, embedder, pages, write_pages, monkeypatch):
    reindex(params, embedder=embedder)
    before = seen(params)
    changed = pages | {"plans.md": pages["plans.md"].replace("€19", "€23"), "x.md": "# X\n\nNever published.\n"}
    del changed["cover.md"]
    write_pages(changed)
    kind = type(open_store(params.retrieval))
    with monkeypatch.context() as patched:
        patched.setattr(kind, "seal", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reindex(params, embedder=embedder)
    assert seen(params) == before
    write_pages(pages)  # back to what is published: nothing of the crash may matter
    assert reindex(params, embedder=embedder).unchanged == sorted(pages)
    write_pages(pages | {"y.md": "# Y\n\nPublished.\n"})
    reindex(params, embedder=embedder)
    assert seen(params) == before | {"Y\nPublished."}
    store = open_store(params.retrieval)
    assert store.chunks(store.pointer().current, ["x.md"]) == []


def test_roll_back_leads_to_the_generation_before_and_only_there(params, embedder, pages, write_pages):
    with pytest.raises(StoreError, match="no generation before"):
        rollback(params.retrieval)
    reindex(params, embedder=embedder)
    before = seen(params)
    write_pages(pages | {"plans.md": "# Plans\n\nAll plans are gone.\n"})
    reindex(params, embedder=embedder)
    after = seen(params)
    assert rollback(params.retrieval).generation == 1
    assert seen(params) == before
    with pytest.raises(StoreError, match="no generation before"):
        rollback(params.retrieval)
    assert reindex(params, embedder=embedder).generation == 3  # no number comes twice
    assert seen(params) == after


def test_other_settings_are_built_beside_swapped_in_and_can_be_taken_back(make_params, settings, embedder):
    params, other = make_params(settings), make_params(settings | {"chunk_tokens": 100})
    first = reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    report = reindex(other, embedder=embedder)
    assert (report.rebuilt, len(report.changed), report.embedded) == (True, 4, 6)
    with pytest.raises(StoreError, match="made with other settings"):
        retriever.search("Wren", 1)
    assert Retriever.open(other.retrieval, embedder=embedder).search("Wren", 1)
    assert rollback(params.retrieval).fingerprint.id == first.fingerprint
    assert retriever.search("Wren", 1)


def test_a_new_index_that_does_not_find_its_own_chunks_is_not_published(params, embedder, monkeypatch):
    kind = type(open_store(params.retrieval))
    monkeypatch.setattr(kind, "search", lambda *_: [])
    with pytest.raises(StoreError, match="finds only 0% of its own chunks"):
        reindex(params, embedder=embedder)
    assert open_store(params.retrieval).pointer() is None


def test_a_lost_record_stops_the_run_before_publication(params, embedder, monkeypatch):
    kind = type(open_store(params.retrieval))
    whole = kind.write
    monkeypatch.setattr(kind, "write", lambda self, p, drop, chunks, v: whole(self, p, drop, chunks[1:], v[1:]))
    with pytest.raises(StoreError, match="does not hold what was written for 1 documents"):
        reindex(params, embedder=embedder)
    assert open_store(params.retrieval).pointer() is None


def test_verify_holds_after_every_run(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    write_pages(pages | {"plans.md": "# Plans\n\nAll plans are gone.\n"})
    reindex(params, embedder=embedder)
    found = verify(open_store(params.retrieval))
    assert (found.wrong, found.recall, found.documents, found.chunks) == ([], 1.0, 4, 5)


def test_readers_during_runs_see_old_or_new_never_both_never_neither(params, embedder, pages, write_pages):
    names = ("x.md", "y.md", "z.md")

    def at(price: int) -> dict[str, str]:
        return pages | {name: f"# {name[0]}\n\nWren costs €{price} there.\n" for name in names}

    write_pages(at(0))
    reindex(params, embedder=embedder)
    answers, failed, stop = [], [], threading.Event()

    def read() -> None:
        try:
            retriever = Retriever.open(params.retrieval, embedder=type(embedder)())
            while not stop.is_set():
                hits = [hit.chunk for hit in retriever.search("Wren costs there", 9) if hit.chunk.document in names]
                answers.append((len(hits), frozenset(chunk.text for chunk in hits)))
        except Exception as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for price in range(1, 6):
        write_pages(at(price))
        reindex(params, embedder=embedder)
    stop.set()
    for reader in readers:
        reader.join()
    assert failed == []
    assert len(answers) > 10
    assert all(count == 3 and len(prices) == 1 for count, prices in answers), answers


def test_documents_and_chunks_whose_names_run_together_stay_apart(settings, make_params):
    store = open_store(make_params(settings).retrieval)
    fingerprint = Fingerprint(embedder="e", revision="1", dimensions=4, chunker="c")
    target = Publication(generation=1, fingerprint=fingerprint, content="c")
    chunks = [
        Chunk(document=name, ordinal=n, text=f"text {name} {n}", start=0, end=1, title="t")
        for name, n in [("a", 11), ("a1", 1), ("a11", 0), ('it\'s "odd"; --', 0), ("", 0), ("ünï/漢", 2)]
    ]
    store.begin(target)
    store.write(target, [], chunks, np.eye(len(chunks), 4, dtype=np.float32) + 0.1)
    store.seal(target)
    store.point(Pointer(current=target, last=1))
    assert store.count(target) == len(chunks)
    assert store.chunks(target, {c.document for c in chunks}) == sorted(chunks, key=lambda c: (c.document, c.ordinal))
    assert store.chunks(target, ["a1"]) == [chunks[1]]


def test_a_manifest_that_is_gone_or_broken_is_read_from_the_store(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    (manifest,) = paths.MANIFESTS.glob("*.json")
    for ruin in (manifest.unlink, lambda: manifest.write_text('{"plans.md": ["0"]}')):
        ruin()
        assert reindex(params, embedder=embedder).unchanged == sorted(pages)


def test_a_lance_directory_of_another_program_is_named(make_params, tmp_path):
    paths.STORE.mkdir(parents=True)
    (paths.STORE / "published.json").write_text('{"generation": 3}')
    with pytest.raises(StoreError, match="delete"):
        LanceStore(paths.STORE).pointer()
