import csv
import json
from pathlib import Path

import pytest

from contracts import paths
from contracts.errors import DataError, ParamsError
from contracts.verdicts import EvaluationVerdict
from evaluation.stages import evaluate


def rows() -> list[dict]:
    return [json.loads(line) for line in Path("reports/evaluation/answers.jsonl").read_text().splitlines()]


def test_four_arms_are_asked_judged_and_written(project, scripted) -> None:
    arms = scripted()
    verdict = evaluate(project(), arms)
    assert arms.opened == ["base", "rag", "tuned", "hybrid"]
    written = EvaluationVerdict.model_validate_json(Path("reports/evaluation/evaluation.json").read_text())
    assert written == verdict
    success = {arm: metrics["task_success"].mean for arm, metrics in verdict.arms.items()}
    assert success == pytest.approx({"base": 0.0, "rag": 2 / 6, "tuned": 2 / 6, "hybrid": 1.0})
    assert verdict.by_category["both"]["hybrid"].mean == 1.0
    assert verdict.by_category["behaviour"]["rag"].mean == 0.0
    assert verdict.differences["hybrid-rag"].mean == pytest.approx(4 / 6)
    assert (verdict.mode, verdict.arm, verdict.passed) == ("hybrid", "hybrid", True)
    assert verdict.eval_loss == {"base": 3.1, "tuned": 0.7}
    assert verdict.arms["base"]["grounded_numbers"].mean == 0.0
    assert verdict.arms["hybrid"]["median_latency_seconds"].n == 5
    assert len(rows()) == 6 * 4


def test_the_plots_files_hold_every_measured_figure(project, scripted) -> None:
    verdict = evaluate(project(), scripted())
    with Path("reports/evaluation/arms.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert {"arm", "metric", "mean", "low", "high"} == set(table[0])
    measured = sum(e.mean is not None for metrics in verdict.arms.values() for e in metrics.values())
    assert len(table) == measured
    assert Path("reports/evaluation/categories.csv").read_text().startswith("category,arm,mean,low,high\n")


def test_answers_and_scores_are_the_same_when_asked_again(project, scripted) -> None:
    params = project()
    evaluate(params, scripted())
    first = Path("reports/evaluation/answers.jsonl").read_bytes()
    evaluate(params, scripted())
    assert Path("reports/evaluation/answers.jsonl").read_bytes() == first
    assert "timings" not in rows()[0]["answer"]


def test_a_killed_run_resumes_at_the_batch_it_lost(project, scripted) -> None:
    params = project()
    killed = scripted(fail=("tuned", "m1"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(params, killed)
    assert not Path("reports/evaluation/evaluation.json").exists()
    journal = next(paths.STATE.rglob("journal.jsonl"))
    with journal.open("a") as stream:
        stream.write('{"arm": "tuned", "quest')  # the line the kill cut short
    resumed = scripted()
    verdict = evaluate(params, resumed)
    assert resumed.opened == ["tuned", "hybrid"]
    assert ("tuned", "f1") not in resumed.log[:2]
    assert resumed.log[:2] == [("tuned", "m1"), ("tuned", "m2")]
    assert verdict == EvaluationVerdict.model_validate_json(Path("reports/evaluation/evaluation.json").read_text())
    assert verdict.arms["tuned"]["task_success"].n == 6
    assert not list(paths.STATE.rglob("journal.jsonl"))


def test_other_inputs_do_not_reuse_the_answers_of_a_killed_run(project, scripted) -> None:
    params = project()
    with pytest.raises(KeyboardInterrupt):
        evaluate(params, scripted(fail=("tuned", "m1")))
    changed = scripted()
    changed.inputs = "other weights"
    evaluate(params, changed)
    assert changed.opened == ["base", "rag", "tuned", "hybrid"]


def test_without_a_merged_model_only_base_and_rag_are_asked(project, scripted) -> None:
    arms = scripted()
    verdict = evaluate(project(skipped="only 42 usable pairs", gates={"min_task_success": 0.3}), arms)
    assert arms.opened == ["base", "rag"]
    assert (verdict.mode, verdict.arm, verdict.reason) == ("rag-only", "rag", "only 42 usable pairs")
    assert {gate.name for gate in verdict.gates if gate.passed is None} == {"min_format", "min_lead"}
    assert verdict.passed
    assert verdict.eval_loss == {}
    assert verdict.differences == {}


def test_a_failed_gate_is_a_verdict_not_an_error(project, scripted) -> None:
    verdict = evaluate(project(skipped="few pairs"), scripted())
    assert not verdict.passed
    assert [gate.name for gate in verdict.gates if gate.passed is False] == ["min_task_success"]


def test_the_arm_that_ships_must_be_asked(project, scripted) -> None:
    with pytest.raises(ParamsError, match=r"lacks `hybrid`.*add it"):
        evaluate(project(arms=["base", "rag"]), scripted())


def test_a_cap_on_questions_is_kept(project, scripted) -> None:
    verdict = evaluate(project(max_questions=3, latency_questions=1), scripted())
    assert {e.n for e in (m["task_success"] for m in verdict.arms.values())} == {3}
    assert list(verdict.by_category) == ["factual", "behaviour", "both"]


def test_a_stage_that_has_not_run_is_named(project, scripted) -> None:
    params = project()
    Path("reports/index.json").unlink()
    with pytest.raises(DataError, match=r"reports/index\.json is missing"):
        evaluate(params, scripted())


def test_a_question_whose_document_is_gone_is_told(project, scripted, capsys: pytest.CaptureFixture[str]) -> None:
    params = project()
    index = json.loads(Path("reports/index.json").read_text())
    del index["records"]["hours.md"]
    Path("reports/index.json").write_text(json.dumps(index))
    evaluate(params, scripted())
    assert "question m2 of golden.jsonl is supported by hours.md" in capsys.readouterr().out
