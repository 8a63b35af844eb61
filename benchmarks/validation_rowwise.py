"""The rules of the gate as one would write them row by row in pandas: the yardstick of benchmarks/validation.py.

Each rule is one `apply` over the rows that are left, with the same patterns and detectors; equal questions are looked up
in a dictionary. Rules that params leave unset are asked all the same, as the gate does.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pandas as pd

from contracts.facts import find_facts
from validation.agree import disagreement
from validation.detect import personal_data, profanity_in, secret_in
from validation.rules import RULES, STEPS, Context
from validation.rules.clean import _PLACEHOLDER, BOILERPLATE
from validation.rules.teachable import _CITATION, _stands_in, _stray, _volatile, by_fact
from validation.rules.unique import like_questions, unrelated

Wrong = Callable[[Any], bool]


def row_wise(rows: pd.DataFrame, context: Context) -> dict[str, list[int]]:
    """{rule: index of each row it catches}, step by step as the gate does."""
    caught: dict[str, list[int]] = {}
    left = rows
    for step in STEPS:
        tests = _tests(step, left, context)
        for code, rule in RULES.items():
            if rule.step == step:
                wrong = left.apply(tests[code], axis=1) if code in tests and len(left) else pd.Series(dtype=bool)
                caught[code] = list(wrong.index[wrong.astype(bool)])
        gone = {i for code, found in caught.items() if code not in context.settings.warn for i in found}
        left = left[~left.index.isin(list(gone))]
    return caught


def _tests(step: str, rows: pd.DataFrame, context: Context) -> dict[str, Wrong]:
    settings = context.settings
    if step == "parsed":
        return {
            "unreadable": lambda row: row["error"] != "",
            "roles_and_order": lambda row: not row["error"] and not _in_turn(row["roles"]),
        }
    if step == "clean":
        return {
            "empty_prompt": lambda row: not row["prompt"].strip(),
            "empty_answer": lambda row: min(len(a.strip()) for a in row["answers"]) < settings.min_answer_characters,
            "placeholder": lambda row: bool(_PLACEHOLDER.search(row["text"])),
            "boilerplate": lambda row: bool(BOILERPLATE.search(row["taught"])),
            "personal_data": lambda row: bool(personal_data(row["text"])),
            "secret": lambda row: bool(secret_in(row["text"])),
            "profanity": lambda row: bool(profanity_in(row["taught"])),
            "prompt_length": lambda row: row["prompt_tokens"] > (settings.max_prompt_tokens or 10**9),
            "answer_length": lambda row: row["answer_tokens"] > (settings.max_answer_tokens or 10**9),
            "no_supervised_token": lambda row: row["tokens_before"] >= (context.max_length or 10**9),
            "truncated": lambda row: row["tokens"] > (context.max_length or 10**9),
        }
    if step == "unique":
        kept: dict[str, list[str]] = defaultdict(list)
        near: dict[int, list[int]] = defaultdict(list)
        for (first, *_), (second, *_) in like_questions(rows, context):
            near[second].append(first)

        def same(first: str, second: str) -> bool:
            return not disagreement(first, second, context.house_words) and not unrelated(first, second, context)

        def again(row: Any) -> bool:
            answers = kept[row["key"]]
            if any(same(given, row["taught"]) for given in answers):
                return True
            answers.append(row["taught"])
            return False

        return {
            "duplicate_prompt": again,
            "near_duplicate": lambda row: any(
                same(str(rows.at[i, "taught"]), row["taught"]) for i in near.get(row.name, [])
            ),
            "other_behaviour": lambda row: any(
                key in context.elsewhere for key in (row["prompt_key"], *row["asked_before"])
            ),
            "leakage": lambda row: any(key in context.golden for key in (row["prompt_key"], *row["asked_before"])),
        }
    if step == "consistent":
        return _consistent(rows, context)
    known = by_fact(context.volatile)
    least = settings.shared_subject_words
    return {
        "volatile_fact": lambda row: bool(
            _volatile(row["taught"], " ".join((row["prompt"], *row["asked_before"])), known, least)
        ),
        "live_passage": lambda row: any(_volatile(text, "", known, least + 1) for text in row["shown"]),
        "ungrounded_fact": lambda row: (
            row["passages"] > 0 and any(not _stands_in(fact, row["evidence"]) for fact in find_facts(row["taught"]))
        ),
        "citation": lambda row: (
            any(not 1 <= int(n) <= len(row["shown"]) for n in _CITATION.findall(row["taught"]))
            or bool(_stray(row["taught"], row["shown"]))
        ),
    }


def _consistent(rows: pd.DataFrame, context: Context) -> dict[str, Wrong]:
    answers: dict[str, list[tuple[int, str]]] = defaultdict(list)
    near: dict[int, list[int]] = defaultdict(list)
    canned: Counter[str] = Counter()
    for index, row in rows.iterrows():
        answers[row["key"]].append((index, row["taught"]))  # type: ignore[arg-type]
        canned[_letters(row["taught"])] += 1
    for (first, *_), (second, *_) in like_questions(rows, context):
        near[first].append(second)
        near[second].append(first)

    def clash(first: str, second: str) -> bool:
        return bool(disagreement(first, second, context.house_words))

    def others(row: Any) -> list[str]:
        return [text for index, text in answers[row["key"]] if index != row.name]

    return {
        "contradiction": lambda row: any(clash(row["taught"], text) for text in others(row)),
        "unrelated_answers": lambda row: any(unrelated(row["taught"], text, context) for text in others(row)),
        "near_contradiction": lambda row: any(
            clash(row["taught"], str(rows.at[i, "taught"])) for i in near.get(row.name, [])
        ),
        "canned_answer": lambda row: canned[_letters(row["taught"])] >= context.settings.canned_answer,
    }


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _in_turn(roles: str) -> bool:
    turns = roles.removeprefix("s")
    return bool(turns) and turns == "ua" * (len(turns) // 2)
