"""Values are read as people write them; anything else is an error that shows what is understood."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.inputs import duration, pace, read_count, read_duration, read_pace, read_style, read_yes
from contracts.errors import InputError


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("daily", 1),
        ("Weekly", 7),
        ("bi-weekly", 14),
        ("biweekly", 14),
        ("fortnightly", 14),
        (" every  3 days ", 3),
        ("every day", 1),
        ("each week", 7),
        ("every other week", 14),
        ("every 2.5 weeks", 17.5),
        ("once a week", 7),
        ("twice a week", 3.5),
        ("2x per week", 3.5),
        ("3 times a month", 365.25 / 36),
        ("4 per year", 365.25 / 4),
        ("hourly", 1 / 24),
        ("monthly", 365.25 / 12),
        ("quarterly", 365.25 / 4),
        ("every 2 quarters", 365.25 / 2),
        ("annually", 365.25),
        ("never", math.inf),
        ("static", math.inf),
        ("unknown", None),
    ],
)
def test_paces(text: str, days: float | None) -> None:
    assert read_pace("it", text) == (days if days is None else pytest.approx(days))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("200 examples", 200),
        ("200", 200),
        ("1.5k", 1500),
        ("1.5K pairs", 1500),
        ("1,500", 1500),
        ("12_000", 12000),
        ("1 000 000", 1_000_000),
        ("2 million queries a month", 2_000_000),
        ("100k/month", 100_000),
        ("0.1m", 100_000),
        ("about 300 rows", 300),
        ("~500", 500),
        ("500+", 500),
        ("none", 0),
        ("0", 0),
    ],
)
def test_counts(text: str, count: int) -> None:
    assert read_count("it", text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("100 ms", 0.1),
        ("2 s", 2),
        ("2s", 2),
        ("1.5 seconds", 1.5),
        ("1 min", 60),
        ("none", None),
        ("any", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert read_duration("it", text) == seconds


@pytest.mark.parametrize("text", ["under 100 ms", "<100ms", "below 0.1 s", "less than 100 milliseconds"])
def test_under_a_time_is_less_than_it(text: str) -> None:
    seconds = read_duration("it", text)
    assert seconds is not None
    assert 0.0999 < seconds < 0.1


@pytest.mark.parametrize(
    ("text", "yes"), [("yes", True), ("TRUE", True), ("y", True), ("1", True), ("no", False), ("False", False)]
)
def test_yes_and_no(text: str, yes: bool) -> None:
    assert read_yes("it", text) is yes


@pytest.mark.parametrize(("text", "style"), [("High", "high"), ("moderate", "medium"), ("none", "low")])
def test_styles(text: str, style: str) -> None:
    assert read_style("it", text) == style


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        *((read_pace, text) for text in ("", "sometimes", "every 0 days", "0 times a week", "every", "3", "-1", "every -3 days")),
        *((read_count, text) for text in ("", "many", "-5", "1.5", "1,5k", "1.2345k", "5 apples", "1e3", "k", "inf")),
        *((read_duration, text) for text in ("", "2", "0ms", "-1s", "fast", "2 lightyears", "1e-3 s", "nan s")),
        *((read_yes, text) for text in ("", "maybe", "2")),
        *((read_style, text) for text in ("", "very", "5")),
    ],
)  # fmt: skip
def test_anything_else_names_itself_and_shows_what_is_understood(reader, text: str) -> None:
    with pytest.raises(InputError, match=r"^--flag is '.*', which is not understood: write ") as caught:
        reader("--flag", text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("shape", ["{}", "every {} days", "{} times a day", "{}ms", "{}k", "1.{}"])
def test_a_number_beyond_reason_is_not_understood_rather_than_too_large(shape: str) -> None:
    for reader in (read_pace, read_count, read_duration):
        with pytest.raises(InputError):
            reader("it", shape.format("9" * 400))


@given(st.text(max_size=20))
def test_no_text_breaks_a_reader(text: str) -> None:
    for reader in (read_pace, read_count, read_duration, read_yes, read_style):
        try:
            reader("it", text)
        except InputError:
            continue


@given(st.floats(min_value=0.01, max_value=4000))
def test_a_pace_reads_back_as_it_was_written(days: float) -> None:
    read = read_pace("it", pace(days))
    assert read == pytest.approx(days, rel=0.06, abs=0.11 / 24 if days < 1 else 0.06)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_count_reads_back_as_it_was_written(count: int) -> None:
    assert read_count("it", f"{count:,}") == read_count("it", str(count)) == count


@pytest.mark.parametrize(
    ("days", "text"),
    [(7, "weekly"), (21, "every 3 weeks"), (3, "every 3 days"), (19.23, "every 19.2 days"), (0.5, "every 12 hours"),
     (1.001, "every day"), (math.inf, "never"), (None, "unknown")],
)  # fmt: skip
def test_a_pace_as_people_say_it(days: float | None, text: str) -> None:
    assert pace(days) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.05, "50 ms"), (0.1, "100 ms"), (2, "2 s"), (2.078, "2.08 s"), (30, "30 s")]
)
def test_a_duration_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
