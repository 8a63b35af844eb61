"""The stage: funnel, thresholds, files, and that Great Expectations is the one that decides."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from contracts.errors import DataError
from contracts.files import tree_hashes
from contracts.params import Params, Validation
from validation.rules import RULES, STEPS
from validation.stages import read_golden, validate
from validation.suite import run_suite
from validation.verdict import behaviour_verdict, thresholds

Project = Callable[..., Params]
Lines = Callable[[str], list[dict[str, Any]]]


def some(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"p{n:04}", "prompt": f"Question number {n}?", "completion": f"Look at page {n}."} for n in range(count)
    ]


def verdict_on(teachable: int, read: int | None = None, **settings: Any) -> Any:
    """The verdict when `teachable` of `read` rows are left."""
    ok = pd.DataFrame(
        {name: [True] * teachable + [False] * ((read or teachable) - teachable) for name in (*RULES, *STEPS)}
    )
    chosen = Validation(**settings)
    record = run_suite("support", ok, thresholds(chosen))
    return behaviour_verdict(record, chosen, train=0, held_out=0, grounded=0)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [(42, "refused"), (99, "refused"), (100, "limited"), (499, "limited"), (500, "ready"), (1001, "ready")],
)
def test_thresholds_count_teachable_rows(rows: int, verdict: str) -> None:
    found = verdict_on(rows, read=rows + 700)
    assert found.verdict == verdict
    assert found.funnel["read"] == rows + 700
    assert found.funnel["teachable"] == rows


def test_each_verdict_says_the_way_out() -> None:
    assert "gather 58 more" in verdict_on(42).advice
    assert "few-shot" in verdict_on(42).advice
    assert "400 more reach 500" in verdict_on(100).advice
    assert "full fine-tuning" not in verdict_on(1000).advice
    assert "full fine-tuning becomes possible" in verdict_on(1001).advice


def test_thresholds_of_params_are_used() -> None:
    assert verdict_on(5, refuse_below=5, ready_from=5).verdict == "ready"


def test_the_verdict_is_what_great_expectations_found() -> None:
    ok = pd.DataFrame({name: [True] * 6 for name in (*RULES, *STEPS)})
    ok.loc[:1, "placeholder"] = False
    ok.loc[:1, ["clean", "unique", "consistent", "teachable"]] = False
    record = run_suite("support", ok, {"refuse_below": 4, "ready_from": 5})
    assert (record.read, record.failing("placeholder"), record.left("parsed"), record.left("teachable")) == (6, 2, 6, 4)
    assert record.passed["refuse_below"]
    assert not record.passed["ready_from"]
    assert not record.passed["placeholder"]


def test_42_pairs_are_refused_and_leave_empty_files(project: Project, lines_of: Lines) -> None:
    verdict = validate(project(some(42)))
    (support,) = verdict.behaviours
    assert (support.verdict, support.train_rows, support.eval_rows) == ("refused", 0, 0)
    assert support.funnel["teachable"] == 42
    assert lines_of("data/validated/support/train.jsonl") == lines_of("data/validated/support/eval.jsonl") == []


def test_force_trains_on_what_was_refused(project: Project, lines_of: Lines) -> None:
    (support,) = validate(project(some(42), training={"force": True})).behaviours
    assert support.verdict == "refused"
    assert "training.force" in support.advice
    assert support.train_rows + support.eval_rows == 42
    assert len(lines_of("data/validated/support/train.jsonl")) == support.train_rows


def test_every_row_is_taught_held_out_or_quarantined(project: Project, lines_of: Lines) -> None:
    rows: list[dict[str, Any]] = some(120)
    rows += [{"id": "dup", "prompt": "question NUMBER 3", "completion": "Look at page 3."}]
    rows += [
        {"id": f"no{n}", "prompt": "May I?", "completion": text} for n, text in enumerate(("Yes, do.", "No, never."))
    ]
    rows += [{"id": "hole", "prompt": "Name?", "completion": "Dear {{name}}, write to a@b.example"}]
    rows += [{"id": "leak", "prompt": "where is the moon", "completion": "Up."}, {"id": "raw", "text": "?"}]
    verdict = validate(project(rows))
    (support,) = verdict.behaviours
    funnel = support.funnel
    assert list(funnel) == ["read", *STEPS]
    assert list(funnel.values()) == [126, 125, 124, 122, 120, 120]
    quarantine = lines_of("reports/validation/quarantine.jsonl")
    assert [entry["rule"] for entry in quarantine] == [
        "duplicate_prompt",
        "contradiction",
        "contradiction",
        "placeholder",
        "leakage",
        "unreadable",
    ]
    assert verdict.quarantined == len(quarantine) == funnel["read"] - funnel["teachable"]
    train, held_out = (lines_of(f"data/validated/support/{name}.jsonl") for name in ("train", "eval"))
    assert (len(train), len(held_out)) == (support.train_rows, support.eval_rows)
    taught, kept_out = {row["id"] for row in train + held_out}, {entry["id"] for entry in quarantine}
    assert len(taught) + len(kept_out) == 126
    assert taught.isdisjoint(kept_out)
    assert [row["id"] for row in train] == sorted(row["id"] for row in train)


def test_a_quarantined_row_tells_all_its_faults_and_its_place(project: Project, lines_of: Lines) -> None:
    validate(project([*some(3), {"id": "x", "prompt": "Name?", "completion": "Dear {{name}}, write to a@b.example"}]))
    (entry,) = lines_of("reports/validation/quarantine.jsonl")
    assert list(entry) == sorted(["id", "file", "line", "rule", "reason", "row", "advice"])
    assert (entry["file"], entry["line"], entry["rule"]) == ("pairs.jsonl", 4, "placeholder")
    assert "{{name}}" in entry["reason"]
    assert "personal_data: an e-mail address" in entry["reason"]
    assert entry["row"]["prompt"] == "Name?"


def test_twice_is_the_same_as_once_to_the_byte(project: Project) -> None:
    params = project([*some(110), {"id": "x", "prompt": "TODO", "completion": "a"}])
    with Path("pairs.jsonl").open("a", encoding="utf-8") as pairs:
        pairs.write('{"text": "half of a character: \\ud83d"}\nno JSON\n')
    validate(params)
    once = tree_hashes(Path())
    validate(params)
    assert tree_hashes(Path()) == once
    assert {name for name in once if name.startswith(("reports/validation", "data/validated"))} == {
        "data/validated/support/eval.jsonl",
        "data/validated/support/train.jsonl",
        "reports/validation/docs/support.html",
        "reports/validation/examples/support.jsonl",
        "reports/validation/expectations.json",
        "reports/validation/quarantine.jsonl",
        "reports/validation/rows.csv",
        "reports/validation/verdict.json",
        "reports/validation/warnings.jsonl",
    }


def test_one_edited_pair_changes_one_row_only(project: Project, lines_of: Lines) -> None:
    def accepted() -> dict[str, str]:
        return {
            str(row): name for name in ("train", "eval") for row in lines_of(f"data/validated/support/{name}.jsonl")
        }

    rows = some(150)
    validate(project(rows))
    before = accepted()
    validate(project([*rows[:70], rows[70] | {"completion": "Look elsewhere."}, *rows[71:]]))
    assert len(before.items() ^ accepted().items()) == 2


def test_law_1_in_the_stage(project: Project, lines_of: Lines) -> None:
    fact = {"document": "prices.md", "heading": "", "sentence": "A small parcel costs €3.95.", "kind": "money"}
    fact |= {"value": "3.95", "unit": "€", "subject": ["cost", "parcel", "small"]}
    stated = {"id": "price", "prompt": "What does a small parcel cost?", "completion": "It costs €3.95."}
    other = {"id": "card", "prompt": "What is on a gift card?", "completion": "It holds €3.95."}
    validate(project([*some(3), stated, other], facts=[fact]))
    assert [(e["id"], e["rule"]) for e in lines_of("reports/validation/quarantine.jsonl")] == [
        ("price", "volatile_fact")
    ]


def test_rows_of_nothing_but_faults_are_refused(project: Project) -> None:
    (support,) = validate(project([{"text": "?"}])).behaviours
    assert (support.verdict, support.funnel["teachable"]) == ("refused", 0)


def test_the_summary_fits_one_screen(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    validate(project(some(42)))
    said = capsys.readouterr().out
    assert "pairs of support: refused" in said
    assert "read 42 → parsed 42" in said
    assert "gather 58 more" in said
    assert len(said.splitlines()) < 24


def test_a_missing_audit_says_what_to_run(project: Project) -> None:
    params = project(some(3))
    Path("reports/audit.json").unlink()
    with pytest.raises(DataError, match=r"reports/audit.json is missing: run"):
        validate(params)


def test_a_broken_golden_question_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": "g", "category": "fact", "question": "q", "reference": "r"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"questions.jsonl:1 is no golden question \(category"):
        read_golden(path)


def test_the_engine_is_loaded_only_when_a_stage_runs() -> None:
    import subprocess

    code = "import sys, validation.stages; print('great_expectations' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
