import pytest

from contracts.params import Gates
from contracts.verdicts import Estimate, GateResult
from evaluation.gates import apply_gates


def at(mean: float | None) -> Estimate:
    return Estimate(mean=mean, low=mean, high=mean, n=0 if mean is None else 10)


def run(
    gates: Gates | None = None,
    arm: str = "hybrid",
    leads: tuple[float, float] | None = (0.2, 0.1),
    **means: float | None,
):
    figures = {"task_success": 0.5, "format": 0.8, "grounded_numbers": 0.7, "citation_correct": 0.5}
    figures |= {"median_latency_seconds": 30.0, **means}
    differences = {} if leads is None else {"hybrid-rag": at(leads[0]), "hybrid-tuned": at(leads[1])}
    results = apply_gates(gates or Gates(), arm, {k: at(v) for k, v in figures.items()}, differences, has_format=True)
    return {result.name: result for result in results}


def test_every_gate_of_params_is_judged() -> None:
    assert set(run()) == set(Gates.model_fields)


def test_a_value_at_its_bound_passes() -> None:
    assert all(result.passed is True for result in run().values())


@pytest.mark.parametrize(
    ("metric", "value", "gate"),
    [
        ("task_success", 0.49, "min_task_success"),
        ("format", 0.79, "min_format"),
        ("grounded_numbers", 0.69, "min_grounded_numbers"),
        ("citation_correct", 0.49, "min_citation_correct"),
        ("median_latency_seconds", 30.01, "max_latency_seconds"),
    ],
)
def test_a_value_beyond_its_bound_fails_that_gate_alone_and_says_the_way_out(
    metric: str, value: float, gate: str
) -> None:
    failed = [result for result in run(**{metric: value}).values() if result.passed is False]
    assert [result.name for result in failed] == [gate]
    assert failed[0].value == value
    assert ": " in failed[0].detail
    assert "\n" not in failed[0].detail


def test_a_mean_that_is_a_rounding_error_below_its_bound_passes() -> None:
    assert run(task_success=0.1 + 0.2 + 0.2 - 1e-12)["min_task_success"].passed is True


def test_none_switches_a_gate_off_and_keeps_its_value_visible() -> None:
    off = Gates(min_task_success=None, min_format=None, min_grounded_numbers=None, min_citation_correct=None,
                max_latency_seconds=None, min_lead=None)  # fmt: skip
    for result in run(off, task_success=0.0, format=0.0, grounded_numbers=0.0, leads=(-1, -1)).values():
        assert result.passed is None
        assert result.bound is None
        assert "switched off" in result.detail


def test_rag_only_is_spared_what_only_training_gives() -> None:
    results = run(arm="rag", leads=None, format=0.0)
    assert results["min_format"].passed is None
    assert results["min_lead"].passed is None
    assert "rag-only" in results["min_format"].detail
    assert results["min_task_success"].passed is True


def test_what_cannot_be_measured_neither_passes_nor_fails() -> None:
    results = run(grounded_numbers=None, citation_correct=None)
    assert results["min_grounded_numbers"].passed is None
    assert results["min_citation_correct"].passed is None


@pytest.mark.parametrize(("leads", "passed"), [((0.1, 0.2), True), ((-0.05, 0.2), True), ((0.2, -0.1), False)])
def test_hybrid_must_not_lie_behind_a_half_by_more_than_chance(leads: tuple[float, float], passed: bool) -> None:
    result = run(leads=leads)["min_lead"]
    assert result.passed is passed
    assert result.value == min(leads)


def test_a_half_that_was_not_asked_is_not_beaten() -> None:
    result: GateResult = run(leads=None)["min_lead"]
    assert result.passed is False
    assert "evaluation.arms" in result.detail


def test_no_format_in_the_pairs_leaves_the_format_gate_open() -> None:
    metrics = {name: at(None) for name in ("task_success", "format", "grounded_numbers", "citation_correct")}
    results = apply_gates(Gates(), "hybrid", metrics | {"median_latency_seconds": at(1.0)}, {}, has_format=False)
    assert next(r for r in results if r.name == "min_format").passed is None
