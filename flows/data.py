"""`freshtune data`: a user's data under DVC, and the way back to what an earlier run was made of.

Small text stays in git; `add` puts large data under DVC, which leaves a pointer (PATH.dvc) for git to keep.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import DataError
from flows import snapshot
from flows.git import commit_of, files, git, line
from flows.graph import writer
from flows.snapshot import Snapshot

RESTORED = ("data", "params.yaml")


def add(path: Path) -> Path:
    """Put a file or folder under DVC and return its pointer, which belongs into git.

    Raises:
        DataError: nothing is there, git tracks it already, a stage makes it, or DVC refused.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a file or folder of this project")
    place = os.path.relpath(path)
    if place == ".." or place.startswith("../"):
        raise DataError(f"{path} lies outside of {Path.cwd()}: copy it into data/ first, then add that")
    if _in_git(place):
        flag = "-r " if path.is_dir() else ""
        raise DataError(
            f"{place} is tracked by git, and DVC takes only what git does not: take it out of git's index (the file"
            f" stays) with `git rm {flag}--cached {place}`, then run `freshtune data add {place}` again"
        )
    _dvc("add", place)
    return Path(f"{place}.dvc")


def push(remote: str = "") -> str:
    """Send what is under DVC, outputs of stages included, to a DVC remote; returns DVC's summary.

    Raises:
        DataError: no remote is configured, or it cannot be reached.
    """
    return _dvc("push", *(["--remote", remote] if remote else []))


def pull(remote: str = "") -> str:
    """Fetch what is under DVC from a remote and lay it into the work tree; returns DVC's summary.

    Raises:
        DataError: no remote is configured, it cannot be reached, or it does not hold everything.
    """
    return _dvc("pull", *(["--remote", remote] if remote else []))


@dataclass(frozen=True)
class Restored:
    """What `restore` did. `kept` is the snapshot of the state before it."""

    run: str
    written: list[str]
    removed: list[str]
    kept: str


def restore(run: str, wanted: Sequence[str] = (), force: bool = False) -> Restored:
    """Bring paths of a snapshot's inputs back into the work tree; by default data/ and params.yaml.

    The present state is snapshotted first. Files that git does not ignore and that the snapshot lacks are removed, so
    that a folder is again what it was. The data behind DVC's pointers is checked out.

    Raises:
        DataError: no such snapshot or path; without `force`, a file would be lost that git has not committed.
        GitError: this is no git work tree.
        BusyError: a run is writing here.
    """
    places = [os.path.relpath(path) for path in (wanted or RESTORED)]
    with writer("data restore"):
        return _restore(snapshot.find(run), places, bool(wanted), force)


def _restore(source: Snapshot, wanted: list[str], named: bool, force: bool) -> Restored:
    kept = snapshot.take()
    here: dict[str, str] = {}
    there: dict[str, tuple[str, str]] = {}
    for path in wanted:
        found = files(source.inputs, path)
        if named and not found:
            raise DataError(
                f"snapshot {source.run} holds no {path}: `git ls-tree -r {source.inputs[:12]}` lists what it holds"
            )
        there |= found
        here |= {name: blob for name, (_, blob) in files(kept.commit, path).items()}
    written = sorted(path for path, (_, blob) in there.items() if here.get(path) != blob)
    removed = sorted(here.keys() - there.keys())
    committed = _committed()
    lost = [path for path in [*written, *removed] if path in here and committed.get(path) != here[path]]
    if lost and not force:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise DataError(
            f"{shown}: changed and not committed, and run {source.run} has it otherwise: commit first, or say --force"
            f" (the present state is kept in snapshot {kept.run} either way)"
        )
    for path in removed:
        Path(path).unlink()
    for path in written:
        _write(Path(path), *there[path])
    if pointers := [path for path in there if path.endswith(".dvc")]:
        _dvc("checkout", *(["--force"] if force else []), *pointers)
    return Restored(source.run, written, removed, kept.run)


def _write(path: Path, mode: str, blob: str) -> None:
    content = git("cat-file", "blob", blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if mode == "120000":
        path.symlink_to(os.fsdecode(content))
    else:
        path.write_bytes(content)
        path.chmod(0o755 if mode == "100755" else 0o644)


def _committed() -> dict[str, str]:
    """Path, relative to the project, to blob of every file that HEAD holds."""
    if not commit_of("HEAD"):
        return {}
    held = files(f"HEAD:{line('rev-parse', '--show-prefix')}")
    return {path: blob for path, (_, blob) in held.items()}


def _in_git(path: str) -> bool:
    return not snapshot.unavailable() and bool(git("ls-files", "--cached", "--", path))


def _dvc(*arguments: str) -> str:
    """Run the DVC command line; returns the last line it printed.

    Raises:
        DataError: DVC refused; the message is its own.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        words = [text.removeprefix("ERROR: ") for text in done.stderr.splitlines() if text.startswith("ERROR: ")]
        raise DataError(f"`dvc {' '.join(arguments)}` failed: {' '.join(words) or done.stderr.strip()}")
    return next((text for text in reversed(done.stdout.splitlines()) if text.strip()), "")
