"""First step: is the row a conversation that ends with an answer?"""

import pandas as pd

from validation.rules.registry import Context, rule


@rule("unreadable", "parsed", "The row can be read as a pair.", "correct the row in its file", always=True)
def unreadable(rows: pd.DataFrame, context: Context) -> pd.Series:
    return rows["error"][rows["error"] != ""]


@rule(
    "roles_and_order",
    "parsed",
    "An optional system turn, then user and assistant in turn, the assistant last.",
    "join turns of one role and end with the answer; --fix does",
    always=True,
)
def roles_and_order(rows: pd.DataFrame, context: Context) -> pd.Series:
    wrong = rows["roles"][(rows["error"] == "") & ~rows["roles"].str.fullmatch(r"s?(?:ua)+")]
    names = {"s": "system", "u": "user", "a": "assistant"}
    return wrong.map(
        lambda roles: (
            f"the turns are {', '.join(names[r] for r in roles) or 'none'}; end each user turn with one answer"
        )
    )
