"""The golden questions: what every arm is asked, and what a right answer must carry."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from contracts.errors import DataError
from contracts.files import read_jsonl
from contracts.pairs import Question

T = TypeVar("T")


def read_questions(path: Path) -> list[Question]:
    """All golden questions of a JSONL file, in its order.

    Raises:
        DataError: the file is missing or empty, or lines are broken; every broken line is named, all at once.
    """
    questions: list[Question] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    for number, row in read_jsonl(path):
        if isinstance(row, DataError):
            problems.append(str(row))
            continue
        try:
            question = Question.model_validate(row)
        except ValidationError as error:
            problems += [f"{path}:{number} `{_key(detail['loc'])}`: {detail['msg']}" for detail in error.errors()]
            continue
        if question.id in first_line:
            first = first_line[question.id]
            problems.append(f"{path}:{number} repeats the id `{question.id}` of line {first}: rename it")
        first_line.setdefault(question.id, number)
        problems += [f"{path}:{number} {problem}" for problem in _incomplete(question)]
        questions.append(question)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DataError(f"{path} has {count}:\n" + "\n".join(f"  - {problem}" for problem in problems))
    if not questions:
        raise DataError(f"{path} holds no golden question: write one JSON object a line, 50 or more to be sure")
    return questions


def spread(items: Sequence[T], most: int | None) -> list[T]:
    """At most `most` of `items` (None: all), evenly spaced, so that a file sorted by category stays balanced."""
    if most is None or most >= len(items):
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _incomplete(question: Question) -> list[str]:
    """What a well-formed question still lacks to be judged by."""
    written = {"id": question.id, "question": question.question, "reference": question.reference}
    problems = [f"has an empty `{key}`: fill it in" for key, text in written.items() if not text.strip()]
    if question.category != "behaviour" and not question.facts:
        problems.append(f'is `{question.category}` without `facts`: list what a right answer must state, as in "€4.90"')
    if any(not fact.strip() for fact in question.facts):
        problems.append("has an empty entry in `facts`: an empty fact occurs in every answer, so delete it")
    return problems
