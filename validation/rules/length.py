"""Second step, continued: lengths in the base model's own tokens. Without its tokenizer these rules find nothing."""

import pandas as pd

from validation.rules.registry import Context, rule


def _above(tokens: pd.Series, most: int | None) -> pd.Series:
    return tokens.iloc[:0] if most is None else tokens[tokens > most]


@rule("prompt_length", "clean", "No prompt is longer than validation.max_prompt_tokens.", "shorten prompt or passages")
def prompt_length(rows: pd.DataFrame, context: Context) -> pd.Series:
    most = context.settings.max_prompt_tokens
    return _above(rows["prompt_tokens"], most).map(lambda n: f"the prompt has {n} tokens; {most} are the most")


@rule("answer_length", "clean", "No answer is longer than validation.max_answer_tokens.", "shorten the answer")
def answer_length(rows: pd.DataFrame, context: Context) -> pd.Series:
    most = context.settings.max_answer_tokens
    return _above(rows["answer_tokens"], most).map(lambda n: f"the answer has {n} tokens; {most} are the most")


@rule(
    "no_supervised_token",
    "clean",
    "After the cut at training.max_length something of the answer is left to learn.",
    "shorten what stands before the answer, or raise training.max_length",
    always=True,
)
def no_supervised_token(rows: pd.DataFrame, context: Context) -> pd.Series:
    if context.max_length is None:
        return rows["tokens"].iloc[:0]
    before = rows["tokens_before"]
    return before[before >= context.max_length].map(
        lambda n: f"the first answer begins at token {n} and training cuts at {context.max_length}: nothing is learnt"
    )


@rule(
    "truncated",
    "clean",
    "No conversation is longer than training.max_length, which would cut its last answer.",
    "shorten it, or raise training.max_length",
)
def truncated(rows: pd.DataFrame, context: Context) -> pd.Series:
    return _above(rows["tokens"], context.max_length).map(
        lambda n: f"it has {n} tokens and training cuts at {context.max_length}: the end of the answer is not learnt"
    )
