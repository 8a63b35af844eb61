"""What an index must offer: one writer, many readers, and exactly one published generation that readers see.

A run prepares the next generation where no reader looks (`begin`, `write`), makes it readable to whoever knows its name
(`seal`), proves it, and moves one pointer atomically (`point`). A crash before the pointer moves leaves records that
nobody reads; the next run removes them first. The superseded generation stays until then, for queries that are still on
it and for `freshtune index rollback`.

Two kinds: `retrieval/store_lance.py` (a directory on this machine) and `retrieval/store_weaviate.py` (a server). Another
one is a class with these methods and a line in `open_store`; tests/retrieval/test_stores.py holds all of them to it.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict

from contracts import paths
from contracts.documents import Chunk, Fingerprint
from contracts.errors import BusyError
from contracts.files import disk_of
from contracts.params import Retrieval

Records = dict[str, list[str]]  # document id → record hashes of its chunks, in order


class Publication(BaseModel):
    """One generation: made how, holding what. `content` is IndexRecord.content."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    generation: int
    fingerprint: Fingerprint
    content: str


class Pointer(BaseModel):
    """What readers follow. `last` is the highest generation ever published: no number is used twice."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    current: Publication
    previous: Publication | None = None
    last: int


@dataclass(frozen=True)
class Hit:
    """A chunk that was found; `score` is its fused rank score, higher is better."""

    chunk: Chunk
    score: float


class Store(Protocol):
    """Everything raises StoreError when the store cannot do it, and creates nothing before `begin`."""

    place: str

    def pointer(self) -> Pointer | None:
        """Read anew; None before the first publication."""

    def begin(self, publication: Publication) -> None:
        """Remove what unpublished runs left and what only the previous generation held; make room for `publication`.

        The previous generation leaves the pointer before anything of it is removed: readers look there. What is not dropped stays in the new generation, unless its fingerprint is another: then it starts empty.
        """

    def write(
        self, publication: Publication, drop: Collection[str], chunks: Sequence[Chunk], vectors: np.ndarray
    ) -> None:
        """Take the documents `drop` out of the new generation, then add `chunks` with their unit vectors."""

    def seal(self, publication: Publication) -> None:
        """After the last write: from here on the generation can be read by its name."""

    def point(self, pointer: Pointer) -> None:
        """Lead readers to `pointer.current`, atomically. It must be sealed."""

    def count(self, publication: Publication) -> int:
        """How many chunks the generation holds."""

    def records(self, publication: Publication) -> Records:
        """The record hashes that the generation claims to hold."""

    def chunks(self, publication: Publication, documents: Collection[str]) -> list[Chunk]:
        """The stored chunks of `documents` in the generation, by document and ordinal; duplicates appear."""

    def search(self, publication: Publication, vector: np.ndarray, text: str, candidates: int) -> list[Hit]:
        """The best `candidates` by vector and as many by full text, fused to at most that number; best first.

        Reads nothing but `publication`. A caller must look afterwards whether that is still the pointer's current or
        previous generation: an older one may have been half gone.
        """


def open_store(settings: Retrieval, root: Path = paths.STORE) -> Store:
    """The store that `retrieval.store` names: LanceDB at `root`, or the Weaviate of the URL.

    Raises:
        ParamsError: the variable that should hold the API key is not set.
        StoreError: no server answers there, it wants another key, or it is too old.
    """
    if settings.on_server:
        from retrieval.store_weaviate import WeaviateStore

        return WeaviateStore(settings)
    from retrieval.store_lance import LanceStore

    return LanceStore(root)


def lock_of(settings: Retrieval, root: Path = paths.STORE) -> Path:
    """The path that `writer_lock` takes for a store; a server has one in the project's state."""
    if settings.on_server:
        url = urlsplit(settings.store)
        return paths.STATE / f"{url.hostname}-{url.port or 0}-{url.path.strip('/')}"
    return root


@contextmanager
def writer_lock(root: Path) -> Iterator[None]:
    """Hold the right to write to the store at `root`. The operating system gives it back, even after a kill.

    Raises:
        BusyError: another process holds it, or the disk is full.
    """
    from filelock import FileLock, Timeout

    path = root.parent / f"{root.name}.lock"
    with disk_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            holder = path.read_text(encoding="utf-8").strip() or "unknown"
            raise BusyError(
                f"another run is writing to the index {root} (process {holder}): wait for it to end, or stop it"
            ) from None
    try:
        with disk_of(path):
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()
