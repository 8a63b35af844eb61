"""A small project that was trained, indexed and evaluated, and a BentoML store of its own."""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from contracts import paths
from contracts.files import write_json, write_jsonl, write_text
from contracts.params import Params, load_params
from contracts.verdicts import Estimate, EvaluationVerdict, GateResult, MergeRecord

DOCUMENTS = {
    "prices.md": "# Parcels\n\nA small parcel costs 4.20 euros. A large parcel costs 9.80 euros.\n",
    "returns.md": "# Returns\n\nA parcel can be returned within 21 days. Keep the label.\n",
    "lockers.md": "# Lockers\n\nA locker keeps a parcel for 5 days.\n",
}
SETTINGS: dict[str, Any] = {
    "project": "demo",
    "base_model": "models/base",
    "behaviours": ["support"],
    "pairs": {"support": {"files": ["data/pairs/*.jsonl"]}},
    "documents": {"path": "data/documents"},
    "assistant": {
        "behaviour": "support",
        "system": "You are the desk.",
        "max_new_tokens": 12,
        "max_question_characters": 200,
    },
    "evaluation": {"golden": "data/golden.jsonl"},
}


class WordEmbedder:
    """Counts words in 16 buckets: enough to build an index, no model needed."""

    revision = "1"
    dimensions = 16
    max_tokens = 256

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.full((len(texts), self.dimensions), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project directory, entered."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    for variable in ("FRESHTUNE_SNAPSHOT", "FRESHTUNE_STORE"):
        monkeypatch.delenv(variable, raising=False)
    return root


@pytest.fixture(autouse=True)
def bentoml_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A BentoML store that only this test sees, outside the project."""
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    _forget_store()
    yield tmp_path / "bentoml"
    _forget_store()


def _forget_store() -> None:
    """BentoML reads BENTOML_HOME once in a process: let it read again."""
    from bentoml._internal.configuration.containers import BentoMLContainer as Container
    from simple_di import sentinel

    for name in ("bentoml_home", "bento_store_dir", "tmp_bento_store_dir", "bento_store"):
        getattr(Container, name)._cache = sentinel


@pytest.fixture
def write_params() -> Callable[..., Params]:
    """A function that writes params.yaml; a keyword takes the place of a section."""

    def write(**sections: Any) -> Params:
        paths.PARAMS.write_text(yaml.safe_dump({**SETTINGS, **sections}), encoding="utf-8")
        return load_params()

    return write


@pytest.fixture
def params(project: Path, write_params: Callable[..., Params]) -> Params:
    return write_params()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def write_verdict() -> Callable[..., None]:
    """A function that writes evaluation.json: passed, unless it is told otherwise."""
    return _write_verdict


@pytest.fixture
def word_embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def evaluated(params: Params) -> Params:
    """The project as its stages leave it after `evaluate`; its weights are a few bytes, its embedder counts words."""
    write_project(_weights, WordEmbedder())
    return params


def write_project(write_model: Callable[[Path], object], embedder: Any = None) -> None:
    """Write what the stages would have: documents, pairs, models, index and verdict."""
    from retrieval.index import published_record, reindex

    params = load_params()
    for name, text in DOCUMENTS.items():
        write_text(Path("data/documents") / name, text)
    turns = [{"role": "user", "content": "A question?"}, {"role": "assistant", "content": "An answer."}]
    places = [paths.VALIDATED / "support" / f"{split}.jsonl" for split in ("train", "eval")]
    for place in (*places, paths.examples("support")):
        write_jsonl(place, [{"id": f"{place.stem}-{n}", "behaviour": "support", "messages": turns} for n in range(3)])
    for place in (paths.BASE, paths.merged("support")):
        place.mkdir(parents=True, exist_ok=True)
        write_model(place)
    write_json(paths.BASE / "source.json", {"reference": "models/base", "revision": "abc"})
    write_json(paths.merged("support") / "merge.json", MergeRecord(behaviour="support").model_dump())
    reindex(params, embedder=embedder)
    index = published_record(params.retrieval)
    write_json(paths.INDEX, index.model_dump())
    _write_verdict(index_content=index.content)


def _weights(place: Path) -> None:
    (place / "model.safetensors").write_bytes(place.name.encode() * 100)
    (place / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")


def _write_verdict(**changes: Any) -> None:
    score = Estimate(mean=0.8, low=0.7, high=0.9, n=10)
    seconds = Estimate(mean=1.5, low=1.2, high=1.9, n=5)
    verdict = EvaluationVerdict(
        mode="hybrid",
        arm="hybrid",
        reason="",
        arms={"rag": {"task_success": score}, "hybrid": {"task_success": score, "median_latency_seconds": seconds}},
        by_category={},
        gates=[
            GateResult(name="min_format", passed=True, value=0.9, bound=0.8, detail="0.90 of answers, at least 0.80")
        ],
        passed=True,
        index_content="",
        eval_loss={},
    )
    answer = {"prompt_tokens": 400, "answer_tokens": 50}
    write_jsonl(paths.EVALUATION / "answers.jsonl", [{"arm": arm, "answer": answer} for arm in ("rag", "hybrid")])
    write_json(paths.EVALUATION / "evaluation.json", verdict.model_copy(update=changes).model_dump(mode="json"))


@pytest.fixture
def released(params: Params, tiny_model: Callable[[Path], object]) -> Params:
    """A packaged project with a real, tiny, random model and the default embedder."""
    from serving.stages import package

    write_project(tiny_model)
    package(params)
    return params
