"""From evidence: every value with its source, a decision that moves with the right inputs only, and the stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from advisor.project import advise_project
from advisor.rules import DEFAULT, HYBRID, RAG, TUNED
from advisor.stages import advise
from contracts import paths
from contracts.errors import DataError, InputError
from contracts.files import tree_hashes, write_jsonl
from contracts.params import Params
from contracts.verdicts import AdviceVerdict, BehaviourAdvice

ROOT = Path(__file__).resolve().parents[2]
Project = Callable[..., Params]


def advised(params: Params) -> BehaviourAdvice:
    return advise_project(params).behaviours[0]


def evidence(each: BehaviourAdvice) -> dict[str, tuple[str, str]]:
    return {row.name: (row.value, row.source) for row in each.evidence}


def test_the_shipped_settings_with_policies_that_change_and_600_pairs_are_a_hybrid(project: Project) -> None:
    each = advised(project())
    assert (each.recommendation, each.train) == (HYBRID, True)
    assert each.reasoning == [
        "Knowledge changes weekly → RAG for dynamic content",
        "Citations required → RAG provides source attribution",
        "High style requirements → Fine-tune for consistent voice",
        "600 examples sufficient for LoRA, and at least the 500 that are preferred",
    ]
    assert each.warnings == []


def test_every_value_says_where_it_came_from(project: Project) -> None:
    assert evidence(advised(project())) == {
        "knowledge changes": ("weekly", "reports/audit.json: texts changed on 4 days of 28, 2026-01-01 to 2026-01-29"),
        "citations": ("required", "params.yaml: advisor.needs_citations"),
        "style requirements": ("high", "params.yaml: advisor.style_requirements"),
        "latency requirement": ("30 s", "params.yaml: evaluation.gates.max_latency_seconds"),
        "latency with retrieval": ("not measured", "no release yet"),
        "tokens per query": ("1,000", "advisor/prices.yaml"),
        "monthly queries": ("10,000", "params.yaml: advisor.monthly_queries"),
        "training data": ("600 usable pairs", "reports/validation/verdict.json: teachable, support"),
    }


def test_what_the_last_release_measured_fills_latency_tokens_and_cost(project: Project, release: Any) -> None:
    release(seconds=2.078, tokens=450)
    verdict = advise_project(project())
    each = verdict.behaviours[0]
    assert verdict.release == "demo:abc"
    assert evidence(each)["latency with retrieval"] == ("2.08 s", "release demo:abc: median of hybrid")
    assert evidence(each)["tokens per query"] == ("450", "release demo:abc: mean of hybrid")
    assert each.monthly["LLM API"] == pytest.approx(10_000 * 450 * 2.5 / 1e6)


def test_prices_and_requirements_of_params_come_first(project: Project, release: Any) -> None:
    release(seconds=2.0, tokens=450)
    own = {
        "latency_requirement": 1.0,
        "monthly_queries": 2000,
        "prices": {"tokens_per_query": 500, "vector_db_monthly": 25},
    }
    each = advised(project(advisor=own))
    assert evidence(each)["latency requirement"] == ("1 s", "params.yaml: advisor.latency_requirement")
    assert evidence(each)["tokens per query"] == ("500", "params.yaml: advisor.prices")
    assert each.monthly["LLM API"] == pytest.approx(2000 * 500 * 2.5 / 1e6)
    assert each.monthly["Vector DB"] == 25
    assert each.warnings == ["LATE: release demo:abc took 2 s, required are 1 s."]


@pytest.mark.parametrize(
    ("changes", "value", "retrieved"),
    [
        ({"until": "2026-03-04", "changed_at": ("2026-02-02", "2026-02-10")}, "every 31 days", True),
        ({"until": "2026-03-06", "changed_at": ("2026-02-02", "2026-02-10")}, "every 32 days", False),
        ({"until": "2026-12-31", "changed_at": ()}, "not once in 364 days", False),
        ({"until": "2026-01-11", "changed_at": ()}, "not once in 10 days", True),
        ({"since": None, "until": None, "changed_at": ()}, "unknown", True),
        ({"until": "2026-01-01", "changed_at": ()}, "unknown", True),
    ],
)
def test_the_pace_is_read_from_the_audit_and_doubt_counts_as_change(
    project: Project, changes: dict[str, Any], value: str, retrieved: bool
) -> None:
    each = advised(project(advisor={"needs_citations": False}, **changes))
    assert evidence(each)["knowledge changes"][0] == value
    assert each.recommendation == (HYBRID if retrieved else TUNED)


def test_it_says_what_would_change_its_mind(project: Project) -> None:
    few = advised(project(pairs={"support": 62}, advisor={"needs_citations": False}))
    assert few.recommendation == RAG
    assert ("with 38 more usable pairs", HYBRID) in [(flip.change, flip.to) for flip in few.flips]
    assert ("if the documents changed less than monthly", DEFAULT) in [(flip.change, flip.to) for flip in few.flips]


def test_the_thresholds_are_those_of_validation(project: Project) -> None:
    assert advised(project(pairs={"support": 62}, validation={"refuse_below": 62, "ready_from": 80})).train


def test_each_behaviour_is_advised_by_its_own_pairs(project: Project) -> None:
    support, sales = advise_project(project(pairs={"support": 600, "sales": 42})).behaviours
    assert (support.train, sales.train) == (True, False)
    assert sales.training.startswith("skipped: the advice is RAG Only")
    assert sales.warnings == ["WARNING: 42 examples is INSUFFICIENT for LoRA. Gathering more data recommended."]


def test_force_trains_against_the_advice_and_says_so(project: Project) -> None:
    each = advised(project(advisor={"style_requirements": "medium"}, training={"force": True}))
    assert (each.recommendation, each.train) == (RAG, True)
    assert each.training == "runs because training.force is true, although the advice is RAG Only"


def test_evidence_that_is_missing_or_broken_is_named(project: Project) -> None:
    params = project()
    paths.VERDICT.write_text('{"behaviours": 3}')
    with pytest.raises(DataError, match=r"reports/validation/verdict.json is not what its stage writes"):
        advise_project(params)
    paths.AUDIT.unlink()
    with pytest.raises(DataError, match=r"reports/audit.json is missing: run"):
        advise_project(params)


def test_a_price_that_does_not_exist_is_named_with_its_key(project: Project) -> None:
    with pytest.raises(
        InputError, match=r"params.yaml: advisor.prices names vectordb, .*did you mean vector_db_monthly"
    ):
        advise_project(project(advisor={"prices": {"vectordb": 1}}))


def test_the_stage_writes_the_advice_and_says_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    advise(project())
    assert capsys.readouterr().out == f"support: {HYBRID}; training runs: the advice is {HYBRID}\n"
    assert AdviceVerdict.model_validate_json(paths.ADVICE_VERDICT.read_text()) == advise_project(project())
    assert json.loads(paths.train_advice("support").read_text()) == {"behaviour": "support", "skip": ""}


def test_twice_is_the_same_as_once_and_a_dropped_behaviour_leaves_nothing(project: Project) -> None:
    advise(project(pairs={"support": 600, "sales": 42}))
    params = project()
    advise(params)
    once = tree_hashes(paths.ADVICE)
    assert set(once) == {"advice.json", "train/support.json"}
    advise(params)
    assert tree_hashes(paths.ADVICE) == once


def test_what_training_depends_on_moves_with_the_decision_alone(project: Project, release: Any) -> None:
    def decision(**changes: Any) -> bytes:
        advise(project(**changes))
        return paths.train_advice("support").read_bytes()

    trained = decision()
    release(seconds=0.01, tokens=99)
    others: list[dict[str, Any]] = [
        {},
        {"changed_at": ()},
        {"since": None, "until": None},
        {"pairs": {"support": 100}},
        {"advisor": {"needs_citations": False, "latency_requirement": 0.05, "monthly_queries": 5}},
        {"training": {"force": True}},
        {"advisor": {"style_requirements": "low"}, "training": {"force": True}},
    ]
    assert {decision(**changes) for changes in others} == {trained}
    assert decision(advisor={"style_requirements": "low"}) != trained
    assert decision(pairs={"support": 99}) != trained


def test_training_follows_the_advice_and_records_why(project: Project) -> None:
    from training.stages import merge, train

    params = project(advisor={"style_requirements": "medium"})
    advise(params)
    turns = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "This."}]
    row = {"id": "1", "behaviour": "support", "messages": turns}
    write_jsonl(paths.VALIDATED / "support" / "train.jsonl", [row])
    record = train(params, "support")
    assert record.skipped.startswith("the advice is RAG Only (`freshtune advise project` explains it")
    assert merge(params, "support").skipped == record.skipped
    assert not list(paths.adapter("support").glob("*.safetensors"))


def test_dvc_gives_training_the_decision_and_not_the_figures() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    advice = [dep for dep in stages["train"]["deps"] if dep.startswith(paths.ADVICE.as_posix())]
    assert advice == [paths.train_advice("${item.behaviour}").as_posix()]
    # What the last release measured is no dep: it comes after, and would make every release stale.
    assert not any(str(paths.STATE) in str(stage.get("deps", [])) for stage in stages.values())
    assert stages["advise"]["outs"] == [{paths.ADVICE.as_posix(): {"persist": True}}]
