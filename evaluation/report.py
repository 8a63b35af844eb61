"""The report card: what a run made, from the files its stages left; JSON for machines, HTML and text for people."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts import paths
from contracts.errors import DataError
from contracts.files import read_json, read_jsonl, write_text
from contracts.verdicts import (
    AdviceVerdict,
    AuditVerdict,
    EvaluationVerdict,
    IndexRecord,
    MergeRecord,
    TrainingRecord,
    ValidationVerdict,
)
from evaluation.report_html import render
from evaluation.report_markdown import markdown
from evaluation.report_terminal import print_card

__all__ = ["build", "markdown", "print_card"]

_EVALUATION = paths.EVALUATION / "evaluation.json"
_ANSWERS = paths.EVALUATION / "answers.jsonl"
_STAGES = {
    "base": paths.BASE,
    "audit": paths.AUDIT,
    "validate": paths.VERDICT,
    "advise": paths.ADVICE_VERDICT,
    "train": paths.ADAPTERS,
    "merge": paths.MERGED,
    "index": paths.INDEX,
    "evaluate": _EVALUATION,
    "package": paths.RECEIPT,
}


def build(seconds: dict[str, float], snapshot: str, changes: list[str], ran: list[str]) -> dict[str, Any]:
    """Gather the report of the project in the current directory; write reports/report.json and reports/report.html.

    `seconds` and `ran` name stages as dvc.yaml does ("train@support"), `snapshot` is the commit of the run's inputs,
    `changes` say what is new since the last run. What has not run yet is None in the report.

    Raises:
        DataError: a file of reports/ or models/ is not what its stage writes.
    """
    report: dict[str, Any] = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "snapshot": snapshot,
        "changes": changes,
        "audit": _audit(),
        "pairs": _read(paths.VERDICT, ValidationVerdict),
        "advice": _read(paths.ADVICE_VERDICT, AdviceVerdict),
        "training": _records(paths.ADAPTERS, "training.json", TrainingRecord),
        "merge": _records(paths.MERGED, "merge.json", MergeRecord),
        "index": _index(),
        "evaluation": _read(_EVALUATION, EvaluationVerdict),
        "package": read_json(paths.RECEIPT) if paths.RECEIPT.exists() else None,
        "stages": _stages(seconds, ran),
    }
    report |= _verdict(report)
    report["samples"] = _samples(report["evaluation"])
    report["next"] = _next(report)
    # Not write_json, which sorts the keys: the funnel is read from top to bottom.
    write_text(paths.REPORT_JSON, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(paths.REPORT_HTML, render(report))
    return report


def _read(path: Path, model: type[BaseModel]) -> Any:
    """The file as its model dumps it, or None when it does not exist."""
    if not path.exists():
        return None
    try:
        return model.model_validate(read_json(path)).model_dump(mode="json")
    except ValidationError as error:
        where = ", ".join(".".join(str(part) for part in detail["loc"]) for detail in error.errors()[:3])
        raise DataError(
            f"{path} is not what its stage writes ({where}): delete it and run `freshtune retrain`"
        ) from None


def _records(folder: Path, name: str, model: type[BaseModel]) -> list[dict[str, Any]]:
    return [_read(path, model) for path in sorted(folder.glob(f"*/{name}"))]


def _audit() -> dict[str, Any] | None:
    audit = _read(paths.AUDIT, AuditVerdict)
    if audit is None:
        return None
    volatile = [d["document"] for d in audit["documents"] if d["volatile"]]
    return {"documents": len(audit["documents"]), "volatile": volatile, "facts": len(audit["facts"])}


def _index() -> dict[str, Any] | None:
    index = _read(paths.INDEX, IndexRecord)
    return index and {key: value for key, value in index.items() if key != "records"}


def _stages(seconds: dict[str, float], ran: list[str]) -> list[dict[str, Any]]:
    """Every stage in the graph's order: seconds where it ran, else whether its output stands."""
    rows = []
    for stage, out in _STAGES.items():
        behaviours = (
            {p.name for p in out.iterdir() if p.is_dir()} if stage in ("train", "merge") and out.is_dir() else set()
        )
        named = {f"{stage}@{b}" for b in behaviours} | {
            name for name in {*ran, *seconds} if name.split("@")[0] == stage
        }
        for name in sorted(named) or [stage]:
            status = "ran" if name in ran else "up to date" if out.exists() else "not run"
            rows.append({"name": name, "status": status, "seconds": seconds.get(name) if name in ran else None})
    return rows


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    """`status` for machines, `headline` and `summary` for people. A rag-only release says so first."""
    evaluation, package = report["evaluation"], report["package"]
    if evaluation is None:
        missing = ", ".join(stage["name"] for stage in report["stages"] if stage["status"] == "not run")
        return {"status": "incomplete", "headline": "Nothing to release yet", "summary": f"not run: {missing}"}
    success = {arm: metrics["task_success"] for arm, metrics in evaluation["arms"].items()}
    summary = f"{evaluation['arm']} answers {_times(success[evaluation['arm']])} golden questions as asked"
    others = [
        f"{arm} {_times(estimate).split(' of ')[0]}" for arm, estimate in success.items() if arm != evaluation["arm"]
    ]
    summary += f" ({', '.join(others)})" if others else ""
    failed = [gate["name"] for gate in evaluation["gates"] if gate["passed"] is False]
    if failed or (package and package["blocked"]):
        status, headline = "blocked", f"Release blocked by {', '.join(failed) or package['blocked']}"
    elif package:
        status, headline = "released", f"Released {package['tag']}"
    else:
        status, headline = "evaluated", "All gates passed, not packaged yet"
    if evaluation["mode"] == "rag-only":
        headline = f"Rag-only (base model + retrieval + few-shot, nothing trained). {headline}"
        summary += f". Not trained because {evaluation['reason']}"
    return {"status": status, "headline": headline, "summary": summary}


