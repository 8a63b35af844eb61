"""The whole line on a tiny model and the shipped data: what is rebuilt, what stands, and what a refusal does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = ["base", "audit", "validate", "advise", "train@support", "merge@support", "index", "evaluate", "package"]
pytestmark = pytest.mark.slow


COMMAND = [sys.executable, "-m", "cli"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BentoML store of its own, and the virtual environment's commands first on the path."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("PREFECT_API_URL", "FRESHTUNE_SNAPSHOT", "FRESHTUNE_STORE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def freshtune(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, (
        f"{arguments} exited {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout if code == 0 else done.stderr


def interrupted(stage: str, *arguments: str, cwd: Path) -> str:
    """What `freshtune` says when Ctrl-C is pressed at the first word of a stage."""
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr
        said = ""
        for line in process.stderr:
            said += line
            if f"  {stage} │ " in line and "runs, because" not in line:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: everything in the group hears of it
                break
        said += process.communicate(timeout=90)[1]
    assert process.returncode == 130, said
    return said


def report_of(output: str) -> dict[str, Any]:
    return dict(json.loads(output.strip().splitlines()[-1]))


def test_the_line_rebuilds_what_changed_and_nothing_else(home: Path, tiny_model: Callable[[Path], None]) -> None:
    work = home / "work"
    shutil.copytree(REPOSITORY / "data", work / "data", ignore=shutil.ignore_patterns("validated", "real"))
    tiny_model(work / "tiny")
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    values["base_model"] = str(work / "tiny")
    values["training"] |= {"max_steps": 3, "max_length": 256}
    values["evaluation"] |= {"max_questions": 3, "latency_questions": 1, "bootstrap": 100}
    values["evaluation"]["gates"] = dict.fromkeys(values["evaluation"]["gates"], None)
    (work / "tiny.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    project = home / "project"

    start = ("retrain", "--params", "tiny.yaml", "--into", str(project), "--json")
    for stage in STAGES:
        said = interrupted(stage, *start, cwd=work)
        assert "stopped; run the same command again to go on" in said
        assert "Traceback" not in said

    first = report_of(freshtune(*start, cwd=work))
    assert set(first["ran"]) <= {"package"}  # what was made before Ctrl-C stands
    assert first["evaluation"]["mode"] == "hybrid"
    assert set(first["evaluation"]["arms"]) == {"base", "rag", "tuned", "hybrid"}
    assert first["pairs"]["behaviours"][0]["verdict"] == "ready"
    assert first["package"]["tag"].startswith("heronpost:")
    assert (project / "reports/report.html").stat().st_size > 10_000

    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, capture_output=True, text=True, check=True, env=os.environ
    )
    assert "Data and pipelines are up to date" in done.stdout
    again = report_of(freshtune("retrain", "--json", cwd=project))
    assert again["ran"] == []

    answer = json.loads(freshtune("ask", "How long does a Nest keep my parcel?", "--json", cwd=project))
    assert answer["route"] == "hybrid"
    assert answer["release"] in first["package"]["tag"]
    assert "lockers/nest-lockers.md" in {source["document"] for source in answer["sources"]}

    # A document: everything that reads it, and no training, because the accepted rows are the same.
    document = work / "data/documents/help/accessibility.md"
    document.write_text(document.read_text(encoding="utf-8") + "\n## Lifts\n\nA lift stands beside every counter.\n")
    changed = report_of(freshtune("retrain", "--json", cwd=project))
    assert {"audit", "index", "evaluate", "package"} <= set(changed["ran"])
    assert not {"base", "train@support", "merge@support"} & set(changed["ran"])
    assert changed["index"]["chunks"] == first["index"]["chunks"] + 1
    assert changed["package"]["tag"] != first["package"]["tag"]

    # Too few pairs: no training, and a release that says what it is.
    pairs = work / "data/pairs"
    few = (pairs / "grounded.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:42]
    for path in pairs.iterdir():
        path.write_text("".join(few) if path.name == "grounded.jsonl" else "", encoding="utf-8")
    refused = report_of(freshtune("retrain", "--json", cwd=project))
    assert refused["pairs"]["behaviours"][0]["verdict"] == "refused"
    assert "train@support" in refused["ran"]
    assert refused["evaluation"]["mode"] == "rag-only"
    assert "rag-only" in refused["headline"].lower()
    answer = json.loads(freshtune("ask", "How long does a Nest keep my parcel?", "--json", cwd=project))
    assert answer["route"] == "rag"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(trainning={}), "did you mean `training`"),
        (lambda v: v["pairs"]["support"].update(files=["data/pairs/none.jsonl"]), "none.jsonl"),
        (lambda v: v["documents"].update(path="data/nowhere"), "nowhere"),
        (lambda v: v.update(base_model="package:no-such-package"), "is not installed"),
    ],
)
def test_bad_input_is_one_message_and_no_traceback(home: Path, change: Callable[[Any], None], message: str) -> None:
    work = home / "work"
    shutil.copytree(REPOSITORY / "data", work / "data", ignore=shutil.ignore_patterns("validated", "real"))
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    change(values)
    (work / "params.real.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    told = freshtune("retrain", "--params", "params.real.yaml", "--into", str(home / "project"), cwd=work, code=2)
    assert message in told
    assert "Traceback" not in told
