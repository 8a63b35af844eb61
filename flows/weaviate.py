"""A running Weaviate, for a desk or a test: one that answers already, Docker Compose's, or one built with Go.

    python -m flows.weaviate        # what `make weaviate` calls; says which it took, and runs it until Ctrl-C

The binary of the last kind is kept in the user's cache folder (FRESHTUNE_CACHE, else XDG_CACHE_HOME, else ~/.cache),
so it is built once. Its client port listens on loopback; Weaviate binds gRPC and gossip on every interface, so block
those ports where the network is not yours.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts import paths
from contracts.errors import BusyError, FreshtuneError

VERSION = "1.35.2"
MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
CACHE = Path(
    os.environ.get("FRESHTUNE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freshtune"
)
_BINARY = CACHE / "weaviate" / VERSION / "weaviate-server"
_USER = dict(os.environ)  # as the program was started: a test that changes HOME later must not move Go's caches
_START_SECONDS = 90


@dataclass
class Node:
    """One server process. `grpc` is the port of its gRPC; `log` holds what it said."""

    url: str
    grpc: int
    log: Path
    command: list[str]
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, wait: bool = True) -> None:
        """Start it, and wait until it answers.

        Raises:
            BusyError: it ended, or did not answer in time.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return once it is ready; see `start`."""
        end = time.monotonic() + _START_SECONDS
        while not answers(self.url):
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                raise BusyError(f"Weaviate did not come up at {self.url}: see {self.log}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order, by force after ten seconds."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def answers(url: str) -> bool:
    """Whether a Weaviate at `url` is ready for queries."""
    try:
        with urllib.request.urlopen(f"{url}/v1/.well-known/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def binary(build: bool = True) -> Path:
    """The server of `VERSION`: from the cache, else built by `go install` (about four minutes, once).

    Raises:
        FreshtuneError: it is not there and cannot be built; says what would help.
    """
    if _BINARY.is_file():
        return _BINARY
    go = shutil.which("go", path=_USER.get("PATH"))
    if not (build and go):
        raise FreshtuneError(
            f"no Weaviate server is at {_BINARY} and {'building it was not asked for' if go else 'Go is not installed'}:"
            " install Go 1.25 or newer and run `make weaviate`, or set WEAVIATE_URL to a server you have"
        )
    print(f"building Weaviate {VERSION} with Go into {_BINARY.parent}; this takes minutes, once", file=sys.stderr)
    making = _BINARY.parent / f".{os.getpid()}"
    done = subprocess.run(
        [go, "install", f"{MODULE}@v{VERSION}"],
        env=_USER | {"CGO_ENABLED": "0", "GOBIN": str(making.absolute())},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if done.returncode:
            words = (done.stderr.strip() or "no message").splitlines()[-1]
            raise FreshtuneError(f"`go install {MODULE}@v{VERSION}` failed ({words}): mend that and run it again")
        (making / _BINARY.name).replace(_BINARY)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _BINARY


@contextmanager
def nodes(folder: Path, count: int = 1, *, api_key: str = "", port: int | None = None) -> Iterator[list[Node]]:
    """`count` servers in one cluster, their data below `folder`, on free ports of loopback; stopped at the end.

    Raises:
        BusyError: one of them did not come up.
        FreshtuneError: there is no server and none can be built.
    """
    server = binary()
    http, grpc, profiling = (_free_ports(count) for _ in range(3))
    if port is not None:
        http[0], grpc[0] = port, 50051
    pairs = _free_pairs(2 * count)  # on one host a node is talked to at its raft port + 1 and its gossip port + 1
    raft, gossip = pairs[:count], pairs[count:]
    join = ",".join(f"node-{i}:{raft[i]}" for i in range(count))
    made: list[Node] = []
    with ExitStack() as stack:
        for i in range(count):
            data = folder / f"node-{i}"
            data.mkdir(parents=True, exist_ok=True)
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "PERSISTENCE_DATA_PATH": str(data),
                "CLUSTER_HOSTNAME": f"node-{i}",
                "CLUSTER_IN_LOCALHOST": "true",
                "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
                "CLUSTER_GOSSIP_BIND_PORT": str(gossip[i]),
                "CLUSTER_DATA_BIND_PORT": str(gossip[i] + 1),
                "RAFT_BOOTSTRAP_EXPECT": str(count),
                "RAFT_JOIN": join,
                "RAFT_PORT": str(raft[i]),
                "RAFT_INTERNAL_RPC_PORT": str(raft[i] + 1),
                "GRPC_PORT": str(grpc[i]),
                "GO_PROFILING_PORT": str(profiling[i]),
                "DEFAULT_VECTORIZER_MODULE": "none",
                "ENABLE_MODULES": "",
                "DISABLE_TELEMETRY": "true",
                "LOG_LEVEL": "warning",
                "RAFT_TIMEOUTS_MULTIPLIER": "1",  # on one host nobody is slow: elected in seconds
            }
            if i:
                environment["CLUSTER_JOIN"] = f"127.0.0.1:{gossip[0]}"
            if api_key:
                environment |= {
                    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
                    "AUTHENTICATION_APIKEY_ENABLED": "true",
                    "AUTHENTICATION_APIKEY_ALLOWED_KEYS": api_key,
                    "AUTHENTICATION_APIKEY_USERS": "freshtune",
                }
            else:
                environment["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] = "true"
            command = [str(server), "--host", "127.0.0.1", "--port", str(http[i]), "--scheme", "http"]
            node = Node(f"http://127.0.0.1:{http[i]}", grpc[i], folder / f"node-{i}.log", command, environment)
            stack.callback(node.stop)
            node.start(wait=False)
            made.append(node)
            if i == 0 and count > 1:
                _wait_for_port(gossip[0], node)
        for node in made:
            node.wait()
        yield made


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _free_pairs(count: int) -> list[int]:
    """Ports that are free together with the next one."""
    found: list[int] = []
    while len(found) < count:
        (port,) = _free_ports(1)
        with socket.socket() as probe:
            if port + 1 < 65536 and port not in found and port - 1 not in found and port + 1 not in found:
                try:
                    probe.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                found.append(port)
    return found


def _wait_for_port(port: int, node: Node) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and node.process and node.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise BusyError(f"Weaviate did not come up at {node.url}: see {node.log}")


def _compose() -> bool:
    """Whether Docker Compose started the service of compose.yaml. False where no engine runs."""
    if not shutil.which("docker"):
        return False
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if subprocess.run(["docker", "info"], **quiet, check=False).returncode:  # type: ignore[call-overload]
        return False
    return subprocess.run(["docker", "compose", "up", "--detach", "--wait", "weaviate"], check=False).returncode == 0


def main() -> int:
    """Have a server and say which; one that was started here runs until Ctrl-C."""
    try:
        if url := os.environ.get("WEAVIATE_URL", "").rstrip("/"):
            if not answers(url):
                raise FreshtuneError(f"WEAVIATE_URL is {url}, and no Weaviate is ready there: start it, or unset it")
            print(f"Weaviate at {url} (WEAVIATE_URL)")
            return 0
        if answers("http://127.0.0.1:8080"):
            print("Weaviate at http://127.0.0.1:8080 (it was running)")
            return 0
        if _compose():
            print("Weaviate at http://127.0.0.1:8080, gRPC 50051 (Docker Compose; `docker compose down` ends it)")
            return 0
        with nodes(paths.STATE / "weaviate", port=8080) as (node,):
            print(f"Weaviate {VERSION} at {node.url}, gRPC {node.grpc} ({_BINARY}); Ctrl-C ends it", flush=True)
            assert node.process is not None
            return node.process.wait()
    except FreshtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
