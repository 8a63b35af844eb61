"""The past of documents from git: their own commits, or those of the pointer that DVC leaves of a folder.

Dates are those of the committer, along first parents: when a text came to the branch, not when it was written.
"""

import json
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import yaml

from contracts.errors import DataError
from contracts.params import FOLDER, GitSource
from retrieval.convert import Raw, to_document
from retrieval.history import Revision
from retrieval.sources import git_command, git_root, matcher, run_git

_LOG = ["log", "--first-parent", "--reverse", "--no-show-signature"]
_PLAIN = (".md", ".markdown", ".txt")


def repository_of(folder: Path, globs: list[str]) -> GitSource | None:
    """The repository that `folder` lies in and has commits of, as a source; None where it has none."""
    top = _line(folder, "rev-parse", "--show-toplevel")
    if not top or not _line(folder, "log", "-1", "--format=%H", "--", "."):
        return None
    below = _line(folder, "rev-parse", "--show-prefix").rstrip("/")
    return GitSource(kind="git", name=FOLDER, repository=top, path=below, glob=globs)


def git_revisions(source: GitSource, max_bytes: int, prefix: str = "") -> Iterator[Revision]:
    """The documents after each commit that touched one, then once more as of the last commit of all.

    The paths are ids: below the source's `path`, `prefix` before them. A version that cannot be read as a document is
    held by its hash, so that it counts as another text.

    Raises:
        DataError: the repository, the ref or the path is not there.
    """
    root, below, wanted = git_root(source, fetch=False), source.path.strip("/"), matcher(source.glob)
    relative = [f"--relative={below}"] if below else []
    options = ["-m", "--raw", "-z", "-M", "--no-abbrev", "--format=%x01%cI", *relative, source.ref, "--", below or "."]
    files: dict[str, str] = {}
    with _blobs(root) as read:
        for date, changes in _commits(run_git(source, root, *_LOG, *options)):
            left = {change.old: files.pop(prefix + change.old, None) for change in changes if change.old}
            renamed: dict[str, str] = {}
            for change in changes:
                if change.new and wanted(change.new):
                    files[prefix + change.new] = _as_text(change.new, read(change.blob), change.blob, max_bytes)
                    if change.old not in ("", change.new) and left[change.old] is not None:
                        renamed[prefix + change.new] = prefix + change.old
            yield Revision(date, dict(files), renamed)
    if files:
        last = run_git(source, root, "log", "-1", "--format=%cI", source.ref).decode().strip()
        yield Revision(datetime.fromisoformat(last), files, {})


class _Change(NamedTuple):
    """What stood at `old` stands at `new` now, as `blob`; empty where there was or is no document."""

    old: str
    new: str
    blob: str


def _commits(log: bytes) -> Iterator[tuple[datetime, list[_Change]]]:
    """The commits of `git log --raw -z`, whose format begins each with a 1 and its date."""
    fields = iter(log.split(b"\0"))
    date: datetime | None = None
    changes: list[_Change] = []
    for field in fields:
        head = field.strip(b"\n")
        if head.startswith(b"\1"):
            if date:
                yield date, changes
            date, changes = datetime.fromisoformat(head[1:].decode()), []
        elif head:
            _, mode, _, blob, kind = head.decode().split()
            old = new = _id(next(fields))
            if kind[0] == "R":
                new = _id(next(fields))
            is_file = mode.startswith("10")  # 12 is a link, 16 a submodule, 00 nothing
            changes.append(_Change("" if kind[0] == "A" else old, new if is_file else "", blob))
    if date:
        yield date, changes


def dvc_revisions(folder: Path, globs: list[str], max_bytes: int, prefix: str = "") -> Iterator[Revision]:
    """The documents of a folder under DVC after each commit of its pointer, as far back as DVC's cache holds them whole.

    Raises:
        DataError: DVC's cache cannot be opened.
    """
    pointer = folder.with_name(f"{folder.name}.dvc")
    commits = _line(folder.parent, *_LOG, "--format=%H %cI", "--", pointer.name).splitlines()
    if not commits:
        return
    cache, wanted = _dvc_cache(folder.parent), matcher(globs)
    found: list[Revision] = []
    for commit in commits:
        digest, date = commit.split()
        try:
            output = yaml.safe_load(_line(folder.parent, "show", f"{digest}:./{pointer.name}"))["outs"][0]
            listed = json.loads(_cached(cache, output["md5"]))
            names = {entry["relpath"]: entry["md5"] for entry in listed if wanted(entry["relpath"])}
            files = {
                prefix + _id(name.encode()): _as_text(name, _cached(cache, md5), md5, max_bytes)
                for name, md5 in names.items()
            }
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError):
            found = []  # what came before a gap is not told: a change might lie in it
            continue
        found.append(Revision(datetime.fromisoformat(date), files, {}))
    yield from found
    if found:
        last = datetime.fromisoformat(_line(folder.parent, "log", "-1", "--format=%cI"))
        yield Revision(last, found[-1].files, {})


def _dvc_cache(folder: Path) -> Path:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(folder)) as repo:
            return Path(repo.cache.local.path)
    except DvcException as error:
        raise DataError(f"DVC's cache of {folder} cannot be opened ({error}): run `dvc cache dir` there") from None


def _cached(cache: Path, md5: str) -> bytes:
    return (cache / md5[:2] / md5[2:]).read_bytes()


def _as_text(name: str, content: bytes, digest: str, max_bytes: int) -> str:
    raw = Raw(name, "", name, PurePosixPath(name).suffix.lower(), content, {})
    try:
        return content.decode("utf-8-sig") if raw.suffix in _PLAIN else to_document(raw, max_bytes).text
    except (DataError, UnicodeDecodeError):
        return digest


def _id(name: bytes) -> str:
    return unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))


def _line(folder: Path, *arguments: str) -> str:
    """What git prints in a folder; empty where it has nothing to say, or is not there."""
    command, environment = git_command(folder, *arguments)
    try:
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.decode("utf-8", "surrogateescape").strip("\n")


@contextmanager
def _blobs(root: Path) -> Iterator[Callable[[str], bytes]]:
    """A function from a blob's hash to its bytes: one process for all of them."""
    command, environment = git_command(root, "cat-file", "--batch")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        ask, answer = process.stdin, process.stdout
        assert ask
        assert answer

        def read(blob: str) -> bytes:
            ask.write(f"{blob}\n".encode())
            ask.flush()
            head = answer.readline().split()
            if len(head) != 3:
                raise DataError(f"{root} lacks the object {blob}: run `git fsck` there")
            content = answer.read(int(head[2]))
            answer.read(1)
            return content

        yield read
