"""Replay a stored history of documents, commit by commit.

A history file is JSON lines (`.jsonl`, or `.jsonl.xz`), in this order or interleaved:

    {"type": "blob", "sha": "…", "text": "…"}
    {"type": "commit", "date": "2026-03-31T15:20:00+00:00", "ops": [{"op": "A", "path": "…", "blob": "…"}]}

An op adds (A), modifies (M), deletes (D) or renames (R, with `old_path`) one file. Further keys are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from contracts.errors import DataError
from contracts.files import read_jsonl

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
