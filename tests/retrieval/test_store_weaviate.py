"""What only a server can do wrong: drift, keys, versions, ports, nodes that go away."""

import threading
import uuid

import pytest

from benchmarks import scale
from contracts.errors import FreshtuneError, ParamsError, StoreError
from flows import weaviate as server
from retrieval.index import reindex
from retrieval.prove import verify
from retrieval.search import Retriever
from retrieval.store import open_store
from retrieval.store_weaviate import _connect

pytestmark = [pytest.mark.weaviate, pytest.mark.usefixtures("docs")]


@pytest.fixture
def settings(weaviate) -> dict:
    return {"store": f"{weaviate.url}/T{uuid.uuid4().hex}", "weaviate": {"grpc_port": weaviate.grpc}}


@pytest.fixture
def params(make_params, settings):
    return make_params(settings)


def objects(params):
    """The collection of the published generation, as somebody else would reach it."""
    store = open_store(params.retrieval)
    return store._of(store.pointer().current)


def test_what_others_deleted_is_missed_by_the_next_run_and_mended(params, embedder, pages):
    from weaviate.classes.query import Filter

    reindex(params, embedder=embedder)
    objects(params).data.delete_many(where=Filter.by_property("document").equal("plans.md"))
    report = reindex(params, embedder=embedder)
    assert (report.added, report.embedded) == (["plans.md"], 0)
    assert Retriever.open(params.retrieval, embedder=embedder).search("Wren month", 1)[0].chunk.document == "plans.md"


def test_what_others_changed_is_found_by_verify_and_mended_by_repair(params, embedder):
    reindex(params, embedder=embedder)
    some = next(o for o in objects(params).iterator() if o.properties["document"] == "returns.md")
    wrong = str(some.properties["chunk"]).replace("30 days", "90 days")
    objects(params).data.update(uuid=some.uuid, properties={"chunk": wrong})
    assert reindex(params, embedder=embedder).generation == 1  # the number of chunks is right
    found = verify(open_store(params.retrieval))
    assert (found.wrong, found.holds) == (["returns.md"], False)
    assert reindex(params, embedder=embedder, repair=True).changed == ["returns.md"]
    assert verify(open_store(params.retrieval)).holds


def test_an_object_added_by_others_is_taken_out(params, embedder):
    reindex(params, embedder=embedder)
    objects(params).data.insert({"document": "evil.md", "ordinal": 0, "record_hash": "x", "born": 0}, vector=[0.1] * 64)
    assert reindex(params, embedder=embedder).removed == ["evil.md"]


def test_a_refused_object_fails_the_run_with_its_document(params, embedder, monkeypatch):
    reindex(params, embedder=embedder)
    store, current = open_store(params.retrieval), open_store(params.retrieval).pointer().current
    chunks = store.chunks(current, ["plans.md"])
    import numpy as np

    vectors = np.ones((2, 63), dtype=np.float32)  # of another embedder
    target = current.model_copy(update={"generation": 2})
    with pytest.raises(StoreError, match=r"refused .* objects.*run `freshtune reindex` again"):
        store.write(target, [], chunks, vectors)


def test_a_collection_of_somebody_else_is_left_alone(params, embedder):
    client = open_store(params.retrieval)._client
    name = params.retrieval.store.rpartition("/")[2]
    client.collections.create(name)
    with pytest.raises(StoreError, match=f"the collection {name} was not made by freshtune"):
        reindex(params, embedder=embedder)
    assert client.collections.exists(name)


def test_a_server_that_is_not_there_is_named(make_params, embedder):
    params = make_params({"store": "http://127.0.0.1:9/docs"})
    with pytest.raises(StoreError, match=r"no Weaviate answers at http://127\.0\.0\.1:9 .*make weaviate"):
        reindex(params, embedder=embedder)


