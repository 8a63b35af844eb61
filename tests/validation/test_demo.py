"""The shipped pairs, and real ones that nobody here wrote."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.params import Params, load_params
from retrieval.stages import audit
from validation.stages import validate

ROOT = Path(__file__).resolve().parents[2]
BITEXT = ROOT.parent / "shared" / "data" / "support_pairs" / "bitext_support.csv"


@pytest.fixture
def demo(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The shipped data and params in a project of their own, audited."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for folder in ("pairs", "documents", "golden", "history"):
        shutil.copytree(ROOT / "data" / folder, tmp_path / "data" / folder)
    shutil.copytree(tiny_base, tmp_path / "models" / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.chdir(tmp_path)
    params = load_params()
    audit(params)
    return params


def test_every_flawed_pair_is_quarantined_by_the_rule_that_names_it_and_no_honest_one(
    demo: Params, lines_of: Callable[[str], list[dict[str, Any]]]
) -> None:
    verdict = validate(demo).behaviours[0]
    flawed = {row["id"] for row in lines_of("data/pairs/flawed.jsonl")}
    quarantined = {entry["id"]: entry["reason"] for entry in lines_of("reports/validation/quarantine.jsonl")}
    assert flawed
    assert flawed <= quarantined.keys()
    assert {id: reason for id, reason in quarantined.items() if id not in flawed} == {}
    assert verdict.verdict == "ready"
    assert {code for code, count in verdict.warnings.items() if count} <= {"live_passage"}
    names = {"bad_roles": {"roles_and_order", "unreadable"}, "ungrounded": {"ungrounded_fact"}}
    for entry in lines_of("reports/validation/quarantine.jsonl"):
        if flaw := entry["row"].get("flaw"):
            assert entry["rule"] in names.get(flaw, {flaw}), entry["id"]


@pytest.mark.skipif(not BITEXT.exists(), reason="the development data is not here")
def test_real_support_pairs(project: Callable[..., Params], lines_of: Callable[[str], list[dict[str, Any]]]) -> None:
    block = {"support": {"files": [str(BITEXT)], "columns": {"prompt": "instruction", "response": "response"}}}
    verdict = validate(project([], pairs=block)).behaviours[0]
    assert verdict.funnel["read"] == verdict.funnel["parsed"] == 4514
    assert verdict.rules["placeholder"] >= 2948  # those with {{…}}; others have [Customer Support Email]
    assert verdict.rules["boilerplate"] == 2
    assert verdict.rules["duplicate_prompt"] + verdict.rules["contradiction"] <= 59
    assert verdict.verdict == "ready"
    taught = [row for name in ("train", "eval") for row in lines_of(f"data/validated/support/{name}.jsonl")]
    assert not [row["id"] for row in taught if "{{" in str(row["messages"])]
