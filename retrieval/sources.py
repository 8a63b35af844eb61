"""Where documents come from. A kind of source is one function from its settings to raw documents, named in `KINDS`."""

import csv
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import translate
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from contracts import paths
from contracts.errors import DataError
from contracts.files import content_hash, read_jsonl
from contracts.params import DirectorySource, GitSource, HttpSource, TableSource
from retrieval.convert import Raw, too_large

_TYPES = {"text/html": ".html", "application/xhtml+xml": ".html", "application/pdf": ".pdf", "text/markdown": ".md"}
_TYPES["application/vnd.openxmlformats-officedocument.wordprocessingml.document"] = ".docx"


def raw_documents(source: Any, max_bytes: int) -> Iterator[Raw]:
    """The documents of one entry of `sources`, one at a time.

    Raises:
        DataError: the source is missing or broken.
    """
    return KINDS[source.kind](source, max_bytes)


def files_below(root: Path, globs: list[str], prefix: str, metadata: dict[str, str], max_bytes: int) -> Iterator[Raw]:
    """Every file below `root` that matches one of `globs`, by path. A link that leads nowhere is refused."""
    for path in sorted(set(chain.from_iterable(root.glob(glob) for glob in globs))):
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a symbolic link that leads nowhere or to itself: remove it")
        if not path.is_file():
            continue
        if (size := path.stat().st_size) > max_bytes:
            raise too_large(str(path), size, max_bytes)
        name = path.relative_to(root).as_posix()
        yield Raw(f"{prefix}{name}", path.as_posix(), str(path), path.suffix.lower(), path.read_bytes(), metadata)


def directory(source: DirectorySource, max_bytes: int) -> Iterator[Raw]:
    """The files below a folder."""
    root = Path(source.path)
    if not root.is_dir():
        raise DataError(f"the source {source.name} names {root}, which is no folder: correct it in params.yaml")
    return files_below(root, source.glob, f"{source.name}/", source.metadata, max_bytes)


def git(source: GitSource, max_bytes: int) -> Iterator[Raw]:
    """The files of one commit of a repository. One with a URL is fetched into the project's state first."""
    where = source.repository
    root = git_root(source, fetch=True)
    commit = run_git(source, root, "rev-parse", "--verify", "--quiet", f"{source.ref}^{{commit}}").decode().strip()
    tree = f"{commit}:{source.path.strip('/')}" if source.path.strip("/") else commit
    wanted = matcher(source.glob)
    for entry in (
        run_git(source, root, "ls-tree", "-r", "-z", "-l", tree).decode("utf-8", "surrogateescape").split("\0")[:-1]
    ):
        head, name = entry.split("\t", 1)
        mode, _, blob, size = head.split()
        if mode == "120000" or not wanted(name):
            continue
        place = f"{where}:{name} at {commit[:12]}"
        if not size.isdigit():
            continue  # a submodule
        if int(size) > max_bytes:
            raise too_large(place, int(size), max_bytes)
        content = run_git(source, root, "cat-file", "blob", blob)
        path = f"{source.path.strip('/')}/{name}".lstrip("/")
        uri = f"{where.removesuffix('.git')}#{path}"
        yield Raw(f"{source.name}/{name}", uri, place, PurePosixPath(name).suffix.lower(), content, source.metadata)


def table(source: TableSource, _max_bytes: int) -> Iterator[Raw]:
    """One document for each row of a JSON Lines or CSV file; its text is Markdown."""
    path = Path(source.path)
    for number, row in _csv(path) if path.suffix == ".csv" else read_jsonl(path):
        if isinstance(row, DataError):
            raise row
        needed = [source.id, source.text, *([source.title] if source.title else []), *source.columns]
        if missing := [name for name in needed if row.get(name) is None]:
            raise DataError(
                f"{path}:{number} has no `{missing[0]}`, which the source {source.name} names: correct the row or the column"
            )
        metadata = source.metadata | {name: _text(row[name]) for name in source.columns}
        front = json.dumps({"title": _text(row[source.title])}, ensure_ascii=False) if source.title else "{}"
        content = f"---\n{front}\n---\n\n{_text(row[source.text])}"
        name = f"{source.name}/{_text(row[source.id])}"
        yield Raw(
            name, f"{path.as_posix()}#{_text(row[source.id])}", f"{path}:{number}", ".md", content.encode(), metadata
        )


