"""The managed path against a real server that speaks the fine-tuning API: once uploaded, once started, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import yaml
from typer.testing import CliRunner

from cli import app
from contracts import paths
from contracts.errors import BusyError, DataError, ModelError, ParamsError
from contracts.files import read_json, write_json, write_jsonl
from contracts.params import Params, load_params
from training import finetuning_api, managed

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = "open-sesame"


class Service(ThreadingHTTPServer):
    """Keeps files and jobs. A job goes through `statuses`, one a poll, and stays in the last.

    `troubles` are answers given once instead: (method, path, status, headers), "done but lost" when the status is 0.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.statuses = ["queued", "running", "succeeded"]
        self.error: dict[str, Any] | None = None
        self.troubles: list[tuple[str, str, int, dict[str, str]]] = []
        self.lists = True
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def poll(self, job: dict[str, Any]) -> dict[str, Any]:
        job["polls"] += 1
        job["status"] = self.statuses[min(job["polls"], len(self.statuses)) - 1]
        if job["status"] == "succeeded":
            job |= {"fine_tuned_model": f"ft:{job['model']}:heronpost", "trained_tokens": 1234}
        return job | {"error": self.error}


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.handle_any()

    def handle_any(self) -> None:
        service, path = self.server, urlparse(self.path).path.removeprefix("/v1")
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        service.asked[f"{self.command} {path}"] += 1
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.reply(
                401, {"error": {"message": f"Incorrect API key provided: {self.headers['Authorization']}"}}
            )
        trouble = next((t for t in service.troubles if t[:2] == (self.command, path)), None)
        if trouble:
            service.troubles.remove(trouble)
            if trouble[2]:
                return self.reply(trouble[2], {"error": {"message": "try again"}}, trouble[3])
        status, answer = self.answer(path, body)
        if trouble:  # the work is done, and the answer is lost on the way
            self.close_connection = True
            return None
        return self.reply(status, answer)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        service = self.server
        match self.command, path.strip("/").split("/"):
            case "GET", ["files"] if service.lists:
                return 200, {"data": list(service.files.values())}
            case "POST", ["files"]:
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = {
                    part.get_param("name", header="content-disposition"): part
                    for part in BytesParser().parsebytes(head + body).get_payload()
                }
                assert parts["purpose"].get_payload() == "fine-tune"
                content = parts["file"].get_payload(decode=True)
                name = f"file-{len(service.files)}"
                about = {"id": name, "filename": parts["file"].get_filename(), "bytes": len(content)}
                service.files[name] = about | {"object": "file", "status": "processed", "content": content.decode()}
                return 200, about
            case "GET", ["fine_tuning", "jobs"] if service.lists:
                return 200, {"data": list(service.jobs.values())}
            case "POST", ["fine_tuning", "jobs"]:
                wanted = json.loads(body)
                service.bodies.append(wanted)
                name = f"ftjob-{len(service.jobs)}"
                service.jobs[name] = wanted | {
                    "id": name,
                    "status": "validating_files",
                    "polls": 0,
                    "fine_tuned_model": None,
                }
                return 200, service.jobs[name]
            case "GET", ["fine_tuning", "jobs", name] if name in service.jobs:
                return 200, service.poll(service.jobs[name])
            case "GET", ["fine_tuning", "jobs", name, "events"] if service.lists:
                steps = range(service.jobs[name]["polls"], 0, -1)
                return 200, {
                    "data": [{"id": f"e{n}", "message": f"Step {n}/3: loss=\x1b[31m{1 / n:.2f}"} for n in steps]
                }
            case _:
                return 404, {"error": {"message": f"Unknown request URL: {self.command} {self.path}"}}

    def reply(self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests stay quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


Project = Callable[..., Params]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service) -> Project:
    """Writes a project whose pairs were accepted; returns its params."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("SERVICE_KEY", KEY)

    def written(verdict: str = "limited", rows: int = 3, **settings: Any) -> Params:
        values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        given = {"endpoint": service.endpoint, "model": "small", "api_key_env": "SERVICE_KEY", "poll_seconds": 0.01}
        values["managed"] = given | settings
        paths.PARAMS.write_text(yaml.safe_dump(values), encoding="utf-8")
        write_pairs("train", rows)
        write_pairs("eval", min(rows, 1))
        behaviour = {"behaviour": "support", "verdict": verdict, "advice": "40 teachable pairs are too few.", "funnel": {},
                     "rules": {}, "train_rows": rows, "eval_rows": 1, "grounded_rows": rows}  # fmt: skip
        write_json(paths.VERDICT, {"behaviours": [behaviour], "quarantined": 0})
        return load_params()

    return written


def write_pairs(split: str, rows: int) -> None:
    passages = [{"title": "Returns", "heading": "Time", "text": f"Take {n} days."} for n in (1, 2)]
    made = [
        {
            "id": f"{split}{n}",
            "behaviour": "support",
            "passages": passages,
            "messages": [
                {"role": "user", "content": f"How long, {n}?"},
                {"role": "assistant", "content": "2 days – so. [2]"},
            ],
        }
        for n in range(rows)
    ]
    write_jsonl(paths.VALIDATED / "support" / f"{split}.jsonl", made)


def submit(params: Params) -> tuple[Any, list[str]]:
    told: list[str] = []
    return managed.submit(params, "support", told.append), told


def test_the_export_is_what_training_shows(project: Project) -> None:
    made = managed.export(project(), "support")
    lines = [json.loads(line) for line in made.train.splitlines()]
    assert [set(line) for line in lines] == [{"messages"}] * 3
    assert [turn["role"] for turn in lines[0]["messages"]] == ["system", "user", "assistant"]
    assert lines[0]["messages"][0]["content"].startswith("You are the Heron Desk")
    # top_k is 1: the passage that is cited stays, and its number follows.
    assert (
        lines[0]["messages"][1]["content"] == "<passages>\n[1] Returns, Time: Take 2 days.\n</passages>\nHow long, 0?"
    )
    assert lines[0]["messages"][2]["content"] == "2 days – so. [1]"


def test_a_model_is_made_and_recorded(project: Project, service: Service) -> None:
    job, told = submit(project(epochs=2, suffix="desk", learning_rate_multiplier=0.5))
    assert job.fine_tuned_model == "ft:small:heronpost"
    assert [file["content"].count("\n") for file in service.files.values()] == [3, 1]
    assert service.bodies == [
        {
            "model": "small",
            "training_file": "file-0",
            "validation_file": "file-1",
            "hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": 0.5},
            "suffix": "desk",
            "seed": 17,
        }
    ]
    record = read_json(paths.managed_record("support"))
    assert record["fine_tuned_model"] == "ft:small:heronpost"
    assert (record["train_rows"], record["eval_rows"], record["trained_tokens"]) == (3, 1, 1234)
    assert [line for line in told if "Step" in line] == [f"  Step {n}/3: loss= [31m{1 / n:.2f}" for n in (1, 2, 3)]
    assert KEY not in "\n".join(told) + paths.managed_record("support").read_text()


def test_settings_left_to_the_server_are_not_sent(project: Project, service: Service) -> None:
    params = project()
    write_pairs("eval", 0)
    submit(params)
    assert set(service.bodies[0]) == {"model", "training_file", "seed"}


def test_a_second_run_asks_and_starts_nothing(project: Project, service: Service) -> None:
    params = project()
    submit(params)
    before = paths.managed_record("support").read_bytes()
    submit(params)
    assert (len(service.files), len(service.jobs)) == (2, 1)
    assert paths.managed_record("support").read_bytes() == before


def test_other_pairs_or_settings_are_another_job(project: Project, service: Service) -> None:
    submit(project())
    submit(project(rows=4))
    submit(project(rows=4, epochs=1))
    assert len(service.jobs) == 3


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli", "managed", *words]


def test_killed_while_it_waits_it_goes_on_with_the_same_job(project: Project, service: Service) -> None:
    project()
    service.statuses = ["running"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen(command("submit"), env=environment, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while service.asked["GET /fine_tuning/jobs/ftjob-0"] < 3 and time.monotonic() < end:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    told = first.communicate()[0]
    assert first.returncode == -signal.SIGKILL
    assert not paths.managed_record("support").exists()

    service.statuses = ["succeeded"]
    second = subprocess.run(command("submit"), env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 0, second.stderr
    assert service.asked["POST /files"] == 2
    assert service.asked["POST /fine_tuning/jobs"] == 1
    assert read_json(paths.managed_record("support"))["fine_tuned_model"] == "ft:small:heronpost"
    assert "Step 1/3" in told
    assert "Step 1/3" not in second.stdout  # what was shown is not shown again


@pytest.mark.parametrize("lost", ["job", "everything"])
def test_killed_before_the_journal_was_written_it_finds_its_own_work(
    project: Project, service: Service, lost: str
) -> None:
    params = project()
    submit(params)
    [journal] = paths.MANAGED.glob("*/journal.json")
    journal.unlink() if lost == "everything" else write_json(journal, read_json(journal) | {"job": "", "told": ""})
    submit(params)
    assert (len(service.files), len(service.jobs)) == (2, 1)


@pytest.mark.parametrize("path", ["/files", "/fine_tuning/jobs"])
def test_a_lost_answer_starts_nothing_twice(project: Project, service: Service, path: str) -> None:
    service.troubles = [("POST", path, 0, {})]
    submit(project())
    assert (len(service.files), len(service.jobs)) == (2, 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(project: Project, service: Service, status: int) -> None:
    calls = [("POST", "/files"), ("POST", "/fine_tuning/jobs"), ("GET", "/fine_tuning/jobs/ftjob-0")]
    service.troubles = [(*call, status, {}) for call in calls]
    assert submit(project())[0].status == "succeeded"
    assert not service.troubles
    assert (len(service.files), len(service.jobs)) == (2, 1)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_decides_how_long_to_wait(
    project: Project, service: Service, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    from datetime import UTC, datetime, timedelta

    value = "60" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=61), usegmt=True)
    service.troubles = [("GET", "/fine_tuning/jobs/ftjob-0", 429, {"Retry-After": value})]
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    submit(project())
    [asked] = [seconds for seconds in slept if seconds > 1]
    assert asked == 60 if form == "seconds" else 30 < asked <= 61


def test_a_server_that_stays_down_ends_the_run_and_keeps_the_work(project: Project, service: Service) -> None:
    params = project(poll_seconds=0.001)
    service.troubles = [("GET", "/fine_tuning/jobs/ftjob-0", 503, {})] * finetuning_api.ATTEMPTS
    with pytest.raises(ModelError, match=r"failed 8 times, the last time with 503 \(try again\)"):
        submit(params)
    assert submit(params)[0].status == "succeeded"
    assert (len(service.files), len(service.jobs)) == (2, 1)


def test_a_failed_job_tells_the_servers_reason_and_the_next_run_starts_another(
    project: Project, service: Service
) -> None:
    params = project()
    service.statuses, service.error = ["running", "failed"], {"code": "bad", "message": "Line 2 is\nmalformed"}
    with pytest.raises(ModelError, match=r"ftjob-0 .* failed \(Line 2 is malformed\)"):
        submit(params)
    service.statuses, service.error = ["succeeded"], None
    assert submit(params)[0].id == "ftjob-1"
    assert len(service.files) == 2


@pytest.mark.parametrize("status", ["cancelled", "canceled"])
def test_a_cancelled_job_is_no_success(project: Project, service: Service, status: str) -> None:
    service.statuses = [status]
    with pytest.raises(ModelError, match=f"{status} .*gives no reason"):
        submit(project())
    assert not paths.managed_record("support").exists()


def test_a_job_that_takes_too_long_is_left_to_the_server(project: Project, service: Service) -> None:
    service.statuses = ["running"]
    with pytest.raises(BusyError, match=r"ftjob-0 is still running after managed\.timeout_hours"):
        submit(project(timeout_hours=0.00001))


def test_a_wrong_key_is_told_without_the_key(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    params = project()
    monkeypatch.setenv("SERVICE_KEY", "not-the-key-4711")
    with pytest.raises(ModelError, match=r"answered 401 .*check the key in SERVICE_KEY") as caught:
        submit(params)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:9/v1", r"nothing answers at http://127\.0\.0\.1:9/v1"),
        ("{host}/nowhere", r"answered 404 \(Unknown request URL.*correct managed\.endpoint"),
    ],
)
def test_an_endpoint_that_is_not_there_is_named(project: Project, service: Service, endpoint: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        submit(project(endpoint=endpoint.format(host=service.endpoint.removesuffix("/v1"))))


def test_a_server_without_lists_works_too(project: Project, service: Service) -> None:
    service.lists = False
    assert submit(project())[0].status == "succeeded"


def test_a_missing_key_is_named_before_anything_is_sent(
    project: Project, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = project()
    monkeypatch.delenv("SERVICE_KEY")
    with pytest.raises(ParamsError, match="SERVICE_KEY"):
        submit(params)
    assert not service.asked


@pytest.mark.parametrize(("verdict", "rows"), [("refused", 3), ("limited", 0)])
def test_what_validation_refused_is_not_sent(project: Project, service: Service, verdict: str, rows: int) -> None:
    with pytest.raises(DataError, match=r"accepted no pairs for support: 40 teachable pairs are too few\."):
        submit(project(verdict, rows))
    assert not service.asked


def test_what_the_advice_is_against_is_not_sent(project: Project, service: Service) -> None:
    params = project()
    write_json(paths.train_advice("support"), {"behaviour": "support", "skip": "the advice is RAG"})
    with pytest.raises(DataError, match="is not to be trained: the advice is RAG"):
        submit(params)
    assert not service.asked


def test_two_at_a_time_are_refused(project: Project, service: Service) -> None:
    params = project()
    service.statuses = ["running"]
    made = managed.export(params, "support")
    work = managed._work(params, managed._settings(params), made)
    work.mkdir(parents=True)
    from filelock import FileLock

    with FileLock(work / "lock"), pytest.raises(BusyError, match="another process submits these pairs"):
        submit(params)
    assert not service.asked


def test_pauses_grow_with_jitter_and_never_undercut_the_server() -> None:
    for tried in range(12):
        longest = min(60.0, 0.5 * 2**tried)
        assert longest / 2 <= finetuning_api.pause(0.5, tried) <= longest
        assert finetuning_api.pause(0.5, tried, 90.0) == 90.0


def test_the_commands_go_from_export_to_record(project: Project, service: Service) -> None:
    project()
    run = CliRunner().invoke
    exported = run(app, ["managed", "export"])
    assert exported.exit_code == 0, exported.output
    assert ".freshtune/managed/export/support/train.jsonl: 3 chats" in exported.output
    assert "run `freshtune managed submit`" in run(app, ["managed", "status"]).output
    assert json.loads(run(app, ["managed", "status", "--json"]).output) == {"job": None}
    service.statuses = ["running", "running", "succeeded"]
    assert "job ftjob-0 is running" in run(app, ["managed", "submit", "--no-wait"]).output
    assert "job ftjob-0 is running" in run(app, ["managed", "status"]).output
    done = run(app, ["managed", "submit", "--json"])
    assert json.loads(done.stdout) == {"job": "ftjob-0", "status": "succeeded", "model": "ft:small:heronpost"}
    assert "recorded in reports/managed/support.json" in run(app, ["managed", "status"]).output


def test_a_project_without_the_knob_is_told_what_to_write(project: Project) -> None:
    project()
    values = yaml.safe_load(paths.PARAMS.read_text()) | {"managed": None}
    paths.PARAMS.write_text(yaml.safe_dump(values))
    failed = CliRunner().invoke(app, ["managed", "submit"])
    assert failed.exit_code == 2
    assert "`managed` is null in params.yaml" in failed.output
    assert "Traceback" not in failed.output
    unknown = CliRunner().invoke(app, ["managed", "export", "--behaviour", "sales"])
    assert unknown.exit_code == 2
    assert "one of support" in unknown.output


def test_a_project_that_was_not_validated_is_told_what_to_run(project: Project) -> None:
    params = project()
    paths.VERDICT.unlink()
    with pytest.raises(DataError, match=r"verdict\.json is missing: run `freshtune retrain`"):
        managed.export(params, "support")
