"""How one answer is judged: pure functions of a golden question and an answer. None means "cannot be asked here".

Every metric is a share between 0 and 1, higher is better. Citation marks such as [2] are neither words nor numbers.
"""

import re
from collections import Counter

from contracts.answers import Answer
from contracts.facts import Fact, find_facts
from contracts.pairs import Question

_CITATION = re.compile(r"\[\d+\]")
_LIST_MARK = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+|[€$£¥%]")
_ARTICLES = frozenset({"a", "an", "the"})
# Kinds whose unit belongs to the fact: €5 is not 5 days. The others may be phrased around ("3 May" in "3 May 2026").
_WITH_UNIT = frozenset({"money", "percent", "duration", "measure"})


def overlap(question: Question, answer: Answer) -> float:
    """Token F1 of the answer with the reference, as in SQuAD (Rajpurkar et al., 2016, arXiv 1606.05250)."""
    said, wanted = (Counter(w for w in _words(t) if w not in _ARTICLES) for t in (answer.text, question.reference))
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total()) if shared else 0.0


def follows_format(answer: Answer, pattern: str) -> float | None:
    """1.0 when the stripped text matches the behaviour's regular expression in full. None when there is none."""
    return float(re.fullmatch(pattern, answer.text.strip()) is not None) if pattern else None


def fact_recall(question: Question, answer: Answer) -> float | None:
    """Share of the question's facts that the answer states. None when the question has none.

    Prices, durations, shares and measures are compared by value and unit ("1,200 EUR" states "€1200"); everything
    else also counts when its words stand in the answer in that order.
    """
    if not question.facts:
        return None
    stated = {fact.key for fact in find_facts(answer.text)}
    words = _words(answer.text)
    return sum(_states(fact, stated, words) for fact in question.facts) / len(question.facts)


def grounded_numbers(question: Question, answer: Answer) -> float | None:
    """Share of the answer's facts that stand in the passages it was shown or in the question. None when it states none.

    An arm without passages has only the question to draw on, so every number of its own is ungrounded. The "1." of a
    list is no fact.
    """
    stated = find_facts(_LIST_MARK.sub("", answer.text))
    if not stated:
        return None
    shown = [question.question, *(f"{s.title}\n{s.heading}\n{s.text}" for s in answer.sources)]
    keys = {fact.key for text in shown for fact in find_facts(text)}
    words = [_words(text) for text in shown]
    return sum(_grounded(fact, keys, words) for fact in stated) / len(stated)


def citation_correct(question: Question, answer: Answer) -> float | None:
    """1.0 when the answer cites at least one passage and only supporting documents. None without such documents."""
    if not question.documents:
        return None
    cited = {citation.document for citation in answer.citations}
    return float(bool(cited) and cited <= set(question.documents))


def retrieval_recall(question: Question, answer: Answer) -> float | None:
    """1.0 when a supporting document is among the passages shown. None without passages or without such documents."""
    if not question.documents or not answer.sources:
        return None
    return float(any(source.document in question.documents for source in answer.sources))


def task_success(question: Question, answer: Answer, pattern: str) -> float:
    """1.0 when the answer does what its category asks for.

    factual: every fact; behaviour: the format and no invented number; both: every fact and the format. Without a
    format, a behaviour answer must say something and invent no number.
    """
    in_format = follows_format(answer, pattern) != 0.0 and bool(answer.text.strip())
    all_facts = fact_recall(question, answer) in (None, 1.0)
    if question.category == "factual":
        return float(all_facts)
    if question.category == "both":
        return float(all_facts and in_format)
    return float(in_format and grounded_numbers(question, answer) in (None, 1.0))


def score(question: Question, answer: Answer, pattern: str) -> dict[str, float | None]:
    """Every metric of one answer, by name. `pattern` is the behaviour's format."""
    return {
        "task_success": task_success(question, answer, pattern),
        "fact_recall": fact_recall(question, answer),
        "format": follows_format(answer, pattern),
        "grounded_numbers": grounded_numbers(question, answer),
        "citation_correct": citation_correct(question, answer),
        "retrieval_recall": retrieval_recall(question, answer),
        "overlap": overlap(question, answer),
    }


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(_CITATION.sub(" ", text))]


def _states(fact: str, stated: set[tuple[str, str, str]], words: list[str]) -> bool:
    parsed = find_facts(fact)
    if parsed and all(part.key in stated for part in parsed):
        return True
    return not any(part.kind in _WITH_UNIT for part in parsed) and _contains(words, _words(fact))


def _grounded(fact: Fact, keys: set[tuple[str, str, str]], shown: list[list[str]]) -> bool:
    if fact.key in keys:
        return True
    # The unit of a bare count is only the word that happens to follow it.
    wanted = _words(fact.value if fact.kind == "count" else fact.text)
    return fact.kind not in _WITH_UNIT and any(_contains(words, wanted) for words in shown)


def _contains(words: list[str], wanted: list[str]) -> bool:
    """Do the words of `wanted` follow each other somewhere in `words`?"""
    return bool(wanted) and any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))
