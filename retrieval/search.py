"""Ask the published index: dense and full-text search, fused by reciprocal rank.

    retriever = Retriever.open(params.retrieval, paths.STORE)
    hits = retriever.search("How long does a Nest keep my parcel?", k=3)

A server may keep a retriever for its whole life: it follows every reindex.
"""

from pathlib import Path

import numpy as np

from contracts import paths
from contracts.errors import StoreError
from contracts.params import Retrieval
from retrieval.embed import Embedder, load_embedder
from retrieval.index import fingerprint_of
from retrieval.store import Hit, Publication, Store, open_store

__all__ = ["Hit", "Retriever"]

_PATIENCE = 20  # how often two runs may overtake one question


class Retriever:
    """A reader of one index. It reads the published generation anew at every question."""

    def __init__(self, store: Store, embedder: Embedder, settings: Retrieval) -> None:
        self._store, self._embedder, self._settings = store, embedder, settings
        self._fingerprint = fingerprint_of(settings, embedder)
        self._publication()

    @classmethod
    def open(
        cls, settings: Retrieval, store: Path = paths.STORE, dtype: str = "auto", *, embedder: Embedder | None = None
    ) -> "Retriever":
        """Open the index that `settings` names; `store` is where LanceDB lies. The embedder's weights are loaded by the first question.

        Raises:
            ModelError: the embedder cannot be found.
            StoreError: nothing is published there, or it was made with other settings.
        """
        return cls(open_store(settings, store), embedder or load_embedder(settings.embedder, dtype), settings)

    @property
    def content(self) -> str:
        """The content hash of what is published now (IndexRecord.content); caches of answers are keyed by it."""
        return self._publication().content

    def search(self, question: str, k: int) -> list[Hit]:
        """The `k` best chunks, best first; fewer when the index is smaller, none for a blank question.

        Raises:
            StoreError: the index went away, or was rebuilt with other settings.
        """
        return self.search_many([question], k)[0]

    def search_many(self, questions: list[str], k: int) -> list[list[Hit]]:
        """`search` for several questions, embedded together.

        Raises:
            StoreError: the index went away, or was rebuilt with other settings.
        """
        asked = [question for question in questions if question.strip()]
        vectors = dict(zip(asked, self._embedder.encode(asked), strict=True)) if asked else {}
        return [self._find(question, vectors[question], k) if question in vectors else [] for question in questions]

    def _find(self, question: str, vector: np.ndarray, k: int) -> list[Hit]:
        candidates = max(self._settings.candidates, k)
        for _ in range(_PATIENCE):
            publication = self._publication()
            try:
                hits = self._store.search(publication, vector, question, candidates)[:k]
            except StoreError:
                if self._stands(publication):
                    raise
            else:
                if self._stands(publication):
                    return hits
        raise StoreError(f"the index {self._store.place} changes faster than a question can be answered: ask again")

    def _stands(self, publication: Publication) -> bool:
        """Whether nothing of a generation was cleared: it is the published one, or the one kept before it."""
        pointer = self._store.pointer()
        return pointer is not None and publication in (pointer.current, pointer.previous)

    def _publication(self) -> Publication:
        """The published generation, if it was made with this retriever's settings."""
        pointer = self._store.pointer()
        if pointer is None:
            raise StoreError(f"no index is published in {self._store.place}: run `freshtune reindex`")
        publication = pointer.current
        theirs, ours = publication.fingerprint.model_dump(), self._fingerprint.model_dump()
        if differing := [f"{key} {theirs[key]} there, {ours[key]} here" for key in ours if theirs[key] != ours[key]]:
            raise StoreError(
                f"the index {self._store.place} was made with other settings ({'; '.join(differing)}), so its answers"
                " would be noise: run `freshtune reindex`, or restart what still uses the old settings"
            )
        return publication
