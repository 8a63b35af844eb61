import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import real
from contracts import paths
from contracts.errors import DataError
from contracts.facts import find_facts
from contracts.files import write_jsonl
from contracts.params import load_params
from evaluation.questions import read_questions

PROGRAM = Path(__file__).resolve().parents[2]


def commit(*ops: dict[str, str]) -> dict[str, object]:
    return {"type": "commit", "date": "2026-01-01T00:00:00+00:00", "ops": list(ops)}


def test_missing_data_is_told_with_where_it_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert real.main(["--data", str(tmp_path / "nowhere")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        f"error: {tmp_path / 'nowhere'} lacks support_pairs/bitext_support.csv and policy_history"
    )
    assert "--data" in message
    assert "CDLA-Sharing-1.0" in message
    assert "CC0" in message


def test_the_last_tree_replaces_what_was_there(tmp_path: Path) -> None:
    history, tree = tmp_path / "history.jsonl", tmp_path / "tree"
    blobs = [{"type": "blob", "sha": sha, "text": f"{sha}\n"} for sha in ("old", "new")]
    first = commit({"op": "A", "path": "a/b.md", "blob": "old"}, {"op": "A", "path": "c.md", "blob": "old"})
    second = commit({"op": "M", "path": "a/b.md", "blob": "new"}, {"op": "D", "path": "c.md"})
    write_jsonl(history, [*blobs, first])
    real.write_policies(history, tree)
    assert (tree / "c.md").read_text() == "old\n"
    write_jsonl(history, [*blobs, first, second])
    real.write_policies(history, tree)
    assert {p.relative_to(tree).as_posix(): p.read_text() for p in tree.rglob("*.md")} == {"a/b.md": "new\n"}


@pytest.mark.parametrize("path", ["../evil.md", "/evil.md", "a/../../evil.md"])
def test_a_history_that_leaves_its_tree_is_refused_before_anything_is_written(tmp_path: Path, path: str) -> None:
    history, tree = tmp_path / "history.jsonl", tmp_path / "tree"
    write_jsonl(history, [{"type": "blob", "sha": "x", "text": "x"}, commit({"op": "A", "path": path, "blob": "x"})])
    with pytest.raises(DataError, match="outside its own tree"):
        real.write_policies(history, tree)
    assert [p.name for p in tmp_path.iterdir() if p.name != "home"] == ["history.jsonl"]


def test_caps_and_data_paths_are_written_into_valid_params(tmp_path: Path) -> None:
    written = real.write_params(tmp_path / "data", tmp_path / "made", rows=250, steps=3, questions=1)
    params = load_params(written)
    assert params.pairs["support"].files == [str(tmp_path / "data/support_pairs/bitext_support.csv")]
    assert params.documents.path == str(tmp_path / "made/policies")
    assert (params.pairs["support"].max_rows, params.training.max_steps) == (250, 3)
    assert (params.evaluation.max_questions, params.evaluation.latency_questions) == (1, 1)


def test_real_yaml_leaves_no_knob_unsaid() -> None:
    ours, demo = (yaml.safe_load(path.read_text()) for path in (real.PARAMS, PROGRAM / "params.yaml"))
    assert set(ours) == set(demo) - {"pairs_path"}  # the one file of pairs is what DVC watches
    sections = [name for name, value in demo.items() if isinstance(value, dict)]
    assert {name: set(ours[name]) for name in sections} == {name: set(demo[name]) for name in sections}


@pytest.mark.parametrize(
    ("status", "seconds", "reason"),
    [
        ("released", 899.0, "^$"),
        ("blocked", 899.0, "^$"),
        ("released", 901.0, "901 s, more than 900"),
        ("incomplete", 1.0, "without a verdict"),
    ],
)
def test_the_check_wants_a_verdict_in_time(status: str, seconds: float, reason: str) -> None:
    assert re.search(reason, real.failure({"status": status, "seconds": seconds}))


def test_the_facts_asked_for_stand_in_the_policies_named(shared_data: Path, tmp_path: Path) -> None:
    real.write_policies(shared_data / real.HISTORY, tmp_path / "policies")
    questions = read_questions(real.QUESTIONS)
    assert [q.category for q in questions] == ["factual"] * 6 + ["behaviour"] * 3 + ["both"] * 3
    for question in questions:
        for name in question.documents:
            text = (tmp_path / "policies" / name).read_text(encoding="utf-8")
            assert {f.key for fact in question.facts for f in find_facts(fact)} <= {f.key for f in find_facts(text)}


@pytest.mark.slow
def test_the_whole_line_on_real_data(shared_data: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    homes = {"BENTOML_HOME": str(tmp_path / "bentoml"), "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc")}
    caps = ["--rows", "600", "--steps", "2", "--questions", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.real", "--data", str(shared_data), *caps],
        cwd=here,
        env=os.environ | homes | {"PYTHONPATH": str(PROGRAM)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    figures = json.loads(done.stdout.splitlines()[-1])
    order = ["base", "audit", "validate", "advise", "train@support", "merge@support", "index", "evaluate", "package"]
    assert figures["ran"] == order
    assert all(figures["stages"][name] > 0 for name in order)
    assert figures["mode"] == "hybrid"
    assert 100 <= figures["train_rows"] + figures["eval_rows"] == figures["funnel"]["teachable"] < 600
    assert figures["eval_loss"]["tuned"] != figures["eval_loss"]["base"]
    assert set(figures["task_success"]) == {"base", "rag", "tuned", "hybrid"}

    report = json.loads((here / real.PROJECT / paths.REPORT_JSON).read_text(encoding="utf-8"))
    tree = [p for p in (here / real.MADE / "policies").rglob("*.md") if p.is_file()]
    assert figures["documents"] == len(tree) == report["audit"]["documents"]
    assert figures["chunks"] > len(tree)
    [training] = report["training"]
    assert training["steps"] == 2
    verdict = [gate["name"] for gate in report["evaluation"]["gates"] if gate["passed"] is False]
    assert figures["status"] == ("blocked" if verdict else "released")
    assert "Index" in done.stdout  # the card was printed
    assert "task_success" in done.stdout
