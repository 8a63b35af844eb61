"""`freshtune serve`: the packaged Bento as a child process that ends when its parent does."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]

from contracts import paths
from contracts.errors import BusyError, ParamsError, ReleaseError
from contracts.files import read_json
from contracts.params import Params, secret
from contracts.release import load_release

READY_SECONDS = 180
GRACE_SECONDS = 10


def serve(params: Params, *, port: int | None = None, host: str | None = None) -> None:
    """Serve the packaged release until Ctrl-C or SIGTERM, with the project's live store; leave nothing running.

    Raises:
        ReleaseError: there is no release, a gate blocked it, its bytes changed, or the service ended by itself.
        BusyError: the port is taken.
        ParamsError: the address cannot be served on, or the key's variable is not set.
    """
    from serving import bento

    host, port = host or params.serving.host, port or params.serving.port
    tag = _packaged_tag()
    _require_address(host, port, has_key=params.serving.api_key_env is not None)
    built = bento.find(tag)
    if built is None:
        raise ReleaseError(f"Bento {tag} is not in the BentoML store: run `freshtune stage package` to build it again")
    # The service proves and asks the same when it starts; here it costs a second and says it in one line.
    load_release(bento.release_of(built))
    secret(params.serving.api_key_env)

    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", host, "--port", str(port)]
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}
    if paths.STORE.is_dir():
        environment["FRESHTUNE_STORE"] = str(paths.STORE.absolute())
    # In the Bento's own directory: BentoML also looks for modules where it is started.
    with _child(command, cwd=built.path, env=environment) as process:
        _wait_until_ready(process, f"http://{_bracketed(host)}:{port}")
        code = process.wait()
        raise ReleaseError(f"the service ended by itself (exit code {code}): its last words stand above")


def _packaged_tag() -> str:
    if not paths.RECEIPT.is_file():
        raise ReleaseError(f"there is no release to serve ({paths.RECEIPT} is missing): run `freshtune retrain` first")
    receipt = read_json(paths.RECEIPT)
    if receipt["blocked"]:
        raise ReleaseError(
            f"the last release was blocked ({receipt['blocked']}): mend what the gate found and run `freshtune retrain`"
        )
    return str(receipt["tag"])


def _require_address(host: str, port: int, has_key: bool) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ParamsError(f"`serving.host` is {host!r}: it must be an IP address, such as 127.0.0.1") from None
    if not address.is_loopback and not has_key:
        raise ParamsError(
            f"`serving.host` is {host}, which other machines can reach: name a key's variable in `serving.api_key_env`,"
            " or serve on 127.0.0.1"
        )
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that only lingers in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except PermissionError:
            raise BusyError(
                f"port {port} needs the administrator's rights: choose one above 1023 with --port"
            ) from None
        except OSError as error:
            raise BusyError(
                f"port {port} on {host} cannot be used ({error.strerror}; {_holder(port)}): stop that, or choose another"
                " with --port N or `serving.port` in params.yaml"
            ) from None


def _holder(port: int) -> str:
    """Who listens on `port`, as far as the operating system tells us."""
    try:
        connections = psutil.net_connections("tcp")
        pids = {c.pid for c in connections if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN}
        names = [f"{psutil.Process(pid).name()}, process {pid}" for pid in sorted(p for p in pids if p)]
    except psutil.Error:
        names = []
    return f"held by {' and '.join(names)}" if names else f"`lsof -i :{port}` may say by whom"


@contextmanager
def _child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a session of its own. Ctrl-C, SIGTERM or a closed terminal end the block, and all it started."""
    process = None
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        process = subprocess.Popen(command, start_new_session=True, **options)
        yield process
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr, flush=True)
    finally:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        if process:
            _end(process)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the service to stop, then insist. BentoML's workers lead sessions of their own: one by one, not as a group."""
    family = _family(process.pid)
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)  # BentoML itself would wait a day for an answer that is being written
    except subprocess.TimeoutExpired:
        family |= _family(process.pid)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family, timeout=GRACE_SECONDS)


def _family(pid: int) -> set[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline, workers = time.monotonic() + READY_SECONDS, set[psutil.Process]()
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=2):
            print(f"serving on {url} (Ctrl-C stops it)", flush=True)
            return
        workers |= _family(process.pid) - {psutil.Process(process.pid)}
        # BentoML starts a worker again that could not start: it would fail the same way for ever.
        if time.monotonic() > deadline or any(
            not w.is_running() or w.status() == psutil.STATUS_ZOMBIE for w in workers
        ):
            raise ReleaseError("the service could not start: its last words stand above")
        time.sleep(0.2)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
