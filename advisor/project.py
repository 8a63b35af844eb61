"""The same question from this project's own evidence: every input with the file or key that it was read from."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from advisor.inputs import Inputs, duration, pace
from advisor.prices import Prices, cost, load_prices
from advisor.rules import Thresholds, Words, advise, flips
from contracts import paths
from contracts.errors import DataError
from contracts.files import read_json
from contracts.params import Params
from contracts.verdicts import (
    AdviceVerdict,
    AuditVerdict,
    BehaviourAdvice,
    BehaviourVerdict,
    Evidence,
    ReleasedEvaluation,
    ValidationVerdict,
)

_WORDS = Words(knowledge="the documents", examples="usable pairs")
_KEY = f"{paths.PARAMS}: "
M = TypeVar("M", bound=BaseModel)


def advise_project(params: Params) -> AdviceVerdict:
    """Read the audit, the validation and, where there was a release, what it measured; advise for every behaviour.

    What a release measured moves the figures, and can make room for retrieval under 100 ms. It never decides whether to
    train: that follows from params.yaml and the usable pairs alone, so two runs on the same inputs train the same.

    Raises:
        DataError: the audit or the validation has not run, or a file is not what its stage writes.
        InputError: advisor.prices names a price that does not exist.
    """
    audit, validation = _read(paths.AUDIT, AuditVerdict), _read(paths.VERDICT, ValidationVerdict)
    released = _read(paths.RELEASED, ReleasedEvaluation) if paths.RELEASED.is_file() else None
    common = _common(params, audit, released)
    return AdviceVerdict(
        release=released.release if released else "",
        behaviours=[_behaviour(params, each, common) for each in validation.behaviours],
    )


@dataclass(frozen=True)
class _Common:
    """What holds for all behaviours."""

    inputs: Inputs
    prices: Prices
    evidence: list[Evidence]
    late: list[str]


def _behaviour(params: Params, verdict: BehaviourVerdict, common: _Common) -> BehaviourAdvice:
    pairs = verdict.funnel["teachable"]
    inputs = replace(common.inputs, examples=pairs)
    thresholds = Thresholds(params.validation.refuse_below, params.validation.ready_from)
    advice = advise(inputs, thresholds)
    spent = cost(advice.retrieve, advice.train, inputs.queries, common.prices)
    count = Evidence(
        name="training data", value=f"{pairs:,} usable pairs", source=f"{paths.VERDICT}: teachable, {verdict.behaviour}"
    )
    training = f"runs: the advice is {advice.recommendation}"
    if not advice.train and params.training.force:
        training = f"runs because training.force is true, although the advice is {advice.recommendation}"
    elif not advice.train:
        training = (
            f"skipped: the advice is {advice.recommendation}"
            " (`freshtune advise project` explains it, training.force trains all the same)"
        )
    return BehaviourAdvice(
        behaviour=verdict.behaviour,
        recommendation=advice.recommendation,
        reasoning=list(advice.reasoning),
        warnings=[*advice.warnings, *common.late],
        evidence=[*common.evidence, count],
        flips=flips(inputs, thresholds, _WORDS),
        monthly={line: round(dollars, 2) for line, dollars in spent.monthly.items()},
        one_time=spent.one_time,
        training=training,
        train=advice.train or params.training.force,
    )


def _common(params: Params, audit: AuditVerdict, released: ReleasedEvaluation | None) -> _Common:
    settings = params.advisor
    days, changes = _changes(audit)
    latency, requirement = _requirement(params)
    seconds = released.seconds if released else None
    prices, tokens = _prices(params, released)
    inputs = Inputs(
        changes=days,
        citations=settings.needs_citations,
        style=settings.style_requirements,
        latency=latency,
        queries=settings.monthly_queries,
        measured_latency=seconds,
    )
    measured = Evidence(name="latency with retrieval", value="not measured", source="no release yet")
    late = []
    if released and seconds is not None:
        measured = Evidence(
            name=measured.name, value=duration(seconds), source=f"release {released.release}: median of {released.arm}"
        )
        if latency is not None and seconds > latency:
            late = [f"LATE: release {released.release} took {duration(seconds)}, required are {duration(latency)}."]
    evidence = [
        changes,
        Evidence(
            name="citations",
            value="required" if settings.needs_citations else "not required",
            source=f"{_KEY}advisor.needs_citations",
        ),
        Evidence(
            name="style requirements",
            value=settings.style_requirements,
            source=f"{_KEY}advisor.style_requirements",
        ),
        requirement,
        measured,
        tokens,
        Evidence(
            name="monthly queries", value=f"{settings.monthly_queries:,}", source=f"{_KEY}advisor.monthly_queries"
        ),
    ]
    return _Common(inputs, prices, evidence, late)


def _changes(audit: AuditVerdict) -> tuple[float | None, Evidence]:
    """Days between two days on which any document's text changed, over the whole history."""
    name, file = "knowledge changes", str(paths.AUDIT)
    span = (
        (date.fromisoformat(audit.until) - date.fromisoformat(audit.since)).days if audit.since and audit.until else 0
    )
    if not span:
        source = f"{file}: no history, so nothing shows that it stands still"
        return None, Evidence(name=name, value=pace(None), source=source)
    changed = len({day for document in audit.documents for day in document.changed_at})
    source = f"{file}: texts changed on {changed} days of {span}, {audit.since} to {audit.until}"
    if not changed:  # it may yet: all that is known is that it stood so long
        return span, Evidence(name=name, value=f"not once in {span} days", source=source)
    return span / changed, Evidence(name=name, value=pace(span / changed), source=source)


def _requirement(params: Params) -> tuple[float | None, Evidence]:
    name, key = "latency requirement", "advisor.latency_requirement"
    seconds = params.advisor.latency_requirement
    if seconds is None:
        seconds, key = params.evaluation.gates.max_latency_seconds, "evaluation.gates.max_latency_seconds"
    value = "none" if seconds is None else duration(seconds)
    return seconds, Evidence(name=name, value=value, source=_KEY + key)


def _prices(params: Params, released: ReleasedEvaluation | None) -> tuple[Prices, Evidence]:
    """The prices of this project, with the tokens that its last release needed for a question."""
    name, own = "tokens per query", params.advisor.prices
    prices = load_prices(own, f"{_KEY}advisor.prices")
    source = f"{_KEY}advisor.prices" if "tokens_per_query" in own else "advisor/prices.yaml"
    if released and released.tokens is not None and "tokens_per_query" not in own:
        prices = prices.model_copy(update={"tokens_per_query": released.tokens})
        source = f"release {released.release}: mean of {released.arm}"
    return prices, Evidence(name=name, value=f"{prices.tokens_per_query:,.0f}", source=source)


def _read(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(
            f"{path} is not what its stage writes ({error.error_count()} problems): delete it and run `freshtune retrain`"
        ) from None
