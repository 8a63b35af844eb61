"""The rules, in the order of the funnel. A rule is one small function and one line of registration:

    @rule("shouting", "clean", "The answer is not all capitals.")
    def shouting(rows, context):
        loud = rows["taught"][rows["taught"].str.isupper()]
        return loud.map(lambda text: f"an answer is all capitals: {text[:40]!r}")

It gets the rows that the steps before its own have left (columns: see frame.py) and returns, for those that fail and
for no other, the reason: a Series of text with the rows' own index. Rules of one step see the same rows.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from contracts.facts import Fact, find_facts, sentences, subject_words
from contracts.verdicts import VolatileFact
from validation.agree import disagreement
from validation.detect import personal_data as kind_of_personal_data

STEPS = ("parsed", "clean", "unique", "consistent", "teachable")


@dataclass(frozen=True)
class Context:
    """What rows are judged against. `golden` maps a normalised golden question to its id."""

    behaviour: str
    format: str = ""
    min_answer_characters: int = 2
    shared_subject_words: int = 2
    golden: Mapping[str, str] = field(default_factory=dict)
    volatile: Iterable[VolatileFact] = ()

    @property
    def house_words(self) -> frozenset[str]:
        """The words that the format itself puts into every answer."""
        return subject_words(self.format)


Check = Callable[[pd.DataFrame, Context], pd.Series]


@dataclass(frozen=True)
class Rule:
    """`code` names it in verdicts and in the quarantine, `step` is the funnel step it guards."""

    code: str
    step: str
    description: str
    check: Check


RULES: dict[str, Rule] = {}


def rule(code: str, step: str, description: str) -> Callable[[Check], Check]:
    """Register a rule under its code."""

    def register(check: Check) -> Check:
        if step not in STEPS or code in RULES or code in STEPS:
            raise ValueError(
                f"rule {code!r} of step {step!r}: the code must be new, the step one of {', '.join(STEPS)}"
            )
        RULES[code] = Rule(code, step, description, check)
        return check

    return register


class Findings(NamedTuple):
    """`ok` has one boolean column per rule and per step (is the row left after it?); `reasons` one Series per rule."""

    ok: pd.DataFrame
    reasons: dict[str, pd.Series]


def judge(rows: pd.DataFrame, context: Context) -> Findings:
    """Apply every rule, step by step. A row that an earlier step has taken out counts as ok for the rules after it."""
    ok = pd.DataFrame(index=rows.index)
    reasons: dict[str, pd.Series] = {}
    left = pd.Series(True, index=rows.index)
    for step in STEPS:
        seen = rows[left]
        for code, each in RULES.items():
            if each.step == step:
                reasons[code] = each.check(seen, context)
                ok[code] = ~rows.index.isin(reasons[code].index)
        left = ok.all(axis=1)
        ok[step] = left
    return Findings(ok, reasons)


def _found(texts: pd.Series, pattern: re.Pattern[str]) -> pd.Series:
    """The first match of `pattern` in each text that has one."""
    found = texts[texts.str.contains(pattern)].map(pattern.search)
    return found.map(lambda match: _one_line(match.group()))


def _one_line(text: str, width: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


# parsed ---------------------------------------------------------------------------------------------------------------


@rule("unreadable", "parsed", "The row can be read as a pair.")
def unreadable(rows: pd.DataFrame, context: Context) -> pd.Series:
    return rows["error"][rows["error"] != ""]


@rule("roles_and_order", "parsed", "An optional system turn, then user and assistant in turn, the assistant last.")
def roles_and_order(rows: pd.DataFrame, context: Context) -> pd.Series:
    wrong = rows["roles"][(rows["error"] == "") & ~rows["roles"].str.fullmatch(r"s?(?:ua)+")]
    names = {"s": "system", "u": "user", "a": "assistant"}
    return wrong.map(
        lambda roles: (
            f"the turns are {', '.join(names[r] for r in roles) or 'none'}; end each user turn with one answer"
        )
    )


# clean ----------------------------------------------------------------------------------------------------------------


@rule("empty_prompt", "clean", "Every user turn asks something.")
def empty_prompt(rows: pd.DataFrame, context: Context) -> pd.Series:
    return rows["prompt"][rows["prompt"].str.strip() == ""].map(lambda _: "the user turn is empty")


@rule("empty_answer", "clean", "Every answer has at least validation.min_answer_characters characters.")
def empty_answer(rows: pd.DataFrame, context: Context) -> pd.Series:
    shortest = rows["answers"].map(lambda answers: min(len(answer.strip()) for answer in answers))
    least = context.min_answer_characters
    return shortest[shortest < least].map(lambda size: f"an answer has {size} characters; {least} are the least")


@rule("format", "clean", "Every answer matches pairs.<behaviour>.format in full.")
def format(rows: pd.DataFrame, context: Context) -> pd.Series:
    if not context.format:
        return rows["taught"].iloc[:0]
    pattern = re.compile(context.format)
    broken = rows["answers"].map(lambda answers: next((a for a in answers if not pattern.fullmatch(a)), None)).dropna()
    return broken.map(lambda answer: f"not in the format of pairs.{context.behaviour}.format: {_one_line(answer)!r}")


_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]*\}\}|\$\{\w+\}|(?<![\w{$])\{[A-Za-z]\w{2,}\}"
    r"|\[[A-Z][A-Z0-9 _#-]{2,}\](?!\()"
    r"|\[(?i:your|insert|enter|customer|company|order|account|product|agent)\b[^\]\n]{0,40}\](?!\()"
    r"|<(?i:(?:[a-z]+[ _-])*(?:name|number|date|address|e?-?mail|phone|amount|order|company|product|id|url))>"
    r"|\b(?:TODO|TBD|FIXME)\b(?![- ]list)|\bXXXX+\b|(?i:\blorem ipsum\b)"
)


@rule("placeholder", "clean", "No unfilled placeholder: {{name}}, [ORDER NUMBER], <name>, TODO.")
def placeholder(rows: pd.DataFrame, context: Context) -> pd.Series:
    return _found(rows["text"], _PLACEHOLDER).map(lambda match: f"{match} was never filled in")


_BOILERPLATE = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:['\u2019]m| am) (?:just |only )?an? (?:AI|(?:AI |large )?language model)\b"
    r"|\bknowledge cut-?off\b|\bas of my last (?:knowledge )?(?:update|training)\b"
    r"|\b(?:trained|created|developed) by (?:OpenAI|Anthropic|Google|Meta|Mistral)\b",
    re.IGNORECASE,
)


@rule("boilerplate", "clean", "No other model's voice: “as an AI language model”.")
def boilerplate(rows: pd.DataFrame, context: Context) -> pd.Series:
    return _found(rows["taught"], _BOILERPLATE).map(lambda match: f"{match!r} is another model's voice")


@rule("personal_data", "clean", "No e-mail address, bank account, card or phone number.")
def personal_data(rows: pd.DataFrame, context: Context) -> pd.Series:
    suspects = rows["text"][rows["text"].str.contains(r"@|\d{2}")]
    kinds = suspects.map(kind_of_personal_data)
    return kinds[kinds != ""].map(lambda kind: f"{kind} stands in it: take it out or invent one that cannot exist")


# unique ---------------------------------------------------------------------------------------------------------------


def _same_question(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows that share their normalised question and passages, group by group."""
    shared = rows[rows["key"].duplicated(keep=False)]
    return [group for _, group in shared.groupby("key", sort=False)]


