"""The rows as a table: one column for each thing a rule looks at, worked out once."""

import pandas as pd

from contracts.pairs import Pair
from validation.read import Row


def to_frame(rows: list[Row]) -> pd.DataFrame:
    """One line per row, in reading order. A row that is no pair has its `error` and empty texts.

    Columns: id, file, line, error; `roles` ("sua" for system, user, assistant); `prompt`, the last user turn;
    `answers`, every assistant turn as a list, and `taught`, the same as one text; `text`, all turns as one text;
    `evidence`, the passages and user turns as one text; `passages`, how many there are; and two normalised keys:
    `prompt_key` of the prompt alone, `key` of all that stands before the answer, passages included.
    """
    frame = pd.DataFrame([_line(row) for row in rows], dtype=object)
    frame["prompt_key"] = normalise(frame["prompt"])
    frame["key"] = normalise(frame["before"]) + "\n" + normalise(frame["shown"])
    return frame.drop(columns=["before", "shown"])


def _line(row: Row) -> dict[str, object]:
    pair = row.pair or Pair(id=row.id, behaviour="", messages=[])
    answers = [m.content for m in pair.messages if m.role == "assistant"]
    shown = "\n".join(p.text for p in pair.passages)
    return {
        "id": row.id,
        "file": row.file,
        "line": row.line,
        "error": row.error,
        "roles": "".join(m.role[0] for m in pair.messages),
        "prompt": pair.prompt,
        "answers": answers,
        "taught": "\n".join(answers),
        "text": "\n".join(m.content for m in pair.messages),
        "evidence": "\n".join([shown, *(m.content for m in pair.messages if m.role == "user")]),
        "passages": len(pair.passages),
        "before": "\n".join(m.content for m in pair.messages[:-1] if m.role != "system"),
        "shown": shown,
    }


def normalise(texts: pd.Series) -> pd.Series:
    """What two prompts must share to be the same one: the words, whatever their case, spacing and punctuation.

    A text without a word in it ("???") stays as it is, so that it equals only itself.
    """
    # Objects, so that Python's own regular expressions are used: Arrow's take é for no letter.
    texts = texts.astype(object)
    words = texts.str.normalize("NFKC").str.casefold().str.replace(r"['\u2018\u2019`]", "", regex=True)
    words = words.str.replace(r"[\W_]+", " ", regex=True).str.strip()
    return words.where(words != "", texts.str.strip())
