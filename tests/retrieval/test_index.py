"""The index equals the documents, at the cost of what changed, whatever happens on the way."""

import time
from datetime import timedelta
from itertools import islice
from pathlib import Path

import lancedb
import pytest

from contracts import paths
from contracts.errors import BusyError, DataError, ParamsError, StoreError
from contracts.files import read_json
from contracts.verdicts import IndexRecord
from retrieval.convert import to_document
from retrieval.history import replay
from retrieval.index import plan, published_record, reindex
from retrieval.search import Retriever
from retrieval.stages import index as index_stage
from retrieval.store import writer_lock
from retrieval.store_lance import LanceStore

pytestmark = pytest.mark.usefixtures("docs")


@pytest.fixture
def params(make_params):
    return make_params()


def texts(params) -> set[str]:
    """All chunk texts that readers can see."""
    store = LanceStore(paths.STORE)
    current = store.pointer().current
    return {chunk.embedded_text for chunk in store.chunks(current, store.records(current))}


def table():
    """The table of the published generation at its newest version, which no reader sees."""
    return lancedb.connect(paths.STORE).open_table(f"chunks_{LanceStore(paths.STORE).pointer().current.fingerprint.id}")


def test_plan_names_every_document_once():
    live, wanted = {"a": ["1"], "b": ["2"], "c": ["3"]}, {"b": ["2"], "c": ["4"], "d": ["5"]}
    todo = plan(live, wanted)
    assert (todo.added, todo.changed, todo.removed, todo.unchanged) == (["d"], ["c"], ["a"], ["b"])
    assert plan(live, wanted, rebuild=True).changed == ["b", "c"]


def test_the_first_run_indexes_everything(params, embedder, pages):
    report = reindex(params, embedder=embedder)
    assert report.added == sorted(pages)
    assert report.chunks == report.embedded == len(embedder.embedded) == len(texts(params)) == 6


def test_a_second_run_embeds_and_writes_nothing(params, embedder):
    first = reindex(params, embedder=embedder)
    embedder.embedded.clear()
    before = LanceStore(paths.STORE).pointer()
    second = reindex(params, embedder=embedder)
    assert (second.embedded, embedder.embedded, len(second.unchanged)) == (0, [], 4)
    assert second.content == first.content
    assert LanceStore(paths.STORE).pointer() == before


def test_a_known_document_is_neither_converted_nor_cut_again(params, embedder, pages, write_pages, monkeypatch):
    reindex(params, embedder=embedder)
    converted, whole = [], to_document
    monkeypatch.setattr("retrieval.index.to_document", lambda raw, most: converted.append(raw.id) or whole(raw, most))
    write_pages(pages | {"plans.md": "# Plans\n\nAll plans are gone.\n"})
    reindex(params, embedder=embedder)
    assert converted == ["plans.md"]