@rule("duplicate_prompt", "unique", "No question is asked twice and answered alike; the first stays.")
def duplicate_prompt(rows: pd.DataFrame, context: Context) -> pd.Series:
    # Answers that disagree are left for `contradiction` to see: of those, none is better for coming first.
    reasons: dict[int, str] = {}
    for group in _same_question(rows):
        kept: list[tuple[str, str]] = []
        for index, id, answer in zip(group.index, group["id"], group["taught"], strict=True):
            twin = next((other for other, given in kept if not disagreement(given, answer, context.house_words)), None)
            if twin is None:
                kept.append((id, answer))
            else:
                reasons[index] = f"asks what {twin} asks"
    return pd.Series(reasons, dtype=object)


@rule("leakage", "unique", "No question of the golden set, which judges what was learnt.")
def leakage(rows: pd.DataFrame, context: Context) -> pd.Series:
    leaked = rows["prompt_key"][rows["prompt_key"].isin(list(context.golden))]
    return leaked.map(lambda key: f"asks golden question {context.golden[key]}: the evaluation would be of no worth")


# consistent -----------------------------------------------------------------------------------------------------------


@rule("contradiction", "consistent", "No question has two answers that disagree; both are taken out.")
def contradiction(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[int, str] = {}
    for group in _same_question(rows):
        members = list(zip(group.index, group["id"], group["taught"], strict=True))
        for index, id, answer in members:
            for other, theirs in ((other, theirs) for _, other, theirs in members if other != id):
                if why := disagreement(answer, theirs, context.house_words):
                    reasons[index] = f"answers the same question as {other}: {why}"
                    break
    return pd.Series(reasons, dtype=object)


# teachable ------------------------------------------------------------------------------------------------------------


@rule("volatile_fact", "teachable", "No fact of a document that changes: those are retrieved, never taught.")
def volatile_fact(rows: pd.DataFrame, context: Context) -> pd.Series:
    known = _by_fact(context.volatile)
    reasons: dict[int, str] = {}
    for index, prompt, taught in zip(rows.index, rows["prompt"], rows["taught"], strict=True):
        for _, sentence in sentences(taught):
            for stated in find_facts(sentence):
                if stated.key not in known:
                    continue
                # A bare number ("2", "2 of") names nothing it counts and matches by chance: agree twice over.
                bare = stated.kind == "count" and not subject_words(stated.unit)
                least = context.shared_subject_words * (2 if bare else 1)
                words = subject_words(f"{prompt} {sentence}")
                about = (fact for fact, subject in known[stated.key] if len(words & subject) >= least)
                if fact := next(about, None):
                    where = f"{fact.document}, “{_one_line(fact.sentence, 160)}”"
                    reasons.setdefault(index, f"states {stated.text!r}, which changes: {where}")
    return pd.Series(reasons, dtype=object)


def _by_fact(volatile: Iterable[VolatileFact]) -> dict[tuple[str, str, str], list[tuple[VolatileFact, frozenset[str]]]]:
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
    known: dict[tuple[str, str, str], list[tuple[VolatileFact, frozenset[str]]]] = defaultdict(list)
    for fact in facts:
        subject = frozenset(fact.subject) - common - subject_words(fact.unit)
        known[fact.kind, fact.value, fact.unit].append((fact, subject))
    return known


@rule("ungrounded_fact", "teachable", "Every fact of a grounded answer stands in its passages or in the question.")
def ungrounded_fact(rows: pd.DataFrame, context: Context) -> pd.Series:
    grounded = rows[rows["passages"] > 0]
    invented = {
        index: next((fact.text for fact in find_facts(taught) if not _stands_in(fact, evidence)), "")
        for index, taught, evidence in zip(grounded.index, grounded["taught"], grounded["evidence"], strict=True)
    }
    found = pd.Series(invented, dtype=object)
    return found[found != ""].map(lambda text: f"{text!r} stands neither in its passages nor in the question")


def _stands_in(fact: Fact, evidence: str) -> bool:
    """The same value and unit; of a count the value alone, because its unit is whatever word comes next."""
    there = find_facts(evidence)
    if fact.kind == "count":
        return any(fact.value == other.value for other in there)
    return any(fact.key == other.key for other in there)


_CITATION = re.compile(r"(?<!\w)\[(\d{1,9})\]")


@rule("citation", "teachable", "A grounded answer cites passages that are there, a plain one cites nothing.")
def citation(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[int, str] = {}
    for index, taught, passages in zip(rows.index, rows["taught"], rows["passages"], strict=True):
        if wrong := next((n for n in _CITATION.findall(taught) if not 1 <= int(n) <= passages), None):
            reasons[index] = (
                f"cites [{wrong}], but has {passages} passages" if passages else f"cites [{wrong}] and has no passages"
            )
    return pd.Series(reasons, dtype=object)
