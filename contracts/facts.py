"""Facts that change: prices, durations, percentages, dates, times, measures, counts and identifiers in running text.

Read by the audit (what moves), by validation (what may not be taught) and by evaluation (are the numbers grounded).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100,
}  # fmt: skip
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_NUMBER = r"\d{1,3}(?:[, \u202f]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?"
_SPELT = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_CURRENCY = r"[€$£¥]|EUR|USD|GBP|CHF"
_DURATION = r"(?:(?:working|business|calendar|full|whole)[ -])?(?:second|minute|hour|day|night|week|month|year)s?"
_MEASURE = r"(?:kg|kilos?|grams?|g|mm|cm|metres?|meters?|km|litres?|MB|GB|TB|KB|kWh)"

# The order decides: the first kind that matches at a place takes it.
_FACT = re.compile(
    rf"""
      (?P<date>\b\d{{4}}-\d\d-\d\d\b
        | \b\d{{1,2}}(?:st|nd|rd|th)?\s(?:{_MONTHS})(?:\s\d{{4}})?\b
        | \b(?:{_MONTHS})\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?\b
        | \b(?:{_MONTHS})\s\d{{4}}\b)
    | (?P<time>\b\d{{1,2}}:\d\d\b(?:\s?[ap]\.?m\b\.?)?)
    | (?P<money>(?P<c1>{_CURRENCY})\s?(?P<m1>{_NUMBER}) | (?P<m2>{_NUMBER})\s?(?P<c2>{_CURRENCY}|euros?|dollars?|pounds?|cents?)(?!\w))
    | (?P<percent>(?P<p>{_NUMBER})\s?(?:%|per\s?cent\b))
    | (?P<identifier>\b[A-Z]{{2,}}-?\d[\w-]*)
    | (?P<duration>\b(?P<d>{_NUMBER}|{_SPELT})[\s-](?P<du>{_DURATION})\b)
    | (?P<measure>\b(?P<q>{_NUMBER})\s?(?P<qu>{_MEASURE})\b)
    | (?P<count>(?<![\w.,])(?P<n>{_NUMBER})(?:\s(?P<nu>[a-z]+))?)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CITATION = re.compile(r"\[\d+\]")
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]?")
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "from",
        "by",
        "with",
        "is",
        "are",
        "be",
        "was",
        "were",
        "it",
        "its",
        "this",
        "that",
        "your",
        "you",
        "we",
        "our",
        "us",
        "i",
        "my",
        "me",
        "can",
        "may",
        "will",
        "not",
        "no",
        "do",
        "does",
        "how",
        "what",
        "when",
        "which",
        "who",
        "where",
        "if",
        "then",
        "than",
        "up",
        "out",
        "as",
        "per",
        "each",
        "every",
        "any",
        "all",
        "one",
        "only",
        "has",
        "have",
        "had",
        "after",
        "again",
        "back",
        "before",
        "into",
        "long",
        "made",
        "many",
        "more",
        "most",
        "much",
        "must",
        "off",
        "over",
        "soon",
        "still",
        "take",
        "takes",
        "too",
        "under",
        "until",
        "very",
        "within",
        "without",
    ]
)


@dataclass(frozen=True)
class Fact:
    """One fact as it stands in a text.

    `value` is the number or date in one spelling ("1200" for "1,200"), `unit` the singular unit or currency.
    `start` and `end` are character offsets.
    """

    kind: str
    value: str
    unit: str
    text: str
    start: int
    end: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What must be equal for two mentions to state the same fact."""
        return self.kind, self.value, self.unit


def find_facts(text: str) -> list[Fact]:
    """All facts in `text`, in order. Citation marks such as [2] are none."""
    masked = _CITATION.sub(lambda m: " " * len(m.group()), text)
    return [_fact(match) for match in _FACT.finditer(masked)]


def _fact(match: re.Match[str]) -> Fact:
    groups = match.groupdict()
    kind = next(
        k for k in ("date", "time", "money", "percent", "identifier", "duration", "measure", "count") if groups[k]
    )
    value, unit = match.group(), ""
    if kind == "money":
        value, unit = groups["m1"] or groups["m2"], _currency(groups["c1"] or groups["c2"])
    elif kind == "percent":
        value, unit = groups["p"], "%"
    elif kind == "duration":
        value, unit = groups["d"], _singular(groups["du"].lower().replace("-", " "))
    elif kind == "measure":
        value, unit = groups["q"], groups["qu"].lower()
    elif kind == "count":
        value, unit = groups["n"], _singular(groups["nu"] or "")
    if kind in ("money", "percent", "duration", "measure", "count"):
        value = _plain(value)
    return Fact(
        kind, value.strip(), unit, match.group().strip(), match.start(), match.start() + len(match.group().strip())
    )


def _plain(number: str) -> str:
    """A number in one spelling: words to digits, no thousands separators, no trailing zeros."""
    lowered = number.lower()
    if lowered in NUMBER_WORDS:
        return str(NUMBER_WORDS[lowered])
    if re.fullmatch(r"\d{1,3}([, \u202f]\d{3})+(\.\d+)?", number):
        number = re.sub(r"[, \u202f]", "", number)
    number = number.replace(",", ".")
    return number.rstrip("0").rstrip(".") if "." in number else number


def _currency(text: str) -> str:
    names = {"eur": "€", "euro": "€", "usd": "$", "dollar": "$", "gbp": "£", "pound": "£"}
    return names.get(_singular(text.lower()), text)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """(start offset, sentence) of each sentence; a decimal point ends none."""
    for match in _SENTENCE.finditer(text):
        stripped = match.group().strip()
        if stripped:
            yield match.start() + match.group().index(stripped[0]), stripped


def subject_words(text: str) -> frozenset[str]:
    """The words that say what a sentence is about: lower case, no stop words, no numbers, plural folded."""
    return frozenset(_singular(w) for w in re.findall(r"[a-z]{3,}", text.lower()) if w not in _STOP)
