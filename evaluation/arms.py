"""Asks every arm every question. One model is in memory at a time, and a run that was killed goes on where it was."""

import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from contracts import paths
from contracts.answers import Answer, Route
from contracts.errors import DataError
from contracts.files import content_hash, file_hash, read_jsonl, tree_hashes, write_jsonl
from contracts.pairs import Question
from contracts.params import Evaluation, Params
from contracts.release import Example
from evaluation.questions import spread


class Answering(Protocol):
    """What an arm must do; assistant.assistant.Assistant does it."""

    def answer(self, question: str) -> Answer: ...

    def answer_many(self, questions: list[str], batch_size: int) -> list[Answer]: ...


class Arms(Protocol):
    """Opens arms. `inputs` is a hash of all that their answers depend on; it keys the work folder."""

    @property
    def inputs(self) -> str: ...

    def open(self, arm: Route) -> Answering: ...


class ProjectArms:
    """The four arms of this project: two models, each with and without passages.

    The base model with passages also gets worked examples (`examples`), as a rag-only release would.
    """

    def __init__(self, params: Params, retriever: Any, index_content: str, examples: Sequence[Example]) -> None:
        self._params, self._retriever, self._examples = params, retriever, list(examples)
        self._index_content = index_content
        self._engine: Any = None
        self._loaded: Path | None = None

    @property
    def inputs(self) -> str:
        """Weights, index, examples, settings, and the code that turns them into answers."""
        rooms = Path(__file__).parents[1]
        code = [
            file_hash(p)
            for room in ("assistant", "contracts", "retrieval")
            for p in sorted((rooms / room).glob("*.py"))
        ]
        models = [tree_hashes(path) for path in (paths.BASE, paths.merged(self._params.assistant.behaviour))]
        settings = self._params.model_dump(include={"assistant", "retrieval", "dtype", "seed"})
        return content_hash([models, self._index_content, [e.model_dump() for e in self._examples], settings, code])

    def open(self, arm: Route) -> Answering:
        """One arm, ready to answer. The model of an arm opened before is let go when this one needs another."""
        from assistant.assistant import Assistant

        tuned = arm in ("tuned", "hybrid")
        engine = self._engine_of(paths.merged(self._params.assistant.behaviour) if tuned else paths.BASE)
        return Assistant(
            engine,
            self._retriever if arm in ("rag", "hybrid") else None,
            self._params.assistant,
            route=arm,
            examples=self._examples if arm == "rag" else (),
            top_k=self._params.retrieval.top_k,
        )

    def _engine_of(self, path: Path) -> Any:
        from assistant.engine import Engine

        if path != self._loaded:
            self._engine = self._loaded = None
            gc.collect()
            self._engine, self._loaded = Engine.load(path, self._params.dtype), path
        return self._engine


class Journal:
    """What has been answered so far, on disk line by line. `answers` and `seconds` are keyed by (arm, question id)."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.seconds: dict[tuple[str, str], float] = {}
        self._path = path
        # A line that a kill cut short is dropped: its question is asked again.
        rows = [row for _, row in read_jsonl(path) if not isinstance(row, DataError)] if path.exists() else []
        for row in rows:
            self._take(row)
        write_jsonl(path, rows)

    def add(self, arm: str, question: str, **value: Any) -> None:
        """Note `answer` (a dumped Answer) or `seconds` of one question."""
        row = {"arm": arm, "question": question, **value}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        key = row["arm"], row["question"]
        if "answer" in row:
            self.answers[key] = Answer.model_validate(row["answer"])
        if "seconds" in row:
            self.seconds[key] = row["seconds"]


def ask(
    arms: Arms,
    names: Sequence[Route],
    questions: Sequence[Question],
    settings: Evaluation,
    work: Path,
    console: Console,
) -> Journal:
    """Every question to every arm in `names`, in batches; then a few one at a time, for the latency.

    What is answered is written below `work` at once, so that a killed run asks only what is missing.
    """
    journal = Journal(work / "journal.jsonl")
    with _progress(console) as advance:
        for arm in names:
            _ask_one(arms, arm, questions, settings, journal, advance)
    return journal


# Told (arm, answered, of how many).
Advance = Callable[[str, int, int], None]


def _ask_one(
    arms: Arms, arm: Route, questions: Sequence[Question], settings: Evaluation, journal: Journal, advance: Advance
) -> None:
    pending = [q for q in questions if (arm, q.id) not in journal.answers]
    untimed = [q for q in spread(questions, settings.latency_questions) if (arm, q.id) not in journal.seconds]
    if pending or untimed:
        assistant = arms.open(arm)
    for start in range(0, len(pending), settings.batch_size):
        batch = pending[start : start + settings.batch_size]
        advance(arm, len(questions) - len(pending) + start, len(questions))
        answers = assistant.answer_many([q.question for q in batch], settings.batch_size)
        for question, answer in zip(batch, answers, strict=True):
            journal.add(arm, question.id, answer=answer.model_dump())
    for question in untimed:
        begun = time.perf_counter()
        assistant.answer(question.question)
        journal.add(arm, question.id, seconds=time.perf_counter() - begun)
    advance(arm, len(questions), len(questions))


@contextmanager
def _progress(console: Console) -> Iterator[Advance]:
    """A bar for each arm on a terminal, plain lines anywhere else."""
    if not console.is_terminal:
        yield lambda arm, done, total: console.print(f"evaluate: {arm} {done}/{total} answered", highlight=False)
        return
    columns = TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(arm: str, done: int, total: int) -> None:
            if arm not in tasks:
                tasks[arm] = progress.add_task(arm, total=total)
            progress.update(tasks[arm], completed=done)

        yield advance
