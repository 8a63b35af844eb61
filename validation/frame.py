"""The rows as a table: one column for each thing a rule looks at, worked out once."""

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from contracts.pairs import Pair
from validation.read import Row


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per row, in reading order. A row that is no pair has its `error` and empty texts.

    Columns: id, file, line, error; `roles` ("sua" for system, user, assistant); `prompt`, the last user turn;
    `answers`, every assistant turn as a list, and `taught`, the same as one text; `text`, all turns as one text;
    `shown`, the passages as a list, and `passages`, how many; `evidence`, passages and user turns as one text. Three
    normalised keys: `prompt_key` of the prompt alone, `setting` of earlier turns and passages, `key` of both; and
    `asked_before`, the keys of earlier user turns, as a tuple. Tokens
    (see tokens.py; missing without a tokenizer): `prompt_tokens`, `answer_tokens`, `tokens`, `tokens_before` an answer.
    """
    columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
    for row in rows:
        for name, value in zip(_COLUMNS, _line(row), strict=True):
            columns[name].append(value)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    frame["passages"] = frame["passages"].astype(int)
    frame["prompt_key"] = normalise(frame["prompt"])
    frame["setting"] = normalise(frame["earlier"]) + "\n" + normalise(frame["shown"].map("\n".join))
    frame["key"] = frame["prompt_key"] + "\n" + frame["setting"]
    for name in ("prompt_tokens", "answer_tokens", "tokens", "tokens_before"):
        frame[name] = pd.Series(pd.NA, index=frame.index, dtype="Int64")
    return frame.drop(columns=["earlier"])


_COLUMNS = (
    "id", "file", "line", "error", "roles", "prompt", "answers", "taught", "text", "shown", "passages", "evidence",
    "earlier", "asked_before",
)  # fmt: skip
_NOTHING = Pair(id="", behaviour="", messages=[])


def _line(row: Row) -> tuple[object, ...]:
    pair = row.pair or _NOTHING
    answers = [m.content for m in pair.messages if m.role == "assistant"]
    asked = [m.content for m in pair.messages if m.role == "user"]
    shown = [p.text for p in pair.passages]
    return (
        row.id,
        row.file,
        row.line,
        row.error,
        "".join(m.role[0] for m in pair.messages),
        pair.prompt,
        answers,
        "\n".join(answers),
        "\n".join(m.content for m in pair.messages),
        shown,
        len(shown),
        "\n".join([*shown, *asked]),
        "\n".join(m.content for m in pair.messages[:-2] if m.role != "system"),
        tuple(_words(text) for text in asked[:-1]),
    )


_QUOTES = re.compile(r"['\u2018\u2019`]")
_NO_WORD = re.compile(r"[\W_]+")


def normalise(texts: pd.Series) -> pd.Series:
    """What two prompts must share to be the same one: the words, whatever their case, spacing and punctuation.

    A text without a word in it ("???") stays as it is, so that it equals only itself.
    """
    return texts.map(_words).astype(object)


def _words(text: str) -> str:
    # Python's own regular expressions and case folding: Arrow's take é for no letter.
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub(" ", _QUOTES.sub("", folded)).strip() or text.strip()
