"""Costs follow from one dated file, and from nothing else."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from advisor.prices import FILE, Prices, cost, load_prices, money
from contracts.errors import InputError

PRICES = load_prices({})
QUERIES = st.integers(min_value=0, max_value=10**9)


def test_the_shipped_file_is_dated_and_explains_itself() -> None:
    assert re.search(r"\b20\d\d\b", PRICES.dated)
    assert set(yaml.safe_load(FILE.read_text(encoding="utf-8"))) == set(Prices.model_fields)


def test_the_formulas_at_100000_queries() -> None:
    hybrid = cost(True, True, 100_000, PRICES)
    assert hybrid.monthly == pytest.approx({"LLM API": 250, "Vector DB": 70, "Embeddings": 0.2, "LoRA hosting": 250})
    assert hybrid.one_time == 150
    assert hybrid.total == pytest.approx(570.2)


def test_at_a_million_queries_rag_costs_what_was_published() -> None:
    assert money(cost(True, False, 1_000_000, PRICES).total) == "$2,572"


def test_fine_tuning_alone_costs_its_hosting_alone() -> None:
    tuned = cost(False, True, 10**6, PRICES)
    assert (tuned.monthly, tuned.one_time) == ({"LoRA hosting": 250}, 150)


def test_the_safe_default_costs_what_rag_costs() -> None:
    assert cost(False, False, 5000, PRICES) == cost(True, False, 5000, PRICES)


@given(st.booleans(), st.booleans(), QUERIES, QUERIES)
def test_more_queries_never_cost_less(retrieve: bool, train: bool, queries: int, more: int) -> None:
    assert cost(retrieve, train, queries + more, PRICES).total >= cost(retrieve, train, queries, PRICES).total


@given(QUERIES)
def test_the_hybrid_costs_both_halves(queries: int) -> None:
    parts = cost(True, False, queries, PRICES).total + cost(False, True, queries, PRICES).total
    assert cost(True, True, queries, PRICES).total == pytest.approx(parts)


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0"), (0.004, "$0"), (0.2, "$0.20"), (0.994, "$0.99"), (0.996, "$1"), (1, "$1"), (70, "$70"), (570.2, "$570"),
     (1234.5, "$1,234"), (2572, "$2,572")],
)  # fmt: skip
def test_money_is_whole_dollars_and_cents_below_one(dollars: float, text: str) -> None:
    assert money(dollars) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_money_has_one_of_two_forms(dollars: float) -> None:
    assert re.fullmatch(r"\$(0\.\d\d|[1-9]\d{0,2}(,\d{3})*|0)", money(dollars))


def test_any_figure_can_be_another() -> None:
    assert load_prices({"vector_db_monthly": "25"}).vector_db_monthly == 25
    assert load_prices({"vector_db_monthly": 25}).lora_one_time == 150


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"vector_db": "25"}, "--price names vector_db, which is no price: did you mean vector_db_monthly?"),
        ({"dated": "today"}, "--price names dated, which is no price"),
        ({"zzz": 1}, "known are those of advisor/prices.yaml"),
        ({"lora_one_time": "cheap"}, "--price sets lora_one_time to 'cheap': write an amount in dollars"),
        ({"lora_one_time": "-1"}, "--price sets lora_one_time to '-1'"),
        ({"lora_one_time": "nan"}, "--price sets lora_one_time to 'nan'"),
    ],
)
def test_a_price_that_is_none_is_named(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_prices(overrides)
