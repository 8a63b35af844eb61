"""Small documents, and a quick real embedder (feature hashing) where the meaning of words is not what is tested."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import FreshtuneError
from contracts.params import Params
from flows import weaviate as server

PAGES = {
    "lockers/nests.md": (
        "---\ntitle: Nest lockers\nversion: 1\n---\n\n# Nest lockers\n\n## Holding time\n\n"
        "A Nest keeps a parcel for 6 days. Then it goes back to the sender.\n\n"
        "## Weight\n\nA box carries up to 12 kg.\n"
    ),
    "plans.md": "# Plans\n\n## Wren\n\nWren costs €4.20 a month.\n\n## Heron\n\nHeron costs €19 a month.\n",
    "returns.md": "# Returns\n\nSend a parcel back within 30 days. The label is in the app.\n",
    "cover.md": "# Cover\n\nExtra cover pays up to €500 for a lost parcel.\n",
}


class WordEmbedder:
    """Feature hashing of words into 64 dimensions; counts what it was asked to embed."""

    revision, dimensions, max_tokens = "words-1", 64, 254

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def encode(self, texts: list[str]) -> np.ndarray:
        self.embedded += texts
        vectors = np.full((len(texts), self.dimensions), 1e-3, dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_pages(pages: dict[str, str], root: Path = Path("docs")) -> None:
    """Make `root` hold exactly `pages`."""
    for old in root.rglob("*.md"):
        old.unlink()
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture(name="write_pages")
def _write_pages():
    return write_pages


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def pages() -> dict[str, str]:
    return dict(PAGES)


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project directory (made the current one) with PAGES in `docs`."""
    monkeypatch.chdir(tmp_path)
    write_pages(PAGES)
    return Path("docs")


@pytest.fixture
def make_params():
    """Params of a project that differs from the smallest one by `retrieval` and `documents` settings."""

    def make(retrieval: dict | None = None, documents: dict | None = None) -> Params:
        return Params.model_validate(
            {
                "project": "tiny",
                "base_model": "package:none",
                "behaviours": ["support"],
                "pairs": {"support": {"files": ["pairs.jsonl"]}},
                "documents": {"path": "docs", **(documents or {})},
                "retrieval": {"max_delete_share": 0.3, **(retrieval or {})},
                "assistant": {"behaviour": "support"},
                "evaluation": {"golden": "golden.jsonl"},
            }
        )

    return make


@pytest.fixture(scope="session")
def weaviate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Node]:
    """A real Weaviate on ports of its own. Built once with Go where the user's cache has none."""
    try:
        server.binary()
    except FreshtuneError as error:
        pytest.skip(f"the Weaviate tests did NOT run: {error}")
    with server.nodes(tmp_path_factory.mktemp("weaviate")) as (node,):
        yield node