def http(source: HttpSource, max_bytes: int) -> Iterator[Raw]:
    """One document for each address, fetched anew. One that fails, fails the run: it is not taken for deleted."""
    for url in source.urls:
        request = urllib.request.Request(url, headers={"User-Agent": "freshtune"})
        try:
            with urllib.request.urlopen(request, timeout=source.timeout_seconds) as response:
                content = response.read(max_bytes + 1)
                kind = response.headers.get_content_type()
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DataError(
                f"{url} of the source {source.name} cannot be fetched ({error}): try again later, or take it off the list"
            ) from None
        parts = urlsplit(url)
        suffix = _TYPES.get(kind) or PurePosixPath(parts.path).suffix.lower()
        name = f"{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        yield Raw(f"{source.name}/{name}", url, url, suffix, content, source.metadata)


KINDS: dict[str, Callable[[Any, int], Iterator[Raw]]] = {
    "directory": directory,
    "git": git,
    "table": table,
    "http": http,
}


def git_root(source: GitSource, fetch: bool) -> Path:
    """Where the repository lies: the folder, or the mirror of a URL, which is brought up to date when `fetch` is true.

    Raises:
        DataError: there is none, or it cannot be fetched.
    """
    where = source.repository
    if not ("://" in where or re.match(r"[\w.-]+@[\w.-]+:", where)):
        if not Path(where).is_dir():
            raise DataError(
                f"the source {source.name} names {where}, which is no repository: correct it in params.yaml"
            )
        return Path(where)
    mirror = (paths.STATE / "sources" / f"{source.name}-{content_hash(where)[:8]}.git").absolute()
    if not mirror.is_dir():
        mirror.parent.mkdir(parents=True, exist_ok=True)
        run_git(source, None, "clone", "--quiet", "--mirror", "--", where, str(mirror))
    elif fetch:
        run_git(source, mirror, "fetch", "--quiet", "--prune", "origin")
    return mirror


def git_command(root: Path | None, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line of a git that reads `root` alone, and its environment."""
    where = ["-C", str(root)] if root else []
    # Only transports that move data: `ext::` would run a command that a params file names.
    command = ["git", "-c", "protocol.ext.allow=never", *where, *arguments]
    return command, {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_TERMINAL_PROMPT": "0"}


def run_git(source: GitSource, root: Path | None, *arguments: str) -> bytes:
    """What git prints for a source.

    Raises:
        DataError: it refused.
    """
    command, environment = git_command(root, *arguments)
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DataError(
            f"the source {source.name}: git {arguments[0]} failed in {source.repository} at {source.ref}"
            f" ({words[-1] if words else 'no such commit'}): correct repository, ref or path in params.yaml"
        )
    return done.stdout


def matcher(globs: list[str]) -> Callable[[str], bool]:
    """Whether a path below a source's root matches one of `globs`, as pathlib would say."""
    patterns = [re.compile(_as_regex(glob)) for glob in globs]
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


def _as_regex(glob: str) -> str:
    """A glob as pathlib reads it: `**/` is any number of folders, `*` stays within one."""
    parts = [
        r"(?:[^/]+/)*" if part == "**/" else translate(part)[4:-3].replace(".*", "[^/]*")
        for part in re.split(r"(\*\*/)", glob)
        if part
    ]
    return "(?s:" + "".join(parts) + ")"


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise DataError(f"{path} is missing: check the path in params.yaml")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            for row in rows:
                yield rows.line_num, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} is no CSV ({error}): correct it") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