def test_an_edit_embeds_only_the_chunk_that_changed(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    embedder.embedded.clear()
    write_pages(pages | {"plans.md": pages["plans.md"].replace("€4.20", "€4.90 or a little more")})
    report = reindex(params, embedder=embedder)
    assert (report.changed, report.embedded) == (["plans.md"], 1)
    assert embedder.embedded == ["Plans\nWren\nWren costs €4.90 or a little more a month."]
    assert not any("4.20" in text for text in texts(params))
    hits = Retriever.open(params.retrieval, embedder=embedder).search("What does Heron cost a month?", 6)
    heron = next(hit.chunk for hit in hits if hit.chunk.heading == "Heron")
    body = (pages["plans.md"].replace("€4.20", "€4.90 or a little more")).strip()
    assert body[heron.start : heron.end] == heron.text  # its span moved though it was not embedded again


def test_front_matter_alone_rewrites_without_embedding(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    write_pages(pages | {"lockers/nests.md": pages["lockers/nests.md"].replace("version: 1", "version: 2")})
    report = reindex(params, embedder=embedder)
    assert (report.changed, report.embedded) == (["lockers/nests.md"], 0)
    hit = Retriever.open(params.retrieval, embedder=embedder).search("parcel holding time", 1)[0]
    assert hit.chunk.metadata["version"] == "2"


def test_a_deleted_document_is_gone(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    del pages["returns.md"]
    write_pages(pages)
    report = reindex(params, embedder=embedder)
    assert (report.removed, report.chunks) == (["returns.md"], 5)
    assert not any("30 days" in text for text in texts(params))


def test_a_renamed_document_moves_without_embedding(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    pages["sending/returns.md"] = pages.pop("returns.md")
    write_pages(pages)
    report = reindex(params, embedder=embedder)
    assert (report.renamed, report.added, report.removed) == ({"sending/returns.md": "returns.md"}, [], [])
    assert report.embedded == 0
    assert set(published_record(params.retrieval).records) == set(pages)


def test_quotes_in_a_name_do_no_harm(params, embedder, pages, write_pages):
    pages['it\'s "odd"; --.md'] = "# Odd\n\nAn odd page.\n"
    write_pages(pages)
    reindex(params, embedder=embedder)
    pages['it\'s "odd"; --.md'] = "# Odd\n\nChanged.\n"
    write_pages(pages)
    assert reindex(params, embedder=embedder).changed == ['it\'s "odd"; --.md']
    assert len(texts(params)) == 7


def test_a_dry_run_tells_the_bill_and_writes_nothing(params, embedder, tmp_path):
    report = reindex(params, embedder=embedder, dry_run=True)
    assert (len(report.added), report.embedded, embedder.embedded) == (4, 6, [])
    assert not (tmp_path / ".freshtune").exists()


def test_a_mass_delete_is_refused_unless_allowed(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    write_pages({"plans.md": pages["plans.md"]})
    with pytest.raises(StoreError, match=r"remove 3 of 4 documents .* --allow-mass-delete"):
        reindex(params, embedder=embedder)
    assert len(texts(params)) == 6
    assert len(reindex(params, embedder=embedder, allow_mass_delete=True).removed) == 3
    assert len(texts(params)) == 2


def test_a_mass_delete_is_refused_under_new_settings_too(make_params, params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    write_pages({"plans.md": pages["plans.md"]})
    with pytest.raises(StoreError, match="remove 3 of 4"):
        reindex(make_params({"chunk_tokens": 100}), embedder=embedder)


@pytest.mark.parametrize("stop", ["begin", "write", "seal", "point"])
@pytest.mark.parametrize("first", [True, False], ids=["first run", "later run"])
def test_a_crash_leaves_the_old_answers_and_the_next_run_converges(
    params, embedder, pages, write_pages, monkeypatch, stop, first
):
    if not first:
        reindex(params, embedder=embedder)
    before = texts(params) if not first else None
    write_pages(pages | {"plans.md": pages["plans.md"].replace("€19", "€23")})

    whole = getattr(LanceStore, stop)

    def crash(self, *args):
        if stop == "write":
            whole(self, *args)  # the rows are written, then the process dies
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LanceStore, stop, crash)
        with pytest.raises(KeyboardInterrupt):
            reindex(params, embedder=embedder)
    if first:
        with pytest.raises(StoreError, match="no index is published"):
            Retriever.open(params.retrieval, embedder=embedder)
    else:
        assert texts(params) == before
    embedder.embedded.clear()
    reindex(params, embedder=embedder)
    assert stop == "begin" or embedder.embedded == []  # what was embedded before the crash is kept
    assert len(texts(params)) == 6
    assert any("€23" in text for text in texts(params))
    assert table().count_rows() == 6


def test_a_crash_between_tag_and_pointer_converges(params, embedder, pages, write_pages, monkeypatch):
    reindex(params, embedder=embedder)
    before = texts(params)
    write_pages(pages | {"plans.md": pages["plans.md"].replace("€19", "€23")})
    with monkeypatch.context() as patched:
        patched.setattr("retrieval.store_lance.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reindex(params, embedder=embedder)
    assert texts(params) == before
    reindex(params, embedder=embedder)
    assert texts(params) != before
    assert len(texts(params)) == 6


def test_rows_that_got_lost_stop_the_run_before_publication(params, embedder, monkeypatch):
    whole = LanceStore.write
    monkeypatch.setattr(LanceStore, "write", lambda self, p, drop, chunks, v: whole(self, p, drop, chunks[1:], v[1:]))
    with pytest.raises(StoreError, match="does not hold what was written for 1 documents"):
        reindex(params, embedder=embedder)
    assert LanceStore(paths.STORE).pointer() is None


def test_what_others_did_to_the_table_is_never_seen_and_mended_by_the_next_write(params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    table().delete("document = 'plans.md'")
    assert len(texts(params)) == 6
    write_pages(pages | {"cover.md": "# Cover\n\nNothing is covered.\n"})
    reindex(params, embedder=embedder)
    assert set(published_record(params.retrieval).records) == set(pages)


def test_however_many_runs_the_table_stays_in_order(params, embedder, pages, write_pages, monkeypatch):
    monkeypatch.setattr("retrieval.store_lance._EVERY", 3)

    def run(page: int):
        write_pages(pages | {f"page{n}.md": f"# Page {n}\n\nIt costs €{n} a month.\n" for n in range(page + 1)})
        reindex(params, embedder=embedder)
        assert f"Page {page}\nIt costs €{page} a month." in texts(params)
        return table().stats()["fragment_stats"]["num_fragments"], table().index_stats("text_idx").num_unindexed_rows

    files, unindexed = zip(*(run(page) for page in range(9)), strict=True)
    assert unindexed == (0, 1, 0, 1, 2, 0, 1, 2, 0)
    assert max(files) <= 4
    monkeypatch.setattr("retrieval.store_lance._UNINDEXED", 0)
    assert run(9)[1] == 0


@pytest.mark.slow
def test_versions_older_than_the_published_one_go(params, embedder, pages, write_pages, monkeypatch):
    monkeypatch.setattr("retrieval.store_lance._EVERY", 2)
    monkeypatch.setattr("retrieval.store_lance._KEEP", timedelta(seconds=5))
    for price in range(4):
        write_pages(pages | {"plans.md": f"# Plans\n\nWren costs €{price} a month.\n"})
        reindex(params, embedder=embedder)
        if price == 1:
            time.sleep(5)
            old = max(version["version"] for version in table().list_versions())
    assert min(version["version"] for version in table().list_versions()) >= old
    assert "Plans\nWren costs €3 a month." in texts(params)


def test_other_settings_build_a_new_table_and_the_old_one_goes_later(make_params, params, embedder, pages, write_pages):
    reindex(params, embedder=embedder)
    other = make_params({"chunk_tokens": 100})
    report = reindex(other, embedder=embedder)
    assert len(report.changed) == 4
    database = lancedb.connect(paths.STORE)
    assert len(database.list_tables().tables) == 2
    write_pages(pages | {"cover.md": "# Cover\n\nNothing is covered.\n"})
    reindex(other, embedder=embedder)
    assert len(database.list_tables().tables) == 1


def test_one_writer_at_a_time(params, embedder):
    with writer_lock(paths.STORE), pytest.raises(BusyError, match=r"another run is writing .*process \d+"):
        reindex(params, embedder=embedder)
    reindex(params, embedder=embedder)


def test_chunks_longer_than_the_embedder_reads_are_refused(make_params, embedder):
    with pytest.raises(ParamsError, match=r"`retrieval\.chunk_tokens` is 400 .*reads 254 word pieces"):
        reindex(make_params({"chunk_tokens": 400}), embedder=embedder)


def test_documents_without_text_are_left_out_and_nothing_at_all_is_refused(params, embedder, pages, write_pages):
    write_pages(pages | {"empty.md": "# Only a heading\n"})
    assert reindex(params, embedder=embedder).added == sorted(pages)
    assert reindex(params, embedder=embedder).added == []
    write_pages({"empty.md": "# Only a heading\n"})
    with pytest.raises(DataError, match="none of the 1 documents in docs holds any text"):
        reindex(params, embedder=embedder)


def test_the_record_depends_on_the_documents_alone(params, embedder, pages, write_pages, tmp_path):
    reindex(params, embedder=embedder)
    straight = published_record(params.retrieval)
    other = tmp_path / "other"
    write_pages({name: pages[name] for name in ("cover.md", "plans.md", "returns.md")})
    reindex(params, embedder=embedder, store=other)
    write_pages(pages)
    reindex(params, embedder=embedder, store=other)
    assert published_record(params.retrieval, other) == straight


def test_the_stage_writes_what_the_store_holds(params, embedder, monkeypatch):
    monkeypatch.setattr("retrieval.index.load_embedder", lambda *_: embedder)
    index_stage(params)
    first = paths.INDEX.read_bytes()
    index_stage(params)
    assert paths.INDEX.read_bytes() == first
    record = IndexRecord.model_validate(read_json(paths.INDEX))
    assert (record.documents, record.chunks) == (4, 6)
    assert record.content == Retriever.open(params.retrieval, embedder=embedder).content


def test_a_ruined_cache_is_named(params, embedder):
    reindex(params, embedder=embedder)
    (cache,) = paths.EMBEDDINGS.glob("*.sqlite")
    cache.write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match=rf"{cache.name} cannot be used .*delete it"):
        reindex(params, embedder=embedder, store=paths.STATE / "other")


def test_a_ruined_store_is_named(params, embedder):
    reindex(params, embedder=embedder)
    for file in paths.STORE.rglob("*.manifest"):
        file.unlink()
    with pytest.raises(StoreError, match=r"failed to read .*delete .*lancedb first"):
        reindex(params, embedder=embedder)


def test_a_real_history_keeps_the_index_equal_to_each_tree(params, embedder, write_pages):
    history = Path(__file__).parents[2].parent / "shared/data/policy_history/site_policy_history.jsonl.xz"
    if not history.is_file():
        pytest.skip(f"{history} is not here: the real policy history cannot be replayed")
    seen: set[str] = set()
    for revision in islice(replay(history), 12):
        write_pages(revision.files)
        reindex(params, embedder=embedder, allow_mass_delete=True)
        assert set(published_record(params.retrieval).records) == set(revision.files)
        seen |= texts(params)
    assert sorted(embedder.embedded) == sorted(seen)  # each distinct text once
