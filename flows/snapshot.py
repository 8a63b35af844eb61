"""Snapshots: what a run was made of, as a commit under refs/freshtune/snapshots/<run>.

Written through a temporary index, so the user's branch, index, stash and work in flight stay as they are. A snapshot
holds every file that git does not ignore, tracked or not (params, dvc.lock, DVC's pointers, data, code), as it stands
in the work tree; files over `MAX_BYTES` belong under DVC and stay out.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from contracts import paths
from contracts.errors import DataError
from flows import changes
from flows.git import GitError, commit_of, git, line

REFS = "refs/freshtune/snapshots"
MAX_BYTES = 10 * 2**20
PROGRAM = Path(__file__).resolve().parents[1]
_IGNORED_IN_LINKS = {"__pycache__"}
_DONE = ": done"
_LOCK = Path("dvc.lock")
_FIELDS = ("refname", "objectname", "parent", "contents:subject", "contents:body")


@dataclass(frozen=True)
class Snapshot:
    """One snapshot. `run` sorts by time; `inputs` is the commit of what the run began with, `commit` of its end."""

    run: str
    commit: str
    inputs: str
    made_at: str
    notes: list[str] = field(default_factory=list)


def unavailable() -> str:
    """Why no snapshot can be made here; empty when one can."""
    try:
        if line("rev-parse", "--is-inside-work-tree") != "true":
            return "this is no git work tree"
        return "" if _listed() else "git ignores this directory"
    except GitError as error:
        return str(error)


def take() -> Snapshot:
    """Snapshot the project as it stands; its notes say what changed since the latest one, which is the answer when
    nothing did.

    Raises:
        GitError: this is no git work tree, or git refused.
    """
    tree, left_out = _write_tree()
    before = latest()
    if before and line("rev-parse", f"{before.commit}^{{tree}}") == tree:
        return before
    now = datetime.now(UTC)
    run = now.strftime("%Y%m%d-%H%M%S-") + f"{now.microsecond // 1000:03}"
    notes = changes.between(before.commit, tree) if before else ["the first snapshot"]
    notes += [f"left out, over {MAX_BYTES // 2**20} MiB: {name}" for name in left_out]
    parent = commit_of("HEAD")
    commit = _commit(tree, [parent] if parent else [], f"freshtune {run}", notes)
    git("update-ref", f"{REFS}/{run}", commit, "")
    return Snapshot(run, commit, commit, _made_at(run), notes)


def seal(snapshot: Snapshot, notes: list[str]) -> Snapshot:
    """Add to `snapshot` what its run left behind, dvc.lock with the hashes of all outputs: a commit on top of it.

    Nothing else is taken: what was edited while the run went on is for the next snapshot.

    Raises:
        GitError: git refused.
    """
    if not _LOCK.is_file():
        return snapshot
    blob = line("hash-object", "-w", "--stdin", stdin=_LOCK.read_bytes())
    tree = _tree(f"100644 {blob}\t{_LOCK}\0".encode(), onto=snapshot.inputs)
    if line("rev-parse", f"{snapshot.commit}^{{tree}}") == tree:
        return snapshot
    commit = _commit(tree, [snapshot.inputs], f"freshtune {snapshot.run}{_DONE}", [*snapshot.notes, *notes])
    git("update-ref", f"{REFS}/{snapshot.run}", commit, snapshot.commit)
    return Snapshot(snapshot.run, commit, snapshot.inputs, snapshot.made_at, [*snapshot.notes, *notes])


def log() -> list[Snapshot]:
    """All snapshots, the latest first.

    Raises:
        GitError: this is no git work tree.
    """
    form = "".join(f"%({name})%00" for name in _FIELDS)
    fields = (
        git("for-each-ref", "--sort=-refname", f"--format={form}", REFS).decode("utf-8", "replace").split("\0")[:-1]
    )
    found = []
    for i in range(0, len(fields), len(_FIELDS)):
        ref, commit, parents, subject, body = fields[i : i + len(_FIELDS)]
        inputs = parents.split()[0] if subject.endswith(_DONE) else commit
        notes = [note for note in body.splitlines() if note]
        run = ref.strip("\n").removeprefix(f"{REFS}/")
        found.append(Snapshot(run, commit, inputs, _made_at(run), notes))
    return found


def latest() -> Snapshot | None:
    """The latest snapshot, or None before the first.

    Raises:
        GitError: this is no git work tree.
    """
    return next(iter(log()), None)


def find(run: str) -> Snapshot:
    """The snapshot of a run: its id or an unmistakable beginning of it, `latest`, or a commit of it.

    Raises:
        DataError: there is none, or more than one.
        GitError: this is no git work tree.
    """
    everything = log()
    if run == "latest" and everything:
        return everything[0]
    found = [
        s
        for s in everything
        if s.run.startswith(run) or (len(run) >= 7 and run in (s.commit[: len(run)], s.inputs[: len(run)]))
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(s.run for s in (found or everything)[:5]) or "none was made yet"
    trouble = f"`{run}` begins {len(found)} snapshots" if found else f"there is no snapshot `{run}`"
    raise DataError(f"{trouble} ({known}): name one of `freshtune data log`")


def _made_at(run: str) -> str:
    """The time that a run is named after, in ISO form."""
    return datetime.strptime(run, "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC).isoformat(timespec="seconds")


def _commit(tree: str, parents: list[str], subject: str, notes: list[str]) -> str:
    message = "\n".join([subject, "", *notes]) + "\n"
    options = [option for parent in parents for option in ("-p", parent)]
    return line("commit-tree", tree, *options, stdin=message.encode("utf-8", "replace"))


def _write_tree() -> tuple[str, list[str]]:
    """The tree of everything below the current directory that is not ignored, and the names that were left out."""
    entries: list[tuple[str, Path, str]] = []  # mode, where its bytes are, path in the tree
    left_out: list[str] = []
    for name in _listed():
        for path, place in _expanded(name):
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                entries.append(("120000", path, place))
            elif stat.S_ISREG(kind):
                if path.stat().st_size > MAX_BYTES or "\n" in place:
                    left_out.append(place)
                else:
                    entries.append(("100755" if kind & stat.S_IXUSR else "100644", path, place))
    plain = [path for mode, path, _ in entries if mode != "120000"]
    names = b"".join(os.fsencode(path.absolute()) + b"\n" for path in plain)  # git would count from its own top
    blobs = iter(git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names).decode().split())
    rows = []
    for mode, path, place in entries:
        link = mode == "120000"
        blob = line("hash-object", "-w", "--stdin", stdin=os.fsencode(path.readlink())) if link else next(blobs)
        rows.append(f"{mode} {blob}\t".encode() + os.fsencode(place) + b"\0")
    return _tree(b"".join(rows)), left_out


def _tree(rows: bytes, onto: str = "") -> str:
    """The tree of `rows` (mode, blob and path each), added to those of the commit `onto`."""
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        if onto:
            git("read-tree", onto, index=index)
        git("update-index", "-z", "--index-info", stdin=rows, index=index)
        return line("write-tree", index=index)


def _listed() -> list[str]:
    """Paths below the current directory, relative to it, that are tracked or could be."""
    ours = f"--exclude=/{paths.STATE}/"  # it moves in every run, whether or not the user's .gitignore names it
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", ours).split(b"\0")
    return sorted({os.fsdecode(name) for name in names if name})


def _expanded(name: str) -> Iterator[tuple[Path, str]]:
    """One listed path as files. A link to a room of this program (see flows.project) counts as what it leads to."""
    path = Path(name)
    if not (path.is_symlink() and path.is_dir() and path.resolve().is_relative_to(PROGRAM)):
        if os.path.lexists(path):  # a tracked file may be deleted
            yield path, name
        return
    for folder, folders, inside in os.walk(path):
        folders[:] = sorted(set(folders) - _IGNORED_IN_LINKS)
        for file in sorted(inside):
            found = Path(folder) / file
            yield found, found.as_posix()
