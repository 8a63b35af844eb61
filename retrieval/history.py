"""Replay a stored history of documents, commit by commit.

A history file is JSON lines (`.jsonl`, or `.jsonl.xz`), in this order or interleaved:

    {"type": "blob", "sha": "…", "text": "…"}
    {"type": "commit", "date": "2026-03-31T15:20:00+00:00", "ops": [{"op": "A", "path": "…", "blob": "…"}]}

An op adds (A), modifies (M), deletes (D) or renames (R, with `old_path`) one file. Further keys are ignored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from contracts.errors import DataError
from contracts.files import content_hash, read_jsonl, write_jsonl

_Line = TypeVar("_Line", bound=BaseModel)


class Op(BaseModel):
    """What a commit does to one file."""

    op: Literal["A", "M", "D", "R"]
    path: str
    old_path: str = ""
    blob: str = ""


class _Blob(BaseModel):
    sha: str
    text: str


class _Commit(BaseModel):
    date: datetime
    ops: list[Op]


@dataclass(frozen=True)
class Revision:
    """All files as they stood after one commit: `files` maps path to text, `renamed` new path to old path."""

    date: datetime
    files: dict[str, str]
    renamed: dict[str, str]


def replay(path: Path) -> Iterator[Revision]:
    """Yield one revision per commit, in the file's order; the last one is the present tree.

    Raises:
        DataError: the file cannot be read, or a line of it is broken or contradicts those before; names the line.
    """
    blobs: dict[str, str] = {}
    files: dict[str, str] = {}
    for number, line in read_jsonl(path):
        place = f"{path}:{number}"
        if isinstance(line, DataError):
            raise line
        match line.get("type"):
            case "blob":
                blob = _parse(_Blob, line, place)
                blobs[blob.sha] = blob.text
            case "commit":
                commit = _parse(_Commit, line, place)
                for op in commit.ops:
                    _apply(op, files, blobs, place)
                renamed = {op.path: op.old_path for op in commit.ops if op.op == "R"}
                date = commit.date if commit.date.tzinfo else commit.date.replace(tzinfo=UTC)
                yield Revision(date, dict(files), renamed)
            case other:
                raise DataError(f"{place}: `type` is {other!r}: it must be `blob` or `commit`")


def write_history(path: Path, revisions: Iterable[Revision]) -> int:
    """Write revisions as a file that `replay` reads; returns how many."""
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    before: dict[str, str] = {}
    count = 0
    for revision in revisions:
        gone = before.keys() - revision.files.keys() - set(revision.renamed.values())
        ops: list[dict[str, str]] = [{"op": "D", "path": name} for name in sorted(gone)]
        for name, text in revision.files.items():
            old = revision.renamed.get(name)
            if old is None and before.get(name) == text:
                continue
            blob = content_hash(text)[:40]
            if blob not in known:
                rows.append({"type": "blob", "sha": blob, "text": text})
                known.add(blob)
            op = {"op": "R", "old_path": old} if old else {"op": "M" if name in before else "A"}
            ops.append(op | {"path": name, "blob": blob})
        rows.append({"type": "commit", "date": revision.date.isoformat(), "ops": ops})
        before, count = revision.files, count + 1
    write_jsonl(path, rows)
    return count


def _parse(model: type[_Line], line: dict[str, Any], place: str) -> _Line:
    try:
        return model.model_validate(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"`{where}` of this {line['type']} is wrong ({first['msg']})"
        raise DataError(f"{place}: {problem}: correct the line") from None


def _apply(op: Op, files: dict[str, str], blobs: dict[str, str], place: str) -> None:
    """Change `files` as `op` says."""
    gone = op.old_path if op.op == "R" else op.path
    if op.op != "A" and gone not in files:
        raise DataError(f"{place}: op {op.op} names {gone!r}, which does not exist at that commit: correct the history")
    if op.op in "DR":
        del files[gone]
    if op.op != "D":
        if op.blob not in blobs:
            raise DataError(f"{place}: op {op.op} of {op.path!r} names blob {op.blob!r}, which no line before it holds")
        files[op.path] = blobs[op.blob]
