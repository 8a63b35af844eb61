"""Third step: is this question asked once, and nowhere that it must not be?"""

import re
from collections import defaultdict
from typing import Any

import pandas as pd

from validation.agree import disagreement, likeness
from validation.rules.registry import Context, rule
from validation.rules.texts import one_line

Member = tuple[Any, str, str]  # a row's index, id and answers


def same_question(rows: pd.DataFrame) -> list[list[Member]]:
    """The rows that share their normalised question, earlier turns and passages, group by group."""
    shared = rows[rows["key"].duplicated(keep=False)]
    found: dict[str, list[Member]] = defaultdict(list)
    for key, *member in zip(shared["key"], shared.index, shared["id"], shared["taught"], strict=True):
        found[key].append(tuple(member))
    return list(found.values())


def like_questions(rows: pd.DataFrame, context: Context) -> list[tuple[Member, Member]]:
    """Pairs of rows whose questions are nearly the same, and earlier turns and passages the same, in reading order.

    Questions with other numbers in them are other questions. Of rows with one question, the first stands for all.
    """
    near = context.near
    like = rows[rows["prompt_key"].isin(pd.concat([near["left"], near["right"]]))]
    standing: dict[str, dict[str, Member]] = defaultdict(dict)
    for key, setting, *member in zip(
        like["prompt_key"], like["setting"], like.index, like["id"], like["taught"], strict=True
    ):
        standing[key].setdefault(setting, tuple(member))
    pairs = [
        (standing[left][setting], member)
        for left, right in zip(near["left"], near["right"], strict=True)
        if left in standing and right in standing and re.findall(r"\d+", left) == re.findall(r"\d+", right)
        for setting, member in standing[right].items()
        if setting in standing[left]
    ]
    return sorted((min(pair), max(pair)) for pair in pairs)


@rule(
    "duplicate_prompt",
    "unique",
    "No question is asked twice and answered alike; the first stays.",
    "delete it; --fix does",
)
def duplicate_prompt(rows: pd.DataFrame, context: Context) -> pd.Series:
    # Answers that disagree are left for `contradiction` to see: of those, none is better for coming first.
    reasons: dict[Any, str] = {}
    for group in same_question(rows):
        kept: list[tuple[str, str]] = []
        for index, id, answer in group:
            twin = next((other for other, given in kept if not _disagree(given, answer, context)), None)
            if twin is None:
                kept.append((id, answer))
            else:
                reasons[index] = f"asks what {twin} asks"
    return pd.Series(reasons, dtype=object)


@rule(
    "near_duplicate",
    "unique",
    "No question is nearly another (validation.near_duplicate) and answered alike; the first stays.",
    "delete it, or ask it in really other words",
)
def near_duplicate(rows: pd.DataFrame, context: Context) -> pd.Series:
    reasons: dict[Any, str] = {}
    for (first, id, answer), (second, _, other) in like_questions(rows, context):
        if second not in reasons and not _disagree(answer, other, context):
            reasons[second] = f"asks nearly what {id} asks: {one_line(str(rows.at[first, 'prompt']))!r}"
    return pd.Series(reasons, dtype=object)


def _disagree(first: str, second: str, context: Context) -> bool:
    """Answers that contradict each other, or have nothing to do with each other, are for the rules of the next step."""
    house = context.house_words
    return bool(disagreement(first, second, house)) or unrelated(first, second, context)


def unrelated(first: str, second: str, context: Context) -> bool:
    """Do two answers share fewer of their words than validation.unrelated_answers, and are not the same text?"""
    least = context.settings.unrelated_answers
    return first.split() != second.split() and likeness(first, second, context.house_words) < least


@rule(
    "other_behaviour",
    "unique",
    "No question of another behaviour, exactly or nearly: two adapters would answer it in two ways.",
    "keep it where it belongs",
)
def other_behaviour(rows: pd.DataFrame, context: Context) -> pd.Series:
    least = context.settings.near_duplicate
    return _also_in(rows, context, dict(context.elsewhere), least).map(lambda place: f"asks what {place} asks")


@rule(
    "leakage",
    "unique",
    "No question of the golden set, which judges what was learnt, exactly or nearly (validation.near_leakage).",
    "delete it: the evaluation must not have been seen",
    always=True,
)
def leakage(rows: pd.DataFrame, context: Context) -> pd.Series:
    return _also_in(rows, context, dict(context.golden), context.settings.near_leakage).map(
        lambda place: f"asks golden question {place}: the evaluation would be of no worth"
    )


def _also_in(rows: pd.DataFrame, context: Context, places: dict[str, str], least: float) -> pd.Series:
    """For each row that asks, now or in an earlier turn, what is among `places` or as like it as `least`: where."""
    near = context.near[context.near["left"].isin(list(places)) & (context.near["similarity"] >= least)]
    like = {right: f"{places[left]} nearly" for left, right in zip(near["left"], near["right"], strict=True)}
    before = rows["asked_before"][rows["asked_before"].astype(bool)].explode()
    found = pd.concat([rows["prompt_key"], before]).map(like | places).dropna()
    return found[~found.index.duplicated()]
