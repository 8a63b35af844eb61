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
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil

from contracts import paths
from contracts.errors import BusyError, ParamsError, ReleaseError
from contracts.files import read_json
from contracts.params import Params, Retrieval, secret
from contracts.release import load_release

if TYPE_CHECKING:
    from bentoml import Bento

READY_SECONDS = 180
GRACE_SECONDS = 10


def serve(params: Params, *, port: int | None = None, host: str | None = None) -> None:
    """Serve the packaged release until Ctrl-C or SIGTERM, with the project's live store; leave nothing running.

    Raises:
        ReleaseError: there is no release, a gate blocked it, its bytes changed, or the service ended by itself.
        BusyError: the port is taken.
        ParamsError: the address cannot be served on, or the key's variable is not set.
        StoreError: the live store was indexed with other settings than the release.
    """
    from serving import bento

    host, port = host or params.serving.host, port or params.serving.port
    _require_address(host, port, has_key=params.serving.api_key_env is not None)
    built = _packaged()
    _preflight(params, bento.release_of(built))
    command = [sys.executable, "-m", "bentoml", "serve", str(built.tag), "--host", host, "--port", str(port)]
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}
    if paths.STORE.is_dir():
        environment["FRESHTUNE_STORE"] = str(paths.STORE.absolute())
    # In the Bento's own directory: BentoML also looks for modules where it is started.
    with _child(command, cwd=built.path, env=environment) as process:
        _wait_until_ready(process, f"http://{_bracketed(host)}:{port}")
        code = process.wait()
        raise ReleaseError(f"the service ended by itself (exit code {code}): its last words stand above")


def _preflight(params: Params, release: Path) -> None:
    """What the service will prove and ask for itself when it starts; here it costs a second and is said in one line."""
    from retrieval.search import Retriever

    load_release(release)
    settings = read_json(release / "settings.json")
    for name, packaged in settings["serving"].items():
        # Served anyway, a key that was asked for since would silently not be asked.
        if packaged != (wanted := getattr(params.serving, name)):
            raise ReleaseError(
                f"`serving.{name}` is {wanted} in params.yaml, but the release was packaged with {packaged}:"
                " run `freshtune retrain` to package it again"
            )
    secret(params.serving.api_key_env)
    retrieval = Retrieval.model_validate(settings["retrieval"])
    if retrieval.on_server or paths.STORE.is_dir():
        Retriever.open(retrieval, paths.STORE, settings["dtype"])


def released() -> Path:
    """The directory of the packaged release, inside its Bento.

    Raises:
        ReleaseError: there is no release, or a gate blocked it.
    """
    from serving import bento

    return bento.release_of(_packaged())


def _packaged() -> "Bento":
    from serving import bento

    if not paths.RECEIPT.is_file():
        raise ReleaseError(f"there is no release to serve ({paths.RECEIPT} is missing): run `freshtune retrain` first")
    receipt = read_json(paths.RECEIPT)
    if receipt["blocked"]:
        raise ReleaseError(
            f"the last release was blocked ({receipt['blocked']}): mend what the gate found and run `freshtune retrain`"
        )
    built = bento.find(str(receipt["tag"]))
    if built is None:
        raise ReleaseError(
            f"Bento {receipt['tag']} is not in the BentoML store: run `freshtune retrain` to build it again"
        )
    return built


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
                f"port {port} on {host} cannot be used ({error.strerror}; {_holder(port)}): stop that,"
                " or choose another with --port N or `serving.port` in params.yaml"
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
    """Ask the service to stop, then insist, one by one: BentoML's workers lead sessions of their own."""
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


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _family(pid: int) -> set[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline, workers = time.monotonic() + READY_SECONDS, set[psutil.Process]()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of our loopback
    while process.poll() is None:
        with suppress(OSError), direct.open(f"{url}/readyz", timeout=2):
            print(f"serving on {url} (Ctrl-C stops it)", flush=True)
            return
        workers |= _family(process.pid) - {psutil.Process(process.pid)}
        # A worker that could not start is started again by BentoML, to fail the same way for ever.
        if time.monotonic() > deadline or not all(map(_alive, workers)):
            raise ReleaseError("the service could not start: its last words stand above")
        time.sleep(0.2)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
