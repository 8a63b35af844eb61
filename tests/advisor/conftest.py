"""A project as `audit` and `validate` leave it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import paths
from contracts.files import write_json
from contracts.params import Params, load_params
from contracts.verdicts import AuditVerdict, BehaviourVerdict, DocumentAudit, ReleasedEvaluation, ValidationVerdict

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Params]:
    """Write a project into tmp_path and go there; keywords change sections of the shipped params.yaml."""
    monkeypatch.chdir(tmp_path)

    def build(
        pairs: dict[str, int] | None = None,
        changed_at: tuple[str, ...] = ("2026-01-08", "2026-01-15", "2026-01-22", "2026-01-29"),
        since: str | None = "2026-01-01",
        until: str | None = "2026-01-29",
        **sections: dict[str, Any],
    ) -> Params:
        pairs = pairs or {"support": 600}
        raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        raw |= {"behaviours": list(pairs), "pairs": {name: {"files": ["pairs.jsonl"]} for name in pairs}}
        for name, changes in sections.items():
            raw[name] |= changes
        paths.PARAMS.write_text(yaml.safe_dump(raw), encoding="utf-8")
        # Two documents that changed on the same days: the days count, not the documents.
        documents = [
            DocumentAudit(
                document=name, title=name, volatile=True, reason="", changes=len(changed_at), changes_per_month=0.0,
                facts_moved=0, changed_at=list(changed_at),
            )
            for name in ("a.md", "b.md")
        ]  # fmt: skip
        audit = AuditVerdict(since=since, until=until, documents=documents, facts=[])
        write_json(paths.AUDIT, audit.model_dump())
        verdicts = [
            BehaviourVerdict(
                behaviour=name, verdict="ready", advice="", funnel={"read": count + 9, "teachable": count}, rules={},
                train_rows=0, eval_rows=0, grounded_rows=0,
            )
            for name, count in pairs.items()
        ]  # fmt: skip
        write_json(paths.VERDICT, ValidationVerdict(behaviours=verdicts, quarantined=9).model_dump())
        return load_params()

    return build


@pytest.fixture
def release() -> Callable[..., None]:
    """A function that keeps what a release measured, as `package` does."""

    def keep(seconds: float | None = 2.0, tokens: float | None = 450.0) -> None:
        measured = ReleasedEvaluation(release="demo:abc", arm="hybrid", seconds=seconds, tokens=tokens)
        write_json(paths.RELEASED, measured.model_dump())

    return keep
