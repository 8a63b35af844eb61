"""Embedding on several workers at once, through Prefect's task runners: threads here, or processes of a Dask cluster.

Every worker loads a model of its own: a tokenizer cannot be shared by threads. The vectors land in the same cache, so
how many workers there are changes no result.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from contracts.errors import ParamsError
from contracts.params import Params, Scale
from retrieval.embed import Embedder, SentenceEmbedder, load_embedder

_BATCH = 64  # texts in one task
_own = threading.local()


@task(name="embed", task_run_name="embed", cache_policy=NO_CACHE, persist_result=False)
def embed(reference: str, dtype: str, threads: int | None, texts: list[str]) -> np.ndarray:
    """One batch of texts to unit vectors (texts, dimensions), by the model that this worker keeps."""
    return _model(reference, dtype, threads).encode(texts)


def _model(reference: str, dtype: str, threads: int | None) -> SentenceEmbedder:
    """The model of this thread. Apart from the task, which travels to a cluster by value, with what it names."""
    known: dict[tuple[str, str], SentenceEmbedder] = _own.__dict__.setdefault("known", {})
    if (reference, dtype) not in known:
        if threads:
            import torch

            torch.set_num_threads(threads)
        known[reference, dtype] = load_embedder(reference, dtype)
    return known[reference, dtype]


class Spread:
    """An embedder whose batches are computed by `submit`, which gives a future of each, `workers` at once."""

    def __init__(self, inner: Embedder, workers: int, submit: Callable[[list[str]], Any]) -> None:
        self.revision, self.dimensions, self.max_tokens = inner.revision, inner.dimensions, inner.max_tokens
        self.count_tokens, self.workers, self._submit = inner.count_tokens, workers, submit

    def encode(self, texts: list[str]) -> np.ndarray:
        """One unit vector per text: float32, (len(texts), dimensions). An error of a batch is raised here."""
        futures = [self._submit(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        parts = [future.result() for future in futures]
        return np.concatenate([np.zeros((0, self.dimensions), dtype=np.float32), *parts])


@contextmanager
def spread(params: Params) -> Iterator[Embedder | None]:
    """The embedder of `params` on the workers of `scale`; None, which means this process, where it asks for no others.

    Raises:
        ModelError: the embedder cannot be found.
        ParamsError: `scale.dask` is set and Dask is not installed, or no scheduler answers there.
    """
    scale = params.scale
    if scale.dask is None and scale.embed_workers == 1:
        yield None
        return
    reference, dtype = params.retrieval.embedder, params.dtype
    # Workers here share the cores; a cluster elsewhere knows its own.
    threads = None if scale.dask not in (None, "local") else max(1, (os.cpu_count() or 1) // scale.embed_workers)
    with runner_of(scale) as runner:

        def submit(texts: list[str]) -> Any:
            return runner.submit(embed, {"reference": reference, "dtype": dtype, "threads": threads, "texts": texts})

        yield Spread(load_embedder(reference, dtype), scale.embed_workers, submit)


def runner_of(scale: Scale) -> TaskRunner[Any]:
    """Prefect's task runner for `scale`: a thread pool, or Dask.

    Raises:
        ParamsError: Dask is wanted and not installed.
    """
    if scale.dask is None:
        return ThreadPoolTaskRunner(max_workers=scale.embed_workers)
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise ParamsError(
            f"`scale.dask` is {scale.dask!r} in params.yaml, and Dask is not installed: install the extra (`pip install -e"
            " '.[dask]'` in the program's folder), or set it to null"
        ) from None
    if scale.dask == "local":
        here = {"host": "127.0.0.1", "dashboard_address": None, "threads_per_worker": 1}
        return DaskTaskRunner(cluster_kwargs={"n_workers": scale.embed_workers, **here})
    return DaskTaskRunner(address=scale.dask)
