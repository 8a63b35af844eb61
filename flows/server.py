"""Prefect's API for a run: the server the user names, or Prefect's own for as long as the run lasts."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, temporary_settings

from contracts.errors import BusyError, FreshtuneError

_START_SECONDS = 120


@contextmanager
def api() -> Iterator[str]:
    """Have an API to run flows against: yields its address. A server that was started lives until this process ends,
    so that Prefect can hand it the last log lines.

    Raises:
        FreshtuneError: the server that PREFECT_API_URL names does not answer.
    """
    quiet_errors()
    if url := PREFECT_API_URL.value():
        require_answer(url)
        yield url
        return
    server = SubprocessASGIServer()  # the one that Prefect would start when the flow starts
    # Ctrl-C reaches all processes of a terminal. The server must live on until the flow has told it of its end, else
    # Prefect tries to reach it for a minute; so it inherits SIGINT blocked, and is ended by SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        server.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with _leaving_in_order():
        yield server.api_url


@contextmanager
def standing(port: int = 4200) -> Iterator[str]:
    """Have a server that keeps schedules: the user's, or `prefect server start` on loopback until the block ends.

    Raises:
        BusyError: the port is taken by something else, or the server does not come up.
        FreshtuneError: as `api`.
    """
    quiet_errors()
    if url := PREFECT_API_URL.value():
        require_answer(url)
        yield url
        return
    url = f"http://127.0.0.1:{port}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        if _answers():
            yield url
            return
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise BusyError(f"port {port} is taken by something that is no Prefect server: say --port")
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait(process, port)
            os.environ["PREFECT_API_URL"] = url  # scheduled runs are processes of their own
            with _leaving_in_order():
                yield url
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does, with everything it started.

    Prefect ends a flow that gets SIGTERM and sends the signal again, to whoever handled it before: without a handler
    this process would die there and leave its server behind.
    """

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_answer(url: str) -> None:
    """Raises:
    FreshtuneError: no server answers at PREFECT_API_URL.
    """
    if not _answers():
        raise FreshtuneError(
            f"PREFECT_API_URL is {url}, and no Prefect server answers there: start it (`prefect server start`), correct"
            " the address, or unset it to use a temporary server"
        )


def _answers() -> bool:
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while not _answers():
        if process.poll() is not None or time.monotonic() > end:
            raise BusyError(f"the Prefect server did not come up: see why with `prefect server start --port {port}`")
        time.sleep(0.3)


class _OneMessage(logging.Filter):
    """An error a person can mend is one message; Prefect would add a traceback, or `NoneType: None`."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is None or issubclass(kind, FreshtuneError):
            record.exc_info = None
        return not str(record.msg).startswith("Task run failed with state: ")  # told again by "Finished in state"


def quiet_errors() -> None:
    """Tell an error that a person can mend without a traceback."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(known, _OneMessage) for known in handler.filters):
                handler.addFilter(_OneMessage())
