import gc
import io
import sys
import weakref
from types import SimpleNamespace
from typing import ClassVar

import pytest
from rich.console import Console

from contracts.errors import StoreError
from contracts.pairs import Question
from contracts.release import Example
from evaluation.arms import ProjectArms, ask
from evaluation.stages import live_retriever


class Engine:
    """Counts how many of its kind are alive, as weights in memory would."""

    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()
    loads: ClassVar[list[tuple[str, int]]] = []

    @classmethod
    def load(cls, path, dtype):
        gc.collect()
        cls.loads.append((path.as_posix(), len(cls.alive)))
        engine = cls()
        cls.alive.add(engine)
        return engine


class Assistant:
    def __init__(self, engine, retriever, settings, route, examples, top_k) -> None:
        self.engine, self.retriever, self.route, self.examples, self.top_k = engine, retriever, route, examples, top_k

    def answer(self, question):
        from contracts.answers import Answer

        return Answer(text="yes", route=self.route)

    def answer_many(self, questions, batch_size):
        return [self.answer(question) for question in questions]


@pytest.fixture
def rooms(monkeypatch):
    """Stands in for the rooms below, whose own tests are theirs."""
    Engine.loads.clear()
    monkeypatch.setitem(sys.modules, "assistant.engine", SimpleNamespace(Engine=Engine))
    monkeypatch.setitem(sys.modules, "assistant.assistant", SimpleNamespace(Assistant=Assistant))


def test_one_model_is_in_memory_at_a_time(project, rooms, tmp_path) -> None:
    params = project()
    question = Question(id="q", category="behaviour", question="?", reference="yes")
    arms = ProjectArms(params, "retriever", "c", [])
    ask(
        arms,
        ["base", "rag", "tuned", "hybrid"],
        [question],
        params.evaluation,
        tmp_path / "w",
        Console(file=io.StringIO()),
    )
    assert Engine.loads == [("models/base", 0), ("models/merged/support", 0)]


def test_arms_differ_in_model_passages_and_examples(project, rooms) -> None:
    example = Example(question="q", passages=[], answer="a")
    arms = ProjectArms(project(), "retriever", "c", [example])
    opened = {arm: arms.open(arm) for arm in ("base", "rag", "tuned", "hybrid")}
    assert {arm: a.retriever for arm, a in opened.items()} == {
        "base": None, "rag": "retriever", "tuned": None, "hybrid": "retriever"
    }  # fmt: skip
    assert {arm: list(a.examples) for arm, a in opened.items()} == {
        "base": [],
        "rag": [example],
        "tuned": [],
        "hybrid": [],
    }
    assert opened["base"].engine is opened["rag"].engine
    assert opened["tuned"].engine is opened["hybrid"].engine


def test_the_work_folder_changes_with_whatever_answers_depend_on(project) -> None:
    params = project()
    first = ProjectArms(params, None, "c", []).inputs
    assert first == ProjectArms(params, None, "c", []).inputs
    assert first != ProjectArms(params, None, "other content", []).inputs
    assert first != ProjectArms(params, None, "c", [Example(question="q", passages=[], answer="a")]).inputs
    hotter = params.model_copy(update={"assistant": params.assistant.model_copy(update={"temperature": 1.0})})
    assert first != ProjectArms(hotter, None, "c", []).inputs
    gates = params.evaluation.model_copy(update={"bootstrap": 999})
    assert first == ProjectArms(params.model_copy(update={"evaluation": gates}), None, "c", []).inputs


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(project, scripted, tmp_path) -> None:
    params = project()
    question = Question(id="f1", category="behaviour", question="What does a small parcel cost?", reference="yes")
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
        ask(scripted(), ["rag"], [question], params.evaluation, tmp_path / str(terminal), console)
        text = console.file.getvalue()
        assert ("\x1b" in text) is terminal
        assert terminal or "evaluate: rag 1/1 answered" in text


class Store:
    """A live store that holds `content`, and changes to `after` when it is reindexed."""

    def __init__(self, content: str | None, after: str) -> None:
        self.content, self.after, self.reindexed = content, after, 0

    def open(self, settings, store, dtype):
        if self.content is None:
            raise StoreError("no store")
        return SimpleNamespace(content=self.content)

    def reindex(self, params):
        self.reindexed += 1
        self.content = self.after


@pytest.mark.parametrize(("content", "reindexed"), [("right", 0), ("old", 1), (None, 1)])
def test_the_live_store_is_reconciled_only_when_it_differs(project, monkeypatch, content, reindexed) -> None:
    store = Store(content, after="right")
    monkeypatch.setitem(sys.modules, "retrieval.index", store)
    monkeypatch.setitem(sys.modules, "retrieval.search", SimpleNamespace(Retriever=store))
    assert live_retriever(project(), SimpleNamespace(content="right")).content == "right"
    assert store.reindexed == reindexed


def test_documents_that_moved_on_stop_the_stage(project, monkeypatch) -> None:
    store = Store("old", after="newer")
    monkeypatch.setitem(sys.modules, "retrieval.index", store)
    monkeypatch.setitem(sys.modules, "retrieval.search", SimpleNamespace(Retriever=store))
    with pytest.raises(StoreError, match="freshtune retrain"):
        live_retriever(project(), SimpleNamespace(content="right"))
