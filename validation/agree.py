"""Do two answers to one question agree? Polarity, facts, negation and words, in that order."""

import re
from collections import defaultdict
from functools import lru_cache

from contracts.facts import find_facts, sentences, subject_words

_POLARITY = re.compile(r"(?:^|[:;.!?\n])\s*(yes|no)\b(?=\s*[,.;:!\u2013\u2014-])", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|never|cannot|no longer|neither|nor)\b|n['\u2019]t\b", re.IGNORECASE)
LIST_NUMBER = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)

# As alike as this, and one of them negated: the negation is the difference.
_ALIKE = 0.5


def disagreement(first: str, second: str, house: frozenset[str] = frozenset()) -> str:
    """Why two answers to the same question cannot both be right, or an empty string.

    `house` are words that the answer format puts into every answer; they say nothing about agreement.
    """
    if first.casefold().split() == second.casefold().split():
        return ""
    polarities = [match.group(1).lower() if (match := _POLARITY.search(text)) else "" for text in (first, second)]
    if set(polarities) == {"yes", "no"}:
        return "one says yes, the other no"
    values, others = _values(first), _values(second)
    for kind in sorted(values.keys() & others.keys()):
        if values[kind].keys().isdisjoint(others[kind]):
            return f"one says {next(iter(values[kind].values()))!r}, the other {next(iter(others[kind].values()))!r}"
    if _negated(first) != _negated(second) and likeness(first, second, house) >= _ALIKE:
        return "one denies what the other says"
    return ""


def likeness(first: str, second: str, house: frozenset[str] = frozenset()) -> float:
    """The share of the words of two answers that both of them use. Wordings of one answer share a fifth and more."""
    words, theirs = subject_words(first) - house, subject_words(second) - house
    return len(words & theirs) / max(1, len(words | theirs))


@lru_cache(maxsize=1000)  # one answer is compared with several, and both ways
def _values(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """{(kind, unit): {value: as written}} of the facts in `text`; the numbers of a list are none."""
    values: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for fact in find_facts(LIST_NUMBER.sub("", text)):
        values[fact.kind, fact.unit].setdefault(fact.value, fact.text)
    return values


def _negated(text: str) -> bool:
    """Of the first sentence: what follows is often a next step with negations of its own."""
    return any(_NEGATION.search(sentence) for _, sentence in list(sentences(text))[:1])
