"""Fourth step: do the pairs agree with each other?"""

from typing import Any

import pandas as pd

from validation.agree import disagreement
from validation.rules.registry import Context, rule
from validation.rules.texts import letters, one_line
from validation.rules.unique import like_questions, same_question, unrelated


@rule(
    "contradiction",
    "consistent",
    "No question has two answers that disagree; both are taken out.",
    "decide which answer is right and delete the other",
)
def contradiction(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[Any, str] = {}
    for group in same_question(rows):
        for index, id, answer in group:
            for other, theirs in ((other, theirs) for _, other, theirs in group if other != id):
                if why := _why(answer, theirs, context):
                    reasons[index] = f"answers the same question as {other}: {why}"
                    break
    return pd.Series(reasons, dtype=object)


@rule(
    "near_contradiction",
    "consistent",
    "No two questions that are nearly the same (validation.near_duplicate) have answers that disagree.",
    "decide which answer is right, or ask in words that tell the two apart",
)
def near_contradiction(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[Any, str] = {}
    for pair in like_questions(rows, context):
        for (index, _, answer), (_, other, theirs) in (pair, pair[::-1]):
            if index not in reasons and (why := _why(answer, theirs, context)):
                reasons[index] = f"answers nearly the same question as {other}: {why}"
    return pd.Series(reasons, dtype=object)


def _why(answer: str, other: str, context: Context) -> str:
    return disagreement(answer, other, context.house_words)


@rule(
    "unrelated_answers",
    "consistent",
    "Answers to one question share validation.unrelated_answers of their words.",
    "see whether both answer the question; keep the better one",
)
def unrelated_answers(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[Any, str] = {}
    for group in same_question(rows):
        for index, id, answer in group:
            strangers = (other for _, other, theirs in group if other != id and unrelated(answer, theirs, context))
            if other := next(strangers, None):
                reasons[index] = f"has hardly a word in common with {other}, which answers the same question"
    return pd.Series(reasons, dtype=object)


@rule(
    "canned_answer",
    "consistent",
    "No answer serves validation.canned_answer questions or more.",
    "answer what each question asks, and keep a few",
)
def canned_answer(rows: pd.DataFrame, context: Context) -> pd.Series:
    answers = letters(rows["taught"])
    shared = answers[answers.duplicated(keep=False)]
    counts = shared.groupby(shared).transform("size")
    canned = counts[counts >= context.settings.canned_answer]
    return canned.map(lambda n: f"the same answer serves {n} questions: ") + rows["taught"].loc[canned.index].map(
        lambda text: repr(one_line(text))
    )
