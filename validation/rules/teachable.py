"""Last step: is it behaviour that is taught, and not a fact that changes? Law 1, and what grounded pairs must keep."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pandas as pd

from contracts.facts import NUMBER_WORDS, Fact, find_facts, sentences, subject_words
from contracts.verdicts import VolatileFact
from validation.agree import LIST_NUMBER
from validation.rules.registry import Context, rule
from validation.rules.texts import one_line, suspects

Known = dict[tuple[str, str, str], list[tuple[VolatileFact, frozenset[str]]]]


@rule(
    "volatile_fact",
    "teachable",
    "No fact of a document that changes: those are retrieved, never taught.",
    "say where to find it, or make it a grounded pair whose passage states another value",
    always=True,
)
def volatile_fact(rows: pd.DataFrame, context: Context) -> pd.Series:
    known = by_fact(context.volatile)
    if not known:
        return rows["taught"].iloc[:0]
    reasons: dict[Any, str] = {}
    stating = suspects(rows["taught"], sieve(known))
    asked = rows.loc[stating.index, ["prompt", "asked_before"]]
    for index, prompt, before, taught in zip(stating.index, *(asked[name] for name in asked), stating, strict=True):
        if hit := _volatile(taught, " ".join((prompt, *before)), known, context.settings.shared_subject_words):
            stated, fact = hit
            where = f"{fact.document}, “{one_line(fact.sentence, 160)}”"
            reasons[index] = f"states {stated.text!r}, which changes: {where}"
    return pd.Series(reasons, dtype=object)


@rule(
    "live_passage",
    "teachable",
    "The passages of a grounded pair state other values than the documents that change.",
    "alter the value in passage and answer, so that the model reads it and cannot learn it",
)
def live_passage(rows: pd.DataFrame, context: Context) -> pd.Series:
    known = by_fact(context.volatile)
    if not known:
        return rows["taught"].iloc[:0]
    reasons: dict[Any, str] = {}
    grounded = rows["shown"][rows["passages"] > 0]
    stating = suspects(grounded.map("\n".join), sieve(known))
    for index, shown in grounded.loc[stating.index].items():
        for passage in shown:
            if hit := _volatile(passage, "", known, context.settings.shared_subject_words + 1):
                stated, fact = hit
                where = f"{fact.document}, “{one_line(fact.sentence, 160)}”"
                reasons[index] = f"a passage states {stated.text!r} as the live document does: {where}"
                break
    return pd.Series(reasons, dtype=object)


def _volatile(text: str, about: str, known: Known, least: int) -> tuple[Fact, VolatileFact] | None:
    """The first fact of `text` that a volatile document states of the same subject, which `about` may name."""
    for _, sentence in sentences(LIST_NUMBER.sub("", text)):
        for stated in find_facts(sentence):
            if stated.key not in known:
                continue
            # A bare number ("2", "2 of") names nothing it counts and matches by chance: agree twice over.
            bare = stated.kind == "count" and not subject_words(stated.unit)
            words = subject_words(f"{about} {sentence}")
            for fact, subject in known[stated.key]:
                if len(words & subject) >= least * (2 if bare else 1):
                    return stated, fact
    return None


def sieve(known: Known) -> str:
    """A pattern in RE2 syntax that matches each text in which one of the facts could stand, however it is written."""
    written = {value: r"[,. \x{202f}]?".join(map(re.escape, value)) for _, value, _ in known}
    spelt = [word for word, number in NUMBER_WORDS.items() if str(number) in written]
    return "(?i)" + "|".join([*sorted(written.values()), *spelt])


def by_fact(volatile: Iterable[VolatileFact]) -> Known:
    """{(kind, value, unit): the facts that say so, each with the words that tell its subject from others}.

    The unit is compared by itself, and a word of more than half of the documents ("parcel") tells nothing apart; of
    three documents and fewer, every word counts.
    """
    facts = list(volatile)
    standing: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        for word in fact.subject:
            standing[word].add(fact.document)
    everywhere = max(3, len({fact.document for fact in facts}) / 2)
    common = {word for word, documents in standing.items() if len(documents) > everywhere}
    known: Known = defaultdict(list)
    for fact in facts:
        subject = frozenset(fact.subject) - common - subject_words(fact.unit)
        known[fact.kind, fact.value, fact.unit].append((fact, subject))
    return known


@rule(
    "ungrounded_fact",
    "teachable",
    "Every fact of a grounded answer stands in its passages or in the question.",
    "take the fact out of the answer, or into a passage",
)
def ungrounded_fact(rows: pd.DataFrame, context: Context) -> pd.Series:
    grounded = rows[rows["passages"] > 0]
    invented = {
        index: next((fact.text for fact in find_facts(taught) if not _stands_in(fact, evidence)), "")
        for index, taught, evidence in zip(grounded.index, grounded["taught"], grounded["evidence"], strict=True)
    }
    found = pd.Series(invented, dtype=object)
    return found[found != ""].map(lambda text: f"{text!r} stands neither in its passages nor in the question")


@lru_cache(maxsize=1000)
def _standing(evidence: str) -> list[Fact]:
    """The facts of a text that several facts are looked up in."""
    return find_facts(evidence)


def _stands_in(fact: Fact, evidence: str) -> bool:
    """The same value and unit; of a count the value alone, because its unit is whatever word comes next."""
    there = _standing(evidence)
    if fact.kind == "count":
        return any(fact.value == other.value for other in there)
    return any(fact.key == other.key for other in there)


_CITATION = re.compile(r"(?<!\w)\[(\d{1,9})\]")


@rule(
    "citation",
    "teachable",
    "A grounded answer cites passages that are there, and for a fact one that states it; a plain one cites nothing.",
    "cite the passage that states the fact",
)
def citation(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[Any, str] = {}
    citing = suspects(rows["taught"], r"\[\d")
    for index, taught in citing.items():
        shown: Any = rows.at[index, "shown"]
        numbers = [int(n) for n in _CITATION.findall(taught)]
        if wrong := next((n for n in numbers if not 1 <= n <= len(shown)), None):
            reasons[index] = (
                f"cites [{wrong}], but has {len(shown)} passages" if shown else f"cites [{wrong}] and has no passages"
            )
        elif 0 in numbers:
            reasons[index] = "cites [0]; passages count from 1"
        elif stray := _stray(taught, shown):
            reasons[index] = stray
    return pd.Series(reasons, dtype=object)


def _stray(taught: str, shown: list[str]) -> str:
    """A fact whose line cites passages that do not state it while another one does; an empty string without one."""
    for line in taught.splitlines():
        cited = {int(n) for n in _CITATION.findall(line)}
        for fact in (
            find_facts(line) if 0 < len(cited) < len(shown) else []
        ):  # who cites all of them cites the right one
            standing = {n for n, passage in enumerate(shown, start=1) if _stands_in(fact, passage)}
            if standing and standing.isdisjoint(cited):
                where = ", ".join(f"[{n}]" for n in sorted(standing))
                return f"{fact.text!r} stands in {where}, but {', '.join(f'[{n}]' for n in sorted(cited))} is cited"
    return ""


@rule(
    "judge",
    "teachable",
    "The judge of validation.judge scores the pair at least at_least of 5 against its rubric.",
    "rewrite the answer to the rubric",
)
def judged(rows: pd.DataFrame, context: Context) -> pd.Series:
    if context.settings.judge is None or context.score is None or rows.empty:
        return rows["taught"].iloc[:0]
    least, scores = context.settings.judge.at_least, context.score(rows)
    return scores[scores < least].map(lambda score: f"the judge scores it {score} of 5; {least} are the least")
