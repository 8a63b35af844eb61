"""Four ways to build the same assistant, over months: what each costs, and where one overtakes another."""

from dataclasses import dataclass

from advisor.prices import Prices, cost

_TWO_YEARS = 24
PARTS = ("build", "API", "hosting", "maintenance", "iteration")


@dataclass(frozen=True)
class Option:
    """One way, in dollars: `build` once, the rest a month; `api` for each query."""

    name: str
    mark: str
    build: float
    api: float
    hosting: float
    maintenance: float
    iteration: float

    def monthly(self, queries: float) -> float:
        """Dollars a month at this volume."""
        return self.api * queries + self.hosting + self.maintenance + self.iteration

    def spent(self, months: float, queries: float) -> float:
        """Dollars after so many months."""
        return self.build + months * self.monthly(queries)

    def parts(self, months: float, queries: float) -> dict[str, float]:
        """What `spent` is made of."""
        running = (self.api * queries, self.hosting, self.maintenance, self.iteration)
        return dict(zip(PARTS, (self.build, *(each * months for each in running)), strict=True))


def options(prices: Prices) -> tuple[Option, ...]:
    """RAG, a fine-tuned model on a host of one's own, one that a provider hosts, and the hybrid."""
    rag = cost(True, False, 1, prices).monthly
    api, store = rag["LLM API"] + rag["Embeddings"], rag["Vector DB"]
    lora = prices.lora_hosting_monthly
    managed = prices.tokens_per_query * prices.managed_per_million_tokens / 1_000_000

    def work(kind: str) -> tuple[float, float]:
        years = (getattr(prices, f"{kind}_{part}_two_years") for part in ("maintenance", "iteration"))
        maintenance, iteration = (dollars / _TWO_YEARS for dollars in years)
        return maintenance, iteration

    return (
        Option("RAG", "R", prices.rag_build, api, store, *work("rag")),
        Option("Fine-tuned (LoRA)", "L", prices.tuned_build + prices.lora_one_time, 0.0, lora, *work("tuned")),
        Option("Fine-tuned (managed)", "M", prices.tuned_build + prices.managed_one_time, managed, 0.0, *work("tuned")),
        Option("Hybrid", "H", prices.hybrid_build + prices.lora_one_time, api, store + lora, *work("hybrid")),
    )


@dataclass(frozen=True)
class BreakEven:
    """Where two options cost the same.

    `month` at this volume, `queries` a month over the whole time; None where it is nowhere. From there on `later` is the
    cheaper one (by month), and `high` is (by volume).
    """

    first: str
    second: str
    month: float | None
    later: str
    queries: float | None
    high: str


def break_even(first: Option, second: Option, months: int, queries: float) -> BreakEven:
    """Both costs are straight lines, in time and in volume, and cross at most once."""
    month = _crossing(first.build, first.monthly(queries), second.build, second.monthly(queries))
    volume = _crossing(first.spent(months, 0), first.api * months, second.spent(months, 0), second.api * months)
    later = min(first, second, key=lambda option: option.monthly(queries))
    high = min(first, second, key=lambda option: option.api)
    return BreakEven(first.name, second.name, month, later.name, volume, high.name)


def _crossing(start: float, slope: float, other_start: float, other_slope: float) -> float | None:
    if slope == other_slope:
        return None
    at = (other_start - start) / (slope - other_slope)
    return at if at > 0 else None
