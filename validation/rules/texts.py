"""What several rules need of texts: a search that stays in Arrow for the many, and one line for a reason."""

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def suspects(texts: pd.Series, pattern: str) -> pd.Series:
    """The texts in which `pattern`, in RE2 syntax, matches: a cheap sieve before Python's own regular expressions."""
    if texts.empty:
        return texts
    return texts[pc.match_substring_regex(pa.array(texts, pa.large_string()), pattern).to_numpy(zero_copy_only=False)]


def found(texts: pd.Series, pattern: re.Pattern[str], sieve: str = "") -> pd.Series:
    """The first match of `pattern`, on one line, in each text that has one; `sieve` must let every such text through."""
    matches = (suspects(texts, sieve) if sieve else texts).map(pattern.search).dropna()
    return matches.map(lambda match: one_line(match.group()))


class _Letters(dict[int, int | None]):
    """What str.translate keeps: letters and digits; each character is looked at once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = code if chr(code).isalnum() else None
        return self[code]


_LETTERS = _Letters()


def letters(texts: pd.Series) -> pd.Series:
    """The letters and digits of each text, in lower case and without what stands between them."""
    return texts.map(lambda text: text.lower().translate(_LETTERS))


def one_line(text: str, width: int = 60) -> str:
    """`text` on one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
