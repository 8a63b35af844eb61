"""Six signals, each with a point for one side, for both, or for neither: a second look that needs no prices."""

from dataclasses import dataclass
from typing import Literal

from advisor.rules import HYBRID, RAG, TUNED

Side = Literal["retrieval", "training", "both", "neither"]
WEEK, STABLE = 7.0, 61.0  # days: daily or weekly against stable for months
LABELLED = 500
ABSORBED = 0.5  # seconds: retrieval adds 100 to 500 ms


@dataclass(frozen=True)
class Signal:
    """One factor: what speaks for retrieval, what for training, and the side that has the point."""

    name: str
    retrieval: str
    training: str
    side: Side


@dataclass(frozen=True)
class Score:
    """All six, and what they add up to."""

    signals: tuple[Signal, ...]
    retrieval: int
    training: int
    recommendation: str


def score(
    freshness: float | None,
    knowledge: Side,
    examples: int,
    latency: float | None,
    infrastructure: Side,
    audit: Side,
) -> Score:
    """Points for each side. `freshness` is in days (None: unknown), `latency` in seconds (None: no requirement)."""
    fresh: Side = "neither"
    if freshness is None or freshness <= WEEK:
        fresh = "retrieval"
    elif freshness >= STABLE:
        fresh = "training"
    signals = (
        Signal("data freshness", "daily or weekly", "stable for months", fresh),
        Signal("kind of knowledge", "facts, policies", "style, format, jargon", knowledge),
        Signal("volume", "any", "over 500 labelled examples", "training" if examples > LABELLED else "retrieval"),
        Signal(
            "latency",
            "can absorb 100 to 500 ms",
            "under 500 ms, no call outside",
            "retrieval" if latency is None or latency >= ABSORBED else "training",
        ),
        Signal("infrastructure", "vector store, no GPU", "GPU to train and serve", infrastructure),
        Signal("audit", "of sources", "of behaviour", audit),
    )
    for_retrieval = sum(signal.side in ("retrieval", "both") for signal in signals)
    for_training = sum(signal.side in ("training", "both") for signal in signals)
    lead = for_retrieval - for_training
    recommendation = RAG if lead > 0 else TUNED if lead < 0 else HYBRID
    return Score(signals, for_retrieval, for_training, recommendation)
