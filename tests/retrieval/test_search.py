"""Readers see one published generation, and find what is in it."""

import threading
import time

import pytest

from contracts import paths
from contracts.errors import ModelError, StoreError
from retrieval.embed import load_embedder
from retrieval.index import reindex
from retrieval.search import Retriever
from retrieval.store_lance import LanceStore

pytestmark = pytest.mark.usefixtures("docs")


@pytest.fixture
def params(make_params):
    return make_params()


def test_the_best_chunk_comes_first_and_carries_its_place(params, embedder):
    reindex(params, embedder=embedder)
    best, *rest = Retriever.open(params.retrieval, embedder=embedder).search("How long does a Nest keep a parcel?", 3)
    assert (best.chunk.document, best.chunk.heading, best.chunk.title) == (
        "lockers/nests.md",
        "Holding time",
        "Nest lockers",
    )
    assert best.chunk.text == "A Nest keeps a parcel for 6 days. Then it goes back to the sender."
    assert [best.score, *(hit.score for hit in rest)] == sorted(
        [best.score, *(hit.score for hit in rest)], reverse=True
    )


@pytest.mark.parametrize(
    "question", ['"NEST" AND (x:y) OR *', "€4.20?!", "the of and", "漢字", "x" * 3000, "a\nb\x00c"]
)
def test_any_question_gets_an_answer(params, embedder, question):
    reindex(params, embedder=embedder)
    assert Retriever.open(params.retrieval, embedder=embedder).search(question, 2)


def test_blank_questions_find_nothing_and_many_equal_one_by_one(params, embedder):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    questions = ["Wren price", " ", "lost parcel cover"]
    assert retriever.search_many(questions, 2) == [retriever.search(question, 2) for question in questions]
    assert retriever.search(" ", 2) == []


def test_full_text_finds_fresh_rows_at_once(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    write_pages(pages | {"fresh.md": "# Customs\n\nA quizzaciously rare word stands here.\n"})
    reindex(params, embedder=embedder)
    store = LanceStore(paths.STORE)
    table = store._at(store.pointer().current)
    assert [row["document"] for row in table.search("quizzaciously", query_type="fts").to_list()] == ["fresh.md"]
    assert retriever.search("quizzaciously", 1)[0].chunk.document == "fresh.md"  # opened before the run


def test_an_open_reader_follows_each_publication(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    for price in ("€5", "€6", "€7"):
        before = retriever.content
        write_pages(pages | {"plans.md": f"# Plans\n\n## Wren\n\nWren costs {price} a month.\n"})
        reindex(params, embedder=embedder)
        assert retriever.search("Wren costs a month", 1)[0].chunk.text == f"Wren costs {price} a month."
        assert retriever.content != before


def test_readers_during_runs_see_old_or_new_never_both(params, embedder, pages, write_pages):
    def at(price: int) -> dict[str, str]:
        return pages | {name: f"# {name[0]}\n\nWren costs €{price} there.\n" for name in ("x.md", "y.md", "z.md")}

    write_pages(at(0))
    reindex(params, embedder=embedder)
    seen, failed, stop = [], [], threading.Event()

    def read() -> None:
        try:
            retriever = Retriever.open(params.retrieval, embedder=type(embedder)())
            while not stop.is_set():
                hits = retriever.search("Wren costs there", 3)
                seen.append(frozenset(hit.chunk.text for hit in hits if hit.chunk.document in ("x.md", "y.md", "z.md")))
        except Exception as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for price in range(1, 6):
        write_pages(at(price))
        reindex(params, embedder=embedder)
        looks = len(seen)
        while len(seen) < looks + 3 and not failed:
            time.sleep(0.01)
    stop.set()
    for reader in readers:
        reader.join()
    assert failed == []
    assert all(len(prices) == 1 for prices in seen)


def test_a_generation_cleared_under_a_reader_leads_it_to_the_present_one(
    params, embedder, pages, write_pages, monkeypatch
):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    stale = LanceStore(paths.STORE).pointer()
    for price in ("€5", "€6"):
        write_pages(pages | {"plans.md": f"# Plans\n\n## Wren\n\nWren costs {price} a month.\n"})
        reindex(params, embedder=embedder)
    answers = iter([stale])
    current = LanceStore(paths.STORE).pointer()
    monkeypatch.setattr(LanceStore, "pointer", lambda self: next(answers, current))
    assert retriever.search("Wren costs a month", 1)[0].chunk.text == "Wren costs €6 a month."


def test_no_index_is_refused_with_the_way_out_and_creates_nothing(params, embedder, tmp_path):
    with pytest.raises(StoreError, match=r"no index is published in .*lancedb: run `freshtune reindex`"):
        Retriever.open(params.retrieval, embedder=embedder)
    assert not (tmp_path / ".freshtune").exists()


def test_another_fingerprint_is_refused_at_opening_and_later(make_params, params, embedder):
    reindex(params, embedder=embedder)
    retriever = Retriever.open(params.retrieval, embedder=embedder)
    other = make_params({"chunk_tokens": 100})
    with pytest.raises(StoreError, match=r"other settings \(chunker .*tokens=200 there, .*tokens=100 here\).*reindex"):
        Retriever.open(other.retrieval, embedder=embedder)
    reindex(other, embedder=embedder)
    with pytest.raises(StoreError, match="made with other settings"):
        retriever.search("Wren", 1)


def test_a_broken_pointer_is_named(params, embedder):
    reindex(params, embedder=embedder)
    (paths.STORE / "published.json").write_text("{")
    with pytest.raises(StoreError, match=r"published\.json cannot be read: delete"):
        Retriever.open(params.retrieval, embedder=embedder)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("package:no-such-thing", "is not installed"),
        ("nobody/nothing", "hf download nobody/nothing"),
        ("./gone", "names nothing"),
    ],
)
def test_a_missing_embedder_is_named(reference, message, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match=message):
        load_embedder(reference, "auto")
