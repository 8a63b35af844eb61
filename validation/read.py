"""Pairs from the files people have: chats, prompt/completion, instruction/output; JSONL, JSON, CSV or Parquet.

A broken row is returned with its reason and stops nothing; a broken file stops the run.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.errors import DataError, ParamsError
from contracts.files import read_jsonl
from contracts.pairs import Message, Pair
from contracts.params import PairFiles

# Names a prompt and its answer go by when no column map says otherwise; the first that is there counts.
_PROMPT = ("prompt", "instruction")
_RESPONSE = ("response", "completion", "output")
_MAPPED = ("prompt", "response", "id", "system")

Records = Iterator[tuple[int, dict[str, Any] | DataError]]


@dataclass(frozen=True)
class Row:
    """One row of a file: its pair, or the error that kept it from being one.

    `line` counts from 1: the line where the row starts in JSONL and CSV, the row's number in JSON and Parquet.
    `raw` is the row as it was read, None where not even that was possible.
    """

    id: str
    file: str
    line: int
    raw: dict[str, Any] | None
    pair: Pair | None
    error: str = ""


def read_pairs(settings: PairFiles, behaviour: str) -> list[Row]:
    """All rows of `pairs.<behaviour>.files`, in the order of that list and, within a glob, of the names.

    Raises:
        DataError: a file is missing or cannot be read at all, a glob matches nothing, there is not one row.
        ParamsError: the column map has a name that is not ours.
    """
    if unknown := sorted(set(settings.columns) - set(_MAPPED)):
        raise ParamsError(
            f"`pairs.{behaviour}.columns.{unknown[0]}` in params.yaml is not a column of ours: use {', '.join(_MAPPED)}"
        )
    rows: list[Row] = []
    for path in find_files(settings.files, behaviour):
        try:
            for line, raw in _records(path, settings.columns, behaviour):
                if len(rows) == settings.max_rows:
                    break
                rows.append(_row(path, line, raw, settings.columns, behaviour))
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): check the file and its permissions") from None
    if not rows:
        raise DataError(f"pairs.{behaviour}.files ({', '.join(settings.files)}) hold no rows: add pairs, one a line")
    return _with_unique_ids(rows)


def find_files(patterns: list[str], behaviour: str) -> list[Path]:
    """The files that paths and globs name, each once.

    Raises:
        DataError: a path is missing, or a glob matches no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        root = Path(path.anchor or ".")
        matches = (
            [path]
            if path.is_file()
            else sorted(p for p in root.glob(str(path.relative_to(path.anchor))) if p.is_file())
        )
        if not matches:
            raise DataError(
                f"pairs.{behaviour}.files names {pattern}, but there is no such file: correct it in params.yaml"
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def _records(path: Path, columns: Mapping[str, str], behaviour: str) -> Records:
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".json":
        return _json(path)
    if path.suffix in (".csv", ".parquet"):
        return (_csv if path.suffix == ".csv" else _parquet)(path, columns, behaviour)
    raise DataError(
        f"{path} is of a kind we do not read ({path.suffix or 'no suffix'}): write .jsonl, .json, .csv or .parquet"
    )


def _json(path: Path) -> Records:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): correct it, or write one row a line as .jsonl") from None
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a {type(rows).__name__}, not a list of rows: write it as [{{…}}, {{…}}]")
    for number, row in enumerate(rows, start=1):
        kind = type(row).__name__
        yield number, row if isinstance(row, dict) else DataError(f"{path}, row {number} holds a {kind}, not an object")


def _csv(path: Path, columns: Mapping[str, str], behaviour: str) -> Records:
    # The csv module rather than pandas: it knows the line a row starts at, and a row with a field too many is one row.
    # A byte that is no UTF-8 becomes a surrogate, which `_text` refuses in that row alone.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, DataError(f"{path}:{line} is not CSV ({error}): look for an unclosed quote")
                continue
            if header is None:
                header = fields
                _check_table(path, header, columns, behaviour)
            elif len(fields) == len(header):
                yield line, dict(zip(header, fields, strict=True))
            elif fields:
                yield line, DataError(f"{path}:{line} has {len(fields)} fields, the header {len(header)}: quote commas")


