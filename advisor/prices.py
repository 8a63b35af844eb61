"""What the recommendation costs, from one dated file of list prices."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError

from contracts.errors import InputError

FILE = Path(__file__).with_name("prices.yaml")


class Prices(BaseModel):
    """prices.yaml, in dollars; what each figure means stands there."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dated: str
    llm_per_million_tokens: NonNegativeFloat
    tokens_per_query: NonNegativeFloat
    embedding_per_million_tokens: NonNegativeFloat
    embedding_tokens_per_query: NonNegativeFloat
    vector_db_monthly: NonNegativeFloat
    lora_hosting_monthly: NonNegativeFloat
    lora_one_time: NonNegativeFloat
    managed_per_million_tokens: NonNegativeFloat
    managed_one_time: NonNegativeFloat
    rag_build: NonNegativeFloat
    rag_maintenance_two_years: NonNegativeFloat
    rag_iteration_two_years: NonNegativeFloat
    tuned_build: NonNegativeFloat
    tuned_maintenance_two_years: NonNegativeFloat
    tuned_iteration_two_years: NonNegativeFloat
    hybrid_build: NonNegativeFloat
    hybrid_maintenance_two_years: NonNegativeFloat
    hybrid_iteration_two_years: NonNegativeFloat


def load_prices(overrides: Mapping[str, float | str], where: str = "--price") -> Prices:
    """The shipped prices, with `overrides` in place of some; `where` says in a message what those were given with.

    Raises:
        InputError: an override names no price, or is no amount.
    """
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for name in overrides:
        if name not in values or name == "dated":
            near = difflib.get_close_matches(name, values, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are those of {FILE.parent.name}/{FILE.name}"
            raise InputError(f"{where} names {name}, which is no price: {hint}")
    try:
        return Prices.model_validate(values | dict(overrides))
    except ValidationError as error:
        detail = error.errors()[0]
        name = str(detail["loc"][0])
        raise InputError(f"{where} sets {name} to {detail['input']!r}: write an amount in dollars, 0 or more") from None


@dataclass(frozen=True)
class Cost:
    """Dollars: `monthly` by line, `one_time` once."""

    monthly: dict[str, float]
    one_time: float = 0.0

    @property
    def total(self) -> float:
        """Dollars a month."""
        return sum(self.monthly.values())


def cost(retrieve: bool, train: bool, queries: float, prices: Prices) -> Cost:
    """A month of `queries`. A fine-tuned model alone costs its hosting and nothing for each question; all else is RAG."""
    lora = {"LoRA hosting": prices.lora_hosting_monthly}
    if train and not retrieve:
        return Cost(lora, prices.lora_one_time)
    million = 1_000_000
    rag = {
        "LLM API": queries * prices.tokens_per_query * prices.llm_per_million_tokens / million,
        "Vector DB": prices.vector_db_monthly,
        "Embeddings": queries * prices.embedding_tokens_per_query * prices.embedding_per_million_tokens / million,
    }
    return Cost(rag | lora, prices.lora_one_time) if train else Cost(rag)


def money(dollars: float) -> str:
    """Whole dollars; cents under one dollar: "$1,250", "$0.20", "$0"."""
    return f"${dollars:.2f}" if 0 < round(dollars, 2) < 1 else f"${dollars:,.0f}"
