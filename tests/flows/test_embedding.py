"""The same code on threads and on a Dask cluster of two processes: the same vectors, the same index."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness

from contracts.errors import ParamsError
from contracts.params import Params, Scale, load_params
from flows.embedding import Spread, runner_of, spread
from flows.progress import told
from retrieval.cache import EmbeddingCache, embed_texts
from retrieval.embed import load_embedder
from retrieval.plan import Progress


def scaled(**scale: object) -> Params:
    return load_params().model_copy(update={"scale": Scale.model_validate(scale)})


def test_one_worker_is_this_process(mini: Path) -> None:
    with spread(load_params()) as embedder:
        assert embedder is None


def test_batches_keep_their_order_and_an_error_is_raised(tmp_path: Path) -> None:
    asked: list[int] = []

    class Future:
        def __init__(self, texts: list[str]) -> None:
            self.texts = texts

        def result(self) -> np.ndarray:
            if "bad" in self.texts:
                raise OSError("a worker is gone")
            return np.array([[float(text), 1.0] for text in self.texts], dtype=np.float32)

    class Inner:
        revision, dimensions, max_tokens = "r", 2, 9

        def count_tokens(self, text: str) -> int:
            return len(text)

        def encode(self, texts: list[str]) -> np.ndarray:
            raise AssertionError

    def submit(texts: list[str]) -> Future:
        asked.append(len(texts))
        return Future(texts)

    embedder = Spread(Inner(), 3, submit)
    assert embedder.encode([str(n) for n in range(150)])[:, 0].tolist() == list(range(150))
    assert asked == [64, 64, 22]
    assert embedder.encode([]).shape == (0, 2)
    with pytest.raises(OSError, match="a worker is gone"):
        embedder.encode(["1", "bad"])
    asked.clear()
    embed_texts({str(n): str(n) for n in range(1000)}, embedder, EmbeddingCache(tmp_path / "c.sqlite", 2))
    assert asked == [64] * 12 + [64] * 3 + [40]  # 768 are asked for at once: a batch for every worker


def test_without_dask_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(ParamsError, match=r"`scale.dask` is 'local' .*Dask is not installed"):
        runner_of(Scale(dask="local"))


def test_progress_in_a_log_is_a_line_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with told(lines.append) as tell:
        tell(Progress(2, 4, 30, 70, 12))
    assert lines == ["2 of 4 documents, 30 of 70 chunks written, 12 embedded"]


@task
def where() -> int:
    return os.getpid()


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("dask", [None, "local"])
def test_two_workers_embed_what_one_process_embeds(server: None, mini: Path, dask: str | None) -> None:
    if dask and importlib.util.find_spec("prefect_dask") is None:
        pytest.skip("the Dask test did NOT run: install the extra (`pip install -e '.[dask]'`)")
    params = scaled(embed_workers=2, dask=dask)
    texts = [f"A parcel of {n} kg waits {n % 7} days." for n in range(150)]

    @flow
    def embedded() -> tuple[np.ndarray, set[int]]:
        with spread(params) as embedder:
            assert isinstance(embedder, Spread)
            vectors = embedder.encode(texts)
        with runner_of(params.scale) as runner:
            return vectors, {future.result() for future in [runner.submit(where, {}) for _ in range(8)]}

    vectors, processes = embedded()
    alone = load_embedder(params.retrieval.embedder, params.dtype).encode(texts)
    assert vectors.shape == alone.shape
    assert float((vectors * alone).sum(axis=1).min()) > 0.999
    assert (os.getpid() in processes) == (dask is None)
    assert len(processes) == (2 if dask else 1)
