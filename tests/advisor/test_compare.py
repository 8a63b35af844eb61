"""Totals, break-even points and the plot of the comparison."""

import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.compare import break_even, options
from advisor.plot import svg_plot, text_plot
from advisor.prices import load_prices
from advisor.text import comparison

PRICES = load_prices({})
FOUR = options(PRICES)
RAG, LORA, MANAGED, HYBRID = FOUR
QUERIES = st.integers(min_value=0, max_value=10**8)


def test_two_years_at_a_million_queries_are_what_the_published_figures_add_up_to() -> None:
    # build + 24 x (API, hosting) + maintenance + iteration
    assert RAG.spent(24, 10**6) == pytest.approx(10_000 + 24 * (2_502 + 70) + 10_000 + 5_000)
    assert MANAGED.spent(24, 10**6) == pytest.approx(80_250 + 24 * 12_000 + 100_000 + 40_000)
    assert LORA.spent(24, 10**6) == pytest.approx(80_150 + 24 * 250 + 100_000 + 40_000)
    assert HYBRID.spent(24, 10**6) == pytest.approx(20_150 + 24 * (2_502 + 70 + 250) + 15_000 + 10_000)


@given(QUERIES, st.integers(min_value=1, max_value=120))
def test_the_parts_add_up(queries: int, months: int) -> None:
    for option in FOUR:
        assert sum(option.parts(months, queries).values()) == pytest.approx(option.spent(months, queries))


@given(QUERIES, QUERIES, st.integers(min_value=0, max_value=120))
def test_more_queries_never_cost_less(queries: int, more: int, months: int) -> None:
    for option in FOUR:
        assert option.spent(months, queries + more) >= option.spent(months, queries)


@given(QUERIES, st.integers(min_value=1, max_value=120))
def test_at_a_break_even_both_cost_the_same_and_the_named_one_is_cheaper_after(queries: int, months: int) -> None:
    by_name = {option.name: option for option in FOUR}
    for first, second in combinations(FOUR, 2):
        found = break_even(first, second, months, queries)
        if found.month is not None:
            assert first.spent(found.month, queries) == pytest.approx(second.spent(found.month, queries))
            later = by_name[found.later]
            other = second if later is first else first
            assert later.spent(found.month * 2, queries) <= other.spent(found.month * 2, queries)
        if found.queries is not None:
            assert first.spent(months, found.queries) == pytest.approx(second.spent(months, found.queries))
            high = by_name[found.high]
            other = second if high is first else first
            assert high.spent(months, found.queries * 2) <= other.spent(months, found.queries * 2)


def test_lines_that_never_meet_have_no_break_even() -> None:
    found = break_even(RAG, MANAGED, 24, 1_000)
    assert (found.month, found.queries) == (None, None)
    assert break_even(RAG, HYBRID, 24, 10**6).month is None  # hybrid starts dearer and stays so


def test_high_volume_on_stable_knowledge_favours_a_lora_of_ones_own() -> None:
    volume = break_even(RAG, LORA, 24, 0)
    assert volume.queries is not None
    assert volume.high == LORA.name
    assert min(FOUR, key=lambda o: o.spent(24, volume.queries * 1.1)) is LORA
    assert min(FOUR, key=lambda o: o.spent(24, volume.queries * 0.9)) is RAG


@pytest.mark.parametrize("queries", [0, 10_000, 1_000_000, 50_000_000])
def test_the_text_plot_ends_with_the_options_in_the_order_of_their_totals(queries: int) -> None:
    lines = text_plot(FOUR, 24, queries).splitlines()
    assert max(len(line) for line in lines) <= 80
    ends = [line[77] for line in lines if len(line) == 78 and line[13] == "|"]
    ranked = [option.mark for option in sorted(FOUR, key=lambda o: -o.spent(24, queries))]
    assert ends == [mark for mark in ranked if mark in ends]
    assert len(ends) >= 2


@pytest.mark.parametrize("queries", [0, 1_000_000])
def test_the_svg_is_whole_fetches_nothing_and_keeps_its_labels_apart(queries: int) -> None:
    root = ET.fromstring(svg_plot(FOUR, 24, queries))
    assert root.get("role") == "img"
    space = "{http://www.w3.org/2000/svg}"
    texts = root.findall(f"{space}text")
    labels = [text for text in texts if text.get("style")]
    assert [label.text.split(" $")[0] for label in labels] == [option.name for option in FOUR]
    heights = sorted(float(label.get("y")) for label in labels)
    assert all(b - a >= 16.9 for a, b in pairwise(heights))
    assert heights[0] > 0
    assert "http" not in svg_plot(FOUR, 24, queries).replace("http://www.w3.org/2000/svg", "")


def test_the_printed_comparison() -> None:
    text = comparison(FOUR, 24, 1_000_000, PRICES.dated)
    assert text.startswith("Over 24 months at 1,000,000 queries a month, list prices of spring 2026:")
    assert "RAG                       $10,000     $60,048      $1,680     $10,000      $5,000     $86,728\n" in text
    assert "Cheapest here: RAG\n" in text
    assert "- RAG and Fine-tuned (managed): none, RAG is always cheaper\n" in text
