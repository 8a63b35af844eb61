"""Pairs from the rows people have: chats, prompt/completion, instruction/input/output, preference triples.

Files and data sets are read by sources.py. A broken row is returned with its reason and stops nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from contracts.errors import DataError, ParamsError
from contracts.pairs import Pair
from contracts.params import PairFiles
from validation.sources import ANY, find_files, form, read_records, set_in

_MAPPED = ("prompt", "response", "rejected", "id", "system")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, or the error that kept it from being a pair.

    `line` counts from 1: the line where the row starts in JSONL, CSV and XLSX, the row's number in JSON, Parquet and
    data sets. `raw` is the row as it was read, None where not even that was possible.
    """

    id: str
    file: str
    line: int
    raw: dict[str, Any] | None
    error: str = ""
    behaviour: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def pair(self) -> Pair | None:
        """The row as a pair, made anew each time: a million rows fit into memory, a million pairs beside them do not."""
        return None if self.error or self.raw is None else to_pair(self.raw, self.id, self.columns, self.behaviour)


def read_pairs(settings: PairFiles, behaviour: str) -> list[Row]:
    """All rows of `pairs.<behaviour>.files`, in the order of that list and, within a glob, of the names.

    Raises:
        DataError: a file is missing or cannot be read at all, a glob matches nothing, a file has not one readable row.
        ParamsError: the column map has a name that is not ours.
    """
    if unknown := sorted(set(settings.columns) - set(_MAPPED)):
        raise ParamsError(
            f"{set_in(behaviour, 'columns')} has {unknown[0]!r}, which is not a column of ours: use {', '.join(_MAPPED)}"
        )
    rows: list[Row] = []
    taken: set[str] = set()
    for source in find_files(settings.files, behaviour):
        before = len(rows)
        try:
            for line, raw in read_records(source, settings.columns, behaviour):
                if len(rows) == settings.max_rows:
                    break
                row = _row(source, line, raw, settings.columns, behaviour)
                if row.id in taken:  # files number their rows alike
                    row = replace(row, id=f"{row.id}@{row.file}:{row.line}")
                taken.add(row.id)
                rows.append(row)
        except OSError as error:
            raise DataError(f"{source} cannot be read ({error.strerror}): check the file and its permissions") from None
        if len(rows) > before and all(row.raw is None for row in islice(rows, before, None)):
            raise DataError(f"{source} has not one row that can be read: {rows[before].error}")
    if not rows:
        raise DataError(f"{', '.join(settings.files)} hold no rows: add pairs, one a line")
    return rows


def _row(source: str, line: int, raw: dict[str, Any] | DataError, columns: Mapping[str, str], behaviour: str) -> Row:
    row = Row(f"{source.rsplit('/', 1)[-1]}:{line}", source, line, None, behaviour=behaviour, columns=columns)
    if isinstance(raw, DataError):
        return replace(row, error=str(raw))
    given = raw.get(columns.get("id", "id"))
    row = replace(row, raw=raw, id=str(given) if isinstance(given, str | int) and str(given).strip() else row.id)
    try:
        to_pair(raw, row.id, columns, behaviour)
    except ValidationError as error:
        detail = error.errors()[0]
        return replace(row, error=f"{'.'.join(map(str, detail['loc']))}: {detail['msg'][0].lower()}{detail['msg'][1:]}")
    except DataError as error:
        return replace(row, error=str(error))
    return row


def to_pair(raw: dict[str, Any], id: str, columns: Mapping[str, str], behaviour: str) -> Pair:
    """One record as a pair. Of a preference, `chosen` is the answer and `rejected` is kept beside it.

    Raises:
        DataError, pydantic.ValidationError: with the reason why `raw` is no pair.
    """
    found = form(raw, columns)
    if found is None:
        missing = [name for name in (columns.get("prompt"), columns.get("response")) if name and name not in raw]
        raise DataError(
            f"it has no {missing[0]!r}, which {set_in(behaviour, 'columns')} names"
            if missing
            else "it has neither messages, nor prompt and completion, nor instruction and output, nor chosen and rejected"
        )
    if behaviour != ANY and raw.get("behaviour", behaviour) != behaviour and "behaviour" not in columns.values():
        raise DataError(f"its behaviour is {raw['behaviour']!r}, but its file is listed under pairs.{behaviour}")
    if found == ("messages", ""):
        return Pair.model_validate({**raw, "id": id, "behaviour": behaviour})
    prompt, response = found
    turns = [*(_turns(raw, prompt, "user") if prompt else []), *_turns(raw, response, "assistant")]
    if prompt == "instruction" and raw.get("input") and (extra := _text(raw, "input").strip()):
        turns[0] = turns[0] | {"content": f"{turns[0]['content']}\n\n{extra}"}
    if "system" in columns and (system := _text(raw, columns["system"])).strip():
        turns = [{"role": "system", "content": system}, *turns]
    pair = {"id": id, "behaviour": behaviour, "passages": raw.get("passages") or [], "messages": turns}
    rejected = columns.get("rejected", "rejected")
    if rejected in raw and response == columns.get("response", "chosen"):
        pair["rejected"] = _turns(raw, rejected, "assistant")[-1]["content"]
    return Pair.model_validate(pair)


def _turns(raw: dict[str, Any], name: str, role: str) -> list[dict[str, str]]:
    """A column as turns: one text of that role, or turns in chat form, as preference data has them."""
    value = raw[name]
    if isinstance(value, list):
        if not value or not all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value):
            raise DataError(f"{name} is neither text nor a list of turns with role and content")
        return value
    return [{"role": role, "content": _text(raw, name)}]


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw[name] if raw[name] is not None else ""
    if not isinstance(value, str):
        raise DataError(f"{name} is a {type(value).__name__}, not text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{name} holds bytes that are not UTF-8")
    return value
