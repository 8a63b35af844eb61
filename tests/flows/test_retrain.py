"""The flow against Prefect's own server: these start a real one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.objects import Artifact, TaskRun
from prefect.testing.utilities import prefect_test_harness

from contracts import paths
from contracts.errors import BusyError, StageError
from flows import graph, snapshot
from flows.git import files
from flows.retrain import forced, retrain, run

pytestmark = pytest.mark.slow

EVERYTHING = ["base", "train@support", "package"]


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def _task_runs() -> dict[str, str]:
    """The latest flow run's tasks: stage to the message of its state."""
    with get_client(sync_client=True) as client:
        runs: list[TaskRun] = client.read_task_runs()
    last = max(runs, key=lambda r: r.expected_start_time or r.created).flow_run_id  # type: ignore[arg-type, return-value]
    return {r.name: str(r.state.message) for r in runs if r.flow_run_id == last and r.state}


def test_a_run_makes_what_is_stale_reports_and_leaves_a_snapshot(mini: Path) -> None:
    report = run()
    assert report["ran"] == EVERYTHING
    assert json.loads(paths.REPORT_JSON.read_text())["snapshot"] == report["snapshot"]
    assert all(message.startswith("made in ") for message in _task_runs().values())
    (made,) = snapshot.log()
    assert report["snapshot"] == made.inputs
    assert "dvc.lock" in files(made.commit)
    assert "dvc.lock" not in files(made.inputs)
    with get_client(sync_client=True) as client:
        artifacts: list[Artifact] = client.read_artifacts()
    assert {artifact.key for artifact in artifacts} == {"retrain-report"}

    # Nothing changed: no flow, no snapshot, and the same from a schedule.
    started = time.perf_counter()
    assert run()["ran"] == []
    assert time.perf_counter() - started < 5
    assert retrain()["ran"] == []
    assert _task_runs() == dict.fromkeys(EVERYTHING, "up to date")
    assert len(snapshot.log()) == 1

    # One pair more: what stands before it stays.
    with Path("data/pairs/a.jsonl").open("a") as pairs:
        pairs.write('{"n": 3}\n')
    report = run()
    assert report["ran"] == ["train@support", "package"]
    assert report["changes"] == ["data/pairs/a.jsonl changed (+1 -0 rows)"]
    assert _task_runs()["base"] == "up to date"
    assert graph.stale() == {}


def test_a_failing_stage_ends_the_flow_and_the_next_run_goes_on_from_it(
    mini: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("fail-train@support").touch()
    with pytest.raises(StageError, match=r"stage train@support failed:[\s\S]*rows.jsonl:7 is broken"):
        run()
    assert "Finished in state Failed('stage train@support failed:" in caplog.text
    assert "Traceback" not in caplog.text
    assert "NoneType" not in caplog.text
    Path("fail-train@support").unlink()
    assert run()["ran"] == ["train@support", "package"]


def test_a_lost_bento_or_store_is_made_again(mini: Path) -> None:
    paths.INDEX.parent.mkdir()
    paths.INDEX.write_text("{}")
    paths.RECEIPT.write_text('{"tag": "mini:abc", "path": "bentos/mini/abc"}')
    assert forced().keys() == {"index", "package"}
    paths.STORE.mkdir(parents=True)
    bento = Path(os.environ["BENTOML_HOME"]) / "bentos/mini/abc/bento.yaml"
    bento.parent.mkdir(parents=True)
    bento.touch()
    assert forced() == {}


def test_two_at_a_time_are_one_too_many(mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    with graph.writer("retrain"), pytest.raises(BusyError, match=f"process {os.getpid()}"):
        run()
    assert "Traceback" not in caplog.text


def test_without_git_a_run_says_so_and_works(mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    subprocess.run(["rm", "-rf", ".git"], check=True)
    report = run()
    assert report["ran"] == EVERYTHING
    assert report["snapshot"] == ""
    assert "No snapshot: " in caplog.text


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_run_in_a_stage_ends_it_soon_and_the_second_run_is_clean(
    mini: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    Path("wait-train@support").touch()
    for name in [name for name in os.environ if name.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)  # a server of its own, started and ended with it
    command = [sys.executable, "-c", "from flows.retrain import run; run()"]
    # As a terminal does it: everything in the group hears of it, Prefect's server too.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (Path("waiting").exists() and Path("waiting").read_text()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = time.monotonic()
    if sign is signal.SIGINT:
        os.killpg(process.pid, sign)
    else:
        process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert process.returncode != 0
    assert "ConnectError" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nothing of it is left, the server neither
    Path("wait-train@support").unlink()
    assert run()["ran"] == ["train@support", "package"]
    assert graph.stale() == {}