def test_a_key_is_asked_for_by_name(make_params, settings, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    params = make_params(settings | {"weaviate": settings["weaviate"] | {"api_key_env": "NO_SUCH_KEY"}})
    with pytest.raises(ParamsError, match="NO_SUCH_KEY, but it is not set"):
        open_store(params.retrieval)


def test_a_server_that_is_too_old_is_refused(make_params, settings, monkeypatch):
    monkeypatch.setattr("retrieval.store_weaviate.OLDEST", (99, 0))
    _connect.cache_clear()
    with pytest.raises(StoreError, match=r"is 1\.\d+\.\d+: freshtune needs 99\.0 or newer"):
        open_store(make_params(settings).retrieval)


@pytest.mark.slow
def test_a_wrong_key_is_refused_and_the_right_one_works(make_params, embedder, tmp_path, monkeypatch):
    with server.nodes(tmp_path / "weaviate", api_key="right") as (node,):
        params = make_params(
            {"store": f"{node.url}/docs", "weaviate": {"grpc_port": node.grpc, "api_key_env": "THE_KEY"}}
        )
        monkeypatch.setenv("THE_KEY", "wrong")
        with pytest.raises(StoreError, match=r"refuses the API key: .*api_key_env"):
            reindex(params, embedder=embedder)
        monkeypatch.setenv("THE_KEY", "right")
        assert reindex(params, embedder=embedder).chunks == 6


@pytest.mark.slow
def test_a_server_that_stops_and_comes_back_costs_a_run_not_the_index(
    make_params, embedder, pages, write_pages, tmp_path
):
    with server.nodes(tmp_path / "weaviate") as (node,):
        params = make_params({"store": f"{node.url}/docs", "weaviate": {"grpc_port": node.grpc}})
        reindex(params, embedder=embedder)
        write_pages(pages | {"plans.md": "# Plans\n\nAll plans are gone.\n"})
        kind = type(open_store(params.retrieval))
        whole = kind.write

        def stopped(self, *args):
            whole(self, *args)
            node.stop()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kind, "write", stopped)
            with pytest.raises(StoreError, match=r"failed to .*readers keep what is published"):
                reindex(params, embedder=embedder)
        node.start()
        retriever = Retriever.open(params.retrieval, embedder=embedder)
        assert retriever.search("Wren month", 1)[0].chunk.heading == "Wren"
        reindex(params, embedder=embedder)
        assert retriever.search("plans gone", 1)[0].chunk.text == "All plans are gone."


@pytest.mark.slow
@pytest.mark.parametrize("away", [1, 20], ids=["back at once", "away for long"])
def test_a_server_killed_in_mid_run_is_waited_for_or_told_and_the_next_run_converges(
    make_params, embedder, pages, write_pages, tmp_path, away
):
    with server.nodes(tmp_path / "weaviate") as (node,):
        params = make_params({"store": f"{node.url}/docs", "weaviate": {"grpc_port": node.grpc}})
        reindex(params, embedder=embedder)
        long = {f"long{number}.md": scale.document(number, 0) for number in range(150)}
        write_pages(pages | long)
        back, batches, refused = threading.Timer(away, node.start), [], ""

        def kill_once(batch: str) -> None:
            batches.append(batch)
            if len(batches) == 1:
                node.process.kill()
                node.process.wait()
                back.start()

        try:
            reindex(params, embedder=embedder, tell=kill_once)
        except StoreError as error:
            refused = str(error)
        back.join()
        current = open_store(params.retrieval).pointer().current
        if refused:
            assert "readers keep what is published" in refused
            assert (current.generation, len(batches)) == (1, 1)
            assert (
                Retriever.open(params.retrieval, embedder=embedder).search("Wren month", 1)[0].chunk.heading == "Wren"
            )
        else:
            assert (current.generation, len(batches)) == (2, 2)
        assert refused or away == 1
        assert reindex(params, embedder=embedder).chunks == 3006
        assert verify(open_store(params.retrieval)).holds


@pytest.mark.slow
def test_a_cluster_of_three_works_on_while_one_node_is_away(make_params, embedder, pages, write_pages, tmp_path):
    with server.nodes(tmp_path / "weaviate", 3) as nodes:
        first = nodes[0]
        params = make_params(
            {"store": f"{first.url}/docs", "weaviate": {"grpc_port": first.grpc, "replication_factor": 2}}
        )
        reindex(params, embedder=embedder)
        nodes[2].stop()
        retriever = Retriever.open(params.retrieval, embedder=embedder)
        assert retriever.search("Wren month", 1)[0].chunk.heading == "Wren"
        nodes[2].start()
        write_pages(pages | {"plans.md": "# Plans\n\nAll plans are gone.\n"})
        reindex(params, embedder=embedder)
        assert retriever.search("plans gone", 1)[0].chunk.text == "All plans are gone."
        assert verify(open_store(params.retrieval)).holds


def test_without_go_and_without_a_server_the_way_out_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "_BINARY", tmp_path / "weaviate-server")
    monkeypatch.setattr(server, "_USER", {"PATH": ""})
    with pytest.raises(FreshtuneError, match=r"Go is not installed.*make weaviate.*WEAVIATE_URL"):
        server.binary()
