"""Second step: is each text by itself fit to be taught?"""

import json
import re
from typing import Any

import pandas as pd

from validation.detect import PERSONAL_SIEVE, PROFANITY_SIEVE, SECRET_SIEVE, profanity_in, secret_in
from validation.detect import personal_data as kind_of_personal_data
from validation.language import foreign
from validation.rules.registry import Context, rule
from validation.rules.texts import found, one_line, suspects


@rule("empty_prompt", "clean", "Every user turn asks something.", "write the question, or delete the row")
def empty_prompt(rows: pd.DataFrame, context: Context) -> pd.Series:
    return rows["prompt"][rows["prompt"].str.strip() == ""].map(lambda _: "the user turn is empty")


@rule(
    "empty_answer",
    "clean",
    "Every answer has at least validation.min_answer_characters characters.",
    "write the answer, or delete the row",
    always=True,
)
def empty_answer(rows: pd.DataFrame, context: Context) -> pd.Series:
    shortest = rows["answers"].map(lambda answers: min(len(answer.strip()) for answer in answers))
    least = context.settings.min_answer_characters
    return shortest[shortest < least].map(lambda size: f"an answer has {size} characters; {least} are the least")


@rule(
    "language",
    "clean",
    "Question and answer are in validation.language, as far as validation.language_confidence can tell.",
    "translate it, or give that language a behaviour of its own",
)
def language(rows: pd.DataFrame, context: Context) -> pd.Series:
    expected = context.settings.language
    if expected is None:
        return rows["taught"].iloc[:0]
    certain = context.settings.language_confidence
    reasons: dict[Any, str] = {}
    for column, what in (("prompt", "the question"), ("taught", "the answer")):
        for index, other in foreign(rows[column], expected, certain).items():
            reasons.setdefault(index, f"{what} reads as {other}, not {expected}")
    return pd.Series(reasons, dtype=object)


@rule("format", "clean", "Every answer matches pairs.<behaviour>.format in full.", "bring the answer into the format")
def format(rows: pd.DataFrame, context: Context) -> pd.Series:
    if not context.format:
        return rows["taught"].iloc[:0]
    pattern = re.compile(context.format)
    broken = rows["answers"].map(lambda answers: next((a for a in answers if not pattern.fullmatch(a)), None)).dropna()
    return broken.map(lambda answer: f"not in the format of pairs.{context.behaviour}.format: {one_line(answer)!r}")


@rule(
    "headings",
    "clean",
    "Every answer has the lines that pairs.<behaviour>.headings begin, each once and in that order.",
    "add the missing heading, or put them in order",
)
def headings(rows: pd.DataFrame, context: Context) -> pd.Series:
    if not context.headings:
        return rows["taught"].iloc[:0]
    wanted = list(context.headings)

    def wrong(answers: list[str]) -> str | None:
        for answer in answers:
            lines = [line.strip() for line in answer.splitlines()]
            there = [heading for line in lines for heading in wanted if line.startswith(heading)]
            if there != wanted:
                return f"the headings are {', '.join(there) or 'none'}, not {', '.join(wanted)}"
        return None

    return rows["answers"].map(wrong).dropna()


@rule(
    "json_schema",
    "clean",
    "Every answer is JSON that pairs.<behaviour>.json_schema allows.",
    "correct the answer's JSON",
)
def json_schema(rows: pd.DataFrame, context: Context) -> pd.Series:
    if context.json_schema is None:
        return rows["taught"].iloc[:0]
    from jsonschema.validators import validator_for

    validator = validator_for(context.json_schema)(context.json_schema)

    def wrong(answers: list[str]) -> str | None:
        for answer in answers:
            try:
                value = json.loads(answer)
            except (ValueError, RecursionError) as error:
                return f"an answer is not JSON ({error}): {one_line(answer)!r}"
            if broken := next(validator.iter_errors(value), None):
                return f"an answer breaks the schema at {broken.json_path}: {one_line(broken.message, 100)}"
        return None

    return rows["answers"].map(wrong).dropna()


_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]*\}\}|\$\{\w+\}|(?<![\w{$])\{[A-Za-z]\w{2,}\}"
    r"|\[[A-Z][A-Z0-9 _#-]{2,}\](?!\()"
    r"|\[(?i:your|insert|enter|customer|company|order|account|product|agent)\b[^\]\n]{0,40}\](?!\()"
    r"|<(?i:(?:[a-z]+[ _-])*(?:name|number|date|address|e?-?mail|phone|amount|order|company|product|id|url))>"
    r"|\b(?:TODO|TBD|FIXME)\b(?![- ]list)|\bXXXX+\b|(?i:\blorem ipsum\b)"
)


@rule(
    "placeholder",
    "clean",
    "No unfilled placeholder: {{name}}, [ORDER NUMBER], <name>, TODO.",
    "fill it in, or say it without the detail",
)
def placeholder(rows: pd.DataFrame, context: Context) -> pd.Series:
    sieve = r"[{\[<]|TODO|TBD|FIXME|XXXX|(?i:lorem)"
    return found(rows["text"], _PLACEHOLDER, sieve).map(lambda match: f"{match} was never filled in")


BOILERPLATE = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:['\u2019]m| am) (?:just |only )?an? (?:AI|(?:AI |large )?language model)\b"
    r"|\bknowledge cut-?off\b|\bas of my last (?:knowledge )?(?:update|training)\b"
    r"|\b(?:trained|created|developed) by (?:OpenAI|Anthropic|Google|Meta|Mistral)\b",
    re.IGNORECASE,
)


@rule(
    "boilerplate",
    "clean",
    "No other model's voice: “as an AI language model”.",
    "delete that sentence; --fix does where something is left",
)
def boilerplate(rows: pd.DataFrame, context: Context) -> pd.Series:
    sieve = r"(?i)an? (AI|artificial|language|large|just|only)|cut-?off|last (knowledge|update|training)|ed by [OAGM]"
    return found(rows["taught"], BOILERPLATE, sieve).map(lambda match: f"{match!r} is another model's voice")


@rule(
    "personal_data",
    "clean",
    "No e-mail address, bank account, card or phone number.",
    "take it out, or invent one that cannot exist",
)
def personal_data(rows: pd.DataFrame, context: Context) -> pd.Series:
    kinds = suspects(rows["text"], PERSONAL_SIEVE).map(kind_of_personal_data)
    return kinds[kinds != ""].map(lambda kind: f"{kind} stands in it: take it out or invent one that cannot exist")


@rule(
    "secret",
    "clean",
    "No key, token, password or private key.",
    "revoke it where it is valid, then take it out: a model repeats what it learnt",
    always=True,
)
def secret(rows: pd.DataFrame, context: Context) -> pd.Series:
    kinds = suspects(rows["text"], SECRET_SIEVE).map(secret_in)
    return kinds[kinds != ""].map(lambda kind: f"{kind} stands in it: revoke it and take it out")


@rule(
    "profanity",
    "clean",
    "No answer swears, nor says a word of validation.profanity. Customers may.",
    "reword the answer",
)
def profanity(rows: pd.DataFrame, context: Context) -> pd.Series:
    more = context.settings.profanity
    sieve = "|".join([PROFANITY_SIEVE, *(rf"(?i:{re.escape(word)})" for word in more)])
    words = suspects(rows["taught"], sieve).map(lambda text: profanity_in(text, more))
    return words[words != ""].map(lambda word: f"an answer says {word!r}")
