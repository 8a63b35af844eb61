"""Git's hooks as an event: a commit or merge that changes documents starts a reindex in the background."""

import shlex
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from contracts import paths
from contracts.errors import DataError
from contracts.params import DirectorySource, Params, TableSource, load_params
from flows import graph
from flows.git import commit_of, line
from retrieval.sources import git_command

BEFORE = {"post-commit": "HEAD~1", "post-merge": "ORIG_HEAD"}  # each hook, and what HEAD was before it
LOG = paths.STATE / "hook.log"
_LOCK = paths.STATE / "hook.lock"
_MARK = "# freshtune: reindex what a commit changed. Remove: freshtune hook remove"
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def install() -> list[Path]:
    """Write the hooks of the git repository around this project; returns them. Twice is the same as once.

    Raises:
        DataError: a hook of somebody else is in the way, or the documents lie outside the repository.
        GitError: this is no git work tree.
    """
    if not _watched(load_params()):
        raise DataError("no document of params.yaml lies in this git repository, so its hooks would see none change")
    found = _places()
    if foreign := [path for path in found if path.exists() and not _ours(path)]:
        raise DataError(
            f"{foreign[0]} is a hook of somebody else and stays as it is: put this line into its {' and '.join(BEFORE)}"
            f" yourself, before any `exec`:\n{_command()}"
        )
    for path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{_MARK}\n{_command()}\n", encoding="utf-8")
        path.chmod(0o755)
    return found


def remove() -> list[Path]:
    """Delete the hooks that `install` wrote; returns them. Those of somebody else stay.

    Raises:
        GitError: this is no git work tree.
    """
    ours = [path for path in _places() if path.exists() and _ours(path)]
    for path in ours:
        path.unlink()
    return ours


def fire(hook: str) -> str:
    """What a hook calls, in the background: reindex if documents changed. Returns what it did.

    One hook at most waits for a run that is under way: it will read what later commits bring too.

    Raises:
        FreshtuneError: as `flows.reindex.run`.
    """
    if not _changed(load_params(), BEFORE[hook]):
        return "no document changed"
    paths.STATE.mkdir(exist_ok=True)
    try:
        with FileLock(_LOCK, timeout=0), graph.writer(f"hook {hook}", wait=print):
            pass
    except Timeout:
        return "another hook waits already, and will read these documents too"
    from flows.reindex import run, summary

    return summary(run(overlap="wait"))


def _changed(params: Params, before: str) -> bool:
    """Whether anything that this project reads from this repository differs between `before` and HEAD."""
    names = [*map(str, _watched(params)), str(paths.PARAMS)]
    known = commit_of(before) or _EMPTY_TREE  # the first commit has none before it
    return bool(line("diff", "--name-only", known, "HEAD", "--", *names))


def _watched(params: Params) -> list[Path]:
    """What is read below the top of this repository: folders and tables, and where DVC's pointers of them would lie."""
    own = [source.path for source in params.sources if isinstance(source, DirectorySource | TableSource)]
    top = Path(line("rev-parse", "--show-toplevel")).resolve()
    read = [path for name in (params.documents.path, *own) if (path := Path(name).resolve()).is_relative_to(top)]
    return [*read, *(path.with_name(f"{path.name}.dvc") for path in read)]


def _command() -> str:
    """The line of a hook: in the background, because a hook must not hold git up."""
    python, project, log = (shlex.quote(str(part)) for part in (sys.executable, Path.cwd(), LOG))
    fired = f'{python} -m cli hook fire "$(basename "$0")" >>{log} 2>&1 </dev/null'
    return f"(cd {project} && mkdir -p {paths.STATE} && exec nohup {fired}) &"


def _places() -> list[Path]:
    line("rev-parse")  # says it where this is no repository
    # Not through flows.git, which switches hooks off: the user may keep them elsewhere (core.hooksPath).
    command, environment = git_command(Path.cwd(), "rev-parse", "--git-path", "hooks")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [Path(done.stdout.strip()) / name for name in BEFORE]


def _ours(path: Path) -> bool:
    return _MARK in path.read_text(encoding="utf-8", errors="replace")
