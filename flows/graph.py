"""The graph of dvc.yaml: in what order, what is stale and why, and one stage run at a time, its output told live.

DVC is asked in process (0.05 s) and runs a stage in a process of its own, so that a stage's memory is given back and
Ctrl-C ends it whole.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.lock import LockError
from dvc.repo import Repo
from filelock import FileLock, Timeout

from contracts import paths
from contracts.errors import BusyError, ParamsError, StageError
from contracts.files import write_json

_HOLDER = paths.LOCK.with_suffix(".json")
_GRACE_SECONDS = 10.0
_LAST_WORDS = 12

# What DVC says around a stage's own words: the flow says it in its own way.
_CHATTER = re.compile(
    r"Running stage '|> |(Generating|Updating) lock file '|To track the changes with git|\s*git add "
    r"|To enable auto staging|\s*dvc config core\.autostage|Use `dvc push`|ERROR: failed to reproduce"
)


@contextmanager
def writer(what: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Be the only run that writes in this project. With `wait`, which is told for whom, until the other one ends.

    Raises:
        BusyError: another run is, and `wait` is not given; names its process.
    """
    paths.LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        if wait is None:
            raise BusyError(f"{Path.cwd()} is in use by {_holder()}: wait until it ends, or end it") from None
        wait(f"waits until {_holder()} ends")
        lock.acquire(timeout=-1)
    try:
        write_json(_HOLDER, {"pid": os.getpid(), "what": what, "since": datetime.now().isoformat(timespec="seconds")})
        yield
    finally:
        _HOLDER.unlink(missing_ok=True)
        lock.release()


def _holder() -> str:
    try:
        holder = json.loads(_HOLDER.read_text(encoding="utf-8"))
        return f"`freshtune {holder['what']}` (process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another freshtune process that has just started or is ending"


def without_git(outside: bool) -> None:
    """Tell DVC, in its local configuration, whether there is a git repository. Without one it refuses to start."""
    with _speaking():
        config = Config.from_cwd()
        if bool(config["core"].get("no_scm")) != outside:
            with config.edit("local") as local:
                local.setdefault("core", {})["no_scm"] = outside


def stages() -> list[str]:
    """All stages, each after what it depends on, else as they stand in dvc.yaml; named as `dvc repro` takes them.

    Raises:
        ParamsError: dvc.yaml or params.yaml cannot be read by DVC, or this is no project.
    """
    with _speaking(), Repo() as repo:
        left = [stage for stage in repo.index.stages if not stage.is_data_source]
        order: list[Any] = []
        while left:
            order.append(next(s for s in left if not any(before in left for before in repo.index.graph.successors(s))))
            left.remove(order[-1])
        return [stage.addressing for stage in order]


def stale(names: list[str] | None = None) -> dict[str, list[str]]:
    """The stages that are not up to date, and what changed for each. A stage before them may yet make more stale.

    Raises:
        ParamsError: as in `stages`.
    """
    with _speaking(), Repo() as repo:
        status = repo.status(targets=names)
    return {name: _reasons(entries) for name, entries in status.items() if not name.endswith(".dvc")}


def _reasons(entries: list[Any]) -> list[str]:
    """DVC's status of one stage as short sentences: `data/pairs modified`, `params.yaml: training modified`."""
    reasons = []
    for entry in entries:
        if isinstance(entry, str):
            reasons.append(entry)
            continue
        for things in entry.values():
            for thing, state in things.items():
                if isinstance(state, dict):
                    reasons += [f"{thing}: {key} {value}" for key, value in state.items()]
                else:
                    reasons.append(f"{thing} {'missing' if state == 'deleted' else state}")
    return reasons


def run_stage(name: str, tell: Callable[[str], None], force: bool = False, snapshot: str = "") -> float:
    """Run one stage through DVC and hand its lines to `tell` as they come; returns the seconds it took.

    `snapshot` is the commit of the run's inputs; a release names it.

    Raises:
        StageError: the stage failed; the message ends with its own last words.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *(["--force"] if force else []), name]
    here = str(Path(sys.executable).parent)  # where `freshtune` is, although nobody activated the environment
    environment = os.environ | {
        "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "FRESHTUNE_SNAPSHOT": snapshot,
    }
    last: deque[str] = deque(maxlen=_LAST_WORDS)
    start = time.perf_counter()
    # A session of its own: Ctrl-C reaches this process alone, which then ends the whole group in order.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                if (line := line.rstrip()) and not _CHATTER.match(line):
                    last.append(line)
                    tell(line)
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    if code:
        words = "\n".join(f"  {line}" for line in last) or f"  it said nothing and exited with {code}"
        raise StageError(name, f"stage {name} failed:\n{words}\nmend that and run it again: it goes on from this stage")
    return time.perf_counter() - start


def _end(process: "subprocess.Popen[str]") -> None:
    """End a stage with everything it started: asked first, so that DVC gives its locks back."""
    try:
        for sign, patience in ((signal.SIGINT, _GRACE_SECONDS), (signal.SIGTERM, _GRACE_SECONDS / 2)):
            _signal(process, sign)
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
    finally:  # also when Ctrl-C is pressed again
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[str]", sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except ProcessLookupError:
        return  # all of the group have ended


@contextmanager
def _speaking() -> Iterator[None]:
    """DVC's own exceptions as ours."""
    try:
        yield
    except NotDvcRepoError:
        raise ParamsError(
            f"{Path.cwd()} is no freshtune project (it has no .dvc folder): run freshtune at the root of one"
        ) from None
    except LockError:
        raise BusyError(f"DVC is busy in {Path.cwd()}: another `dvc` runs there; wait until it ends") from None
    except DvcException as error:
        raise ParamsError(f"DVC cannot read this project: {error}. Correct dvc.yaml or params.yaml") from None
