"""Where pairs come from, as records: JSONL, JSON, CSV, Parquet and XLSX files, and data sets of the Hugging Face hub.

A broken record is yielded as its error and stops nothing; a broken file stops the run.
"""

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import DataError
from contracts.files import read_jsonl

ANY = "pairs"  # the behaviour of rows that are read outside a project: theirs, whatever it is

# Names a prompt and its answer go by when no column map says otherwise; the first that is there counts.
_PROMPT = ("prompt", "instruction", "question")
_RESPONSE = ("response", "completion", "output", "chosen", "answer")

Records = Iterator[tuple[int, dict[str, Any] | DataError]]

HUB = "hub:"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<split>\w+))?")


def find_files(patterns: list[str], behaviour: str) -> list[str]:
    """The files that paths and globs name, each once; data sets of the hub as they are written.

    Raises:
        DataError: a path is missing, or a glob matches no file.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith(HUB):
            found[pattern] = None
            continue
        path = Path(pattern)
        if path.is_dir():
            raise DataError(f"{set_in(behaviour, 'files')} names the folder {path}: name its files, as {path}/*.jsonl")
        root = Path(path.anchor or ".")
        matches = (
            [path]
            if path.is_file()
            else sorted(p for p in root.glob(str(path.relative_to(path.anchor))) if p.is_file())
        )
        if not matches:
            raise DataError(f"{set_in(behaviour, 'files')} names {pattern}, but there is no such file: correct it")
        found.update(dict.fromkeys(match.as_posix() for match in matches))
    return list(found)


def set_in(behaviour: str, key: str) -> str:
    """Where a person sets `pairs.<behaviour>.<key>`."""
    if behaviour != ANY:
        return f"pairs.{behaviour}.{key} in params.yaml"
    return "the command line" if key == "files" else "--columns"


def read_records(source: str, columns: Mapping[str, str], behaviour: str) -> Records:
    """(line, record) of each record of a file or data set, in order. `line` is as in validation.read.Row.

    Raises:
        DataError: the source cannot be read at all, is of a kind that is not read, or lacks a column of the map.
    """
    if source.startswith(HUB):
        return _hub(source, columns, behaviour)
    path = Path(source)
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".json":
        return _json(path)
    if table := {".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".xlsx": _xlsx}.get(path.suffix):
        return table(path, columns, behaviour)
    raise DataError(
        f"{path} is of a kind we do not read ({path.suffix or 'no suffix'}):"
        " write .jsonl, .json, .csv, .tsv, .parquet or .xlsx"
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
        delimiter = max(",;\t", key=stream.readline().count)  # spreadsheets write what their country uses
        stream.seek(0)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num > line:  # the quote took lines along, and who knows which were rows
                    raise DataError(f"{path}:{line} opens a quote that nothing closes ({error}): close it") from None
                yield line, DataError(f"{path}:{line} is not CSV ({error}): look for a stray quote")
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
        stream = parquet.ParquetFile(path)
        _check_table(path, stream.schema_arrow.names, columns, behaviour)
        batches = (row for batch in stream.iter_batches() for row in batch.to_pylist())
        yield from enumerate(batches, start=1)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not Parquet ({_first_line(error)}): write it again") from None


def _xlsx(path: Path, columns: Mapping[str, str], behaviour: str) -> Records:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, OSError, ValueError) as error:
        raise DataError(f"{path} is no workbook ({_first_line(error)}): save it again as .xlsx") from None
    if not sheet:
        return
    header = [str(name).strip() for name in sheet[0]]
    _check_table(path, header, columns, behaviour)
    for line, cells in enumerate(sheet[1:], start=2):
        if any(cell != "" for cell in cells):
            yield line, {name: _cell(cell) for name, cell in zip(header, cells, strict=True) if name}


def _cell(value: Any) -> Any:
    """Excel knows no whole numbers: 7 is 7.0 there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hub(source: str, columns: Mapping[str, str], behaviour: str) -> Records:
    """A data set of the hub, or of a mirror that HF_ENDPOINT names; its files are cached by `datasets`."""
    match = _HUB.fullmatch(source)
    if match is None:
        raise DataError(f"{source} is no data set: write hub:ORG/NAME@REVISION, and #SPLIT for another one than train")
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        rows = load_dataset(match["name"], revision=match["revision"], split=match["split"] or "train")
    except (DatasetsError, HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"{source} cannot be read from the hub ({_first_line(error)}): check name, revision, split and network"
        ) from None
    _check_table(source, rows.column_names, columns, behaviour)
    yield from enumerate(rows, start=1)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_table(path: Path | str, header: Collection[str], columns: Mapping[str, str], behaviour: str) -> None:
    """A table without the columns we need is wrong as a whole: say so once, not once a row."""
    shown = ", ".join(header)
    for ours, theirs in columns.items():
        if theirs not in header:
            raise DataError(
                f"{path} has no column {theirs!r}, which {set_in(behaviour, f'columns.{ours}')} names; it has: {shown}"
            )
    if form(header, columns) is None:
        raise DataError(
            f"{path} has no columns we know; name yours for prompt and response with {set_in(behaviour, 'columns')};"
            f" it has: {shown}"
        )


def form(keys: Collection[str], columns: Mapping[str, str]) -> tuple[str, str] | None:
    """The (prompt, response) columns of a row; ("messages", "") for a chat; None when neither is there.

    ("", "chosen") is a preference whose two sides hold the whole conversation. A chat needs no column of the map.
    """
    prompt = columns.get("prompt") or next((name for name in _PROMPT if name in keys), "")
    response = columns.get("response") or next((name for name in _RESPONSE if name in keys), "")
    if "messages" in keys and columns.get("prompt") not in keys:
        return "messages", ""
    if prompt in keys and response in keys:
        return prompt, response
    return ("", "chosen") if not prompt and response == "chosen" else None
