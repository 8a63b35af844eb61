import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import paths
from contracts.errors import ParamsError
from contracts.params import Params, Schedule, load_params
from flows import graph
from flows.schedule import deployments
from retrieval.index import published_record

PROGRAM = Path(__file__).resolve().parents[2]
LAW = {"kind": "directory", "name": "law", "path": "law", "refresh": "0 5 * * 1"}
WEB = {"kind": "http", "name": "web", "urls": ["https://www.example/terms"]}


def test_both_flows_are_scheduled_in_local_time(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.schedule.get_localzone_name", lambda: "Europe/Vienna")
    made = {d.flow_name: d for d in deployments(load_params())}
    assert {name: d.schedules[0].schedule.cron for name, d in made.items()} == {  # type: ignore[index, union-attr]
        "retrain": "0 3 * * 1",
        "reindex": "15 * * * *",
    }
    assert made["retrain"].schedules[0].schedule.timezone == "Europe/Vienna"  # type: ignore[index, union-attr]
    assert made["retrain"].name == "mini"
    assert made["reindex"].entrypoint == "flows.reindex.reindex"


def test_a_schedule_that_is_no_cron_is_named(mini: Path) -> None:
    params = load_params().model_copy(update={"schedule": Schedule(reindex="every hour")})
    with pytest.raises(ParamsError, match=r"`schedule.reindex` is 'every hour'"):
        deployments(params)


def test_prefect_yaml_names_the_flows_and_the_shipped_schedule() -> None:
    written: dict[str, Any] = yaml.safe_load((PROGRAM / "prefect.yaml").read_text())
    schedule = load_params(PROGRAM / "params.yaml").schedule
    for deployment in written["deployments"]:
        file, flow = deployment["entrypoint"].split(":")
        assert f"def {flow}(" in (PROGRAM / file).read_text()
        assert deployment["schedules"][0]["cron"] == getattr(schedule, flow)


def with_sources(*sources: dict[str, Any], **schedule: Any) -> Params:
    """The params of the project here, with these sources and schedule settings; written too."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values |= {"sources": list(sources), "schedule": schedule}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return load_params()


def test_a_source_with_a_refresh_is_reindexed_alone_and_the_rest_without_it(mini: Path) -> None:
    made = {d.name: d for d in deployments(with_sources(LAW, WEB)) if d.flow_name == "reindex"}
    assert {name: d.parameters["only"] for name, d in made.items()} == {
        "mini": ["documents", "web"],
        "mini-law": ["law"],
    }
    assert made["mini-law"].schedules[0].schedule.cron == "0 5 * * 1"  # type: ignore[index, union-attr]
    assert deployments(with_sources(WEB))[1].parameters["only"] is None


def test_a_refresh_that_is_no_cron_is_named(mini: Path) -> None:
    with pytest.raises(ParamsError, match=r"`sources.0.directory.refresh` is 'weekly' .*five fields"):
        with_sources(LAW | {"refresh": "weekly"})
    with pytest.raises(ParamsError, match=r"`sources.0.refresh` is '0 25 \* \* 1'"):
        deployments(with_sources(LAW | {"refresh": "0 25 * * 1"}))


@pytest.mark.parametrize(("overlap", "strategy"), [("wait", "ENQUEUE"), ("skip", "CANCEL_NEW")])
def test_runs_of_one_deployment_that_meet_are_told_what_to_do_by_prefect(
    mini: Path, overlap: str, strategy: str
) -> None:
    for deployment in deployments(with_sources(overlap=overlap)):
        assert deployment.concurrency_limit == 1
        assert deployment.concurrency_options.collision_strategy.value == strategy  # type: ignore[union-attr]
        assert deployment.parameters["overlap"] == overlap


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def scheduled(prefect_port: int, **more: str) -> Iterator[Path]:
    """`freshtune schedule` in the project here, with a Prefect server on that port; yields what it prints to."""
    for name in [name for name in os.environ if name.startswith("PREFECT_API")]:
        del os.environ[name]
    log = Path("schedule.log")
    fast = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PYTHONPATH": str(PROGRAM)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "schedule", "--port", str(prefect_port)],
            stdout=out,
            stderr=out,
            env=os.environ | fast | more,
            start_new_session=True,
        )
    try:
        until(lambda: "polling for scheduled runs" in log.read_text(), log)
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def until(true: Callable[[], Any], log: Path, seconds: float = 600) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, log.read_text()[-4000:]
        time.sleep(0.2)
    return found


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), headers | {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def indexed() -> set[str]:
    return set(published_record(load_params().retrieval).records) if paths.STORE.is_dir() else set()


@pytest.mark.slow
def test_a_webhook_and_an_event_start_runs_and_one_that_meets_another_is_skipped(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "a key of the test")
    prefect, hook = free_port(), free_port()
    with_sources(
        {k: v for k, v in LAW.items() if k != "refresh"},
        retrain="0 0 1 1 *",
        reindex="0 0 1 1 *",
        overlap="skip",
        webhook={"port": hook, "key_env": "HOOK_KEY"},
    )
    Path("law").mkdir()
    Path("law/a.md").write_text("# A law\n\nA parcel waits 6 days.\n")
    Path("data/documents/a.md").write_text("# A rule\n\nA letter waits 2 days.\n")
    api, door = f"http://127.0.0.1:{prefect}/api", f"http://127.0.0.1:{hook}/reindex"

    def state_of(run: str) -> str:
        with urllib.request.urlopen(f"{api}/flow_runs/{run}", timeout=30) as response:
            return str(json.load(response)["state"]["name"])

    with scheduled(prefect) as log:
        key = {"Authorization": "Bearer a key of the test"}
        assert post(door, {}, Authorization="Bearer another")[0] == 401
        assert post(f"{door}/lore", {}, **key)[0] == 404
        status, started = post(door, {"ref": "refs/heads/main"}, **key)
        assert status == 202
        until(lambda: state_of(started["flow_run"]) == "Completed", log)
        assert indexed() == {"a.md", "law/a.md"}

        with graph.writer("retrain"):  # somebody works here by hand
            _, started = post(f"{door}/law", {}, **key)
            until(lambda: state_of(started["flow_run"]) == "Skipped", log)

        Path("data/documents/b.md").write_text("# B rule\n\nA letter waits 3 days.\n")
        event = {
            "id": "0199aa00-0000-7000-8000-000000000001",
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": "freshtune.documents.changed",
            "resource": {"prefect.resource.id": "freshtune.mini"},
        }
        assert post(f"{api}/events", [event])[0] == 204
        until(lambda: "b.md" in indexed(), log)
    assert "Traceback" not in log.read_text()
