"""`freshtune data`: a user's data under DVC, and the way back to what an earlier run was made of.

Small text stays in git; `add` puts large data under DVC, which leaves a pointer (PATH.dvc) for git to keep.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

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
    with _dvc("add") as repo:
        repo.add([place])
    return Path(f"{place}.dvc")


def push(remote: str = "") -> str:
    """Send what is under DVC, outputs of stages included, to a DVC remote; returns what was sent, in words.

    Raises:
        DataError: no remote is configured, or it cannot be reached.
    """
    with _dvc("push") as repo:
        return f"{repo.push(remote=remote or None)} files sent"


def pull(remote: str = "") -> str:
    """Fetch what is under DVC from a remote and lay it into the work tree; returns what came, in words.

    The data must be there; outputs of stages come as far as somebody pushed them, for a run can make them again.

    Raises:
        DataError: no remote is configured, it cannot be reached, or it lacks some of the data.
    """
    with _dvc("pull") as repo:
        fetched = 0
        if data := [stage.addressing for stage in repo.index.stages if stage.is_data_source]:
            fetched = repo.pull(targets=data, remote=remote or None)["stats"]["fetched"]
        fetched += repo.pull(remote=remote or None, allow_missing=True)["stats"]["fetched"]
    return f"{fetched} files fetched"


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
    if led := [path for path in there if path.endswith(".dvc")]:
        with _dvc("checkout") as repo:
            repo.checkout(targets=led, force=force)
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


@contextmanager
def _dvc(verb: str) -> Iterator[Repo]:
    """The project in DVC's hands, and what DVC refuses as our error."""
    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        words = " ".join(text for text in str(error).splitlines() if text)
        raise DataError(f"`dvc {verb}` failed: {words}") from None