def _times(estimate: dict[str, Any]) -> str:
    return f"{round((estimate['mean'] or 0) * estimate['n'])} of {estimate['n']}"


def _samples(evaluation: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A few questions with every arm's answer: the first of each category, and the first the shipped arm failed."""
    if evaluation is None or not _ANSWERS.exists():
        return []
    rows = [row for _, row in read_jsonl(_ANSWERS) if isinstance(row, dict)]
    shown = [
        next(row["id"] for row in rows if row["category"] == c) for c in dict.fromkeys(row["category"] for row in rows)
    ]
    shown += [
        r["id"]
        for r in rows
        if r["arm"] == evaluation["arm"] and r["id"] not in shown and not r["scores"]["task_success"]
    ][:1]
    samples = []
    for name in shown:
        same = [row for row in rows if row["id"] == name]
        answers = [
            {"arm": r["arm"], "text": r["answer"]["text"], "success": bool(r["scores"]["task_success"]),
             "cites": sorted({c["document"] for c in r["answer"]["citations"]})}
            for r in same
        ]  # fmt: skip
        samples.append(
            {key: same[0][key] for key in ("id", "category", "question", "reference")} | {"answers": answers}
        )
    return samples


def _untrained(report: dict[str, Any]) -> dict[str, str]:
    """What to do about a rag-only release: where there were pairs enough, the advice was against training."""
    pairs = report["pairs"]
    if pairs and all(behaviour["verdict"] != "refused" for behaviour in pairs["behaviours"]):
        return {"command": "freshtune advise project", "why": "why nothing was trained, and what would change that"}
    why = "again with more pairs: reports/validation/quarantine.jsonl says which fell out"
    return {"command": "freshtune retrain", "why": why}


def _next(report: dict[str, Any]) -> list[dict[str, str]]:
    """The three commands this situation asks for, each with its reason."""
    look = {"command": f"python -m webbrowser {paths.REPORT_HTML}", "why": "plots, and what every arm answered"}
    status = {"command": "freshtune status", "why": "what is stale, and which release is served"}
    if report["status"] == "released":
        asked = next((s["question"] for s in report["samples"] if s["category"] != "behaviour"), "your question")
        quoted = '"' + " ".join(re.sub(r'["\\$`!]', "", asked).split()) + '"'
        return [
            {"command": f"freshtune ask {quoted}", "why": "one answer, with its sources and its cost"},
            {"command": "freshtune serve", "why": "the same over HTTP"},
            {"command": "freshtune schedule", "why": "retrain and reindex by the clock"}
            if report["evaluation"]["mode"] == "hybrid"
            else _untrained(report),
        ]
    if report["status"] == "blocked":
        failed = [
            f"{gate['name']}: {gate['detail']}" for gate in report["evaluation"]["gates"] if gate["passed"] is False
        ]
        why = failed[0] if failed else report["package"]["blocked"]
        return [look, {"command": "freshtune retrain", "why": why}, status]
    return [{"command": "freshtune retrain", "why": "runs what is missing"}, status, look]
