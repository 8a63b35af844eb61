"""One question in, one answer out: what is shown, what is cited, what is said to be degraded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.assistant import Assistant
from assistant.engine import Engine, Generation
from contracts.answers import Answer
from contracts.documents import Chunk
from contracts.errors import DataError, ModelError
from contracts.pairs import Passage
from contracts.params import Assistant as Settings
from contracts.release import Example
from retrieval.search import Hit

SETTINGS = Settings(behaviour="support", system="You are the desk.", max_new_tokens=8, max_question_characters=40)


def hit(number: int, text: str = "A parcel waits 6 days.") -> Hit:
    chunk = Chunk(
        document=f"doc{number}.md",
        ordinal=0,
        text=text,
        start=10,
        end=10 + len(text),
        title=f"Page {number}",
        headings=("Holding time",),
        metadata={"updated_at": "2026-09-08"},
    )
    return Hit(chunk, 1.0)


class Shelf:
    """A retriever that always finds the same passages."""

    content = "c"

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)

    def search_many(self, questions: list[str], k: int) -> list[list[Hit]]:
        return [self.hits[:k] for _ in questions]


class Echo:
    """An engine that says what it is told to and remembers what it read."""

    def __init__(self, text: str, tokens: int = 5) -> None:
        self.said = Generation(text, 20, tokens, 0.5)
        self.read: list[list[dict[str, str]]] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, conversations: list[list[dict[str, str]]], settings: Settings) -> list[Generation]:
        self.read += conversations
        return [self.said] * len(conversations)

    def stream(self, conversation: list[dict[str, str]], settings: Settings) -> Iterator[str | Generation]:
        yield from self.said.text.split(" ")
        yield self.said


def assistant(engine: Any, *hits: Hit, settings: Settings = SETTINGS, **rest: Any) -> Assistant:
    return Assistant(engine, Shelf(*hits) if hits else None, settings, route="hybrid", **rest)  # type: ignore[arg-type]


def test_a_citation_points_at_the_exact_text() -> None:
    answer = assistant(Echo("Six days. [2]"), hit(1), hit(2)).answer("How long?")
    assert [c.document for c in answer.citations] == ["doc2.md"]
    citation = answer.citations[0]
    assert (citation.start, citation.end - citation.start) == (10, len(citation.text))
    assert citation.updated_at == "2026-09-08"
    assert [s.number for s in answer.sources] == [1, 2]
    assert answer.problems == []


def test_a_citation_of_what_was_not_shown_is_a_problem() -> None:
    answer = assistant(Echo("Six days. [7]"), hit(1)).answer("How long?")
    assert answer.citations == []
    assert "[7]" in answer.problems[0]


def test_an_answer_that_was_cut_says_so() -> None:
    assert "cut at" in assistant(Echo("So", tokens=8), hit(1)).answer("How long?").problems[0]


def test_passages_beyond_the_budget_are_left_out() -> None:
    engine = Echo("So.")
    long = SETTINGS.model_copy(update={"context_tokens": 40})
    answer = assistant(engine, hit(1), hit(2, "word " * 60), settings=long).answer("How long?")
    assert [source.document for source in answer.sources] == ["doc1.md"]
    assert "[2]" not in engine.read[0][-1]["content"]


def test_examples_are_shown_before_the_question() -> None:
    engine = Echo("So.")
    example = Example(question="asked", passages=[Passage(text="p")], answer="answered")
    assistant(engine, hit(1), examples=[example]).answer("How long?")
    assert [m["role"] for m in engine.read[0]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(("question", "message"), [("  ", "is empty"), ("x" * 41, "more than 40")])
def test_a_question_that_cannot_be_asked_is_refused(question: str, message: str) -> None:
    desk = assistant(Echo("So."), hit(1))
    with pytest.raises(DataError, match=message):
        desk.answer(question)
    with pytest.raises(DataError, match=message):
        next(desk.stream(question))


def test_a_stream_ends_with_the_whole_answer() -> None:
    *pieces, last = assistant(Echo("Six days. [1]"), hit(1)).stream("How long?")
    assert pieces == ["Six", "days.", "[1]"]
    assert isinstance(last, Answer)
    assert last.citations[0].number == 1
    assert last.timings.total >= last.timings.generate


def test_many_are_answered_in_batches_and_in_order() -> None:
    engine = Echo("So.")
    answers = assistant(engine, hit(1)).answer_many([f"q{n}" for n in range(5)], batch_size=2)
    assert len(answers) == 5
    assert [read[-1]["content"].rsplit("\n", 1)[1] for read in engine.read] == [f"q{n}" for n in range(5)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_engine_says_the_same_alone_in_a_batch_and_as_a_stream(tiny_base: Path) -> None:
    engine = Engine.load(tiny_base, "float32")
    chats = [
        [{"role": "user", "content": text}] for text in ("Short.", "A much longer question, to be padded against.")
    ]
    alone = [engine.generate([chat], SETTINGS)[0] for chat in chats]
    together = engine.generate(chats, SETTINGS)
    assert [g.text for g in alone] == [g.text for g in together]
    assert [g.prompt_tokens for g in alone] == [g.prompt_tokens for g in together]
    *_, streamed = engine.stream(chats[0], SETTINGS)
    assert isinstance(streamed, Generation)
    assert streamed.text == alone[0].text
    assert streamed.confidence == pytest.approx(alone[0].confidence, rel=1e-3)
    assert 0 < alone[0].confidence <= 1


def test_a_folder_without_a_model_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no readable model"):
        Engine.load(tmp_path)
