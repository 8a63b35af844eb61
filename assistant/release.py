"""From a release directory to an assistant that answers, and the few-shot examples that a release carries."""

from pathlib import Path

from assistant.assistant import Assistant
from assistant.engine import Engine
from contracts import paths
from contracts.files import read_json, read_jsonl
from contracts.pairs import Pair
from contracts.params import Assistant as AssistantSettings
from contracts.params import Params, Retrieval
from contracts.release import Example, load_release
from retrieval.search import Retriever


def open_release(root: Path, store: Path | None = None) -> Assistant:
    """Prove a release's bytes and load it; `store` is a live index to read instead of the release's own snapshot.

    Raises:
        ReleaseError: the release is missing or its bytes changed.
        StoreError: the index has another fingerprint than the release.
    """
    release = load_release(root)
    settings = read_json(root / "settings.json")
    retriever = Retriever.open(
        Retrieval.model_validate(settings["retrieval"]), store or root / "index", dtype=settings["dtype"]
    )
    return Assistant(
        Engine.load(root / "model", settings["dtype"]),
        retriever,
        AssistantSettings.model_validate(settings["assistant"]),
        route="hybrid" if release.mode == "hybrid" else "rag",
        examples=release.examples,
        top_k=settings["retrieval"]["top_k"],
        release=release.id,
    )


def pick_examples(params: Params) -> list[Example]:
    """The first assistant.few_shot examples that validation chose for the behaviour that speaks.

    Raises:
        DataError: validation has not run.
    """
    rows = [row for _, row in read_jsonl(paths.examples(params.assistant.behaviour)) if isinstance(row, dict)]
    pairs = [Pair.model_validate(row) for row in rows[: params.assistant.few_shot]]
    return [Example(question=pair.prompt, passages=pair.passages, answer=pair.answer) for pair in pairs]
