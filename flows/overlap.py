"""What a run does that meets another one in the same project: `schedule.overlap` for those on a schedule."""

from collections.abc import Callable
from typing import Any, Literal

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.states import Completed

from contracts.errors import BusyError
from flows import graph

Overlap = Literal["refuse", "wait", "skip"]


def alone(what: str, overlap: Overlap, tell: Callable[[str], None], work: Callable[[], Any]) -> Any:
    """Do `work` as the only run that writes in this project; returns what it returns.

    While another one writes, `wait` waits, `skip` returns a state `Skipped` that says for whom, `refuse` raises.

    Raises:
        BusyError: another run writes, and this one was started by hand.
    """
    try:
        with graph.writer(what, wait=tell if overlap == "wait" else None):
            return work()
    except BusyError as busy:
        if overlap != "skip":
            raise
        return Completed(name="Skipped", message=str(busy))


def limit_of(overlap: Literal["wait", "skip"]) -> ConcurrencyLimitConfig:
    """The same rule as Prefect keeps it among the runs of one deployment, before any process is started."""
    strategy = ConcurrencyLimitStrategy.ENQUEUE if overlap == "wait" else ConcurrencyLimitStrategy.CANCEL_NEW
    return ConcurrencyLimitConfig(limit=1, collision_strategy=strategy)