def _parquet(path: Path, columns: Mapping[str, str], behaviour: str) -> Records:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not Parquet ({error}): write it again") from None
    _check_table(path, table.column_names, columns, behaviour)
    yield from enumerate(table.to_pylist(), start=1)


def _check_table(path: Path, header: Collection[str], columns: Mapping[str, str], behaviour: str) -> None:
    """A table without the columns we need is wrong as a whole: say so once, not once a row."""
    shown = ", ".join(header)
    for ours, theirs in columns.items():
        if theirs not in header:
            raise DataError(
                f"{path} has no column {theirs!r}, which pairs.{behaviour}.columns.{ours} names; it has: {shown}"
            )
    if _form(header, columns) is None:
        raise DataError(
            f"{path} has no columns we know; set pairs.{behaviour}.columns.prompt and .response; it has: {shown}"
        )


def _form(keys: Collection[str], columns: Mapping[str, str]) -> tuple[str, str] | None:
    """The (prompt, response) columns of a row; ("messages", "") for a chat; None when neither is there."""
    prompt = columns.get("prompt") or next((name for name in _PROMPT if name in keys), "")
    response = columns.get("response") or next((name for name in _RESPONSE if name in keys), "")
    if "messages" in keys and not columns.get("prompt"):
        return "messages", ""
    return (prompt, response) if prompt in keys and response in keys else None


def _row(path: Path, line: int, raw: dict[str, Any] | DataError, columns: Mapping[str, str], behaviour: str) -> Row:
    row = Row(f"{path.name}:{line}", path.as_posix(), line, None, None)
    if isinstance(raw, DataError):
        return replace(row, error=str(raw))
    given = raw.get(columns.get("id", "id"))
    row = replace(row, raw=raw, id=str(given) if isinstance(given, str | int) and str(given).strip() else row.id)
    try:
        return replace(row, pair=_pair(raw, row.id, columns, behaviour))
    except ValidationError as error:
        detail = error.errors()[0]
        return replace(row, error=f"{'.'.join(map(str, detail['loc']))}: {detail['msg'][0].lower()}{detail['msg'][1:]}")
    except DataError as error:
        return replace(row, error=str(error))


def _pair(raw: dict[str, Any], id: str, columns: Mapping[str, str], behaviour: str) -> Pair:
    """Raises DataError or pydantic's ValidationError with the reason why `raw` is no pair."""
    form = _form(raw, columns)
    if form is None:
        raise DataError("it has neither messages, nor prompt and completion, nor instruction and output")
    if raw.get("behaviour", behaviour) != behaviour and "behaviour" not in columns.values():
        raise DataError(f"its behaviour is {raw['behaviour']!r}, but its file is listed under pairs.{behaviour}")
    if form == ("messages", ""):
        return Pair.model_validate({**raw, "id": id, "behaviour": behaviour})
    prompt, response = (_text(raw, name) for name in form)
    if "input" in raw and form[0] == "instruction" and (extra := _text(raw, "input").strip()):
        prompt = f"{prompt}\n\n{extra}"
    system = _text(raw, columns["system"]) if "system" in columns else ""
    messages = [Message(role="system", content=system)] if system.strip() else []
    messages += [Message(role="user", content=prompt), Message(role="assistant", content=response)]
    passages = raw.get("passages") or []
    return Pair.model_validate({"id": id, "behaviour": behaviour, "passages": passages, "messages": messages})


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw[name] if raw[name] is not None else ""
    if not isinstance(value, str):
        raise DataError(f"{name} is a {type(value).__name__}, not text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{name} holds bytes that are not UTF-8")
    return value


def _with_unique_ids(rows: list[Row]) -> list[Row]:
    """Files number their rows alike: an id that was taken gets its file and line, so that each names one row."""
    taken: set[str] = set()
    unique = []
    for row in rows:
        if row.id in taken:
            place = f"{row.id}@{row.file}:{row.line}"
            row = replace(row, id=place, pair=row.pair and row.pair.model_copy(update={"id": place}))
        taken.add(row.id)
        unique.append(row)
    return unique
