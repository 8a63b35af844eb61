"""The gates: what the arm that would ship must reach before it may. A gate that fails says how to get past it."""

from contracts.params import Gates
from contracts.verdicts import Estimate, GateResult

_ANSWERS = "reports/evaluation/answers.jsonl"
_ROUNDING = 1e-9  # a mean of shares may miss its bound by this much


def apply_gates(
    gates: Gates, arm: str, metrics: dict[str, Estimate], differences: dict[str, Estimate], has_format: bool
) -> list[GateResult]:
    """Every gate of params.yaml against the shipped `arm`; `passed` is None where one is off or does not apply.

    `metrics` are the shipped arm's, `differences` the paired ones of task success ("hybrid-rag", "hybrid-tuned").
    """
    return [
        _at_least("min_task_success", gates.min_task_success, metrics["task_success"],
                  f"golden questions that {arm} answers as asked",
                  f"read its failures in {_ANSWERS}, then mend pairs, documents or prompt"),
        _format(gates.min_format, arm, metrics["format"], has_format),
        _at_least("min_grounded_numbers", gates.min_grounded_numbers, metrics["grounded_numbers"],
                  "numbers that stand in the passages or the question",
                  "add grounded pairs that copy numbers from their passages, or shorten retrieval.chunk_tokens",
                  unmeasured="no answer states a number"),
        _at_least("min_citation_correct", gates.min_citation_correct, metrics["citation_correct"],
                  "answers that cite supporting documents only",
                  "compare with retrieval_recall: if that is low mend the documents, else add pairs that cite",
                  unmeasured="no golden question names its documents: add `documents` to some"),
        _latency(gates.max_latency_seconds, metrics["median_latency_seconds"]),
        _lead(gates.min_lead, arm, differences),
    ]  # fmt: skip


def _at_least(
    name: str,
    bound: float | None,
    estimate: Estimate,
    meaning: str,
    way_out: str,
    unmeasured: str = "nothing was measured",
) -> GateResult:
    if bound is None:
        return _off(name, estimate.mean)
    if estimate.mean is None:
        return GateResult(name=name, passed=None, value=None, bound=bound, detail=unmeasured)
    passed = estimate.mean >= bound - _ROUNDING
    detail = meaning if passed else f"{meaning}: {way_out}"
    return GateResult(name=name, passed=passed, value=estimate.mean, bound=bound, detail=detail)


def _format(bound: float | None, arm: str, estimate: Estimate, has_format: bool) -> GateResult:
    name = "min_format"
    if arm != "hybrid" and bound is not None:
        detail = "does not apply to a rag-only release: the house format is what training would have taught"
        return GateResult(name=name, passed=None, value=estimate.mean, bound=bound, detail=detail)
    if not has_format and bound is not None:
        detail = "the pairs ask for no format: write one into pairs.<behaviour>.format"
        return GateResult(name=name, passed=None, value=None, bound=bound, detail=detail)
    way_out = "add pairs, raise training.epochs, or correct pairs.<behaviour>.format"
    return _at_least(name, bound, estimate, "answers in the house format", way_out)


def _latency(bound: float | None, estimate: Estimate) -> GateResult:
    name = "max_latency_seconds"
    if bound is None:
        return _off(name, estimate.mean)
    if estimate.mean is None:
        return GateResult(name=name, passed=None, value=None, bound=bound, detail="nothing was measured")
    passed = estimate.mean <= bound
    meaning = "median seconds, one question at a time"
    detail = meaning if passed else f"{meaning}: lower assistant.max_new_tokens or retrieval.top_k, or serve on a GPU"
    return GateResult(name=name, passed=passed, value=estimate.mean, bound=bound, detail=detail)


def _lead(bound: float | None, arm: str, differences: dict[str, Estimate]) -> GateResult:
    """The hybrid's lead over its better half. Unproven is not passed: both halves must have been asked."""
    name = "min_lead"
    leads = {half: differences.get(f"hybrid-{half}") for half in ("rag", "tuned")}
    known = {half: lead.mean for half, lead in leads.items() if lead is not None and lead.mean is not None}
    lead = min(known.values(), default=None)
    if bound is None:
        return _off(name, lead)
    if arm != "hybrid":
        detail = "does not apply to a rag-only release: there is no tuned half"
        return GateResult(name=name, passed=None, value=None, bound=bound, detail=detail)
    if missing := [half for half in leads if half not in known]:
        detail = f"{' and '.join(missing)} was not asked: add it to evaluation.arms, or switch this gate off"
        return GateResult(name=name, passed=False, value=lead, bound=bound, detail=detail)
    assert lead is not None
    half = min(known, key=lambda name: known[name])
    estimate = leads[half]
    passed = lead >= bound - _ROUNDING
    detail = f"lead in task success over {half}, the better half"
    if not passed:
        detail += f": ship {half} alone, or add grounded pairs"
    elif estimate is not None and estimate.low is not None and estimate.low <= 0:
        detail += "; its 95% interval holds 0, so more golden questions would make this sure"
    return GateResult(name=name, passed=passed, value=lead, bound=bound, detail=detail)


def _off(name: str, value: float | None) -> GateResult:
    return GateResult(name=name, passed=None, value=value, bound=None, detail="switched off in params.yaml")
