"""What is asked before anything is advised, and how people write the answers: "every 3 days", "1.5k", "50ms"."""

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from contracts.errors import InputError

Style = Literal["low", "medium", "high"]
STYLES: tuple[Style, ...] = get_args(Style)


@dataclass(frozen=True)
class Inputs:
    """The answers that decide between retrieval and training.

    `changes` is the days between two changes of the knowledge (`math.inf`: never, None: nobody knows), `latency` the
    seconds an answer may take (None: no requirement), `measured_latency` the seconds it took with retrieval, where a
    release measured it. `queries` are those of a month; they cost, and decide nothing.
    """

    changes: float | None = math.inf
    citations: bool = False
    style: Style = "low"
    examples: int = 0
    latency: float | None = None
    queries: int = 0
    measured_latency: float | None = None


_DAYS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 365.25 / 12, "quarter": 365.25 / 4, "year": 365.25}
_UNIT = rf"(?P<unit>{'|'.join(_DAYS)})s?"
_PACES = {
    **dict.fromkeys(("constantly", "continuously", "hourly"), _DAYS["hour"]),
    "daily": 1.0,
    "weekly": 7.0,
    **dict.fromkeys(("biweekly", "fortnightly"), 14.0),
    "monthly": _DAYS["month"],
    "quarterly": _DAYS["quarter"],
    **dict.fromkeys(("yearly", "annually"), _DAYS["year"]),
    **dict.fromkeys(("never", "static", "stable"), math.inf),
}
_COUNTS = {"once": 1, "twice": 2}


def read_pace(name: str, text: str) -> float | None:
    """Days between two changes: "weekly", "bi-weekly" (every two weeks), "every 3 days", "twice a month", "unknown".

    Raises:
        InputError: it is none of these.
    """
    said = _plain(text)
    if said == "unknown":
        return None
    if (days := _PACES.get(said.replace("-", "").replace(" ", ""))) is not None:
        return days
    if found := re.fullmatch(rf"(?:every|each) (?:(?P<count>\d{{1,6}}(?:\.\d{{1,6}})?|other) )?{_UNIT}", said):
        count = 2 if found["count"] == "other" else float(found["count"] or 1)
        if count:
            return count * _DAYS[found["unit"]]
    if found := re.fullmatch(rf"(?P<count>once|twice|\d{{1,6}})(?:x| times)? (?:a|an|per|every|each) {_UNIT}", said):
        count = _COUNTS.get(found["count"]) or int(found["count"])
        if count:
            return _DAYS[found["unit"]] / count
    raise _not_understood(
        name,
        text,
        "daily, weekly, bi-weekly, monthly, quarterly, yearly, never, unknown, `every 3 days`, `twice a month`",
    )


_NUMBER = r"(?P<number>\d{1,3}(?:[,_ ]\d{3}){1,4}|\d{1,15})(?P<part>\.\d{1,9})?"
_SCALES = {"": 1, "k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
_NOUNS = "examples?|pairs?|rows?|samples?|queries|requests|questions"


def read_count(name: str, text: str) -> int:
    """A whole number of things: "200 examples", "1.5k", "2,000", "about 2 million queries a month", "none".

    Raises:
        InputError: it is no such number.
    """
    said = _plain(text)
    if said in ("none", "no", "zero"):
        return 0
    shape = rf"(?:about |around |~ ?)?{_NUMBER} ?(?P<scale>k|m|thousand|million)?\+?(?: (?:{_NOUNS}))?(?: (?:a|per) month|/month)?"
    if found := re.fullmatch(shape, said):
        digits = re.sub(r"\D", "", found["number"]) + (found["part"] or "")
        count = float(digits) * _SCALES[found["scale"] or ""]
        if round(count, 6) == round(count):
            return round(count)
    raise _not_understood(
        name, text, "a whole number such as `200`, `200 examples`, `1,500`, `1.5k`, `2 million`, `none`"
    )


# Divided by, because 100 * 0.001 is more than 0.1.
_PER_SECOND = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1000.0),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 1 / 60),
}


def read_duration(name: str, text: str) -> float | None:
    """Seconds: "50ms", "2 s", "1.5 seconds", "under 100 ms" (less than 0.1), "none" (None, no requirement).

    Raises:
        InputError: it has no unit, is zero, or is no duration.
    """
    said = _plain(text)
    if said in ("none", "any"):
        return None
    if found := re.fullmatch(
        r"(?P<less>under |below |less than |< ?)?(?P<number>\d{1,9}(?:\.\d{1,9})?) ?(?P<unit>[a-z]+)", said
    ):
        per_second = _PER_SECOND.get(found["unit"])
        if per_second and (seconds := float(found["number"]) / per_second):
            return math.nextafter(seconds, 0) if found["less"] else seconds
    raise _not_understood(
        name, text, "a time with its unit such as `50ms`, `2 s`, `1.5 seconds`, `under 100 ms`, or `none`"
    )


_YES = frozenset({"yes", "y", "true", "on", "1", "required", "needed"})
_NO = frozenset({"no", "n", "false", "off", "0", "not required", "not needed"})


def read_yes(name: str, text: str) -> bool:
    """Yes or no.

    Raises:
        InputError: it is neither.
    """
    said = _plain(text)
    if said in _YES or said in _NO:
        return said in _YES
    raise _not_understood(name, text, "yes or no, true or false, y or n")


_STYLE_WORDS: dict[str, Style] = {
    "none": "low",
    "med": "medium",
    "moderate": "medium",
    "strict": "high",
    "strong": "high",
}


def read_style(name: str, text: str) -> Style:
    """How much tone and format matter.

    Raises:
        InputError: it is not low, medium or high.
    """
    said = _plain(text)
    for style in STYLES:
        if style == _STYLE_WORDS.get(said, said):
            return style
    raise _not_understood(name, text, "low, medium or high")


def pace(days: float | None) -> str:
    """ "weekly", "every 3.5 days", "never": what `read_pace` reads, to a tenth of its unit."""
    if days is None:
        return "unknown"
    for word in ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "never"):
        if days == _PACES[word]:
            return word
    unit = "hour" if days < 1 else "week" if days % 7 == 0 else "day"
    count = f"{max(0.1, round(days / _DAYS[unit], 1)):g}"
    return f"every {unit}" if count == "1" else f"every {count} {unit}s"


def duration(seconds: float) -> str:
    """ "50 ms", "2 s", "1.5 s"."""
    return f"{round(seconds * 1000, 1):g} ms" if seconds < 0.9999 else f"{round(seconds, 2):g} s"


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _not_understood(name: str, text: str, understood: str) -> InputError:
    return InputError(f"{name} is {text!r}, which is not understood: write {understood}")
