"""The real thing: a Bento of a tiny model, built, served by `serve` and asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts import paths
from contracts.files import read_json
from contracts.params import Params
from serving.stages import package

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # BentoML's own
]
SERVE = "from contracts.params import load_params; from serving.serve import serve; serve(load_params(), port={port})"


@contextmanager
def served(port: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The service, ready; killed with everything it started if the test fails."""
    log = Path("service.log")
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(port=port)],
            env=os.environ | environment, stdout=stream, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while "serving on" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield process
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        for member in family:
            member.kill()
        process.wait()


def events(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(part.removeprefix("data: ")) for part in response.text.split("\n\n") if part]


def test_a_packaged_release_answers_and_leaves_nothing_running(released: Params, free_port: int) -> None:
    with (
        served(free_port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60, trust_env=False) as client,
    ):
        question = {"question": "What does a small parcel cost?"}
        answer = client.post("/answer", json=question).raise_for_status().json()
        assert answer["route"] == "hybrid"
        assert answer["release"] == read_json(paths.RECEIPT)["release"]
        assert answer["sources"][0]["document"] in {"prices.md", "prices"}
        assert answer["answer_tokens"] > 0

        streamed = client.post("/stream", json=question)
        assert streamed.headers["content-type"].startswith("text/event-stream")
        *pieces, last = events(streamed)
        assert "".join(piece["text"] for piece in pieces).strip() == last["answer"]["text"].strip()
        assert last["answer"]["text"] == answer["text"]

        state = client.get("/health").json()
        assert (state["status"], state["mode"], state["release"]) == ("ok", "hybrid", answer["release"])
        assert state["index_content"] == state["evaluated_content"] == read_json(paths.INDEX)["content"]
        assert client.get("/livez").is_success
        page = client.get("/")
        assert "<textarea" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]

        bodies: list[Any] = [{"question": ""}, {"question": "x" * 201}, {"query": "x"}, []]
        for body in bodies:
            refused = client.post("/answer", json=body)
            assert refused.status_code == 400
            assert set(refused.json()) == {"error"}
        assert client.get("/answer").status_code == 405

        _reindexed()
        assert (
            client.get("/health").json()["index_content"] == read_json(paths.INDEX)["content"] != state["index_content"]
        )

        # The rooms come from the Bento, not from this checkout.
        family = psutil.Process(process.pid).children(recursive=True)
        (worker,) = [child for child in family if "worker" in " ".join(child.cmdline())]
        assert Path(worker.cwd()).parts[-3:] == ("demo", answer["release"], "src")

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert (len(gone), alive) == (2, [])
    log = Path("service.log").read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "small parcel" not in log


def test_with_a_key_the_service_asks_for_it_and_never_logs_it(
    released: Params, write_params: Callable[..., Params], free_port: int
) -> None:
    package(write_params(serving={"api_key_env": "DESK_KEY"}))
    with served(free_port, DESK_KEY="correct-horse") as process:
        url = f"http://127.0.0.1:{free_port}"
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 401
        assert httpx.get(f"{url}/", trust_env=False).is_success
        allowed = {"Authorization": "Bearer correct-horse"}
        assert httpx.get(f"{url}/health", headers=allowed, trust_env=False).is_success
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert "correct-horse" not in Path("service.log").read_text(encoding="utf-8")


def _reindexed() -> None:
    """A document changes and the live store follows, while the service runs."""
    from contracts.files import write_json
    from contracts.params import load_params
    from retrieval.index import published_record, reindex

    Path("data/documents/prices.md").write_text("# Parcels\n\nA small parcel costs 4.60 euros.\n", encoding="utf-8")
    params = load_params()
    reindex(params)
    write_json(paths.INDEX, published_record(params.retrieval).model_dump())
