"""Two lists to go through with people: nine questions that lead to a tier, ten points before training."""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.inputs import read_yes
from advisor.rules import HYBRID, RAG, TUNED
from contracts.errors import InputError


@dataclass(frozen=True)
class Question:
    """One of the nine. `on` is the answer that leads to `tier`; the other one goes on to the next question."""

    text: str
    on: bool
    tier: str


QUESTIONS = (
    Question("Does the knowledge change more often than monthly?", True, RAG),
    Question("Must every answer be traceable to a source?", True, RAG),
    Question("Is tone, style or format the problem?", True, TUNED),
    Question("Are there more than 500 good examples?", False, RAG),
    Question("Is the latency that retrieval adds acceptable?", False, TUNED),
    Question("Is there GPU infrastructure?", False, RAG),
    Question("Do domain terms work like syntax, beyond a glossary?", True, TUNED),
    Question("Are current facts and style both needed?", True, HYBRID),
    Question("Is the content sensitive, regulated or legally significant?", True, HYBRID),
)
# Without these there is nothing to train with, whatever else is asked for.
_IMPOSSIBLE = (4, 6)

POINTS = (
    "100 good examples at least, 500 are better",
    "The knowledge stands still for six months",
    "It is behaviour that must change, not knowledge",
    "Retrieval with few-shot examples was tried",
    "There is an evaluation, made before training",
    "Three to five training cycles are affordable",
    "There is a plan for new base models",
    "Forgetting of general ability is tested",
    "Latency justifies leaving retrieval out",
    "It is written down why training beats prompting here",
)
# What a hybrid need not fulfil: its changing knowledge is retrieved.
NOT_FOR_HYBRID = (2, 9)


@dataclass(frozen=True)
class Tier:
    """Where the nine answers lead; `fired` are the numbers of the questions that led anywhere."""

    recommendation: str
    fired: tuple[int, ...]
    reason: str
    warning: str = ""


def tier(answers: Sequence[bool]) -> Tier:
    """Weigh all nine answers.

    Without data or hardware (4, 6) it is RAG. Else both halves where 8 or 9 ask for both; then 1 and 2, which only
    retrieval serves; then 3, 5 and 7, which training serves; and RAG where nothing was asked for.
    """
    fired = tuple(n for n, (q, yes) in enumerate(zip(QUESTIONS, answers, strict=True), start=1) if yes == q.on)
    late = "Retrieval is too slow (5), and nothing here can take its place: relax one of the two." if 5 in fired else ""

    def those(*numbers: int) -> str:
        return ", ".join(str(n) for n in numbers if n in fired)

    if impossible := those(*_IMPOSSIBLE):
        return Tier(RAG, fired, f"question {impossible}: training lacks examples or hardware", late)
    if both := those(8, 9):
        return Tier(HYBRID, fired, f"question {both}: both halves are needed", late)
    if facts := those(1, 2):
        return Tier(RAG, fired, f"question {facts}: only retrieval serves this", late)
    if behaviour := those(3, 5, 7):
        return Tier(TUNED, fired, f"question {behaviour}: training serves this, and no question asks for retrieval")
    return Tier(RAG, fired, "nothing was asked for that a prompt over retrieved passages does not give")


def missing(points: Sequence[bool], recommendation: str) -> list[int]:
    """The numbers of the ten points that are still open before training for `recommendation`."""
    spared = NOT_FOR_HYBRID if recommendation == HYBRID else ()
    return [n for n, done in enumerate(points, start=1) if not done and n not in spared]


def read_answers(name: str, text: str, count: int) -> list[bool]:
    """Yes and no `count` times: "y n n y …", "yes, no, …" or "ynny…".

    Raises:
        InputError: another number of answers, or something else than yes and no.
    """
    words = text.replace(",", " ").split()
    if len(words) == 1 and set(words[0].casefold()) <= set("yn"):
        words = list(words[0])
    if len(words) != count:
        raise InputError(f"{name} has {len(words)} answers and {count} are asked: write y or n for each, in order")
    return [read_yes(f"answer {n} of {name}", word) for n, word in enumerate(words, start=1)]
