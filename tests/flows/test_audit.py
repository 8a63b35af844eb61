import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from contracts.errors import InputError
from contracts.verdicts import AuditVerdict
from flows.audit import judge
from retrieval.history import replay

PAGE = "---\nversion: 1\n---\n\n# A\n\nA parcel costs €4.\n"


def commit(date: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    moment = f"{date}T12:00:00+00:00"
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for arguments in (["add", "--all"], ["commit", "--quiet", "-m", "x"]):
        environment = os.environ | {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True, env=environment)


def test_any_folder_in_git_is_judged_and_its_past_is_kept_for_the_stage(repository: Path, tmp_path: Path) -> None:
    commit("2024-01-01", {"docs/a.md": PAGE})
    commit("2026-01-01", {"other": "x"})
    saved = tmp_path / "saved.jsonl"
    assert not judge("docs", "**/*.md", saved).documents[0].volatile
    assert [revision.files for revision in replay(saved)] == [{"a.md": PAGE}] * 2
    Path("new").mkdir()
    Path("new/n.md").write_text("N")
    with pytest.raises(InputError, match="nothing is known of the past"):
        judge("new", "**/*.md", saved)
    with pytest.raises(InputError, match=r"--source nowhere is no folder$"):
        judge("nowhere", "**/*.md")


def test_in_a_project_the_command_says_what_the_stage_writes_and_takes_one_source(mini: Path) -> None:
    Path("data/history.jsonl").write_text("")
    commit("2024-01-01", {"data/documents/a.md": PAGE, "law/b.md": "# B\n\nText.\n"})
    commit("2026-01-01", {"other": "x"})
    with Path("params.yaml").open("a") as params:
        params.write("sources:\n  - {kind: git, name: law, repository: ., path: law}\n")
    everything = judge(None, "")
    assert {entry.document: entry.volatile for entry in everything.documents} == {"a.md": True, "law/b.md": False}
    said = CliRunner().invoke(app, ["audit", "--source", "law", "--json", "--plot", "law.svg"])
    assert said.exit_code == 0, said.output
    assert [entry.document for entry in AuditVerdict.model_validate_json(said.output).documents] == ["law/b.md"]
    assert Path("law.svg").read_text().startswith("<svg")
    table = CliRunner().invoke(app, ["audit"]).output
    assert "1 volatile: retrieve them, and teach none of their 1 facts." in table
    with pytest.raises(InputError, match="no folder, nor one of documents, law"):
        judge("lore", "")
